"""Our errors in the words of the library that asked: each is one of ours and one of the library's at once.

So code that catches ``httpx.ReadTimeout`` goes on catching it, an SDK reports it as it reports the library's own, and
what we know (limit, phase, record, recovery) is on it.

=====================================  ===============================================================
ours                                   the library's
=====================================  ===============================================================
``WatchTimeout`` ``connect``           ``ConnectTimeout``
``WatchTimeout`` ``send``              ``WriteTimeout``
``WatchTimeout``, any other limit      ``ReadTimeout``
``ConnectFailed``                      ``ProxyError`` where a proxy answered the CONNECT with no; ``ReadError`` or
                                       ``RemoteProtocolError`` where it broke off there; else ``ConnectError``,
                                       where there was no connection to a proxy too
``StreamCut``                          ``ReadError`` for a reset, else ``RemoteProtocolError``
``CircuitOpen``, ``TooManyOrphans``    ``ConnectError``: nothing was sent
``TooManyThreads``                     ``ConnectError``: nothing was sent
``RefreshFailed``                      ``ConnectError``: nothing was sent
``Cancelled``, ``ConfigError``         none: they are not the network's doing, and stay as they are
everything else                        ``RemoteProtocolError``: the answer is not what it should be
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
    """``error`` as one that the library could have raised for ``request`` as well; cancellations and mistakes in the
    settings come back as they are.
    """
    if isinstance(error, (Cancelled, ConfigError)):
        return error
    found = also(error, library.name, _name(error))
    found.request = request  # type: ignore[attr-defined]
    return found


def _name(error: LLMWatchError) -> str:
    if isinstance(error, WatchTimeout):
        return {"connect": "ConnectTimeout", "send": "WriteTimeout"}.get(error.limit, "ReadTimeout")
    if isinstance(error, ConnectFailed):
        return _proxy_name(error) if error.cause == "proxy" else "ConnectError"
    if isinstance(error, StreamCut):
        # The summary of the foreign exception has an errno where the system, not the protocol, broke it off.
        return "ReadError" if getattr(error.__cause__, "errno", "") else "RemoteProtocolError"
    return "ConnectError" if failure_of(error).row.unsent else "RemoteProtocolError"


def _proxy_name(error: ConnectFailed) -> str:
    """What httpx 0.28 and httpx2 2.16 raise."""
    if error.status is not None:
        return "ProxyError"
    if getattr(error.__cause__, "errno", "") in ("ECONNRESET", "EPIPE", "ECONNABORTED"):
        return "ReadError"
    protocol = getattr(error.__cause__, "type", "") in ("RemoteDisconnected", "BadStatusLine", "LineTooLong")
    return "RemoteProtocolError" if protocol else "ConnectError"
