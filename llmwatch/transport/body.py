"""A urllib3 response whose bytes come from a worker: the ``response.raw`` of legacy code.

The real response belongs to the worker, which alone reads and closes it. The caller gets a lookalike that reads from a
:class:`BodyReader`. It differs from urllib3's own response over a file in five points:

* ``stream`` yields what is there, and does not wait until a chunk is full.
* Errors that the reader raises come out unchanged.
* The body ends where the worker says so, not where a header says so.
* Closing the response never touches the worker's socket.
* The response has no descriptor.

Libraries use private attributes. ``_fp`` and ``_original_response`` are the reader, with the interface of
:class:`http.client.HTTPResponse`. ``_fp.fp`` is the reader too, while there is something to read. ``_fp.fp.raw._sock``
and ``_connection.sock`` tell what the socket tells. urllib3's own rules apply to a file that a library puts in the
reader's place.

The thread that reads a compressed body decodes it, one thread at a time. A second reader (another thread, or a signal
handler in the middle of a read) is refused, since its bytes would come from the wrong place. After a decoding error
every later read raises the same error, and the decoder is not called again.

**The lock** of a reader protects the reader's state while one thread reads and another closes. Under it nothing is
called, and no thread waits.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from urllib3.exceptions import DecodeError, IncompleteRead, ProtocolError
from urllib3.response import HTTPResponse

from llmwatch import at_fork
from llmwatch.interruption import is_interruption
from llmwatch.transport.peer import PeerSocket

__all__ = ["BodyReader", "StreamedResponse"]

_CHUNK = 65536


class BodyReader:
    """A file that a worker fills, with the interface of :class:`http.client.HTTPResponse`.

    ``pull`` returns the next bytes, ``None`` at the end, or raises. Once it has raised, every further read calls it
    again, closed or not, and it raises again: a broken body never reads like a complete one. ``end``, ``interrupt`` and
    ``drop`` give the rest up: ``end`` if no thread reads, ``interrupt`` if a thread is in ``pull`` and has to be woken,
    ``drop`` in the finalizer, where no lock may be taken. One thread at a time reads; any thread may close.
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
        # Re-entrant: a signal handler may close the reader whose read it interrupts.
        self._lock = threading.RLock()  # protects _over, _ended and _pulling
        self._over = False
        self._ended = False
        self._pulling = False
        self._piece = b""
        self._at = 0  # bytes of the piece that were read
        self.broken = False
        """``pull`` has raised. The error is not kept: its frames would refer to the reader."""
        self.closed = False
        at_fork.follow(self)
        self._taken = 0  # bytes, in all
        self._announced: int | None = None
        self.resemble(None)

    def after_fork(self) -> None:
        """In a forked child: another thread of the parent may have held the lock, or have been reading."""
        self._lock = threading.RLock()
        self._pulling = False

    def resemble(self, original: Any, *, chunked: bool = False, length: int | None = None) -> None:
        """Take over the head of ``original``, an :class:`http.client.HTTPResponse`, and its socket's facts.
        ``length``: the announced number of bytes.
        """
        self.msg = self.headers = getattr(original, "msg", None)
        self.status = self.code = getattr(original, "status", None)
        self.version = getattr(original, "version", None)
        self.reason = getattr(original, "reason", None)
        self.will_close = getattr(original, "will_close", True)
        self._method = getattr(original, "_method", None)
        self.chunked = chunked
        self.peer: PeerSocket | None = getattr(original, "peer", None)
        self.raw = SimpleNamespace(_sock=self.peer)
        self._announced = length

    @property
    def cut(self) -> bool:
        """Whether the reader was closed before the end of the body, by its user or by an error."""
        return self.closed and not self._ended

    # -- the interface of http.client's response ----------------------------

    @property
    def fp(self) -> BodyReader | None:
        """The file below; ``None`` behind the end."""
        return None if self.closed else self

    @property
    def length(self) -> int | None:
        """Bytes still to be read, if their number was announced."""
        return None if self._announced is None else max(0, self._announced - self._taken)

    @property
    def chunk_left(self) -> int | None:
        """Bytes of the present chunk that can be read without waiting; ``None`` without chunks."""
        return (len(self._piece) - self._at or None) if self.chunked else None

    def isclosed(self) -> bool:
        """Whether the reader was closed or reached the end."""
        return self.closed

    def getheader(self, name: str, default: str | None = None) -> str | None:
        """A header of the response."""
        value: str | None = default if self.headers is None else self.headers.get(name, default)
        return value

    def getheaders(self) -> list[tuple[str, str]]:
        """All headers of the response."""
        return [] if self.headers is None else list(self.headers.items())

    def info(self) -> Any:
        """The headers of the response."""
        return self.headers

    def readable(self) -> bool:
        """``True``."""
        return True

    def fileno(self) -> int:
        """Raises ``io.UnsupportedOperation``, an ``OSError`` and a ``ValueError``: there is no descriptor.
        The socket's descriptor would be useless to ``select``: the worker takes the bytes from it before the caller
        sees any, and closes it at its own time.
        """
        raise io.UnsupportedOperation(
            "This response has no descriptor to select() on: a worker thread takes its bytes from the socket."
            " read1() and iter_content(None) return what is there, and wait only if nothing is."
        )

    def flush(self) -> None:
        """Does nothing: there is nothing to write."""

    def peek(self, size: int = -1) -> bytes:
        """The bytes that are there, without taking them; waits only if there are none."""
        if self._at == len(self._piece):
            self._fill(eager=True)
        return self._piece[self._at :]

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer``, less only at the end; returns the number of bytes."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def readline(self, limit: int | None = -1) -> bytes:
        """A line with its end, at most ``limit`` bytes of it."""
        most = float("inf") if limit is None or limit < 0 else limit
        parts: list[bytes] = []
        while most > 0 and (there := self.peek()):
            end = there.find(b"\n") + 1
            part = self._take(min(most, end or len(there)))
            parts.append(part)
            most -= len(part)
            if part.endswith(b"\n"):
                break
        return b"".join(parts)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    # -- reading ------------------------------------------------------------

    def read(self, size: int | None = None) -> bytes:
        """``size`` bytes, fewer only at the end, or before an error that the next read raises.
        Without a size all of them; an error is then raised at once.
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
        """The bytes that are there, at most ``size``; waits only if there are none."""
        if size == 0:
            return b""
        if self._at == len(self._piece):
            self._fill(eager=True)
        return self._take(float("inf") if size is None or size < 0 else size)

    def _take(self, size: float) -> bytes:
        """The rest of the present piece, at most ``size`` bytes."""
        piece, at = self._piece, self._at
        if len(piece) - at > size:
            # Copies only the requested bytes: the piece may be a whole body, read ten kilobytes at a time.
            self._at = at + int(size)
            self._taken += int(size)
            return piece[at : self._at]
        self._piece, self._at = b"", 0
        self._taken += len(piece) - at
        return piece[at:] if at else piece

    def _fill(self, *, eager: bool) -> bool:
        """Get the next piece; ``False`` at the end.
        An error is raised now if ``eager``, else by the next read.
        """
        try:
            while (piece := self._next()) is not None:
                if piece:
                    self._piece = piece
                    return True
        except Exception as error:
            if not eager and not is_interruption(error):
                return False
            self.closed = True
            raise
        self.closed = True
        return False

    def _next(self) -> bytes | None:
        with self._lock:
            if self._over and not self.broken:
                return None
            self._pulling = True
        try:
            piece = self._pull()
            with self._lock:
                self._pulling = False
                self._ended = piece is None and not self._over
                # A caller that closed the reader meanwhile wants no more.
                piece = None if self._over else piece
                self._over = piece is None
            return piece
        except BaseException:
            self.broken = self._over = True
            self._pulling = self._ended = False
            raise

    def close(self) -> None:
        """Give up the unread rest."""
        with self._lock:
            over, self._over = self._over, True
            pulling = self._pulling
        self._piece, self._at = b"", 0
        self.closed = True
        if not over:
            try:
                (self._interrupt if pulling else self._end)()
            except BaseException:
                # The finalizer finds the reader closed, and does nothing.
                self._drop()
                raise

    def __del__(self) -> None:
        # May run in any thread at any bytecode.
        if not getattr(self, "_over", True):
            self._drop()


class _ConnectionFace:
    """The ``raw._connection`` for code that looks for the socket. It has nothing to close."""

    def __init__(self, real: Any, sock: PeerSocket) -> None:
        self.sock = sock
        self.host = getattr(real, "host", None)
        self.port = getattr(real, "port", None)

    def close(self) -> None:
        """Does nothing: the worker closes the connection."""


class StreamedResponse(HTTPResponse):
    """The head of ``real`` with the undecoded body from ``reader``.
    ``promptly``: ``stream`` yields what is there; otherwise it fills its chunks as urllib3 does. ``decoded``: the
    content encoding that the headers name was undone already.
    """

    def __init__(
        self, reader: BodyReader, real: Any, *, promptly: bool, decoded: bool = False, method: str | None = None
    ) -> None:
        original = getattr(real, "_original_response", None)
        lookalike: Any = reader  # stands for http.client's response
        self._decoded = decoded
        self._readers: dict[str, object] = {}  # the reader; setdefault picks the first in one step
        self._undecodable: str | None = None
        self._flushed = False  # the decoder has given everything
        super().__init__(
            body=lookalike,
            headers=getattr(real, "headers", None),
            status=getattr(real, "status", 0),
            version=getattr(real, "version", 0) or 0,
            reason=getattr(real, "reason", None),
            preload_content=False,
            decode_content=getattr(real, "decode_content", False),
            original_response=None if original is None else lookalike,
            msg=getattr(real, "msg", None),
            retries=getattr(real, "retries", None),
            # The worker checks that the body is whole.
            enforce_content_length=False,
            request_method=method,
            request_url=getattr(real, "_request_url", None),
        )
        self.version_string = getattr(real, "version_string", "HTTP/?")
        self._promptly = promptly or self.chunked
        self._reader = lookalike
        reader.resemble(original, chunked=self.chunked, length=self.length_remaining)
        if reader.peer is not None:
            face: Any = _ConnectionFace(getattr(real, "_connection", None), reader.peer)
            self._connection = face

    def __del__(self) -> None:
        """Nothing: the finalizer of files would close this file, which takes locks.
        The reader has its own finalizer, which takes none.
        """

    @contextmanager
    def _error_catcher(self) -> Generator[None]:
        # urllib3 would take a WatchTimeout for its own socket's time-out, and close a socket that is not its own.
        try:
            yield
        except BaseException:
            if self._fp is not None:
                self._fp.close()
            raise

    def _raw_read(self, amt: int | None = None, *, read1: bool = False) -> bytes:
        if self._fp is not self._reader:
            # Another file, which knows only its own end.
            return super()._raw_read(amt, read1=read1)
        # urllib3 closes a body at its Content-Length, but the worker reports on the end only behind that.
        reader: Any = self._fp
        try:
            data: bytes = reader.read1(amt) if read1 else reader.read(amt)
        except BaseException:
            # As _error_catcher, without the cost of a context manager for each piece.
            if self._fp is not None:
                self._fp.close()
            raise
        self._fp_bytes_read += len(data)
        if self.length_remaining is not None:
            self.length_remaining -= len(data)
        if not data and amt != 0 and (amt is not None or self._has_more):
            self._refuse_part()
        return data

    def _refuse_part(self) -> None:
        """Raise as urllib3 does behind the end of a body that was closed before its announced length."""
        if self.length_remaining and self._reader.cut and not self._decoded:
            incomplete = IncompleteRead(self._fp_bytes_read, self.length_remaining)
            raise ProtocolError(f"Connection broken: {incomplete!r}", incomplete)

    def read(self, amt: int | None = None, decode_content: bool | None = None, cache_content: bool = False) -> bytes:
        """``amt`` bytes of the body, fewer only at its end; without ``amt`` all of it."""
        with self._alone(decode_content):
            return super().read(amt, decode_content, cache_content)

    def read1(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
        """The bytes that are there, at most ``amt``; waits only if there are none."""
        with self._alone(decode_content):
            return super().read1(amt, decode_content)

    def _read1_plain(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
        return self._raw_read(amt, read1=True)

    def _decode(
        self, data: bytes, decode_content: bool | None, flush_decoder: bool, *args: Any, **kwargs: Any
    ) -> bytes:
        if self._flushed and decode_content and not data:
            # urllib3 asks the decoder again at every read behind the end.
            return b""
        try:
            decoded: bytes = super()._decode(data, decode_content, flush_decoder, *args, **kwargs)
        except DecodeError as error:
            # urllib3 takes every OSError for its decoder's, that of a signal handler as well.
            if error.__cause__ is None or not is_interruption(error.__cause__):
                raise
            interruption = error.__cause__
        else:
            # A bounded read may leave the decoder with more.
            self._flushed = self._flushed or (flush_decoder and not data and not decoded)
            return decoded
        try:
            raise interruption
        finally:
            del interruption  # its traceback refers to this frame

    @contextmanager
    def _alone(self, decode_content: bool | None) -> Generator[None]:
        """Keep every other reader from decoding until the block ends."""
        if self._decoded or not (self.decode_content if decode_content is None else decode_content):
            yield
            return
        if self._undecodable is not None:
            raise DecodeError(self._undecodable)
        reader = object()
        try:
            if self._readers.setdefault("reader", reader) is not reader:
                raise RuntimeError(
                    "This compressed response is being read already, by another thread or by what a signal handler has"
                    " interrupted. Let one read it, or ask for Accept-Encoding: identity."
                )
            yield
        except DecodeError as error:
            # Its cause is not kept: the cause's traceback refers to this response.
            self._undecodable = str(error.args[0] if error.args else error)
            raise
        finally:
            if self._readers.get("reader") is reader:
                del self._readers["reader"]

    def _init_decoder(self) -> None:
        if not self._decoded:
            super()._init_decoder()

    def stream(self, amt: int | None = _CHUNK, decode_content: bool | None = None) -> Generator[bytes]:
        """The body in pieces of at most ``amt`` bytes, each as soon as it is there."""
        if self.chunked and decode_content is None:
            # So does urllib3's own, whatever the response was told about decoding.
            decode_content = False
        fed = self._fp is self._reader
        read = self.read1 if fed and (self._promptly or amt is None) else self.read
        if read == self.read1 and amt and amt > 0 and not (self._has_more or self.headers.get("content-encoding")):
            # There is nothing to decode, which read1 would look for at each piece.
            read, self._uncached_read_occurred = self._read1_plain, True
        # A body gives nothing behind its end, however it was read before. Not every file is closed at its end.
        while amt != 0 and (not self.closed or self._has_more or self._is_broken or self._readers):
            if fed and self._reader.cut and not self._is_broken:
                # A caller could not tell the decoded part of a closed body from the whole.
                self._refuse_part()
                return
            if not (data := read(amt, decode_content)):
                return
            yield data

    @property
    def _is_broken(self) -> bool:
        """Whether every further read raises."""
        fed = self._fp is self._reader
        return self._undecodable is not None or (fed and self._reader.broken)

    @property
    def _has_more(self) -> bool:
        return len(self._decoded_buffer) > 0 or getattr(self._decoder, "has_unconsumed_tail", False)

    def read_chunked(self, amt: int | None = None, decode_content: bool | None = None) -> Generator[bytes]:
        """The same as :meth:`stream`: the worker has undone the framing."""
        yield from self.stream(amt, decode_content)
