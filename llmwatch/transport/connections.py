"""urllib3's connection classes, made to report to an attempt and to let its supervisor in.

A connection that works for no request context behaves as urllib3's own, but that it refuses a response whose headers
were cut. Otherwise it publishes each socket before it connects, tells the attempt when the request can be sent and when
it is, refuses to write for an attempt that is over, and gives the socket's duplicate back on every way out.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import socket
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ProxyError

from llmwatch.transport import context as contexts
from llmwatch.transport.context import RequestContext
from llmwatch.transport.peer import PeerSocket, peer_of
from llmwatch.transport.sockets import SocketHandle, close_lost_tls, open_socket
from llmwatch.watch.interfaces import Observer

if TYPE_CHECKING:
    from urllib3.response import HTTPResponse

__all__ = ["TunnelFailed", "WatchedHTTPConnection", "WatchedHTTPSConnection", "WatchedMixin"]


class _Head:
    """The file of a response while its head is read, line by line."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.ended = False
        """Whether the file ended. Behind the empty line that ends a head no other is read."""

    def readline(self, *args: Any) -> bytes:
        line: bytes = self._file.readline(*args)
        self.ended = not line
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class HeadCut(http.client.RemoteDisconnected):
    """The connection ended inside the head of the response, so there is no response. http.client takes what came of it
    for the whole.
    """


class TunnelFailed(ProxyError):
    """The proxy made no tunnel. ``proxy`` is its host and port, ``status`` what it answered to the CONNECT, ``None`` if
    it broke off, or sent what is no answer.
    """

    def __init__(self, proxy: str, error: Exception, status: int | None) -> None:
        super().__init__(f"no tunnel through {proxy}", error)
        self.proxy = proxy
        self.status = status


class FinalResponse(http.client.HTTPResponse):
    """A response that waits for the final status: http.client skips 100 only, and takes 102 or 103 for the answer.

    The real answer would then be read by the next call on the connection.
    """

    peer: PeerSocket | None = None
    """The far side, as it was known when the answer began, where the request's context asks for it."""

    final_status: int | None = None
    """The status, once its line is read: of the answer to a CONNECT nothing else is."""

    reads_promptly = False
    """Whether a read with a size returns what is there, as ``read1`` does, and does not wait until it has all of it."""

    def read(self, amt: int | None = None) -> bytes:
        if not self.reads_promptly or amt is None or amt <= 0:
            return super().read(amt)
        data = self.read1(amt)
        if self.fp is not None and (not data or self.length == 0):
            # As the other read does it, and read1 not in every version of Python.
            self._close_conn()  # type: ignore[attr-defined]
        return data

    def begin(self) -> None:
        file: Any = self.fp
        head: Any = _Head(file)
        self.fp = head
        try:
            super().begin()
        finally:
            if self.fp is head:
                self.fp = file
        if head.ended:
            raise HeadCut("The connection ended inside the response's headers.")

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 101 < status < 200:
                self.final_status = status
                return version, status, reason
            http.client.parse_headers(self.fp)


def has_leftovers(sock: Any) -> bool:
    """Whether TLS holds bytes that nobody has read: they came behind the response, and no look at the kernel shows
    them.
    """
    tls = getattr(sock, "sslobj", sock)  # TLS in TLS keeps its engine there
    pending = getattr(tls, "pending", None)
    try:
        return bool(pending and pending())
    except (OSError, ValueError):
        return True


_WRITE_SIZE = 64 * 1024
_END = object()


def _has_maker(body: object) -> bool:
    """Whether the body is made while it is sent: a file, a pipe, a generator."""
    return hasattr(body, "read") or isinstance(body, Iterator)


def _taken(body: Any, observer: Observer, size: int) -> Iterator[Any]:
    """The pieces of ``body`` as urllib3 would take them. While its maker takes time over one, no limit runs."""
    read = getattr(body, "read", None)
    take = functools.partial(next, iter(body), _END) if read is None else functools.partial(read, size)
    while True:
        observer.pause()
        try:
            piece = take()
        finally:
            observer.unpause()
        if piece is _END or (read is not None and not piece):
            return
        yield piece


def _retargeted(url: str, target: str) -> str:
    """``target`` for the first line of a request to ``url``, which is a whole one where it goes to a proxy."""
    scheme, separator, rest = url.partition("://")
    if url.startswith("/") or not separator or not target.startswith("/"):
        return target
    return f"{scheme}://{rest.partition('/')[0]}{target}"


class WatchedMixin(HTTPConnection):
    """What the two connection classes add to urllib3's."""

    response_class = FinalResponse
    discarded = False
    """The attempt that used it last has failed: it is closed instead of being used again."""
    context: RequestContext | None = None
    handle: SocketHandle | None = None
    idle_since: float | None = None
    """When the connection last went back to its pool, on the watch's clock."""
    is_returning = False
    """The answer is complete and only the end of its body is to be read, after which the connection is back in its
    pool.
    """
    _answering = False
    _requesting = False

    def engage(self, context: RequestContext, *, idle: float | None) -> None:
        """The connection left the pool for ``context``; if it is open, its attempt owns the socket from here on."""
        self.context = context
        context.connections.append(self)
        if self.sock is not None:
            self._expect_proper_end()
            self.handle = SocketHandle(self.sock)
            context.observer.adopt(self.handle, reused=True, idle=idle)

    def disengage(self) -> bool:
        """The attempt's ownership ends, the duplicate is closed. ``False``: the connection must not be used again."""
        context, handle = self.context, self.handle
        self.context = self.handle = None
        return context is None or handle is None or context.observer.disown(handle)

    def _new_conn(self) -> socket.socket:
        context = self.context or contexts.current()
        if context is None:
            return super()._new_conn()
        self.context = context
        sock, self.handle = open_socket(self, context)
        return sock

    def connect(self) -> None:
        try:
            super().connect()
        except BaseException as error:
            close_lost_tls(error)
            raise
        if self.handle is not None:
            self.handle.owner = self.sock
            self._expect_proper_end()
        if self.context is not None:
            self.context.observer.check()

    def _tunnel(self) -> None:
        if self.context is None or not self.context.own:
            super()._tunnel()
            return
        answers: list[FinalResponse] = []

        def answer(*args: Any, **kwargs: Any) -> FinalResponse:
            answers.append(FinalResponse(*args, **kwargs))
            return answers[-1]

        self.response_class = answer  # type: ignore[assignment]
        try:
            super()._tunnel()
        except TimeoutError:
            raise
        except (OSError, http.client.HTTPException) as error:
            status = answers[-1].final_status if answers else None
            raise TunnelFailed(f"{self.host}:{self.port}", error, None if status == 200 else status) from error
        finally:
            del self.response_class

    def _expect_proper_end(self) -> None:
        # A TLS connection that ends without saying so was cut. Only an unframed body could tell no difference.
        if self.context is not None and hasattr(self.sock, "suppress_ragged_eofs"):
            self.sock.suppress_ragged_eofs = self.context.lenient

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        context = self.context or contexts.current()
        if context is None:
            super().request(method, url, *args, **kwargs)
            return
        if self.sock is None:
            self.connect()
        context.observer.connected()
        if context.own:
            # urllib3 leaves the connect time-out on the socket while it writes.
            self.timeout = context.send_backstop
        if context.own and _has_maker(kwargs.get("body")):
            kwargs["body"] = _taken(kwargs["body"], context.observer, self.blocksize)
        if context.overrides.target is not None:
            url = _retargeted(url, context.overrides.target)
        self._requesting = True
        try:
            super().request(method, url, *args, **kwargs)
        except BaseException:
            self._forget_unsent()
            raise
        finally:
            self._requesting = False
        context.observer.sent()

    def _forget_unsent(self) -> None:
        """The request will not be completed: the kernel must not go on sending what it has of it."""
        sock: Any = getattr(self.sock, "socket", self.sock)
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def send(self, data: Any) -> None:
        if not self._requesting or self.context is None:
            super().send(data)
        elif isinstance(data, (bytes, bytearray, memoryview)):
            view = memoryview(data).cast("B")
            # Of a large body it is told how far it has come.
            for start in range(0, len(view), _WRITE_SIZE):
                piece = view[start : start + _WRITE_SIZE]
                self.context.observer.sending(len(piece))
                super().send(piece)
        else:
            self.context.observer.sending(0)
            super().send(data)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        # A body that ends with the connection is read after http.client has closed the connection object: the socket
        # lives on in the response.
        self._answering = True
        try:
            response = super().getresponse()
        except HeadCut:
            if self.context is not None:
                self.context.observer.answering()
            raise
        finally:
            self._answering = False
        if self.context is not None and self.context.shows_peer:
            original: Any = response._original_response
            original.peer = peer_of(getattr(getattr(original.fp, "raw", None), "_sock", None))
        if response.status < 200:
            # Switched to another protocol: no HTTP connection any more.
            self.discarded = True
        return response

    def close(self) -> None:
        if not self._answering:
            # While a duplicate is open no FIN goes out.
            self.disengage()
            self.discarded = False
        super().close()


class WatchedHTTPConnection(WatchedMixin, HTTPConnection):
    """An HTTP connection that can be aborted in every phase."""


class WatchedHTTPSConnection(WatchedMixin, HTTPSConnection):
    """An HTTPS connection that can be aborted in every phase, the handshakes included."""
