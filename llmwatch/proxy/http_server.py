"""The proxy's HTTP server: cheroot's, with a thread a connection, and stricter.

cheroot 11.1.2 was chosen by measuring (CPython 3.11, Linux 6.18, two cores, loopback), beside three others:

=====================  ==============  =================  ==============  ===========================
what was looked at     cheroot 11.1.2  waitress 3.0.2     werkzeug 3.1.9  wsgiref with ThreadingMixIn
=====================  ==============  =================  ==============  ===========================
a piece of 22 bytes    0.14 ms         0.15 ms            0.10 ms         0.08 ms
(median)
next request on the    yes             no, for a          no, for any     no: HTTP/1.0
same connection                        streamed answer
an upload of 100 MB    as it comes     stored whole first as it comes     as it comes
=====================  ==============  =================  ==============  ===========================

How each holds hundreds of streams was not measured to an end. cheroot has documented places for what a proxy adds: a
pool of threads of one's own (:mod:`llmwatch.proxy.connection_threads`), a header reader and a request class. Here these
refuse a request whose end two readers could see in different places, whatever the server itself would do, and write
the upstream's own headers, without the ``Date`` and ``Server`` that cheroot adds.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import ssl
import struct
import threading
from collections.abc import Sequence
from typing import Any

from cheroot.makefile import MakeFile
from cheroot.server import Gateway, HTTPConnection, HTTPRequest, HTTPServer

from llmwatch.engine.settings import checked_settings
from llmwatch.errors import ConfigError
from llmwatch.proxy.admission import Admission
from llmwatch.proxy.client_watcher import ClientWatcher
from llmwatch.proxy.connection_threads import MOST_CONNECTIONS, ConnectionThreads
from llmwatch.proxy.relaying import Asked, ClientGone, Relay
from llmwatch.proxy.request_bodies import Incoming
from llmwatch.proxy.routes import Routes
from llmwatch.records import Sink
from llmwatch.transport.header_lines import HeaderLines
from llmwatch.watch.cancel import CancelToken
from llmwatch.watch.clock import SYSTEM

__all__ = ["ProxyServer"]

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_DIGITS = re.compile(rb"[0-9]{1,15}")
_BACKLOG = 1024
_LARGEST_HEAD = 256 * 1024
_SECONDS = 75
"""Seconds for the next part of a request, and that an idle connection is kept."""
_STOPPING = 5
_NO_BODY = (204, 304)
_LINGER_SECONDS = 1.0
"""Seconds in all that the rest of a refused request is read."""


class ProxyServer:
    """A proxy that relays to ``routes``, between ``start`` and ``stop``.

    It listens on ``host`` and ``port`` (0 takes a free one). On another address than one of loopback it needs a
    ``token`` and ``tls``. ``sinks`` get the record of each call. Limits, retries and logs are those of the environment,
    read at every call. Raises :class:`~llmwatch.ConfigError` for an address without token or TLS, and
    :class:`OSError` for a port in use.
    """

    def __init__(
        self,
        routes: Routes,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
        sinks: Sequence[Sink] = (),
    ) -> None:
        loopback = _is_loopback(host)
        if not loopback and (not token or tls is None):
            raise ConfigError(
                f"On {host} others could use this proxy and read what passes: give a token (--token) and a certificate"
                " (--tls-cert), or listen on 127.0.0.1.",
                field="listen",
                value=host,
            )
        if token is not None and not (token.isascii() and token.isprintable() and token.strip() == token != ""):
            raise ConfigError("A token is printable ASCII text without blanks at its ends.", field="token")
        self.routes = routes
        self._server = _Server((host, port), self)
        self._server.ssl_adapter = None if tls is None else _Tls(tls)
        self._scheme = "http" if tls is None else "https"
        self._token = token
        self._loopback = loopback
        self._settings = checked_settings(sinks=sinks)
        self._watcher = ClientWatcher()
        self._tls = tls is not None
        # Protects the tokens of the calls in progress, and whether the server is stopping. A leaf.
        self._lock = threading.Lock()
        self._calls: set[CancelToken] = set()
        self._stopping = False

    @property
    def port(self) -> int:
        """The port, once started."""
        return int(self._server.bind_addr[1])

    @property
    def url(self) -> str:
        """The URL below which the routes are, without a trailing slash."""
        host = str(self._server.bind_addr[0])
        return f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    def start(self) -> None:
        """Listen, and serve in threads of the server's own."""
        self._server.prepare()
        admission = Admission(
            port=self.port,
            loopback=self._loopback,
            default_port=443 if self._tls else 80,
            token=self._token,
        )
        self._relay = Relay(self.routes, admission, self._settings)
        self._watcher.start()
        self._thread = threading.Thread(target=self._server.serve, name="llmwatch-proxy", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End every call, close every connection and wait for the threads."""
        with self._lock:
            self._stopping = True
            calls = list(self._calls)
        for call in calls:
            call.cancel()
        self._server.stop()
        self._thread.join()
        self._watcher.stop()
        self._relay.close()

    def __enter__(self) -> ProxyServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def respond(self, asked: Asked, client: _Client) -> None:
        """Serve one request, in the thread of its connection."""
        cancel = CancelToken()
        with self._lock:
            self._calls.add(cancel)
            if self._stopping:
                cancel.cancel()

        def gone() -> None:
            client.gone = True
            cancel.cancel()

        try:
            with self._watcher.watching(client.socket, gone, tls=self._tls):
                self._relay.serve(asked, client, cancel)
        finally:
            with self._lock:
                self._calls.discard(cancel)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Tls:
    """What cheroot asks of an adapter for TLS. The handshake is made in the connection's own thread.
    cheroot's own adapter makes it in the thread that accepts, so one client could keep all others waiting.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context

    def bind(self, sock: socket.socket) -> socket.socket:
        return sock

    def wrap(self, sock: socket.socket) -> tuple[ssl.SSLSocket, dict[str, str]]:
        return self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False), {}

    def makefile(self, sock: socket.socket, mode: str = "r", bufsize: int = -1) -> Any:
        return MakeFile(sock, mode, bufsize)


class _Request(HTTPRequest):
    """A request, read strictly."""

    lines: HeaderLines = ()

    def header_reader(self, file: Any, fields: dict[bytes, bytes]) -> dict[bytes, bytes]:
        """Read the headers into ``lines``, and those that cheroot looks at into ``fields``.
        Raises ``ValueError``, which cheroot answers with 400, for a request that two readers could read differently.
        """
        lines: list[tuple[str, str]] = []
        counted: dict[bytes, int] = {}
        while (line := file.readline()) != b"\r\n":
            name, colon, value = line.partition(b":")
            value = value[:-2].strip(b" \t")
            if not line.endswith(b"\r\n") or not colon or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
                raise ValueError("A line of the headers cannot be read.")
            lines.append((name.decode("ascii"), value.decode("latin-1")))
            key = name.title()
            counted[key] = counted.get(key, 0) + 1
            fields[key] = value
        length, encoding = fields.get(b"Content-Length"), fields.get(b"Transfer-Encoding")
        for key in (b"Content-Length", b"Transfer-Encoding", b"Host"):
            if counted.get(key, 0) > 1:
                raise ValueError(f"The header {key.decode()} stands twice.")
        if length is not None and not _DIGITS.fullmatch(length):
            raise ValueError("The Content-Length is not a number.")
        if encoding is not None and length is not None:
            raise ValueError("A request has a length or chunks, not both.")
        if encoding is not None and (encoding.lower() != b"chunked" or self.response_protocol != "HTTP/1.1"):
            raise ValueError("Only the transfer encoding chunked is known, and only in HTTP/1.1.")
        wanted = fields.get(b"Connection", b"").lower()
        if self.response_protocol == "HTTP/1.1":
            fields[b"Connection"] = b"close" if b"close" in wanted.replace(b" ", b"").split(b",") else b""
        else:
            fields[b"Connection"] = b"Keep-Alive" if b"keep-alive" in wanted else b"close"
        fields[b"Expect"] = fields.get(b"Expect", b"").lower()
        self.lines = tuple(lines)
        return fields

    def respond(self) -> None:
        """Have the proxy relay the request."""
        length = None if self.chunked_read else int(self.inheaders.get(b"Content-Length") or 0)
        body = Incoming(self.conn.rfile, length)
        client = _Client(self)
        asked = Asked(
            method=self.method.decode("latin-1"),
            target=self.uri.decode("latin-1"),
            headers=self.lines,
            body=body,
        )
        try:
            self.server.proxy.respond(asked, client)
        except ClientGone:
            self.close_connection = True
        finally:
            # Before the first byte too: cheroot would answer an exception with a document of its own.
            self.sent_headers = True
            if not body.ended:
                self.close_connection = True
                if not client.gone:
                    _take_rest(self.conn.socket)


def _take_rest(sock: socket.socket) -> None:
    """Read what the client still sends: a close with bytes unread would take the answer away from it."""
    with contextlib.suppress(OSError):
        # Not those of a TLS socket: it would forget its state.
        socket.socket.shutdown(sock, socket.SHUT_WR)
        until = SYSTEM.now() + _LINGER_SECONDS
        while (left := until - SYSTEM.now()) > 0:
            sock.settimeout(left)
            if not socket.socket.recv(sock, 65536):
                return


class _Client:
    """The client of one request."""

    def __init__(self, request: _Request) -> None:
        self._request = request
        self.socket: socket.socket = request.conn.socket
        self.gone = False
        self._chunked = False
        self._left: int | None = None

    def close_after(self) -> None:
        self._request.close_connection = True

    def begin(self, status: int, reason: str, headers: Sequence[tuple[str, str]]) -> None:
        request = self._request
        modern = request.response_protocol == "HTTP/1.1"
        lengths = [value for name, value in headers if name.lower() == "content-length"]
        bodiless = request.method == b"HEAD" or status in _NO_BODY
        head = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers)]
        if bodiless:
            self._left = 0
        elif lengths and lengths[0].isdigit():
            self._left = int(lengths[0])
        elif modern:
            self._chunked = True
            head.append("Transfer-Encoding: chunked")
        else:
            request.close_connection = True
        if request.close_connection:
            head.append("Connection: close")
        elif not modern:
            head.append("Connection: keep-alive")
        # The client may read as slowly as it likes, as it may from the upstream.
        self.socket.settimeout(None)
        request.sent_headers = True
        self._send("\r\n".join((*head, "", "")).encode("latin-1", "replace"))

    def write(self, data: bytes) -> None:
        if self._chunked:
            if data:
                self._send(b"%x\r\n%b\r\n" % (len(data), data))
            return
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        if data:
            self._send(data)

    def end(self) -> None:
        if self._chunked:
            self._send(b"0\r\n\r\n")
        elif self._left:
            # Fewer bytes than were announced: the client is to see it.
            self._request.close_connection = True
        self.socket.settimeout(_SECONDS)

    def cut(self, last: bytes = b"") -> None:
        self._request.close_connection = True
        with contextlib.suppress(ClientGone):
            self.write(last)
        if not self._chunked and self._left is None:
            # Without a length and without chunks the end of the connection is that of the body; a reset is not.
            self._request.conn.resets = True

    def _send(self, data: bytes) -> None:
        try:
            self.socket.sendall(data)
        except OSError:
            self.gone = True
            raise ClientGone from None


class _Connection(HTTPConnection):
    RequestHandlerClass = _Request
    rbufsize = 65536
    resets = False
    """The connection ends by a reset, and not in good order."""

    def close(self) -> None:
        """Close the socket."""
        if not self.resets:
            super().close()
            return
        # cheroot would shut it down first, and so end it in good order.
        self.rfile.close()
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.socket.close()


class _Server(HTTPServer):
    """cheroot's server, for a proxy."""

    ConnectionClass = _Connection
    keep_alive_conn_limit = MOST_CONNECTIONS
    max_request_header_size = _LARGEST_HEAD
    request_queue_size = _BACKLOG
    timeout = _SECONDS
    shutdown_timeout = _STOPPING

    def __init__(self, address: tuple[str, int], proxy: ProxyServer) -> None:
        super().__init__(address, Gateway)
        self.proxy = proxy
        self.requests = ConnectionThreads(self)

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        """Nothing: a client that leaves is no error, and a text may hold what a client has sent."""
