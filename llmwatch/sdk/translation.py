"""llmwatch's errors as the SDKs' own exceptions.

Both SDKs translate what a transport raises before the response. In mid-stream openai does so too (3.20 does, 3.0 did
not), and anthropic does not. Both would report an error event that was held back from them as a failed connection. So
llmwatch translates at every moment: the exception is the SDK's own, with llmwatch's message, and llmwatch's error is
its ``__cause__``.

=====================================  ==================  =======================================
llmwatch                               openai              anthropic
=====================================  ==================  =======================================
``WatchTimeout``                       ``APITimeoutError`` ``APITimeoutError``
``ProviderError`` (an error event)     ``APIError``        ``APIStatusError`` with the status 200
``Cancelled``, ``ConfigError``         as they are         as they are, and an ``AnthropicError``
everything else                        ``APIConnectionError``, both
=====================================  ==================  =======================================
"""

from __future__ import annotations

from typing import Any

from llmwatch.engine.combined_errors import also
from llmwatch.engine.exchange import Exchange
from llmwatch.errors import Cancelled, ConfigError, LLMWatchError, ProviderError, WatchTimeout
from llmwatch.records import CallRecord
from llmwatch.recovery import Reason
from llmwatch.recovery.messages import recovery
from llmwatch.sdk.conversion import EXTENSION
from llmwatch.sdk.libraries import library_of
from llmwatch.watch.clock import SYSTEM

__all__ = ["as_anthropic", "as_openai", "status_cause"]


def as_openai(sdk: Any, error: LLMWatchError, request: Any) -> BaseException:
    """The openai SDK's exception for ``error``."""
    if isinstance(error, (Cancelled, ConfigError)):
        return error
    translated: BaseException
    if isinstance(error, WatchTimeout):
        translated = _timeout(sdk, error, request)
    elif isinstance(error, ProviderError):
        body = {"message": error.message, "type": error.type, "code": error.code, "param": None}
        translated = sdk.APIError(error.message, request, body=body)
    else:
        translated = sdk.APIConnectionError(message=error.message, request=request)
    translated.__cause__ = error
    return translated


def as_anthropic(sdk: Any, error: LLMWatchError, request: Any) -> BaseException:
    """The anthropic SDK's exception for ``error``."""
    if isinstance(error, (Cancelled, ConfigError)):
        # The SDK takes any exception but its own for a failed connection, and resends.
        return also(error, sdk.__name__, "AnthropicError")
    translated: BaseException
    if isinstance(error, WatchTimeout):
        translated = _timeout(sdk, error, request)
    elif isinstance(error, ProviderError):
        body = {"type": "error", "error": {"type": error.type, "message": error.message}}
        translated = sdk.APIStatusError(error.message, response=_response_of(error, request), body=body)
    else:
        translated = sdk.APIConnectionError(message=error.message, request=request)
    translated.__cause__ = error
    return translated


def _timeout(sdk: Any, error: WatchTimeout, request: Any) -> BaseException:
    """The SDK's time-out with llmwatch's message; its class takes none, only ``Request timed out``."""
    timeout: BaseException = sdk.APITimeoutError(request=request)
    timeout.message, timeout.args = error.message, (error.message,)  # type: ignore[attr-defined]
    return timeout


def _response_of(error: ProviderError, request: Any) -> Any:
    """The head of the response that the error came in. The response itself refers to the error's frames."""
    attempts = error.record.attempts if error.record is not None else ()
    name = attempts[-1].request_id if attempts else None
    headers = {} if name is None else {"request-id": name}
    return library_of(request).get("Response")(error.status or 200, headers=headers, request=request)


def _in_words_of(error: ProviderError, record: CallRecord | None) -> None:
    """Give ``error`` the message in the call's record: the body that was read again is not scrubbed."""
    last = record.attempts[-1] if record is not None and record.attempts else None
    message = (last is not None and last.message) or f"The server answered HTTP {error.status}."
    error.message, error.args = message, (message,)
    evidence = (last.evidence if last is not None else None) or {}
    error.type, error.code = (
        None if evidence.get(name) is None else str(evidence[name]) for name in ("provider_type", "provider_code")
    )


def status_cause(response: Any) -> ProviderError | None:
    """llmwatch's error for an error status that an SDK has read; ``None`` for an unwatched response."""
    watched = response.extensions.get(EXTENSION)
    if watched is None:
        return None
    host = response.request.url.netloc.decode("ascii", "replace")
    error = Exchange.provider_failure(host, response.status_code, response.headers, response.content, SYSTEM.wall())
    error.record = watched.record
    _in_words_of(error, error.record)
    last = error.record.decisions[-1] if error.record is not None and error.record.decisions else None
    if last is not None:
        advice = recovery(last.decision, Reason(last.reason), safe=last.safe)
        error.retryable, error.recovery = last.could_work, advice
    return error
