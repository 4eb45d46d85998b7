"""``llmwatch.transport.body``: a file that a worker fills, and the response over it."""

from __future__ import annotations

import gc
import gzip
import io
import random
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3._collections import HTTPHeaderDict
from urllib3.exceptions import DecodeError
from urllib3.response import HTTPResponse

from llmwatch.transport.body import BodyReader, StreamedResponse
from tests.rows import each
from tests.transport.drive import PATIENCE


class Cut(Exception):
    """The exception of a worker."""


class Source:
    """Pieces that are pulled one by one, then an error or the end; counts how the rest is given up."""

    def __init__(self, pieces: Sequence[bytes], error: BaseException | None = None) -> None:
        self.left = list(pieces)
        self.error = error
        self.pulls = 0
        self.said: list[str] = []

    def pull(self) -> bytes | None:
        self.pulls += 1
        if self.left:
            return self.left.pop(0)
        if self.error is not None:
            raise self.error
        return None

    def reader(self, pull: Callable[[], bytes | None] | None = None) -> BodyReader:
        return BodyReader(
            pull or self.pull,
            end=lambda: self.said.append("end"),
            interrupt=lambda: self.said.append("interrupt"),
            drop=lambda: self.said.append("drop"),
        )


PIECES = [b"abc", b"", b"defgh", b"i"]
WHOLE = b"".join(PIECES)


@pytest.mark.parametrize("size", [None, -1])
def test_an_unsized_read_returns_the_whole_body(size: int | None) -> None:
    """Without a size, or with one below 0, a read returns all there is."""
    assert Source(PIECES).reader().read(size) == WHOLE


@given(st.lists(st.binary(max_size=12)), st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60))
def test_any_sequence_of_reads_gives_the_same_bytes(pieces: list[bytes], reads: list[tuple[bool, int]]) -> None:
    """The bytes of a body come in order, and each once, however it was cut and however it is read.

    ``read`` gives as many as were asked for until the end, ``read1`` at least one.
    """
    reader, whole = Source(pieces).reader(), b"".join(pieces)
    found = b""
    for one, size in reads:
        data = reader.read1(size) if one else reader.read(size)
        left = len(whole) - len(found)
        assert len(data) <= size
        assert len(data) == min(size, left) if not one else bool(data) == bool(size and left)
        found += data
    assert found + reader.read() == whole
    assert reader.closed
    assert reader.isclosed()
    assert reader.read(5) == reader.read1(5) == reader.read() == b""


@given(st.lists(st.text("ab\n").map(str.encode), max_size=12), st.lists(st.integers(-1, 6), max_size=30))
def test_readline_and_peek_are_those_of_a_file(pieces: list[bytes], limits: list[int]) -> None:
    """Lines are those of a file with the same bytes, however these come; a look ahead takes nothing."""
    reader, file = Source(pieces).reader(), io.BytesIO(b"".join(pieces))
    for limit in limits:
        there = reader.peek()
        assert there == file.getvalue()[file.tell() :][: len(there)]
        assert bool(there) == (file.tell() < len(file.getvalue()))
        assert reader.readline(limit) == file.readline(limit)
    assert list(reader) == list(file)
    assert reader.fp is None


def test_the_remaining_length_is_that_of_http_client() -> None:
    """The remaining bytes are those of an announced length or of the current chunk, and 0 behind the end."""
    reader = Source(PIECES).reader()
    reader.resemble(SimpleNamespace(status=200, msg={"a": "1"}), chunked=True)
    assert (reader.chunk_left, reader.length) == (None, None)
    assert (reader.read(1), reader.chunk_left, reader.fp) == (b"a", 2, reader)
    assert (reader.read(2), reader.chunk_left) == (b"bc", None)
    buffer = bytearray(4)
    assert (reader.readinto(buffer), bytes(buffer)) == (4, b"defg")
    reader = Source(PIECES).reader()
    reader.resemble(None, length=len(WHOLE))
    assert (reader.read(4), reader.length, reader.chunk_left) == (b"abcd", 5, None)
    assert (reader.read(), reader.length, reader.fp, reader.getheader("a", "none"), reader.getheaders()) == (
        b"efghi",
        0,
        None,
        "none",
        [],
    )


def test_read1_returns_what_is_there() -> None:
    """``read1`` returns the bytes that are there, and pulls only if there are none."""
    source = Source(PIECES)
    reader = source.reader()
    assert reader.read1(2) == b"ab"
    assert reader.read1() == b"c"
    assert source.pulls == 1
    assert reader.read1(100) == b"defgh"
    assert reader.read1(0) == b""
    assert source.pulls == 3


def test_what_came_before_an_error_is_read_before_it() -> None:
    """A bounded read returns what there is, and the next one raises."""
    reader = Source(PIECES, Cut()).reader()
    assert reader.read(100) == WHOLE
    assert not reader.closed
    with pytest.raises(Cut):
        reader.read(100)
    assert reader.closed
    reader = Source(PIECES, Cut()).reader()
    assert [reader.read1() for _ in range(3)] == [b"abc", b"defgh", b"i"]
    with pytest.raises(Cut):
        reader.read1()


def test_a_read_of_everything_is_never_short() -> None:
    """Without a size an error is raised at once, since a caller takes the body as whole."""
    reader = Source(PIECES, Cut()).reader()
    with pytest.raises(Cut):
        reader.read()
    assert reader.closed


READS: list[Callable[[Any], object]] = [
    lambda file: file.read(),
    lambda file: file.read(100),
    lambda file: file.read1(),
    lambda file: file.read1(2),
    lambda file: file.readline(),
    lambda file: file.readinto(bytearray(3)),
    lambda file: file.peek(),
    list,
]


@each("first", [Cut(), KeyboardInterrupt()], ids=repr)
@each("again", READS)
def test_a_body_that_broke_never_reads_like_one_that_ended(
    again: Callable[[Any], object], first: BaseException
) -> None:
    """Every read behind an error raises it again, by whichever way.

    This holds whether or not the body was closed since.
    """
    source = Source(PIECES, first)
    reader = source.reader()
    with pytest.raises(type(first)):
        while reader.read1():
            pass
    for close in (False, True, True):
        if close:
            reader.close()
        with pytest.raises(type(first)):
            again(reader)
        assert reader.broken
    assert source.said == []


@pytest.mark.parametrize("again", READS)
def test_a_body_closed_before_its_error_raises_none(again: Callable[[Any], object]) -> None:
    """A caller that gives the rest up does not meet the error."""
    source = Source(PIECES, Cut())
    reader = source.reader()
    assert reader.read(4) == WHOLE[:4]
    reader.close()
    assert not again(reader)
    assert not reader.broken


def test_an_interrupt_is_raised_once() -> None:
    """Ctrl-C comes out of the read that it fell into."""
    reader = Source([b"abc"], KeyboardInterrupt()).reader()
    with pytest.raises(KeyboardInterrupt):
        reader.read(100)


def test_closing_ends_a_body_once_and_dropping_takes_no_lock() -> None:
    """Closing a body that is over ends nothing; dropping one only leaves a mark."""
    source = Source(PIECES)
    reader = source.reader()
    reader.read1()
    reader.close()
    reader.close()
    assert source.said == ["end"]
    assert (reader.closed, reader.read(), source.pulls) == (True, b"", 1)
    over = Source(PIECES)
    reader = over.reader()
    reader.read()
    reader.close()
    del reader
    failed = Source([], Cut())
    reader = failed.reader()
    with pytest.raises(Cut):
        reader.read()
    del reader
    dropped = Source(PIECES)
    reader = dropped.reader()
    reader.read1()
    del reader
    assert (over.said, failed.said, dropped.said) == ([], [], ["drop"])


def test_closing_from_another_thread_wakes_the_reader() -> None:
    """While a thread is in ``pull`` another thread that closes only interrupts it.

    What ``pull`` still brings along is not handed out.
    """
    source, reading, go_on = Source([]), threading.Event(), threading.Event()

    def pull() -> bytes | None:
        reading.set()
        assert go_on.wait(PATIENCE)
        return b"late"

    reader = source.reader(pull)
    found: list[bytes] = []
    thread = threading.Thread(target=lambda: found.append(reader.read(10)))
    thread.start()
    assert reading.wait(PATIENCE)
    reader.close()
    reader.close()
    assert source.said == ["interrupt"]
    go_on.set()
    thread.join(PATIENCE)
    assert found == [b""]


def test_a_signal_handler_may_close_a_body_that_is_being_read() -> None:
    """The handler only interrupts the read, and does not wait for its own thread."""
    source = Source([])

    def pull() -> bytes | None:
        reader.close()
        raise Cut

    reader = source.reader(pull)
    with pytest.raises(Cut):
        reader.read()
    assert source.said == ["interrupt"]


def test_a_large_body_is_not_copied_over_and_over() -> None:
    """Ten kilobytes at a time, a body of one piece costs what is read and no more."""
    body = bytes(32 << 20)
    reader = Source([body]).reader()
    tracemalloc.start()
    try:
        while reader.read(10_240):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


# -- the response -------------------------------------------------------------


def _real(**more: Any) -> Any:
    headers = HTTPHeaderDict([("X-A", "1"), ("Set-Cookie", "a"), ("Set-Cookie", "b")])
    headers.extend(more.pop("headers", {}))
    known = {"status": 200, "version": 11, "version_string": "HTTP/1.1", "reason": "OK", "decode_content": False}
    return SimpleNamespace(headers=headers, msg=None, **{**known, **more})


def _response(source: Source, *, promptly: bool = True, decoded: bool = False, **more: Any) -> StreamedResponse:
    return StreamedResponse(source.reader(), _real(**more), promptly=promptly, decoded=decoded, method="GET")


def test_the_response_has_the_real_head() -> None:
    """Status, version, reason and every header are what the real response has."""
    response = _response(Source(PIECES))
    assert isinstance(response, HTTPResponse)
    assert (response.status, response.reason, response.version, response.version_string) == (200, "OK", 11, "HTTP/1.1")
    assert response.headers.getlist("set-cookie") == ["a", "b"]


def test_a_stand_in_without_attributes_gives_a_response() -> None:
    """A stand-in for a response may lack all of its attributes."""
    response = StreamedResponse(Source(PIECES).reader(), object(), promptly=True)
    assert (response.status, response.read()) == (0, WHOLE)
    assert StreamedResponse(Source(PIECES).reader(), None, promptly=False).read() == WHOLE


def test_stream_yields_what_is_there() -> None:
    """Promptly: each piece as it came, cut to size; else chunks are filled, as urllib3 does it."""
    assert list(_response(Source(PIECES)).stream(4)) == [b"abc", b"defg", b"h", b"i"]
    assert list(_response(Source(PIECES), promptly=False).stream(4)) == [b"abcd", b"efgh", b"i"]
    assert list(_response(Source(PIECES), promptly=False).stream(None)) == [b"abc", b"defgh", b"i"]
    chunked = {"headers": {"Transfer-Encoding": "chunked"}}
    assert list(_response(Source(PIECES), promptly=False, **chunked).stream(100)) == [b"abc", b"defgh", b"i"]
    assert list(_response(Source(PIECES)).read_chunked(4)) == [b"abc", b"defg", b"h", b"i"]
    assert list(_response(Source(PIECES)).stream(0)) == []


@pytest.mark.parametrize("read", ["stream", "read1", "read"])
def test_a_length_does_not_hide_what_comes_behind_it(read: str) -> None:
    """After the announced length, the worker is still asked how the body ended."""
    response = _response(Source([b"12345"], Cut()), headers={"Content-Length": "5"})
    with pytest.raises(Cut):
        if read == "stream":
            list(response.stream(100))
        elif read == "read1":
            assert (response.read1(5), response.length_remaining) == (b"12345", 0)
            response.read1(5)
        else:
            assert response.read(5) == b"12345"
            response.read(5)


def test_urllib3_does_not_translate_the_errors() -> None:
    """Neither time-outs nor an ``OSError`` are translated; the reader is closed then."""
    for error in (Cut(), TimeoutError("late"), ConnectionResetError(104, "reset"), ValueError("odd")):
        source = Source([b"abc"], error)
        response = _response(source)
        with pytest.raises(type(error)) as caught:
            response.read()
        assert caught.value is error
        assert response.closed
        assert source.said == []


@pytest.mark.parametrize("size", [1, 5, 1000, None])
@pytest.mark.parametrize("promptly", [True, False])
def test_an_encoding_is_decoded_by_urllib3(promptly: bool, size: int | None) -> None:
    """By urllib3's own decoder, however the bytes are cut; not if that was done before."""
    text = b"once upon a time " * 40
    packed = zlib.compress(text)
    pieces = [packed[at : at + 7] for at in range(0, len(packed), 7)]
    gzip = {"headers": {"Content-Encoding": "deflate"}}
    assert b"".join(_response(Source(pieces), promptly=promptly, **gzip).stream(size, decode_content=True)) == text
    plain = _response(Source([text]), promptly=promptly, decoded=True, **gzip)
    assert b"".join(plain.stream(size, decode_content=True)) == text
    assert _response(Source(pieces), promptly=promptly, **gzip).read(decode_content=False) == packed


def test_a_decoded_body_is_empty_behind_its_end() -> None:
    """A second look at a response that was read to its end is empty, and no complaint about decoding."""
    response = _response(Source([zlib.compress(b"text")]), headers={"Content-Encoding": "deflate"})
    assert b"".join(response.stream(10, decode_content=True)) == b"text"
    assert list(response.stream(10, decode_content=False)) == []


def test_a_response_is_a_file() -> None:
    """A response can be wrapped, iterated by lines, and counts the bytes read."""
    assert io.TextIOWrapper(_response(Source([b"a\nb", b"\nc"])), "utf-8").read() == "a\nb\nc"  # type: ignore[type-var]
    response = _response(Source([b"a\nb", b"\nc"]))
    assert list(response) == [b"a\n", b"b\n", b"c"]
    assert response.tell() == 5


def test_the_finalizer_of_a_response_takes_no_lock() -> None:
    """Only the reader's finalizer runs, without a lock, in a garbage collection too.

    The finalizer of files, which would close the response, does nothing here.
    """
    source = Source(PIECES)
    response: Any = _response(source)
    assert response.read1(1) == b"a"
    response.itself = response
    del response
    gc.collect()
    assert source.said == ["drop"]


def test_closing_the_response_ends_the_reader() -> None:
    """``close``, the block and ``drain_conn`` do what they do elsewhere.

    The real response is not touched.
    """
    for leave in (lambda one: one.close(), lambda one: one.__exit__(None, None, None)):
        source = Source(PIECES)
        response = _response(source)
        response.read1(1)
        leave(response)
        assert (source.said, response.closed, response.read()) == (["end"], True, b"")
    source = Source(PIECES)
    _response(source).drain_conn()
    assert (source.said, source.left) == ([], [])


@pytest.mark.parametrize("promptly", [True, False])
@pytest.mark.parametrize("decoded", [True, False])
def test_a_response_that_broke_never_reads_like_one_that_ended(promptly: bool, decoded: bool) -> None:
    """Each of urllib3's ways to read raises the error every time.

    None of them gives a byte twice on the way there.
    """
    reads: list[Callable[[StreamedResponse], Any]] = [
        lambda response: b"".join(response.stream(3, decode_content=True)),
        lambda response: b"".join(response.stream(100)),
        lambda response: b"".join(response.read_chunked()),
        lambda response: b"".join(response),
        lambda response: b"".join(iter(lambda: response.read(2), b"")),
        lambda response: b"".join(iter(lambda: response.read1(2), b"")),
        lambda response: b"".join(iter(response.readline, b"")),
        lambda response: response.read(),
        lambda response: response.data,
    ]
    for first in reads:
        for again in reads:
            response = _response(Source(PIECES, Cut()), promptly=promptly, decoded=decoded)
            for read in (first, again, again):
                with pytest.raises(Cut):
                    read(response)
            response.close()
            with pytest.raises(Cut):
                again(response)


# -- one decoder, one reader -------------------------------------------------

_PACKED = gzip.compress(random.Random(4).randbytes(40_000))
_GZIP = {"content-encoding": "gzip"}
_READS: dict[str, Callable[[StreamedResponse], bytes]] = {
    "read": lambda response: response.read(decode_content=True),
    "read-100": lambda response: response.read(100, decode_content=True),
    "read1": lambda response: response.read1(decode_content=True),
    "read1-100": lambda response: response.read1(100, decode_content=True),
    "stream": lambda response: b"".join(response.stream(100, decode_content=True)),
    "stream-all": lambda response: b"".join(response.stream(None, decode_content=True)),
    "read_chunked": lambda response: b"".join(response.read_chunked(100, decode_content=True)),
}
_either = pytest.mark.parametrize("promptly", [True, False], ids=["promptly", "filled"])


class _Decoder:
    """Counts the threads that enter, and tells when one has."""

    def __init__(self, response: StreamedResponse, inside: Callable[[], object] = int) -> None:
        response._init_decoder()
        self._inner: Any = response._decoder
        response._decoder = self  # type: ignore[assignment]
        self._inside = inside
        self.entered = 0
        self.most = 0
        self._now = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def decompress(self, *args: Any, **kwargs: Any) -> bytes:
        self.entered += 1
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            self._inside()
            return bytes(self._inner.decompress(*args, **kwargs))
        finally:
            self._now -= 1


@_either
@pytest.mark.parametrize("read", _READS)
def test_a_decoding_error_is_raised_at_every_read(read: str, promptly: bool) -> None:
    """Every read behind an error of the encoding raises it, however it reads.

    The decoder is entered no more. A closed response raises the error as well.
    """
    broken = bytearray(_PACKED)
    broken[20_000] ^= 0xFF
    response = _response(Source([bytes(broken[:30_000]), bytes(broken[30_000:])]), promptly=promptly, headers=_GZIP)
    decoder = _Decoder(response)
    with pytest.raises(DecodeError):
        while _READS[read](response):
            pass
    entered = decoder.entered
    for _ in range(2):
        for again in _READS.values():
            with pytest.raises(DecodeError, match="gzip"):
                again(response)
        response.close()
    assert decoder.entered == entered


@_either
@pytest.mark.parametrize("read", _READS)
def test_nothing_is_decoded_behind_the_end(read: str, promptly: bool) -> None:
    """A body that was read to its end gives nothing more.

    Its decoder is asked for its last bytes once at most.
    """
    response = _response(Source([_PACKED[:9_000], _PACKED[9_000:]]), promptly=promptly, headers=_GZIP)
    found = b""
    while data := _READS[read](response):
        found += data
    assert found == gzip.decompress(_PACKED)
    decoder = _Decoder(response)
    for most in (2, 0):  # urllib3 enters it twice to flush it
        decoder.entered = 0
        assert [again(response) for again in _READS.values()] == [b""] * len(_READS)
        assert decoder.entered <= most


@_either
@pytest.mark.parametrize("read", _READS)
def test_a_second_reader_is_refused(read: str, promptly: bool) -> None:
    """While one thread reads a compressed body another thread's read is an error.

    The read of a signal handler in the middle of it is an error too. The first thread gets the whole body.
    """
    refused: list[BaseException] = []
    response = _response(Source([_PACKED]), promptly=promptly, headers=_GZIP)

    def meanwhile() -> None:
        def second() -> None:
            for again in _READS.values():
                with pytest.raises(RuntimeError, match="being read already") as found:
                    again(response)
                refused.append(found.value)

        thread = threading.Thread(target=second)
        thread.start()
        thread.join(PATIENCE)
        second()  # as a handler would

    once = iter((meanwhile,))
    decoder = _Decoder(response, lambda: next(once, int)())
    found = b""
    while data := _READS[read](response):
        found += data
    assert found == gzip.decompress(_PACKED)
    assert len(refused) == 2 * len(_READS)
    assert decoder.most == 1


def test_a_waiting_reader_excludes_others() -> None:
    """A thread that waits for the next bytes is a reader too; closing does not wait for it."""
    waiting, closed = threading.Event(), threading.Event()

    def pull() -> bytes | None:
        waiting.set()
        assert closed.wait(PATIENCE)
        return None

    source = Source([])
    response = StreamedResponse(source.reader(pull), _real(headers=_GZIP), promptly=True, method="GET")
    thread = threading.Thread(target=lambda: response.read(10, decode_content=True))
    thread.start()
    try:
        assert waiting.wait(PATIENCE)
        with pytest.raises(RuntimeError, match="being read already"):
            response.read(10, decode_content=True)
        response.close()
    finally:
        closed.set()
        thread.join(PATIENCE)
    assert source.said == ["interrupt"]
    assert response.read(10, decode_content=True) == b""


def test_an_undecoded_body_may_have_several_readers() -> None:
    """Bytes that are handed on as they came have no state to be damaged."""
    response = _response(Source(PIECES))
    inner = response.read(2)
    assert inner + response.read() == WHOLE
    encoded = _response(Source([_PACKED]), headers=_GZIP)
    encoded._readers["reader"] = object()
    assert encoded.read(decode_content=False) == _PACKED
