"""Reading requests from a link, and recording them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from llmwatch.faults.link import Link, PeerGone

__all__ = ["BODY_KEPT", "Incoming", "Request", "RequestHead", "RequestReader"]

BODY_KEPT = 1 << 20
"""Maximum number of bytes that are kept of a request's body. Further bytes are only counted."""

_HEAD_LIMIT = 1 << 17
_TAIL_KEPT = 4096
_STREAM_TRUE = re.compile(rb'"stream"\s*:\s*true')


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The request line and the headers."""

    method: str
    target: str
    headers: list[tuple[str, str]]

    def header(self, name: str) -> str | None:
        """The first header of that name, in any case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that reached the server.

    ``number`` counts the server's requests from 1; ``connection`` counts its TCP connections from 1. ``body`` holds at
    most the first MiB and ``tail`` the last 4 KiB; ``body_bytes`` is the number of bytes that came, and ``complete``
    says whether the body was complete. ``script`` is the name of the script that answers. ``at`` is the time of the
    server's ``clock`` when the request was recorded, ``None`` without a clock.
    """

    number: int
    connection: int
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    body_bytes: int
    complete: bool
    script: str
    at: float | None = None
    tail: bytes = field(default=b"", repr=False)

    @property
    def path(self) -> str:
        """The path of the target, which may have the absolute form that proxies receive."""
        return urlsplit(self.target).path

    def header(self, name: str) -> str | None:
        """The first header of that name, in any case."""
        return RequestHead(self.method, self.target, self.headers).header(name)

    def json(self) -> object:
        """The parsed body. Raises ``ValueError`` for invalid JSON, and for a body that was not kept whole."""
        return json.loads(self.body)

    @property
    def asks_stream(self) -> bool | None:
        """Whether a JSON body says ``"stream": true``; ``None`` if the body is not a JSON object."""
        if self.body_bytes > len(self.body):
            return bool(_STREAM_TRUE.search(self.body) or _STREAM_TRUE.search(self.tail))
        try:
            parsed = json.loads(self.body)
        except ValueError:
            return None
        return parsed.get("stream") is True if isinstance(parsed, dict) else None


class RequestReader:
    """Reads requests from one link, one after the other."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._buffer = bytearray()

    def head(self) -> RequestHead | None:
        """The next request's head; ``None`` if the peer closed. Raises ``ValueError`` for invalid HTTP."""
        raw = self._until(b"\r\n\r\n")
        if raw is None:
            return None
        lines = raw.decode("latin-1").split("\r\n")
        method, target, version = lines[0].split(" ")
        if not version.startswith("HTTP/1."):
            raise ValueError(f"not HTTP/1.x: {version!r}")
        headers = []
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon:
                raise ValueError(f"not a header: {line!r}")
            headers.append((name, value.strip()))
        return RequestHead(method, target, headers)

    def line(self) -> bytes:
        line = self._until(b"\r\n")
        if line is None:
            raise PeerGone("the peer left in the middle of a body")
        return line

    def some(self, size: int) -> bytes:
        """At least one and at most ``size`` bytes."""
        if not self._buffer:
            data = self._link.receive(size)
            if not data:
                raise PeerGone("the peer left in the middle of a body")
            return data
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _until(self, mark: bytes) -> bytes | None:
        searched = 0
        while (end := self._buffer.find(mark, searched)) < 0:
            searched = max(0, len(self._buffer) - len(mark) + 1)
            if len(self._buffer) > _HEAD_LIMIT:
                raise ValueError("a head or line beyond 128 KiB")
            data = self._link.receive()
            if not data:
                return None
            self._buffer += data
        piece = bytes(self._buffer[:end])
        del self._buffer[: end + len(mark)]
        return piece


class Incoming:
    """The body of a request while it arrives."""

    def __init__(self, reader: RequestReader, head: RequestHead) -> None:
        self._reader = reader
        self._chunked = "chunked" in (head.header("transfer-encoding") or "").lower()
        self._left = 0 if self._chunked else int(head.header("content-length") or 0)
        self.expects_continue = (head.header("expect") or "").lower() == "100-continue"
        self.kept = bytearray()
        self.tail = b""
        self.count = 0
        self.complete = not self._chunked and self._left == 0

    def pull(self, size: int) -> bytes:
        """The next piece, of ``size`` bytes at most; ``b""`` once the body is complete."""
        if not self.complete and self._chunked and self._left == 0:
            self._next_chunk()
        if self.complete:
            return b""
        data = self._reader.some(min(size, self._left))
        self._left -= len(data)
        self._keep(data)
        if self._left == 0:
            if self._chunked:
                self._reader.line()
            else:
                self.complete = True
        return data

    def _next_chunk(self) -> None:
        line = self._reader.line()
        try:
            self._left = int(line.partition(b";")[0], 16)
        except ValueError as exc:
            raise PeerGone("the peer sent an invalid chunk") from exc
        if self._left == 0:
            while self._reader.line():
                pass
            self.complete = True

    def _keep(self, data: bytes) -> None:
        self.count += len(data)
        room = BODY_KEPT - len(self.kept)
        if room > 0:
            self.kept += data[:room]
        self.tail = (self.tail + data)[-_TAIL_KEPT:]
