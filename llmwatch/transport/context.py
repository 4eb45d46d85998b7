"""What the connections of this thread are working for.

requests and urllib3 pass nothing of ours down to the place where a socket is made, so the attempt waits here, in the
worker's own thread, for the connection classes to find it. Another thread that uses the same pool finds nothing, and
gets plain urllib3.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import requests

from llmwatch.at_fork import renew_in_child
from llmwatch.redaction.sent import Asked
from llmwatch.transport.redirects import Trail
from llmwatch.transport.retries import AdapterRetries
from llmwatch.watch.interfaces import Observer

__all__ = ["Overrides", "RequestContext", "current", "note", "running"]

_local = threading.local()


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What a request says of its connection and its first line, against its URL."""

    server_hostname: str | None = None
    """The name that TLS asks for, and that the server's certificate must have."""
    target: str | None = None
    """What stands in the first line in place of path and query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext:
    """One attempt's business with the network. Times in seconds, ``None`` for none.

    ``keepalive``: a pooled socket that lay idle for longer is not used again. The backstops are socket time-outs: no
    limits, but what frees a thread should the supervisor ever fail.
    """

    observer: Observer
    keepalive: float
    connect_backstop: float | None
    send_backstop: float | None
    read_backstop: float | None
    own: bool = True
    """Whether llmwatch sends the request. Those of a wrapped function keep the time-outs and retries of their maker."""
    lenient: bool = False
    """Whether a TLS connection may end without saying so, as requests has it. An answer of a model must not."""
    overrides: Overrides = field(default_factory=Overrides)
    """Not for a request that ``on_retry`` sends elsewhere."""
    trail: Trail = field(default_factory=Trail)
    """The redirects that the call has followed so far."""
    asked: list[Asked] = field(default_factory=list, repr=False)
    """URL and headers of every request, before it is sent, and the URLs of proxies."""
    connections: list[Any] = field(default_factory=list)
    """Every connection that was taken for it."""
    responses: list[requests.Response] = field(default_factory=list)
    """Every response that came, the last one being the answer; the others belong to redirects and hooks."""
    shows_peer: bool = False
    """Whether the response is handed to a program that may look for the far side of its connection."""
    bounded: list[requests.Response] = field(default_factory=list)
    """Those that a hook was to read within bounds."""

    max_body: int | None = None
    """Decoded bytes of a body that a response hook may read; ``None``: no hook runs in here."""
    max_error_body: int = 0
    """The same for the body of an error or a redirect, which is cut there."""
    adapter_retries: AdapterRetries | None = None
    """Takes what an adapter was to do about a failure: an attempt is one request."""

    @property
    def proxy(self) -> str | None:
        """Host and port of the proxy that took the last request as a server does, without a tunnel; ``None`` if none
        did.
        """
        last = self.connections[-1] if self.connections else None
        if last is None or not getattr(last, "proxy_is_forwarding", False):
            return None
        return f"{last.proxy.host}:{last.proxy.port}"

    def discard(self) -> None:
        """The attempt has failed: what it used is not used again, although it may be back in its pool by now."""
        for connection in self.connections:
            connection.discarded = True


# In a forked child the request context of the thread that forked is the parent's.
renew_in_child(globals(), "_local", threading.local)


def current() -> RequestContext | None:
    """The request context of this thread, if it has one."""
    return getattr(_local, "context", None)


def note(url: str | None, headers: Mapping[str, Any] = MappingProxyType({})) -> None:
    """A request is about to be sent, or a proxy about to be used, for the request context of this thread."""
    context = current()
    if context is not None:
        context.asked.append((url or "", headers))


@contextmanager
def running(context: RequestContext) -> Iterator[None]:
    """This thread works for ``context`` until the block ends."""
    before = current()
    _local.context = context
    try:
        yield
    finally:
        _local.context = before
