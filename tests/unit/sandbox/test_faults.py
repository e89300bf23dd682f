"""The fault engine."""

from __future__ import annotations

from typing import Any

import pytest

from rei_sandbox.faults import KINDS, WAITING_MAX, Fault, FaultRefused, Faults, Order


def test_a_fault_is_used_up_by_as_many_calls_as_it_counts() -> None:
    faults = Faults()
    faults.add("gemini", "unavailable", count=2, delay_seconds=3)
    taken = [faults.take("gemini", "generate") for _ in range(3)]
    assert taken == [Fault("unavailable", 3.0), Fault("unavailable", 3.0), None]
    assert faults.taken() == {"gemini.unavailable": 2}
    assert faults.active() == ()


def test_the_oldest_matching_fault_comes_first() -> None:
    faults = Faults()
    faults.add("gemini", "internal", operation="probe")
    faults.add("gemini", "hang")
    faults.add("gemini", "unavailable")
    kinds = [fault.kind for _ in range(2) if (fault := faults.take("gemini", "generate"))]
    assert kinds == ["hang", "unavailable"]
    assert [order.kind for order in faults.active()] == ["internal"]


def test_a_fault_touches_no_other_service_operation_or_subject() -> None:
    faults = Faults()
    faults.add("yookassa", "hang", operation="create")
    faults.add("telegram", "blocked", subject="7")
    assert faults.take("gemini", "create") is None
    assert faults.take("yookassa", "get") is None
    assert faults.take("telegram", "sendPhoto", subject="8") is None
    assert faults.take("telegram", "sendPhoto") is None
    assert faults.take("telegram", "sendPhoto", subject="7") == Fault("blocked")


def test_notifications_and_calls_never_use_up_each_others_faults() -> None:
    faults = Faults()
    faults.add("yookassa", "unavailable")
    faults.add("yookassa", "lost")
    assert faults.take("yookassa", "notification") == Fault("lost")
    assert faults.take("yookassa", "notification") is None
    assert faults.take("yookassa", "get") == Fault("unavailable")


def test_only_the_kinds_asked_for_are_taken() -> None:
    faults = Faults()
    faults.add("yookassa", "forged")
    assert faults.take("yookassa", "notification", kinds=("lost",)) is None
    assert faults.take("yookassa", "notification", kinds=("forged",)) == Fault("forged")


def test_faults_are_cleared_by_service_or_all() -> None:
    faults = Faults()
    for service in KINDS:
        faults.add(service, "hang")
    assert faults.clear("gemini") == 1
    assert [order.service for order in faults.active()] == ["telegram", "yookassa"]
    assert faults.clear() == 2
    assert faults.clear() == 0


def test_a_listener_hears_of_every_order() -> None:
    faults, heard = Faults(), list[Order]()
    faults.listen(heard.append)
    order = faults.add("gemini", "hang")
    assert heard == [order]


@pytest.mark.parametrize(
    ("words", "more", "parameter"),
    [
        (("stripe", "hang"), {}, "service"),
        (("gemini", "lost"), {}, "kind"),
        (("gemini", "hang"), {"operation": "capture"}, "operation"),
        (("yookassa", "lost"), {"operation": "create"}, "operation"),
        (("yookassa", "hang"), {"operation": "notification"}, "kind"),
        (("gemini", "hang"), {"count": 10_001}, "count"),
        (("gemini", "hang"), {"delay_seconds": float("nan")}, "delay_seconds"),
        (("gemini", "hang"), {"delay_seconds": 86_401}, "delay_seconds"),
    ],
)
def test_a_mistyped_fault_is_refused(
    words: tuple[str, str], more: dict[str, Any], parameter: str
) -> None:
    with pytest.raises(FaultRefused) as refused:
        Faults().add(*words, **more)
    assert refused.value.parameter == parameter


def test_the_number_of_waiting_faults_is_bounded() -> None:
    faults = Faults()
    for _ in range(WAITING_MAX):
        faults.add("gemini", "hang")
    with pytest.raises(FaultRefused):
        faults.add("gemini", "hang")
