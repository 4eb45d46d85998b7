"""Our errors in the words of the SDKs, which have a word for everything that is raised through them.

Both SDKs translate what a transport raises before there is a response. In mid-stream openai does so too (3.20 does, 3.0
did not) and anthropic does not. Of an error event that was kept from them, before there was a response or in
mid-stream, both would make a connection that failed. So it is done here, in one place, for every moment: the exception
is the SDK's own, with our message, and ours is its ``__cause__``.

=====================================  ==================  =======================================
ours                                   openai              anthropic
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
    """``error`` as the openai SDK would say it."""
    if isinstance(error, (Cancelled, ConfigError)):
        return error
    found: BaseException
    if isinstance(error, WatchTimeout):
        found = _timeout(sdk, error, request)
    elif isinstance(error, ProviderError):
        body = {"message": error.message, "type": error.type, "code": error.code, "param": None}
        found = sdk.APIError(error.message, request, body=body)
    else:
        found = sdk.APIConnectionError(message=error.message, request=request)
    found.__cause__ = error
    return found


def as_anthropic(sdk: Any, error: LLMWatchError, request: Any) -> BaseException:
    """``error`` as the anthropic SDK would say it."""
    if isinstance(error, (Cancelled, ConfigError)):
        # It would take anything that is not its own for a connection that failed, and resend.
        return also(error, sdk.__name__, "AnthropicError")
    found: BaseException
    if isinstance(error, WatchTimeout):
        found = _timeout(sdk, error, request)
    elif isinstance(error, ProviderError):
        body = {"type": "error", "error": {"type": error.type, "message": error.message}}
        found = sdk.APIStatusError(error.message, response=_response_of(error, request), body=body)
    else:
        found = sdk.APIConnectionError(message=error.message, request=request)
    found.__cause__ = error
    return found


def _timeout(sdk: Any, error: WatchTimeout, request: Any) -> BaseException:
    """The SDK's time-out with our message. Its class takes none, and says ``Request timed out`` of every limit."""
    found: BaseException = sdk.APITimeoutError(request=request)
    found.message, found.args = error.message, (error.message,)  # type: ignore[attr-defined]
    return found


def _response_of(error: ProviderError, request: Any) -> Any:
    """The head of the response that the error came in: not the response itself, whose body holds the error's frames."""
    attempts = error.record.attempts if error.record is not None else ()
    name = attempts[-1].request_id if attempts else None
    headers = {} if name is None else {"request-id": name}
    return library_of(request).get("Response")(error.status or 200, headers=headers, request=request)


def _in_words_of(error: ProviderError, record: CallRecord | None) -> None:
    """Say what the record of the call says: the body that was read again is not scrubbed."""
    last = record.attempts[-1] if record is not None and record.attempts else None
    said = (last is not None and last.message) or f"The server answered HTTP {error.status}."
    error.message, error.args = said, (said,)
    evidence = (last.evidence if last is not None else None) or {}
    error.type, error.code = (
        None if evidence.get(name) is None else str(evidence[name]) for name in ("provider_type", "provider_code")
    )


def status_cause(response: Any) -> ProviderError | None:
    """What we have to say about the answer ``response`` of 400 and above, which an SDK has read; ``None`` if it came by
    another way.
    """
    watched = response.extensions.get(EXTENSION)
    if watched is None:
        return None
    host = response.request.url.netloc.decode("ascii", "replace")
    error = Exchange.provider_failure(host, response.status_code, response.headers, response.content, SYSTEM.wall())
    error.record = watched.record
    _in_words_of(error, error.record)
    last = error.record.decisions[-1] if error.record is not None and error.record.decisions else None
    if last is not None:
        told = recovery(last.decision, Reason(last.reason), safe=last.safe)
        error.retryable, error.recovery = last.could_work, told
    return error
