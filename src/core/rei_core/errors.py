"""The tree of errors. Every failure that Rei names is one of these.

    ReiError
    ├── ConfigurationError        a setting is missing or makes no sense; says which and how to mend it
    ├── LogLevelRefused           a log level, or whose it is, makes no sense
    ├── AmountError               a text that is no amount of money, or one out of bounds
    ├── PaymentProviderError      YooKassa
    │   ├── PaymentOutcomeUnknown     time-out, HTTP 5xx: repeat with the same idempotence key
    │   ├── PaymentRejected           HTTP 4xx: repeating the same call is useless
    │   └── PaymentNotFound           the provider does not know the object
    ├── PaymentMismatch           the provider's payment contradicts ours: nothing is credited
    ├── InsufficientFunds         a debit would take a balance below zero
    ├── OperationConflict         an operation id seen before, with other content
    ├── UserUnknown               no such user
    ├── PaymentUnknown            no such payment of ours
    ├── BackupError               backups; its own tree is in maintenance/backups/errors.py
    └── ImageProviderError        Gemini; carries a `FailureClass`

Errors carry their data as attributes. Foreign errors are wrapped where they enter,
`from` the original. No error text ever holds a secret.
"""

from __future__ import annotations

import enum


class ReiError(Exception):
    """The base of all errors that Rei raises on purpose."""


class ConfigurationError(ReiError):
    """A setting is missing or makes no sense."""

    def __init__(self, setting: str, problem: str, remedy: str) -> None:
        self.setting = setting
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{setting}: {problem}. {remedy}")


class LogLevelRefused(ReiError):
    """A log level, or whose it shall be, makes no sense."""

    def __init__(self, name: str, problem: str) -> None:
        self.name = name
        self.problem = problem
        super().__init__(f"log level: {name!r} {problem}")


class AmountError(ReiError):
    """A text is no amount of money, or the amount is out of bounds."""

    def __init__(self, text: str, problem: str) -> None:
        self.text = text[:64]
        self.problem = problem
        super().__init__(f"{self.text!r} is not an amount: {problem}")


class PaymentProviderError(ReiError):
    """A call to the payment provider did not give a usable answer."""

    def __init__(self, message: str, *, http_status: int | None = None, code: str = "") -> None:
        self.http_status = http_status
        self.code = code
        super().__init__(message)


class PaymentOutcomeUnknown(PaymentProviderError):
    """The call may or may not have been carried out: repeat it with the same key and data."""


class PaymentRejected(PaymentProviderError):
    """The provider refused; repeating the same call is useless."""


class PaymentNotFound(PaymentProviderError):
    """The provider has no such object."""


class PaymentMismatch(ReiError):
    """The provider's payment contradicts ours in `field`; nothing is credited."""

    def __init__(self, *, payment_id: str, field: str, ours: str, theirs: str) -> None:
        self.payment_id = payment_id
        self.field = field
        self.ours = ours
        self.theirs = theirs
        super().__init__(
            f"payment {payment_id}: {field} is {theirs!r} at the provider, {ours!r} here"
        )


class InsufficientFunds(ReiError):
    """A debit would take the balance below zero."""

    def __init__(self, *, user_id: int, balance_kopecks: int, amount_kopecks: int) -> None:
        self.user_id = user_id
        self.balance_kopecks = balance_kopecks
        self.amount_kopecks = amount_kopecks
        super().__init__(
            f"user {user_id} has {balance_kopecks} kopecks, {amount_kopecks} are needed"
        )


class OperationConflict(ReiError):
    """The operation id was used before with other content."""

    def __init__(self, operation_id: str) -> None:
        self.operation_id = operation_id
        super().__init__(f"operation {operation_id!r} exists with other content")


class UserUnknown(ReiError):
    """There is no such user."""

    def __init__(self, user_id: int) -> None:
        self.user_id = user_id
        super().__init__(f"no user {user_id}")


class PaymentUnknown(ReiError):
    """There is no such payment in our tables."""

    def __init__(self, payment_id: str) -> None:
        self.payment_id = payment_id
        super().__init__(f"no payment {payment_id}")


class FailureClass(enum.StrEnum):
    """Whose fault a failed image call is, which decides what happens next."""

    RETRY_LATER = "retry_later"
    """429, 503, time-outs: the same request may pass later."""
    USER_FAULT = "user_fault"
    """The prompt was blocked or is invalid: refund and say why."""
    OUR_FAULT = "our_fault"
    """Bad key, retired model, exhausted daily quota: stop taking orders, alert."""


class ImageProviderError(ReiError):
    """An image call failed.

    `code` is a short stable word (`blocked`, `no_image`, `rate_limited`, `unavailable`,
    `timeout`, `bad_request`, `bad_key`, `model_gone`, `quota_exhausted`, `bad_answer`);
    `detail` is for logs and admins, at most 500 characters, never a secret;
    `retry_after_seconds` is the provider's own wish, if it gave one.
    """

    def __init__(
        self,
        failure: FailureClass,
        code: str,
        detail: str = "",
        *,
        retry_after_seconds: float | None = None,
        http_status: int | None = None,
    ) -> None:
        self.failure = failure
        self.code = code
        self.detail = detail[:500]
        self.retry_after_seconds = retry_after_seconds
        self.http_status = http_status
        super().__init__(f"{code}: {self.detail}" if detail else code)
