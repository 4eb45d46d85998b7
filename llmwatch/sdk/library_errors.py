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

from llmwatch.errors import (
    Cancelled,
    CircuitOpen,
    ConfigError,
    ConnectFailed,
    LLMWatchError,
    RefreshFailed,
    StreamCut,
    TooManyOrphans,
    TooManyThreads,
    WatchTimeout,
)
from llmwatch.sdk.libraries import Library

__all__ = ["also", "copy_of", "in_library"]

_REQUEST = "_request"


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
    if isinstance(error, (CircuitOpen, TooManyOrphans, TooManyThreads, RefreshFailed)):
        return "ConnectError"
    return "RemoteProtocolError"


def _proxy_name(error: ConnectFailed) -> str:
    """What httpx 0.28 and httpx2 2.16 raise."""
    if error.status is not None:
        return "ProxyError"
    if getattr(error.__cause__, "errno", "") in ("ECONNRESET", "EPIPE", "ECONNABORTED"):
        return "ReadError"
    protocol = getattr(error.__cause__, "type", "") in ("RemoteDisconnected", "BadStatusLine", "LineTooLong")
    return "RemoteProtocolError" if protocol else "ConnectError"


def also(error: LLMWatchError, module: str, name: str) -> LLMWatchError:
    """``error`` as an instance of its own class and of the exception ``name`` of ``module`` at once, with the same
    cause.
    """
    found = _fill(_combined(type(error), module, name), error.message, dict(error.__dict__))
    found.__cause__ = error.__cause__
    found.__suppress_context__ = True
    return found


def copy_of(error: LLMWatchError) -> LLMWatchError:
    """``error`` without its traceback, and so without the frames that it was raised in."""
    found = _fill(type(error), error.message, dict(error.__dict__))
    found.__cause__ = error.__cause__
    found.__suppress_context__ = True
    return found


def _fill(kind: type[LLMWatchError], message: str, state: dict[str, Any]) -> LLMWatchError:
    # Not through __init__: the two sides take different arguments.
    error = kind.__new__(kind, message)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class _Combined:
    """Pickles as what is ours and the name of what is not. The request stays behind: it holds the credentials."""

    _parts: tuple[type[LLMWatchError], str, str]

    def __reduce__(self) -> tuple[Any, ...]:
        assert isinstance(self, LLMWatchError)
        state = {name: value for name, value in self.__dict__.items() if name != _REQUEST}
        return _rebuild, (*self._parts, self.message, state)


def _rebuild(ours: type[LLMWatchError], module: str, name: str, message: str, state: dict[str, Any]) -> LLMWatchError:
    try:
        kind = _combined(ours, module, name)
    except (ImportError, AttributeError):
        # Read where the library is not installed.
        return _fill(ours, message, state)
    return _fill(kind, message, {_REQUEST: None, **state})


_classes: dict[tuple[type[LLMWatchError], str, str], type[LLMWatchError]] = {}


def _combined(ours: type[LLMWatchError], module: str, name: str) -> type[LLMWatchError]:
    """The class that is both; made once, since two of them would not catch each other."""
    parts = (ours, module, name)
    found = _classes.get(parts)
    if found is not None:
        return found
    members = {
        # Tracebacks and logs are to name the class that a user finds in the documentation.
        "__module__": ours.__module__,
        "__qualname__": ours.__qualname__,
        "__doc__": f":class:`llmwatch.{ours.__name__}` that is a ``{module}.{name}`` too.",
        "_parts": parts,
    }
    made = type(ours.__name__, (_Combined, ours, Library(module).get(name)), members)
    # Another thread may have been faster.
    return _classes.setdefault(parts, made)
