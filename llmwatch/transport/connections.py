"""urllib3's connection classes, which report to an attempt and whose sockets can be shut down.

A connection without a request context behaves as urllib3's own, except that it refuses a response whose headers were
cut. With a request context it publishes each socket before it connects, tells the attempt when the request can be sent
and when it is sent, refuses to write for an attempt that is over, and gives the socket's duplicate back on every way
out.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import http.client
import socket
import ssl
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ProxyError

from llmwatch.transport import context as contexts
from llmwatch.transport.context import RequestContext
from llmwatch.transport.header_lines import HeaderWriter
from llmwatch.transport.peer import PeerSocket, peer_of
from llmwatch.transport.sockets import SocketHandle, close_lost_tls, open_socket
from llmwatch.watch.interfaces import Observer

if TYPE_CHECKING:
    from urllib3.response import HTTPResponse

__all__ = [
    "BadChunkSize",
    "BadHead",
    "HeadCut",
    "OtherProtocol",
    "TunnelFailed",
    "WatchedHTTPConnection",
    "WatchedHTTPSConnection",
    "WatchedMixin",
]


_PIECE = 32 * 1024
_EMPTY = (b"\r\n", b"\n")
_VERSION = b"HTTP/"


class _Head:
    """The file of a response while its head is read.

    http.client refuses the 101st header, and a line above 64 KiB. Other clients take both, so it gets the headers in
    pieces of one to two ``_PIECE``, which it joins, and then the empty line. It takes 100 pieces at most.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._last: bytes | None = None  # the empty line, or nothing at the end of the file, once it is read
        self._begins = True  # the next byte is the first of a line
        self.in_headers = False
        """Whether the next line is a header. The line of the status is read as it is."""
        self.ended = False
        """Whether the file ended inside the head. No line is read behind the empty line that ends a head."""
        self.came = bytearray()
        """What was read of the head."""

    def readline(self, limit: int = -1) -> bytes:
        if self.in_headers:
            return self._headers()
        line: bytes = self._file.readline(limit)
        self.came += line
        # What cannot become a status line is no part of one.
        self.ended = not line or (not line.endswith(b"\n") and _VERSION.startswith(line[: len(_VERSION)]))
        return line

    def _headers(self) -> bytes:
        """The next piece of the headers; at their end the empty line."""
        piece = bytearray()
        while self._last is None and len(piece) < _PIECE:
            line: bytes = self._file.readline(_PIECE)
            self.came += line
            if not line or (self._begins and line in _EMPTY):
                self._last = line
            else:
                piece += line
                self._begins = line.endswith(b"\n")
        if piece:
            return bytes(piece)
        line, self._last, self.in_headers = self._last or b"", None, False
        self.ended = not line
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class HeadCut(http.client.RemoteDisconnected):
    """The connection ended inside the head of the response. http.client takes the part for the whole."""


class BadHead(http.client.HTTPException):
    """The head of the response is none that the library which asked would take."""


class BadChunkSize(http.client.HTTPException):
    """The size of a chunk is no size. http.client cannot tell this from the end of the connection."""


class TunnelFailed(ProxyError):
    """The proxy made no tunnel.
    ``proxy`` is its host and port. ``status`` is its answer to the CONNECT, ``None`` if the proxy broke off or sent no
    HTTP.
    """

    def __init__(self, proxy: str, error: Exception, status: int | None) -> None:
        super().__init__(f"no tunnel through {proxy}", error)
        self.proxy = proxy
        self.status = status


class OtherProtocol(ssl.SSLError):
    """TLS agreed on another protocol than HTTP/1.1, which other code offered through the shared context."""


class FinalResponse(http.client.HTTPResponse):
    """A response that waits for the final status.
    http.client skips 100 only, and takes 102 or 103 for the answer. The next call on the connection would then read the
    real answer.
    """

    peer: PeerSocket | None = None
    """The far side, as it was known when the answer began, where the request's context asks for it."""

    final_status: int | None = None
    """The status, once its line is read. Of the answer to a CONNECT only this is read."""

    reads_promptly = False
    """Whether a read with a size returns what is there, as ``read1`` does, without waiting for more."""

    def read(self, amt: int | None = None) -> bytes:
        if not self.reads_promptly or amt is None or amt <= 0:
            return super().read(amt)
        data = self.read1(amt)
        if self.fp is not None and (not data or self.length == 0):
            # As the other read does; read1 does not in every version of Python.
            self._close_conn()  # type: ignore[attr-defined]
        return data

    def begin(self) -> None:
        file: Any = self.fp
        head: Any = _Head(file)
        self.fp = head
        try:
            super().begin()
        except http.client.RemoteDisconnected:
            raise
        except http.client.BadStatusLine:
            if not head.ended:
                raise
        finally:
            if self.fp is head:
                self.fp = file
        if head.ended:
            raise HeadCut("The connection ended inside the response's headers.")
        context = contexts.current()
        takes_head = None if context is None else context.overrides.takes_head
        if takes_head is not None and not takes_head(bytes(head.came)):
            raise BadHead("The library refuses the headers of the response.")

    def _read_next_chunk_size(self) -> int:
        file: Any = self.fp
        ended = not file.peek(1)
        try:
            size: int = super()._read_next_chunk_size()  # type: ignore[misc]
        except ValueError as error:
            if ended:
                raise
            raise BadChunkSize("The size of a chunk is not a number.") from error
        if size < 0:
            self._close_conn()  # type: ignore[attr-defined]
            raise BadChunkSize("The size of a chunk is negative.")
        return size

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if isinstance(self.fp, _Head):
                self.fp.in_headers = True
            if not 101 < status < 200:
                self.final_status = status
                return version, status, reason
            http.client.parse_headers(self.fp)


def has_leftovers(sock: Any) -> bool:
    """Whether TLS holds unread bytes. They came behind the response, and the kernel does not show them."""
    tls = getattr(sock, "sslobj", sock)  # the engine of TLS in TLS
    pending = getattr(tls, "pending", None)
    try:
        return bool(pending and pending())
    except (OSError, ValueError):
        return True


_WRITE_SIZE = 64 * 1024
_END = object()


def _has_maker(body: object) -> bool:
    """Whether the body is produced while it is sent: a file, a pipe, a generator."""
    return hasattr(body, "read") or isinstance(body, Iterator)


def _taken(body: Any, observer: Observer, size: int) -> Iterator[Any]:
    """The pieces of ``body`` as urllib3 would take them. No limit runs while the body produces a piece."""
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
    """``target`` for the first line of a request to ``url``: a whole URL if it goes to a proxy."""
    scheme, separator, rest = url.partition("://")
    if url.startswith("/") or not separator or not target.startswith("/"):
        return target
    return f"{scheme}://{rest.partition('/')[0]}{target}"


class WatchedMixin(HTTPConnection):
    """The additions of both connection classes to urllib3's."""

    response_class = FinalResponse
    discarded = False
    """The attempt that used the connection last has failed: it is closed and not used again."""
    context: RequestContext | None = None
    handle: SocketHandle | None = None
    idle_since: float | None = None
    """When the connection last went back to its pool, on the watch's clock."""
    is_returning = False
    """The answer is complete. The connection is back in its pool once the end of the body is read."""
    _answering = False
    _requesting = False

    def engage(self, context: RequestContext, *, idle: float | None) -> None:
        """The connection left the pool for ``context``.
        If it is open, its attempt owns the socket from now on.
        """
        self.context = context
        context.connections.append(self)
        if self.sock is not None:
            self._expect_proper_end()
            self.handle = SocketHandle(self.sock)
            context.observer.adopt(self.handle, reused=True, idle=idle)

    def disengage(self) -> bool:
        """End the attempt's ownership and close the duplicate. ``False``: do not use the connection again."""
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
            agreed = getattr(self.sock, "selected_alpn_protocol", None)
            if agreed is not None and agreed() not in (None, "http/1.1"):
                raise OtherProtocol(f"{agreed()} was agreed on, and HTTP/1.1 offered")

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
        # A TLS connection that ends without a closing message was cut. An unframed body could not tell the difference.
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
        lines = context.overrides.header_lines
        if lines is not None:
            headers = kwargs.get("headers") or {}
            self.putheader = HeaderWriter(super().putheader, headers, lines)  # type: ignore[method-assign]
        self._requesting = True
        try:
            super().request(method, url, *args, **kwargs)
        except ssl.SSLEOFError as error:
            self._forget_unsent()
            # The server has ended the connection, and perhaps said why: urllib3 reads on after this error alone.
            raise BrokenPipeError(errno.EPIPE, "the server closed the TLS connection") from error
        except BaseException:
            self._forget_unsent()
            raise
        finally:
            self._requesting = False
            vars(self).pop("putheader", None)
        context.observer.sent()

    def _forget_unsent(self) -> None:
        """The request will not be completed: the kernel must not go on sending its part."""
        sock: Any = getattr(self.sock, "socket", self.sock)
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def send(self, data: Any) -> None:
        if not self._requesting or self.context is None:
            super().send(data)
        elif isinstance(data, (bytes, bytearray, memoryview)):
            view = memoryview(data).cast("B")
            # A large body reports its progress.
            for start in range(0, len(view), _WRITE_SIZE):
                piece = view[start : start + _WRITE_SIZE]
                self.context.observer.sending(len(piece))
                super().send(piece)
        else:
            self.context.observer.sending(0)
            super().send(data)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        # http.client closes the connection object before it reads a body that ends with the connection. The socket
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
            # The connection switched to another protocol, and serves HTTP no longer.
            self.discarded = True
        return response

    def close(self) -> None:
        if not self._answering:
            # No FIN goes out while a duplicate is open.
            self.disengage()
            self.discarded = False
        super().close()


class WatchedHTTPConnection(WatchedMixin, HTTPConnection):
    """An HTTP connection that can be aborted in every phase."""


class WatchedHTTPSConnection(WatchedMixin, HTTPSConnection):
    """An HTTPS connection that can be aborted in every phase, the handshakes included."""
