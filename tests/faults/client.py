"""A client on a raw socket that sees what is on the wire.

It shares no code with the server that it looks at.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import ssl
import struct
from collections.abc import Callable
from urllib.parse import urlsplit

from tests.conftest import SCALE

PATHS = {
    "openai-chat": "/v1/chat/completions",
    "openai-responses": "/v1/responses",
    "anthropic": "/v1/messages",
    "generic": "/stream",
    "gemini": "/v1beta/models/m:streamGenerateContent?alt=sse",
    "ndjson": "/api/chat",
    "cohere": "/v2/chat",
}
SHAPES = tuple(PATHS)
FRAMINGS = ("chunked", "length", "close")

PATIENCE = 10.0 * SCALE
"""Seconds after which something that has to come is taken not to come."""
SOON = 5.0 * SCALE
"""Seconds in which what must not wait is over."""
QUIET = 0.05
"""Seconds of silence that show that nothing comes. Nothing fails where it is too short."""


class WireClient:
    """One connection, and one answer at a time: ``status``, ``headers``, ``body`` and how it ``ended``."""

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        self.host = parts.netloc
        sock = socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE)
        if tls is not None:
            # A missing close_notify is what some of these tests are about.
            sock = tls.wrap_socket(sock, server_hostname=parts.hostname, suppress_ragged_eofs=False)
        self.sock = sock
        self.buffer = b""
        self.gone = ""

    def __enter__(self) -> WireClient:
        return self

    def __exit__(self, *exc: object) -> None:
        self.sock.close()

    def send(
        self, path: str, body: object = None, *, method: str = "POST", headers: tuple[str, ...] = ()
    ) -> WireClient:
        """Send a request whole; ``body`` is JSON unless it is bytes."""
        data = body if isinstance(body, bytes) else json.dumps({"stream": True} if body is None else body).encode()
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}", f"Content-Length: {len(data)}", *headers, "", ""]
        self.sock.sendall("\r\n".join(lines).encode() + data)
        return self

    def ask(self, shape: str = "openai-chat", **body: object) -> WireClient:
        """Send a streaming request for that shape and read the head of its answer."""
        return self.send(PATHS[shape], {"stream": True, **body}).head()

    def head(self) -> WireClient:
        """Read status line and headers."""
        while b"\r\n\r\n" not in self.buffer:
            assert self._more(), f"no head: {self.gone}, {self.buffer!r}"
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        line, *rest = head.decode("latin-1").split("\r\n")
        self.status = int(line.split(" ")[1])
        self.headers = {name.lower(): value for name, value in (one.split(": ", 1) for one in rest)}
        self.chunks: list[bytes] = []
        self.ended = ""
        self._left = int(self.headers.get("content-length", 0))
        return self

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    def read(
        self,
        *,
        at_least: int | None = None,
        until: bytes | Callable[[bytes], bool] | None = None,
        reads: int | None = None,
        patience: float = QUIET,
    ) -> WireClient:
        """Read on: to the end, to so many bytes, or until these bytes are there or the body is such.

        At most ``reads`` times while something comes within ``patience`` seconds.

        ``ended`` is then ``end`` (as the framing wants it), ``eof``, ``reset``, ``ragged`` (TLS without close_notify),
        or empty while the body is open. ``reads`` is for bodies that must not have ended by then, and for nothing else:
        a server that is short of CPU time is quiet, too.
        """
        while not self.ended:
            self._take()
            if self.ended or (at_least is not None and len(self.body) >= at_least):
                break
            if until is not None and (until(self.body) if callable(until) else until in self.body):
                break
            if reads is not None:
                if reads == 0 or self.is_quiet(patience):
                    break
                reads -= 1
            if not self._more():
                self._take()
                clean = self.gone == "eof" and self.framing == "close"
                self.ended = self.ended or ("end" if clean else self.gone)
        return self

    @property
    def framing(self) -> str:
        if "transfer-encoding" in self.headers:
            return "chunked"
        return "length" if "content-length" in self.headers else "close"

    def is_quiet(self, seconds: float = QUIET) -> bool:
        """Whether nothing is there to be read for so long."""
        if isinstance(self.sock, ssl.SSLSocket) and self.sock.pending():
            return False
        return not select.select([self.sock], [], [], seconds)[0]

    def end_of_connection(self) -> str:
        """Read until the connection ends: ``eof``, ``reset``, ``ragged``."""
        while self._more():
            pass
        return self.gone

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _more(self) -> bool:
        try:
            data = self.sock.recv(1 << 20)
            self.gone = "" if data else "eof"
        except ConnectionResetError:
            data, self.gone = b"", "reset"
        except ssl.SSLEOFError:
            data, self.gone = b"", "ragged"
        self.buffer += data
        return bool(data)

    def _take(self) -> None:
        if self.framing == "length":
            piece, self.buffer = self.buffer[: self._left], self.buffer[self._left :]
            self._left -= len(piece)
            self.chunks += [piece] if piece else []
            self.ended = "" if self._left else "end"
        elif self.framing == "close":
            self.chunks += [self.buffer] if self.buffer else []
            self.buffer = b""
        else:
            self._take_chunks()

    def _take_chunks(self) -> None:
        while b"\r\n" in self.buffer:
            line, rest = self.buffer.split(b"\r\n", 1)
            size = int(line, 16)
            if len(rest) < size + 2:
                return
            assert rest[size : size + 2] == b"\r\n"
            self.buffer = rest[size + 2 :]
            if size == 0:
                self.ended = "end"
                return
            self.chunks.append(rest[:size])


@contextlib.contextmanager
def asking(server: object, shape: str = "openai-chat", tls: ssl.SSLContext | None = None, **body: object):
    """A client that has sent a streaming request for that shape and read the head of its answer."""
    with WireClient(server.url, tls) as client:
        yield client.ask(shape, **body)
