"""Faults that a person or a test orders, and the stand-ins carry out.

A fault belongs to a service and an operation, may be narrowed to a subject (a chat, a payment),
and is used up by `count` matching calls. The oldest matching one is taken first. Nothing here
sleeps or speaks HTTP: whoever takes a fault decides how it looks on the wire.

The number of waiting faults is bounded; a wrong service, kind or operation is refused with the
list of those allowed, so that a mistyped fault can never pass for "nothing happened".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rei_core.errors import ReiError

ANY: Final = "*"
WAITING_MAX: Final = 200
COUNT_MAX: Final = 10_000
DELAY_SECONDS_MAX: Final = 86_400.0

HTTP_KINDS: Final = ("rate_limited", "unavailable", "internal", "hang", "done_no_answer")
NOTIFICATION_KINDS: Final = ("lost", "duplicated", "late", "reordered", "forged")
UPDATE_KINDS: Final = ("duplicated", "late", "reordered")
"""Telegram's updates go the way of notifications; it loses and forges none."""

KINDS: Final[dict[str, tuple[str, ...]]] = {
    "telegram": (*HTTP_KINDS, "blocked", *UPDATE_KINDS),
    "yookassa": (*HTTP_KINDS, *NOTIFICATION_KINDS),
    "gemini": (
        *HTTP_KINDS,
        "slow",
        "quota_exhausted",
        "blocked",
        "no_image",
        "bad_key",
        "model_gone",
        "truncated",
        "garbage",
        "not_an_image",
    ),
}
"""What can go wrong, by service."""

TELEGRAM_FILE: Final = "file"
"""A download; the other operations of Telegram are its methods."""
POLLING: Final = "getUpdates"

OPERATIONS: Final[dict[str, tuple[str, ...]]] = {
    "telegram": (
        "getMe", POLLING, "setWebhook", "deleteWebhook", "getWebhookInfo",
        "sendMessage", "sendPhoto", "sendDocument", "sendMediaGroup", "sendChatAction",
        "editMessageText", "editMessageCaption", "editMessageReplyMarkup", "editMessageMedia",
        "deleteMessage", "deleteMessages", "answerCallbackQuery", "getFile", "getChat",
        "setMyCommands", "getMyCommands", "deleteMyCommands", "setMyName", "setMyDescription",
        "setMyShortDescription", "getMyName", "getMyDescription", "getMyShortDescription",
        "setChatMenuButton", "close", "logOut", TELEGRAM_FILE, "notification",
    ),
    "yookassa": ("create", "get", "list", "capture", "cancel", "refund", "me", "notification"),
    "gemini": ("generate", "probe"),
}  # fmt: skip
"""Operations by service. `*` is any of them but `notification`, which has kinds of its own, and
`getUpdates`: a bot that polls would use up every fault before it says a word."""


class FaultRefused(ReiError):
    """The order makes no sense; `parameter` names what is wrong with it."""

    def __init__(self, parameter: str, problem: str) -> None:
        self.parameter = parameter
        super().__init__(f"{parameter}: {problem}")


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong now.

    `delay_seconds` is what its kind makes of it: the wish to come back later (`rate_limited`), how
    long nothing is said (`hang`; 0: until the client gives up), how long until the connection is
    cut (`done_no_answer`), how much longer a picture takes (`slow`), how late a notification comes
    (`late`, `reordered`, `forged`).
    """

    kind: str
    delay_seconds: float = 0.0


@dataclass(frozen=True)
class Order:
    """A fault that waits for `count` more matching calls."""

    service: str
    kind: str
    operation: str = ANY
    count: int = 1
    delay_seconds: float = 0.0
    subject: str = ""

    def matches(self, service: str, operation: str, subject: str) -> bool:
        """Whether a call of this service, operation and subject uses the fault up."""
        if service != self.service or (self.subject and self.subject != subject):
            return False
        if self.kind in NOTIFICATION_KINDS:
            return operation == "notification"
        if self.operation == ANY:
            return operation not in {"notification", POLLING}
        return operation == self.operation


class Faults:
    """The waiting faults of all services, in the order they were given."""

    def __init__(self) -> None:
        self._waiting: list[Order] = []
        self._taken: Counter[str] = Counter()
        self._listeners: list[Callable[[Order], None]] = []

    def listen(self, listener: Callable[[Order], None]) -> None:
        """Call `listener` with every fault that is ordered from now on."""
        self._listeners.append(listener)

    def add(
        self,
        service: str,
        kind: str,
        *,
        operation: str = ANY,
        count: int = 1,
        delay_seconds: float = 0,
        subject: str = "",
    ) -> Order:
        """Let the next `count` matching calls fail in the manner of `kind`.

        Raises `FaultRefused` for what no service knows, or when too many are waiting.
        """
        order = Order(service, kind, operation, count, float(delay_seconds), subject)
        _validate(order)
        if len(self._waiting) >= WAITING_MAX:
            raise FaultRefused("faults", f"{WAITING_MAX} are waiting already; clear some")
        self._waiting.append(order)
        for listener in self._listeners:
            listener(order)
        return order

    def take(
        self, service: str, operation: str, *, subject: str = "", kinds: tuple[str, ...] = ()
    ) -> Fault | None:
        """Use up one fault that matches this call (and is of one of `kinds`, if given).

        None means that all is well.
        """
        for index, order in enumerate(self._waiting):
            if kinds and order.kind not in kinds:
                continue
            if order.matches(service, operation, subject):
                self._use_up(index, order)
                return Fault(kind=order.kind, delay_seconds=order.delay_seconds)
        return None

    def active(self) -> tuple[Order, ...]:
        """The faults that still wait, oldest first."""
        return tuple(self._waiting)

    def taken(self) -> dict[str, int]:
        """How many faults have happened, by `service.kind`."""
        return dict(self._taken)

    def clear(self, service: str = "") -> int:
        """Drop the waiting faults (of one service); returns how many there were."""
        before = len(self._waiting)
        self._waiting = [order for order in self._waiting if service and order.service != service]
        return before - len(self._waiting)

    def forget(self) -> None:
        """Drop everything, the record of past faults too."""
        self._waiting.clear()
        self._taken.clear()

    def _use_up(self, index: int, order: Order) -> None:
        self._taken[f"{order.service}.{order.kind}"] += 1
        if order.count == 1:
            del self._waiting[index]
            return
        left = order.count - 1
        self._waiting[index] = Order(
            order.service, order.kind, order.operation, left, order.delay_seconds, order.subject
        )


def _validate(order: Order) -> None:
    if order.service not in KINDS:
        raise FaultRefused("service", f"no {order.service!r}; one of: {', '.join(KINDS)}")
    kinds = KINDS[order.service]
    if order.kind not in kinds:
        raise FaultRefused(
            "kind", f"{order.service} has no {order.kind!r}; one of: {', '.join(kinds)}"
        )
    operations = OPERATIONS.get(order.service)
    if operations and order.operation not in (ANY, *operations):
        raise FaultRefused(
            "operation",
            f"{order.service} has no {order.operation!r}; one of: {ANY}, {', '.join(operations)}",
        )
    is_notification = order.operation == "notification"
    if order.operation != ANY:
        possible = [kind for kind in kinds if kind in NOTIFICATION_KINDS]
        if is_notification and order.kind not in possible:
            raise FaultRefused(
                "kind", f"notifications are: {', '.join(possible)}; not {order.kind!r}"
            )
        if not is_notification and order.kind in NOTIFICATION_KINDS:
            raise FaultRefused("operation", f"{order.kind!r} goes with operation 'notification'")
    if not 1 <= order.count <= COUNT_MAX:
        raise FaultRefused("count", f"{order.count} is not between 1 and {COUNT_MAX}")
    if not 0 <= order.delay_seconds <= DELAY_SECONDS_MAX:
        raise FaultRefused(
            "delay_seconds", f"{order.delay_seconds} is not between 0 and {DELAY_SECONDS_MAX:g}"
        )
