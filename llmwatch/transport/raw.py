"""A urllib3 response whose bytes come from a worker: what legacy code finds as ``response.raw``.

The real response belongs to the worker, who alone reads and closes it. What is handed out looks the same and reads
from a :class:`Feed`. It differs from urllib3's own over a file in three points: ``stream`` yields what is there
instead of waiting until a chunk is full, errors that the feed raises come out as they are, and closing it never
touches the worker's socket.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

from urllib3.response import HTTPResponse

__all__ = ["Feed", "RelayedResponse"]

_CHUNK = 65536


class Feed:
    """A file that a worker fills. ``pull`` returns the next bytes, ``None`` at the end, or raises; ``end`` gives the
    rest up; ``drop`` does so from a finalizer, without a lock.

    One thread at a time reads it.
    """

    def __init__(
        self, pull: Callable[[], bytes | None], end: Callable[[], object] = int, drop: Callable[[], object] = int
    ) -> None:
        self._pull = pull
        self._end = end
        self._drop = drop
        self._ready = b""
        self._over = False
        self.closed = False

    def isclosed(self) -> bool:
        """Whether there is nothing more to be read."""
        return self.closed

    def read(self, size: int | None = None) -> bytes:
        """``size`` bytes, fewer only at the end; all of them without a size."""
        if size == 0:
            return b""
        wanted = None if size is None or size < 0 else size
        pieces = [self._ready]
        have = len(self._ready)
        while (wanted is None or have < wanted) and (piece := self._next()) is not None:
            pieces.append(piece)
            have += len(piece)
        data = b"".join(pieces)
        return self._keep(data, wanted)

    def read1(self, size: int | None = None) -> bytes:
        """What is there, at most ``size`` bytes; waits only if nothing is."""
        if size == 0:
            return b""
        data = self._ready
        while not data:
            piece = self._next()
            if piece is None:
                break
            data = piece
        return self._keep(data, None if size is None or size < 0 else size)

    def _keep(self, data: bytes, wanted: int | None) -> bytes:
        cut = len(data) if wanted is None else wanted
        self._ready = data[cut:]
        if self._over and not self._ready:
            self.closed = True
        return data[:cut]

    def _next(self) -> bytes | None:
        if self._over or self.closed:
            return None
        try:
            piece = self._pull()
        except BaseException:
            self._over = self.closed = True
            raise
        self._over = piece is None
        return piece

    def close(self) -> None:
        """Give up what was not read."""
        self._ready = b""
        self.closed = True
        if not self._over:
            self._over = True
            self._end()

    def __del__(self) -> None:
        # May run in any thread at any bytecode.
        if not getattr(self, "_over", True):
            self._drop()


class _OriginalHead:
    """What cookie jars and other libraries look for in ``_original_response``: the head of the response, and nothing
    of its socket.
    """

    def __init__(self, original: Any, feed: Feed) -> None:
        self.msg = self.headers = getattr(original, "msg", None)
        self.status = getattr(original, "status", None)
        self.version = getattr(original, "version", None)
        self.reason = getattr(original, "reason", None)
        self._method = getattr(original, "_method", None)
        self._feed = feed

    def isclosed(self) -> bool:
        return self._feed.closed

    def close(self) -> None:
        """The original is its worker's to close."""


class RelayedResponse(HTTPResponse):
    """``real`` as far as its head goes, with the undecoded body from ``feed``.

    ``promptly``: ``stream`` yields what is there, else it fills its chunks where urllib3 would.
    """

    def __init__(self, feed: Feed, real: Any, *, promptly: bool, method: str | None = None) -> None:
        original = getattr(real, "_original_response", None)
        super().__init__(
            body=feed,  # type: ignore[arg-type]
            headers=getattr(real, "headers", None),
            status=getattr(real, "status", 0),
            version=getattr(real, "version", 0) or 0,
            reason=getattr(real, "reason", None),
            preload_content=False,
            decode_content=getattr(real, "decode_content", False),
            original_response=None if original is None else _OriginalHead(original, feed),  # type: ignore[arg-type]
            msg=getattr(real, "msg", None),
            # The worker has seen to it that the body is whole.
            enforce_content_length=False,
            request_method=method,
            request_url=getattr(real, "_request_url", None),
        )
        self.version_string = getattr(real, "version_string", "HTTP/?")
        self._promptly = promptly or self.chunked

    @contextmanager
    def _error_catcher(self) -> Generator[None]:
        # urllib3 would take a WatchTimeout for its own socket's time-out, and close what is not its own.
        try:
            yield
        except BaseException:
            if self._fp is not None:
                self._fp.close()
            raise

    def stream(self, amt: int | None = _CHUNK, decode_content: bool | None = None) -> Generator[bytes]:
        """The body in pieces of at most ``amt`` bytes, each as soon as it is there."""
        if not self._promptly and amt is not None:
            yield from super().stream(amt, decode_content)
            return
        if amt == 0:
            return
        while data := self.read1(amt, decode_content):
            yield data

    def read_chunked(self, amt: int | None = None, decode_content: bool | None = None) -> Generator[bytes]:
        """The same as :meth:`stream`: the framing was undone by the worker."""
        yield from self.stream(amt, decode_content)

    def __iter__(self) -> Iterator[bytes]:
        """Lines, each as soon as it is there."""
        rest = b""
        for piece in self.stream(_CHUNK, decode_content=True):
            lines = (rest + piece).split(b"\n")
            rest = lines.pop()
            yield from (line + b"\n" for line in lines)
        if rest:
            yield rest
