"""A urllib3 response whose bytes come from a worker: what legacy code finds as ``response.raw``.

The real response belongs to the worker, who alone reads and closes it. What is handed out looks the same and reads
from a :class:`Feed`. It differs from urllib3's own over a file in four points: ``stream`` yields what is there
instead of waiting until a chunk is full, errors that the feed raises come out as they are, the end of the body is
where the worker says it is and not where a header says so, and closing it never touches the worker's socket.

**The lock** of a feed protects what it says about itself while one thread reads and another closes. Nothing is called
and nothing is waited for while it is held.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from urllib3.response import HTTPResponse

__all__ = ["Feed", "RelayedResponse"]

_CHUNK = 65536


class Feed:
    """A file that a worker fills.

    ``pull`` returns the next bytes, ``None`` at the end, or raises. Of the three ways to give the rest up, ``end`` is
    taken where nobody reads, ``interrupt`` where a thread is in ``pull`` (which it has to wake), and ``drop`` by the
    finalizer, where no lock may be taken. One thread at a time reads; any thread may close.
    """

    def __init__(
        self,
        pull: Callable[[], bytes | None],
        *,
        end: Callable[[], object] = int,
        interrupt: Callable[[], object] = int,
        drop: Callable[[], object] = int,
    ) -> None:
        self._pull = pull
        self._end = end
        self._interrupt = interrupt
        self._drop = drop
        # Re-entrant, because a signal handler may close what the code that it interrupts is about to read.
        self._lock = threading.RLock()  # protects _over and _pulling
        self._over = False
        self._pulling = False
        self._piece = b""
        self._at = 0  # so many bytes of it were read
        self._error: Exception | None = None  # to be raised once what came before it was read
        self.closed = False

    def isclosed(self) -> bool:
        """Whether there is nothing more to be read."""
        return self.closed

    def read(self, size: int | None = None) -> bytes:
        """``size`` bytes, fewer only at the end, or before an error that the next read raises. All of them without a
        size: then an error is raised at once.
        """
        if size is None or size < 0:
            return self._read(float("inf"), eager=True)
        return self._read(size, eager=False) if size else b""

    def _read(self, size: float, *, eager: bool) -> bytes:
        data = [self._take(size)]
        have = len(data[0])
        while have < size and self._fill(eager=eager or not have):
            data.append(self._take(size - have))
            have += len(data[-1])
        return data[0] if len(data) == 1 else b"".join(data)

    def read1(self, size: int | None = None) -> bytes:
        """What is there, at most ``size`` bytes; waits only if nothing is."""
        if size == 0:
            return b""
        if self._at == len(self._piece):
            self._fill(eager=True)
        return self._take(float("inf") if size is None or size < 0 else size)

    def _take(self, size: float) -> bytes:
        """What is left of the piece in hand, at most ``size`` bytes."""
        piece, at = self._piece, self._at
        if len(piece) - at > size:
            # A copy of what is asked for alone: the piece may be a whole body, read ten kilobytes at a time.
            self._at = at + int(size)
            return piece[at : self._at]
        self._piece, self._at = b"", 0
        return piece[at:] if at else piece

    def _fill(self, *, eager: bool) -> bool:
        """Get the next piece in hand; ``False`` at the end. An error is raised if ``eager``, else at the next read."""
        error, self._error = self._error, None
        if error is not None:
            self.closed = True
            try:
                raise error
            finally:
                # Its traceback refers to this frame.
                del error
        try:
            while (piece := self._next()) is not None:
                if piece:
                    self._piece = piece
                    return True
        except Exception as found:
            if not eager:
                self._error = found
                return False
            self.closed = True
            raise
        self.closed = True
        return False

    def _next(self) -> bytes | None:
        with self._lock:
            if self._over:
                return None
            self._pulling = True
        piece = None
        try:
            piece = self._pull()
        finally:
            with self._lock:
                self._pulling = False
                # Who has closed it meanwhile wants no more.
                piece = None if self._over else piece
                self._over = piece is None
        return piece

    def close(self) -> None:
        """Give up what was not read."""
        with self._lock:
            over, self._over = self._over, True
            pulling = self._pulling
        self._piece, self._at, self._error = b"", 0, None
        self.closed = True
        if not over:
            (self._interrupt if pulling else self._end)()

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

    ``promptly``: ``stream`` yields what is there, else it fills its chunks where urllib3 would. ``decoded``: the
    content encoding that the headers name was undone already.
    """

    def __init__(
        self, feed: Feed, real: Any, *, promptly: bool, decoded: bool = False, method: str | None = None
    ) -> None:
        original = getattr(real, "_original_response", None)
        self._decoded = decoded
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
            retries=getattr(real, "retries", None),
            # The worker has seen to it that the body is whole.
            enforce_content_length=False,
            request_method=method,
            request_url=getattr(real, "_request_url", None),
        )
        self.version_string = getattr(real, "version_string", "HTTP/?")
        self._promptly = promptly or self.chunked

    def __del__(self) -> None:
        """Nothing. The finalizer of files would close this one, which takes locks; the feed has a finalizer of its
        own, which takes none.
        """

    @contextmanager
    def _error_catcher(self) -> Generator[None]:
        # urllib3 would take a WatchTimeout for its own socket's time-out, and close what is not its own.
        try:
            yield
        except BaseException:
            if self._fp is not None:
                self._fp.close()
            raise

    def _raw_read(self, amt: int | None = None, *, read1: bool = False) -> bytes:
        # urllib3 closes a body at its Content-Length. What the worker has to say of the end comes behind it.
        feed: Any = self._fp
        with self._error_catcher():
            data: bytes = feed.read1(amt) if read1 else feed.read(amt)
        self._fp_bytes_read += len(data)
        if self.length_remaining is not None:
            self.length_remaining -= len(data)
        return data

    def _init_decoder(self) -> None:
        if not self._decoded:
            super()._init_decoder()

    def stream(self, amt: int | None = _CHUNK, decode_content: bool | None = None) -> Generator[bytes]:
        """The body in pieces of at most ``amt`` bytes, each as soon as it is there."""
        if not self._promptly and amt is not None:
            yield from super().stream(amt, decode_content)
            return
        # Behind its end a body gives nothing, however it was read before.
        while amt != 0 and (not self.closed or self._has_more):
            if data := self.read1(amt, decode_content):
                yield data

    @property
    def _has_more(self) -> bool:
        return len(self._decoded_buffer) > 0 or getattr(self._decoder, "has_unconsumed_tail", False)

    def read_chunked(self, amt: int | None = None, decode_content: bool | None = None) -> Generator[bytes]:
        """The same as :meth:`stream`: the framing was undone by the worker."""
        yield from self.stream(amt, decode_content)
