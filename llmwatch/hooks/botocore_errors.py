"""llmwatch's errors as errors of botocore: each is of both classes at once.

Before the first content botocore sees the error while it sends. It resends what its retry modes name (botocore 1.44.8:
``legacy`` the classes marked with *, ``standard`` and ``adaptive`` every ``HTTPClientError`` and ``ConnectionError`` of
its own), and signs the new request:

=====================================  ==================================================
llmwatch, while botocore sends         botocore
=====================================  ==================================================
``WatchTimeout`` ``connect``           ``ConnectTimeoutError`` *
``WatchTimeout``, any other limit      ``ReadTimeoutError`` *
``ConnectFailed``                      ``SSLError`` *, ``ProxyConnectionError`` * or
                                       ``ConnectionClosedError`` * by its cause, else
                                       ``EndpointConnectionError`` *
``StreamCut`` and ``StreamTruncated``  ``ConnectionClosedError`` *
nothing was sent                       ``EndpointConnectionError`` *
``deadline``, everything else          ``BotoCoreError``, which no mode resends
``Cancelled``, ``ConfigError``         none: the network did not cause them
=====================================  ==================================================

While the answer is read botocore resends nothing. Its event stream lets urllib3's errors through, and its
``StreamingBody`` puts errors of its own in their place. So an error of an event stream is of both libraries:
``ReadTimeoutError`` for a ``WatchTimeout``, else ``ResponseStreamingError`` and urllib3's ``ProtocolError``.
"""

from __future__ import annotations

from typing import Any

from llmwatch.engine.combined_errors import also
from llmwatch.errors import (
    Cancelled,
    ConfigError,
    ConnectFailed,
    LLMWatchError,
    StreamCut,
    StreamTruncated,
    WatchTimeout,
)
from llmwatch.recovery import failure_of
from llmwatch.redaction import redact

__all__ = ["as_sent", "as_streamed"]

_FINAL = "BotoCoreError"

# Names in botocore.response, which imports its own classes and urllib3's.
_TIMED_OUT = ("ReadTimeoutError", "URLLib3ReadTimeoutError")
_BROKEN = ("ResponseStreamingError", "URLLib3ProtocolError")


def as_sent(error: LLMWatchError, request: Any) -> LLMWatchError:
    """``error`` as an error of botocore's ``send`` for its ``request``."""
    if isinstance(error, (Cancelled, ConfigError)):
        return error
    return _filled(also(error, "botocore.exceptions", _name(error)), request)


def as_streamed(error: LLMWatchError, request: Any, *, events: bool) -> LLMWatchError:
    """``error`` as an error while an answer is read. ``events``: the answer is an event stream."""
    if isinstance(error, (Cancelled, ConfigError)):
        return error
    names = _TIMED_OUT if isinstance(error, WatchTimeout) else _BROKEN
    # StreamingBody would put its own error in the place of urllib3's.
    combined: Any = also(error, "botocore.response", *names[: 2 if events else 1])
    combined.url, combined.pool = redact.url(request.url), None
    return _filled(combined, request)


def _filled(combined: Any, request: Any) -> LLMWatchError:
    """``combined`` with the attributes of botocore's errors."""
    url = redact.url(request.url)
    combined.kwargs = {"endpoint_url": url, "proxy_url": url, "error": combined.message}
    combined.request, combined.response = request, None
    return combined  # type: ignore[no-any-return]


def _name(error: LLMWatchError) -> str:
    if isinstance(error, WatchTimeout):
        return {"connect": "ConnectTimeoutError", "deadline": _FINAL}.get(error.limit, "ReadTimeoutError")
    if isinstance(error, ConnectFailed):
        named = {"tls": "SSLError", "proxy": "ProxyConnectionError", "reset": "ConnectionClosedError"}
        return named.get(error.cause, "EndpointConnectionError")
    if isinstance(error, (StreamCut, StreamTruncated)):
        return "ConnectionClosedError"
    return "EndpointConnectionError" if failure_of(error).row.unsent else _FINAL
