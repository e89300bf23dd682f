"""kopf: it watches the kinds and hands each event over; nothing else of it is used.

No finalizers, timers, daemons or annotations (docs/adr/0010): so deleting the operator, a namespace
or the CRDs never waits for anybody. kopf ends by cancelling every task of its event loop, ours
among them; so it gets a thread and a loop of its own, and events come over by
`call_soon_threadsafe`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any, Final

import kopf
import structlog

from rei_core.maintenance.resources import GROUP, KINDS, VERSION
from rei_operator.manifests import MANAGED_BY, MANAGER

Json = dict[str, Any]
Saw = Callable[[str, bool, Json], None]
"""Called with kind, whether it was deleted, and the object."""

log = structlog.get_logger(__name__)

REQUEST_SECONDS_MAX: Final = 30
WATCH_SECONDS: Final = 300
INACTIVE_SECONDS_MAX: Final = 340
STOP_SECONDS_MAX: Final = 15.0


class Watch(threading.Thread):
    """Watches until `stop`. `saw` and `ended` are called in the event loop that made it."""

    def __init__(self, *, namespace: str | None, saw: Saw, ended: Callable[[], None]) -> None:
        super().__init__(name="kopf", daemon=True)
        self._namespace = namespace
        self._saw = saw
        self._ended = ended
        self._home = asyncio.get_running_loop()
        self._stop_flag = threading.Event()
        self._ready_flag = threading.Event()

    @property
    def ready(self) -> bool:
        """Whether the watches have been begun."""
        return self._ready_flag.is_set() and self.is_alive()

    def stop(self) -> None:
        """Ask it to end."""
        self._stop_flag.set()

    async def join_gently(self) -> None:
        """Wait until it has ended, for a while: it is a daemon, and holds nothing that matters."""
        if self.ident is None:  # never begun
            return
        await asyncio.to_thread(self.join, STOP_SECONDS_MAX)

    def run(self) -> None:
        logging.getLogger("kopf").setLevel(logging.WARNING)
        try:
            asyncio.run(self._operate())
        except Exception as error:  # it is told and the process ends: another one begins anew
            log.error("watch.died", error=f"{type(error).__name__}: {error}")  # noqa: TRY400 - a traceback may hold a token
        finally:
            if not self._home.is_closed():
                self._home.call_soon_threadsafe(self._ended)

    async def _operate(self) -> None:
        where: Any = (
            {"clusterwide": True} if self._namespace is None else {"namespaces": [self._namespace]}
        )
        # Said, or kopf would look for the user's name, and a container's user has none.
        where["identity"] = "rei-operator"
        try:
            await kopf.operator(
                registry=self._registry(),
                settings=settings(namespaced=self._namespace is not None),
                standalone=True,
                stop_flag=self._stop_flag,
                ready_flag=self._ready_flag,
                **where,
            )
        finally:
            # kopf may die by itself, of a kind that is not there any more, say. A thread of this
            # loop's executor waits for the flag, and asyncio would wait for that thread for ever.
            self._stop_flag.set()

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry, errors=kopf.ErrorsMode.TEMPORARY, backoff=5)(_login)
        for kind, resource in KINDS.items():
            handler = self._handler(kind)
            kopf.on.event(
                GROUP, VERSION, resource.names.plural, registry=registry, id=kind.lower()
            )(handler)
        kopf.on.event(
            "batch", "v1", "jobs", registry=registry, id="job", labels={MANAGED_BY: MANAGER}
        )(self._handler("Job"))
        return registry

    def _handler(self, kind: str) -> Any:
        async def seen(event: Any, **_: Any) -> None:
            raw = {**event["object"], "kind": kind}
            deleted = event["type"] == "DELETED"
            self._home.call_soon_threadsafe(self._saw, kind, deleted, raw)

        return seen


async def _login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)


def settings(*, namespaced: bool) -> kopf.OperatorSettings:
    """kopf's settings: everything bounded in time, nothing written into objects."""
    chosen = kopf.OperatorSettings()
    chosen.peering.standalone = True
    chosen.posting.enabled = False  # our Recorder tells, see there
    chosen.posting.loggers = False
    chosen.networking.request_timeout = REQUEST_SECONDS_MAX
    chosen.watching.server_timeout = WATCH_SECONDS
    chosen.watching.client_timeout = INACTIVE_SECONDS_MAX
    chosen.watching.inactivity_timeout = INACTIVE_SECONDS_MAX
    chosen.scanning.disabled = namespaced  # it would need the right to list CRDs and namespaces
    chosen.persistence.finalizer = f"{GROUP}/none"  # never set; ours if it ever were
    prefix: Any = GROUP
    chosen.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=prefix)
    chosen.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=prefix)
    return chosen
