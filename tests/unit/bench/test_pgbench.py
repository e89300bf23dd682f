"""The scripts that pgbench runs, and how its report is read."""

from __future__ import annotations

import re

import pytest

from rei_bench import orders
from rei_bench.pgbench import Load, load_of, script_of
from rei_bench.stage import BenchError
from rei_core.jobs.accept_queries import ACCEPT

REPORT = """\
pgbench (18.6)
transaction type: /tmp/x.sql
number of clients: 4
number of transactions actually processed: 3021
number of failed transactions: 0 (0.000%)
latency average = 3.973 ms
initial connection time = 5.120 ms
tps = 1006.671412 (without initial connection time)
"""


def test_parameters_become_variables_and_casts_stay() -> None:
    assert script_of("SELECT $1::text, $12, $2;\n", ["a", "b", *"cdefghijk", "twelfth"]) == (
        "SELECT :a::text, :twelfth, :b"
    )


@pytest.mark.parametrize("hot", [False, True])
def test_our_script_is_the_very_text_of_the_constant(hot: bool) -> None:
    script = orders.ours(hot=hot)
    names = dict.fromkeys(re.findall(r"\$(\d+)", ACCEPT))
    assert len(names) == 13  # a parameter more, and the script has to learn it
    assert "$" not in script
    words = re.sub(r"(?<!:):\w+|\$\d+", "?", script[script.index("WITH known") :]).rstrip(";\n")
    assert words == re.sub(r"\$\d+", "?", ACCEPT).strip()


def test_every_variable_of_a_script_is_set() -> None:
    makers = (orders.ours, orders.least, orders.naive)
    for script in [maker(hot=True) for maker in makers] + [orders.whole_life()]:
        used = set(re.findall(r"(?<![:\w]):([a-z_]+)", script))
        made = set(re.findall(r"\\set (\w+)", script)) | set(
            re.findall(r"AS (job|balance)\b", script)
        )
        assert used <= made | set(orders.TEXTS)


def test_the_report_is_read() -> None:
    assert load_of(REPORT) == Load(1006.671412, 3.973, 3021)


def test_a_report_without_its_figures_is_no_measurement() -> None:
    with pytest.raises(BenchError, match="cannot be read"):
        load_of("pgbench (18.6)\n")
