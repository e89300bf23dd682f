"""Refusals, in Google's shape: `{"error": {"code", "message", "status", "details"}}`."""

from __future__ import annotations

from typing import Any, Final

from rei_core.errors import ReiError

_GOOGLE: Final = "type.googleapis.com/google.rpc"
_KEY_INVALID: Final = "API key not valid. Please pass a valid API key."

_STATUSES: Final = {
    400: "INVALID_ARGUMENT",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


class GeminiRefusal(ReiError):
    """The API refuses a request with HTTP status `code`."""

    def __init__(
        self, code: int, message: str, *, details: tuple[dict[str, Any], ...] = ()
    ) -> None:
        self.code = code
        self.message = message
        self.details = details
        super().__init__(f"{code} {self.status}: {message}")

    @property
    def status(self) -> str:
        """The canonical name of the code, such as NOT_FOUND."""
        return _STATUSES[self.code]

    def body(self) -> dict[str, Any]:
        """The JSON answer."""
        error: dict[str, Any] = {"code": self.code, "message": self.message, "status": self.status}
        if self.details:
            error["details"] = list(self.details)
        return {"error": error}


def invalid_argument(message: str, *, field: str = "") -> GeminiRefusal:
    """`field`, if given, becomes a field violation in the details."""
    if not field:
        return GeminiRefusal(400, message)
    violation = {"field": field, "description": message}
    bad_request = {"@type": f"{_GOOGLE}.BadRequest", "fieldViolations": [violation]}
    return GeminiRefusal(400, message, details=(bad_request,))


def unknown_name(name: str, where: str) -> GeminiRefusal:
    at = f" at '{where}'" if where else ""
    return invalid_argument(
        f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.',
        field=where,
    )


def api_key_invalid() -> GeminiRefusal:
    info = {
        "@type": f"{_GOOGLE}.ErrorInfo",
        "reason": "API_KEY_INVALID",
        "domain": "googleapis.com",
        "metadata": {"service": "generativelanguage.googleapis.com"},
    }
    localized = {
        "@type": f"{_GOOGLE}.LocalizedMessage",
        "locale": "en-US",
        "message": _KEY_INVALID,
    }
    return GeminiRefusal(400, _KEY_INVALID, details=(info, localized))


def api_key_missing() -> GeminiRefusal:
    return GeminiRefusal(
        403,
        "Method doesn't allow unregistered callers (callers without established identity). "
        "Please use API Key or other form of API consumer identity to call this API.",
    )


def model_not_found(model: str, *, version: str, method: str = "") -> GeminiRefusal:
    if not method:
        return GeminiRefusal(404, f"Model is not found: models/{model} for api version {version}")
    return GeminiRefusal(
        404,
        f"models/{model} is not found for API version {version}, or is not supported for {method}. "
        "Call ListModels to see the list of available models and their supported methods.",
    )


def rate_limited(retry_seconds: float) -> GeminiRefusal:
    """429 that passes; with `RetryInfo` if a delay is given."""
    details: tuple[dict[str, Any], ...] = ()
    if retry_seconds:
        details = ({"@type": f"{_GOOGLE}.RetryInfo", "retryDelay": f"{retry_seconds:g}s"},)
    return GeminiRefusal(429, "Resource has been exhausted (e.g. check quota).", details=details)


def quota_exhausted(model: str) -> GeminiRefusal:
    """429 that does not pass before tomorrow, if ever."""
    metric = "generativelanguage.googleapis.com/generate_content_free_tier_requests"
    violation = {
        "quotaMetric": metric,
        "quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
        "quotaDimensions": {"model": model, "location": "global"},
        "quotaValue": "0",
    }
    return GeminiRefusal(
        429,
        "You exceeded your current quota, please check your plan and billing details. "
        "For more information on this error, head to: "
        "https://ai.google.dev/gemini-api/docs/rate-limits.\n"
        f"* Quota exceeded for metric: {metric}, limit: 0, model: {model}",
        details=(
            {"@type": f"{_GOOGLE}.QuotaFailure", "violations": [violation]},
            {"@type": f"{_GOOGLE}.RetryInfo", "retryDelay": "37s"},
        ),
    )


def unavailable() -> GeminiRefusal:
    return GeminiRefusal(503, "The model is overloaded. Please try again later.")


def internal() -> GeminiRefusal:
    return GeminiRefusal(
        500,
        "An internal error has occurred. Please retry or report in "
        "https://developers.generativeai.google/guide/troubleshooting",
    )
