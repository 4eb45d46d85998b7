"""llmwatch's errors as errors that legacy code catches as requests'.

Each error is both: llmwatch's class with all its data, and requests' class for the same trouble, with ``.request`` and
``.response`` set. A cancelled call is no failure of requests': code that answers every ``RequestException`` with
another try must not retry it. An HTTP status is no exception here either, except the status for which an adapter's own
``max_retries`` had no try left.
"""

from __future__ import annotations

from typing import Any

import requests

from llmwatch import errors
from llmwatch.engine.combined_errors import also
from llmwatch.recovery import Reason, failure_of

__all__ = ["as_requests"]

_NAMES: dict[type[errors.LLMWatchError], str] = {
    errors.StreamTruncated: "ChunkedEncodingError",
    errors.EmptyStream: "ChunkedEncodingError",
    errors.NotAStream: "ContentDecodingError",
    errors.MalformedEvent: "ContentDecodingError",
    errors.EventTooLarge: "ContentDecodingError",
    errors.BodyTooLarge: "ContentDecodingError",
    errors.ProviderError: "ChunkedEncodingError",
    errors.RefreshFailed: "RequestException",
    errors.ConfigError: "InvalidURL",
}
"""requests' class for the same trouble, where llmwatch's class alone decides."""


def as_requests(
    error: errors.LLMWatchError, request: requests.PreparedRequest, response: requests.Response | None
) -> errors.LLMWatchError:
    """``error`` as an error that legacy code catches too, with all its data.

    ``response`` is the response whose body was being read, ``None`` if none was handed out. The error's record then
    tells whether headers had come, since requests reads a body itself before it hands a response out. Returned
    unchanged where requests has no such error (:class:`~llmwatch.Cancelled`).
    """
    attempts = () if error.record is None else error.record.attempts
    had_headers = bool(attempts) and attempts[-1].status is not None
    names = _names(error, in_body=response is not None or had_headers)
    if not names or isinstance(error, requests.RequestException):
        return error
    combined: Any = also(error, "requests.exceptions", *names)
    combined.request, combined.response = request, response
    return combined  # type: ignore[no-any-return]


def _names(error: errors.LLMWatchError, *, in_body: bool) -> tuple[str, ...]:
    """The requests classes of ``error``. A failure while a body is read is a ``ConnectionError`` too."""
    if isinstance(error, errors.WatchTimeout):
        if in_body:
            return "ReadTimeout", "ConnectionError"
        return ("ConnectTimeout" if error.limit == "connect" else "ReadTimeout",)
    if isinstance(error, errors.ConnectFailed):
        return ({"tls": "SSLError", "proxy": "ProxyError"}.get(error.cause, "ConnectionError"),)
    if isinstance(error, errors.StreamCut):
        if getattr(error.__cause__, "type", "") == "InvalidHeader":
            # Two lengths of the answer that contradict each other.
            return ("InvalidHeader",)
        if getattr(error.__cause__, "type", "") == "SSLError":
            # A TLS alert, such as that a client's certificate is missing. The end of a connection is an SSLEOFError.
            return ("SSLError", "ChunkedEncodingError") if in_body else ("SSLError",)
        return ("ChunkedEncodingError", "ConnectionError") if in_body else ("ConnectionError",)
    if error.recovery is not None and error.recovery.reason == Reason.ADAPTER_RETRIES_EXHAUSTED:
        return ("RetryError",)
    if failure_of(error).row.refusal:
        return ("ConnectionError",)
    return tuple(_NAMES[cls] for cls in type(error).__mro__ if cls in _NAMES)
