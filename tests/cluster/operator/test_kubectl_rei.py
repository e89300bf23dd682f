"""`kubectl rei` by the real kubectl, whose plugin it is, on a real API server beside the operator.

There are no pods here: what would be run in one is run on this machine, with the operator's settings.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .stage import Stage

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("operator")]

PAGE = Path(__file__).parents[3] / "docs" / "admin.md"
PLUGIN = Path(sys.executable).with_name("kubectl-rei")
WHY = ("--reason", "ticket 17: a broken picture")

# kubectl itself, but for pods: there is one, and its commands run here.
KUBECTL = """#!{python}
import json, os, subprocess, sys
words = sys.argv[1:]
if "pods" in words:
    labels = {{"app.kubernetes.io/name": "rei-operator"}}
    ready = {{"conditions": [{{"type": "Ready", "status": "True"}}]}}
    levels = {{"name": "log-levels", "configMap": {{"name": "rei-log-levels"}}}}
    pod = {{"metadata": {{"name": "x", "labels": labels}}, "status": ready}}
    pod["spec"] = {{"volumes": [levels]}}
    print(json.dumps({{"items": [pod]}}))
elif "exec" in words:
    command = words[words.index("--") + 2:]
    sys.exit(subprocess.call([{python!r}, "-m", "rei_core", *command]))
else:
    os.execv({kubectl!r}, [{kubectl!r}, {cache!r}, *words])
"""


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


KubectlRei = Callable[..., Awaitable[Said]]


@pytest.fixture
def kubectl_rei(shared: Stage, tmp_path: Path) -> KubectlRei:
    """`await kubectl_rei("credit", …)` is `kubectl rei credit …` of a person at a terminal."""
    real, wrapped = shared.cluster.kubectl_program, tmp_path / "kubectl"
    cache = f"--cache-dir={tmp_path / 'cache'}"
    wrapped.write_text(KUBECTL.format(python=sys.executable, kubectl=str(real), cache=cache))
    wrapped.chmod(wrapped.stat().st_mode | stat.S_IXUSR)
    environment = {
        **os.environ,
        **shared.settings(),
        "KUBECTL": str(wrapped),
        "KUBECONFIG": str(shared.cluster.kubeconfig),
        "PATH": f"{PLUGIN.parent}{os.pathsep}{os.environ['PATH']}",
    }

    async def run(*words: str, kubeconfig: Path | None = None) -> Said:
        login = {} if kubeconfig is None else {"KUBECONFIG": str(kubeconfig)}
        process = await asyncio.create_subprocess_exec(
            real, "rei", *words, "-n", shared.namespace, env=environment | login,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        assert process.returncode is not None
        return Said(process.returncode, out.decode(), err.decode())

    return run


async def test_a_credit_by_kubectl_and_by_rei_is_one_and_says_who(
    shared: Stage, kubectl_rei: KubectlRei
) -> None:
    await shared.customer(301, kopecks=1000)
    first = await kubectl_rei("credit", "301", "300", *WHY, "-o", "json")
    assert first.err.startswith("operation credit-")
    assert (first.json["repeated"], first.json["balance_after_kopecks"]) == (False, 31_000)
    name = first.json["operation_id"]
    assert (await kubectl_rei("credit", "301", "300", *WHY, "-o", "json")).json["repeated"]
    # The resource is gone, and the ledger still knows.
    await shared.delete("BalanceAdjustment", name)
    await kubectl_rei("credit", "301", "300", *WHY)
    assert await shared.balance(301) == 31_000
    [told] = (await kubectl_rei("log", "--user", "301", "-o", "json")).json
    assert told["action"]["operation_id"] == name
    who = await shared.kubectl.json("auth", "whoami")
    assert told["action"]["actor"] == {
        "name": f"kubernetes:{who['status']['userInfo']['username']}",
        "via": f"BalanceAdjustment {shared.namespace}/{name}",
    }


async def test_a_debit_that_was_refused_is_made_once_there_is_money(
    shared: Stage, kubectl_rei: KubectlRei
) -> None:
    await shared.customer(302, kopecks=1000)
    refused = await kubectl_rei("debit", "302", "20", *WHY)
    assert refused.code == 1
    assert "InsufficientFunds" in refused.err
    assert (await kubectl_rei("credit", "302", "15", *WHY)).code == 0
    made = await kubectl_rei("debit", "302", "20", *WHY, "-o", "json")
    assert made.json["balance_after_kopecks"] == 500
    assert await shared.balance(302) == 500
    await shared.books_are_right()


async def test_a_ban_is_put_replaced_and_lifted_with_those_of_the_admins(
    shared: Stage, kubectl_rei: KubectlRei
) -> None:
    await shared.customer(303)
    banned = await kubectl_rei("ban", "303", *WHY)
    assert banned.code == 0, banned.err
    assert "user 303 cannot order until this is deleted" in banned.out
    assert "cannot order until 20" in (await kubectl_rei("ban", "303", *WHY, "--days", "3")).out
    lifted = await kubectl_rei("unban", "303", *WHY, "-o", "json")
    assert lifted.json["bans_left"] == []
    report = (await kubectl_rei("user", "303", "-o", "json")).json
    assert not report["banned"]
    # Newest first: by `rei unban` in the pod, by the deleted resource, by the two bans.
    words = [one["action"]["word"] for one in report["actions"]]
    assert words == ["unban", "unban", "ban", "ban"]
    assert report["actions"][0]["action"]["actor"]["name"].startswith("kubernetes:")


async def test_maintenance_runs_when_it_is_asked_to(shared: Stage, kubectl_rei: KubectlRei) -> None:
    nothing = await kubectl_rei("stuck")
    assert nothing.code == 1
    assert "there is no StuckJobPolicy" in nothing.err
    spec = {"schedule": "0 3 1 1 *", "suspend": True}
    await shared.apply("StuckJobPolicy", "by-hand", spec)
    [ran] = (await kubectl_rei("stuck", "-o", "json")).json
    assert ran["status"]["lastResult"]["failed"] == 0
    assert "by-hand" in (await kubectl_rei("stuck", "by-hand")).out


async def test_log_levels_are_a_config_map_that_is_made_patched_and_emptied(
    shared: Stage, kubectl_rei: KubectlRei
) -> None:
    assert "Nothing is set" in (await kubectl_rei("log-level")).out
    assert (await kubectl_rei("log-level", "bot=debug")).out == "bot=DEBUG\n"
    both = await kubectl_rei("log-level", "rei_core.payments=WARNING")
    assert both.out == "bot=DEBUG\nrei_core.payments=WARNING\n"
    held = await shared.kubectl.json("get", "configmap", "rei-log-levels")
    assert held["data"] == {"bot": "DEBUG", "rei_core.payments": "WARNING"}
    wrong = await kubectl_rei("log-level", "bot=LOUD")
    assert (wrong.code, "LOUD" in wrong.err) == (1, True)
    emptied = await kubectl_rei("log-level", "bot-", "rei_core.payments-")
    assert "Nothing is set" in emptied.out


async def test_the_role_of_the_page_is_enough_and_another_one_is_not(
    shared: Stage, kubectl_rei: KubectlRei
) -> None:
    [role] = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    await shared.kubectl("create", "serviceaccount", "anna")
    anna = await shared.cluster.as_service_account("anna", namespace=shared.namespace)
    await shared.customer(304)
    refused = await kubectl_rei("credit", "304", "5", *WHY, kubeconfig=anna)
    assert refused.code == 1
    assert "Forbidden" in refused.err
    await shared.kubectl("apply", "--filename=-", stdin=role)
    account = f"--serviceaccount={shared.namespace}:anna"
    await shared.kubectl("create", "rolebinding", "anna", "--role=rei-on-call", account)
    await shared.apply("StuckJobPolicy", "roles", {"schedule": "0 3 1 1 *", "suspend": True})
    words = (
        ("ban", "304", *WHY),
        ("unban", "304"),
        ("stuck", "roles"),
        ("credit", "304", "5", *WHY),
    )
    for each in words:
        said = await kubectl_rei(*each, kubeconfig=anna)
        assert said.code == 0, said.err
    assert await shared.balance(304) == 500
    [told] = [
        one["action"]["actor"]["name"]
        for one in (await kubectl_rei("log", "--user", "304", "-o", "json")).json
        if one["action"]["word"] == "credit"
    ]
    assert told == f"kubernetes:system:serviceaccount:{shared.namespace}:anna"
