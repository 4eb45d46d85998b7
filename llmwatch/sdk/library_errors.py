"""llmwatch's errors as errors of the calling library: each is of both classes at once.

Code that catches ``httpx.ReadTimeout`` still catches it, an SDK reports it as it reports the library's own, and it
carries what llmwatch knows (limit, phase, record, recovery).

=====================================  ===============================================================
llmwatch                               the library
=====================================  ===============================================================
``WatchTimeout`` ``connect``           ``ConnectTimeout``
``WatchTimeout`` ``send``              ``WriteTimeout``
``WatchTimeout``, any other limit      ``ReadTimeout``
``ConnectFailed``                      ``ProxyError`` if a proxy refused the CONNECT; ``ReadError`` or
                                       ``RemoteProtocolError`` if the connection broke there; else
                                       ``ConnectError``, also without a connection to a proxy
``StreamCut``                          ``ReadError`` for a reset or a TLS alert, else
                                       ``RemoteProtocolError``
``CircuitOpen``, ``TooManyOrphans``    ``ConnectError``: nothing was sent
``TooManyThreads``                     ``ConnectError``: nothing was sent
``RefreshFailed``                      ``ConnectError``: nothing was sent
``Cancelled``, ``ConfigError``         none: the network did not cause them
everything else                        ``RemoteProtocolError``: the answer is wrong
=====================================  ===============================================================
"""

from __future__ import annotations

from typing import Any

from llmwatch.engine.combined_errors import also
from llmwatch.errors import Cancelled, ConfigError, ConnectFailed, LLMWatchError, StreamCut, WatchTimeout
from llmwatch.recovery import failure_of
from llmwatch.sdk.libraries import Library

__all__ = ["in_library"]


def in_library(error: LLMWatchError, library: Library, request: Any) -> LLMWatchError:
    """``error`` as an error that the library could have raised for ``request`` as well.
    Cancellations and invalid settings are returned unchanged.
    """
    if isinstance(error, (Cancelled, ConfigError)):
        return error
    combined = also(error, library.name, _name(error))
    combined.request = request  # type: ignore[attr-defined]
    return combined


def _name(error: LLMWatchError) -> str:
    if isinstance(error, WatchTimeout):
        return {"connect": "ConnectTimeout", "send": "WriteTimeout"}.get(error.limit, "ReadTimeout")
    if isinstance(error, ConnectFailed):
        return _proxy_name(error) if error.cause == "proxy" else "ConnectError"
    if isinstance(error, StreamCut):
        # The summary of the foreign exception has an errno if the system, not the protocol, ended the connection. A TLS
        # alert is an SSLError without one; the end of a TLS connection is an SSLEOFError.
        read = getattr(error.__cause__, "errno", "") or getattr(error.__cause__, "type", "") == "SSLError"
        return "ReadError" if read else "RemoteProtocolError"
    return "ConnectError" if failure_of(error).row.unsent else "RemoteProtocolError"


def _proxy_name(error: ConnectFailed) -> str:
    """The class that httpx 0.28 and httpx2 2.16 raise for a failure at a proxy."""
    if error.status is not None:
        return "ProxyError"
    if getattr(error.__cause__, "errno", "") in ("ECONNRESET", "EPIPE", "ECONNABORTED"):
        return "ReadError"
    protocol = getattr(error.__cause__, "type", "") in ("RemoteDisconnected", "BadStatusLine", "LineTooLong")
    return "RemoteProtocolError" if protocol else "ConnectError"
