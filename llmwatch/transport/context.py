"""The request context of a thread: the attempt that its connections work for.

requests and urllib3 pass none of our arguments down to the place where a socket is made. So the context waits here, in
the worker's own thread, for the connection classes to find it. Another thread that uses the same pool finds none, and
gets plain urllib3.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import requests

from llmwatch.at_fork import renew_in_child
from llmwatch.redaction.sent import Asked
from llmwatch.transport.header_lines import HeaderLines
from llmwatch.transport.redirects import Trail
from llmwatch.transport.retries import AdapterRetries
from llmwatch.watch.interfaces import Observer

__all__ = ["Overrides", "RequestContext", "current", "note", "running"]

_local = threading.local()


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """A request's settings for its connection and its first line, in place of its URL's parts."""

    server_hostname: str | None = None
    """The name that TLS asks for, and that the server's certificate must have."""
    target: str | None = None
    """The target in the first line, in place of path and query."""
    header_lines: HeaderLines | None = None
    """Names and values of the headers as the library would write them, those of one name apart.
    A header that other code adds on the way is left out if the request has one of that name.
    """
    takes_head: Callable[[bytes], bool] | None = None
    """Whether the library would take the head of an answer; ``None``: it is not asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext:
    """One attempt's request. Times in seconds, ``None`` for none.
    ``keepalive``: a pooled socket that lay idle for longer is not used again. The backstops are socket time-outs, not
    limits: they free a thread if the supervisor should ever fail.
    """

    observer: Observer
    keepalive: float
    connect_backstop: float | None
    send_backstop: float | None
    read_backstop: float | None
    own: bool = True
    """Whether llmwatch sends the request.
    A wrapped function's requests keep their own time-outs and retries.
    """
    lenient: bool = False
    """Whether TLS may end without a closing message, as requests allows. A model's answer must not."""
    overrides: Overrides = field(default_factory=Overrides)
    """Not for a request that ``on_retry`` sends elsewhere."""
    trail: Trail = field(default_factory=Trail)
    """The redirects that the call has followed so far."""
    asked: list[Asked] = field(default_factory=list, repr=False)
    """URL and headers of every request, noted before it is sent, and the URLs of proxies."""
    connections: list[Any] = field(default_factory=list)
    """Every connection that was taken for the request."""
    responses: list[requests.Response] = field(default_factory=list)
    """Every response. The last is the answer; the others belong to redirects and hooks."""
    shows_peer: bool = False
    """Whether a program gets the response and may look for the far side of its connection."""
    bounded: list[requests.Response] = field(default_factory=list)
    """The responses that a hook was to read within bounds."""

    max_body: int | None = None
    """Decoded bytes of a body that a response hook may read; ``None``: no hook runs here."""
    max_error_body: int = 0
    """The same for the body of an error or a redirect, which is cut there."""
    adapter_retries: AdapterRetries | None = None
    """Takes the adapter's instructions about a failure: an attempt is one request."""

    @property
    def proxy(self) -> str | None:
        """Host and port of the proxy that received the last request without a tunnel; ``None`` if none did."""
        last = self.connections[-1] if self.connections else None
        if last is None or not getattr(last, "proxy_is_forwarding", False):
            return None
        return f"{last.proxy.host}:{last.proxy.port}"

    def discard(self) -> None:
        """The attempt has failed: its connections are not used again, even if they are back in a pool."""
        for connection in self.connections:
            connection.discarded = True


# In a forked child the forking thread's request context is the parent's.
renew_in_child(globals(), "_local", threading.local)


def current() -> RequestContext | None:
    """The request context of this thread; ``None`` if it has none."""
    return getattr(_local, "context", None)


def note(url: str | None, headers: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Note a request or a proxy in this thread's request context, before it is used."""
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
