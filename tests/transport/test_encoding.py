"""Undoing a content encoding piece by piece, and noticing when it was cut."""

from __future__ import annotations

import functools
import gzip
import itertools
import random
import tracemalloc
import zlib
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmwatch.errors import BodyTooLarge
from llmwatch.transport.encoding import BodyMeter, Decompressor, Identity, Undecodable, Unread, decompressor_for
from tests.rows import each

_TEXT = b"".join(b'data: {"n": %d, "x": "%d"}\n\n' % (n, n * 7919 % 104729) for n in range(200))
_PIECE = 1024 * 1024


def _raw(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def _members(data: bytes) -> bytes:
    """The data as three gzip members, the middle one empty."""
    half = len(data) // 2
    return gzip.compress(data[:half]) + gzip.compress(b"") + gzip.compress(data[half:])


def _flushed(data: bytes) -> bytes:
    """gzip as a server makes it that flushes after each event."""
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    events = data.splitlines(keepends=True)
    return b"".join(packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH) for event in events) + packer.flush()


def _again(data: bytes, _: int) -> bytes:
    return gzip.compress(data)


_FORMS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "gzip-members": ("gzip", _members),
    "gzip-flushed": ("gzip", _flushed),
    "x-gzip": ("X-GZip ", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "deflate-raw": ("deflate", _raw),
    "deflate-stored": ("deflate", lambda data: zlib.compress(data, 0)),
    "gzip-twice": ("gzip, gzip", lambda data: gzip.compress(gzip.compress(data))),
    "deflate-in-gzip": ("deflate,gzip", lambda data: gzip.compress(zlib.compress(data))),
    "identity-in-gzip": (" identity , gzip", gzip.compress),
    "gzip-five-times": ("gzip,gzip,gzip,gzip,gzip", lambda data: functools.reduce(_again, range(5), data)),
    "identity": ("identity", bytes),
    "none": ("", bytes),
}


def _feed(decompressor: Decompressor, pieces: Iterator[bytes]) -> bytes:
    return b"".join(out for piece in pieces for out in decompressor.feed(piece))


def _cut(data: bytes, *at: int) -> Iterator[bytes]:
    edges = [0, *sorted(at), len(data)]
    return (data[start:end] for start, end in itertools.pairwise(edges))


@each("form", _FORMS)
def test_every_encoding_is_decoded_whole(form: str) -> None:
    """Every encoding that is read gives the bytes back in one piece, and is complete then."""
    name, pack = _FORMS[form]
    decompressor = decompressor_for(name)
    assert _feed(decompressor, iter([pack(_TEXT)])) == _TEXT
    assert decompressor.complete


@each("form", _FORMS)
def test_every_encoding_is_decoded_byte_by_byte(form: str) -> None:
    """The same, when every byte is a read of its own."""
    name, pack = _FORMS[form]
    packed = pack(_TEXT)
    decompressor = decompressor_for(name)
    assert _feed(decompressor, _cut(packed, *range(1, len(packed)))) == _TEXT
    assert decompressor.complete


@each("form", _FORMS)
def test_every_encoding_is_decoded_at_every_split(form: str) -> None:
    """The same, for a split at every single place."""
    name, pack = _FORMS[form]
    text = _TEXT[:600]
    packed = pack(text)
    for place in range(1, len(packed)):
        decompressor = decompressor_for(name)
        assert _feed(decompressor, _cut(packed, place)) == text, place
        assert decompressor.complete


@given(st.binary(max_size=4096), st.sampled_from(sorted(_FORMS)), st.lists(st.integers(0, 1 << 13), max_size=8))
@settings(max_examples=200, deadline=None)
def test_any_content_is_decoded_at_any_split(data: bytes, form: str, places: list[int]) -> None:
    """Any content, split anywhere, comes out as it went in."""
    name, pack = _FORMS[form]
    packed = pack(data)
    decompressor = decompressor_for(name)
    assert _feed(decompressor, _cut(packed, *(place % (len(packed) + 1) for place in places))) == data
    assert decompressor.complete


@pytest.mark.parametrize("form", ["gzip", "gzip-flushed", "deflate", "deflate-raw", "deflate-stored"])
def test_a_cut_body_is_never_complete(form: str) -> None:
    """Cut at any place but the very beginning, it is not complete, whatever came out of it."""
    name, pack = _FORMS[form]
    text = _TEXT[:600]
    packed = pack(text)
    for place in range(1, len(packed)):
        decompressor = decompressor_for(name)
        out = _feed(decompressor, iter([packed[:place]]))
        assert text.startswith(out)
        assert not decompressor.complete, place


def test_gzip_members_are_complete_only_between_each_other() -> None:
    """A body of several gzip members may end after any of them and nowhere else."""
    first, second = gzip.compress(b"one"), gzip.compress(b"two")
    for place in range(1, len(first + second) + 1):
        decompressor = decompressor_for("gzip")
        _feed(decompressor, iter([(first + second)[:place]]))
        assert decompressor.complete == (place in (len(first), len(first + second))), place


@pytest.mark.parametrize("form", ["gzip", "deflate", "deflate-raw"])
def test_an_empty_body_is_complete(form: str) -> None:
    """An empty body is a whole one, as after a request that has no answer to give."""
    decompressor = decompressor_for(_FORMS[form][0])
    assert _feed(decompressor, iter([b""])) == b""
    assert decompressor.complete


def test_what_was_flushed_comes_out_at_once() -> None:
    """Each event that the server's compressor has let go is there as soon as its bytes are."""
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    decompressor = decompressor_for("gzip")
    for event in (b"data: one\n\n", b"data: two\n\n", b"data: three\n\n"):
        packed = packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH)
        assert _feed(decompressor, iter([packed])) == event
        assert not decompressor.complete
    assert _feed(decompressor, iter([packer.flush()])) == b""
    assert decompressor.complete


@pytest.mark.parametrize("name", ["gzip", "deflate"])
def test_a_bomb_comes_in_bounded_pieces(name: str) -> None:
    """A small read that stands for 100 MiB is undone a MiB at a time, as it is asked for."""
    packer = zlib.compressobj(9, wbits=(16 if name == "gzip" else 0) + zlib.MAX_WBITS)
    zeros = bytes(_PIECE)
    bomb = b"".join(packer.compress(zeros) for _ in range(100)) + packer.flush()
    decompressor = decompressor_for(name)
    tracemalloc.start()
    try:
        size = 0
        for piece in decompressor.feed(bomb):
            assert len(piece) <= _PIECE
            size += len(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size == 100 * _PIECE
    assert decompressor.complete
    assert peak < 8 * _PIECE


def test_a_bomb_is_decoded_no_further_than_asked() -> None:
    """A caller that stops after the first piece has caused no further decoding."""
    bomb = gzip.compress(bytes(64 * _PIECE))
    decompressor = decompressor_for("gzip")
    tracemalloc.start()
    try:
        assert len(next(iter(decompressor.feed(bomb)))) == _PIECE
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * _PIECE


@each("form", ["gzip", "gzip-members", "deflate", "deflate-raw", "gzip-twice", "deflate-in-gzip"])
@each("asked", [0, 1, 2])
def test_undecoded_input_comes_before_new_input(form: str, asked: int) -> None:
    """A feed that is left after some of its pieces loses nothing.

    The next feed goes on where the first was left, and the first has nothing to give any more.
    """
    name, pack = _FORMS[form]
    data = bytes(3 * _PIECE) + random.Random(3).randbytes(5000) + bytes(2 * _PIECE)
    packed = pack(data)
    half = len(packed) // 2
    decompressor = decompressor_for(name)
    left = iter(decompressor.feed(packed[:half]))
    # A generator begins with its first piece; one that never began was never fed.
    out = [next(left) for _ in range(asked)]
    if not asked:
        half = 0
    out += decompressor.feed(packed[half:])
    assert b"".join(out) == data
    assert decompressor.complete
    assert not asked or list(left) == []


@pytest.mark.parametrize("name", ["gzip", "deflate", "gzip, gzip"])
def test_nothing_is_decompressed_behind_an_error(name: str) -> None:
    """Bytes that cannot be decoded stay what they are: every later feed says so again, a good one too."""
    decompressor = decompressor_for(name)
    for data in (b"data: never compressed\n\n" * 4, gzip.compress(b"good"), b"", zlib.compress(b"good")):
        with pytest.raises(Undecodable):
            _feed(decompressor, iter([data]))


def test_a_meter_bounds_the_decoded_bytes() -> None:
    """As many bytes as may come out do, and the first beyond them is an error; unread bytes count too."""
    packed = gzip.compress(bytes(5000))
    assert b"".join(BodyMeter(decompressor_for("gzip"), 5000, "host").feed(packed)) == bytes(5000)
    for most in (0, 1, 4999):
        with pytest.raises(BodyTooLarge, match=f"host is larger than {most:,} bytes"):
            list(BodyMeter(decompressor_for("gzip"), most, "host").feed(packed))
        with pytest.raises(BodyTooLarge):
            BodyMeter(decompressor_for("gzip"), most, "host").count(packed)


def test_a_meter_counts_undecodable_bytes_on_the_wire() -> None:
    """The size on the wire counts behind bytes that are not what they say.

    The size on the wire also counts where no encoding is undone.
    """
    broken = BodyMeter(decompressor_for("gzip"), 100, "host")
    broken.count(b"never compressed")
    assert broken.unread
    for meter in (broken, BodyMeter(Unread(), 100, "host")):
        with pytest.raises(BodyTooLarge):
            for _ in range(3):
                meter.count(bytes(50_000))


@pytest.mark.parametrize("name", ["gzip", "deflate"])
def test_a_wrong_encoding_cannot_be_decoded(name: str) -> None:
    """Plain text under the name of an encoding, a flipped byte and a wrong checksum cannot be decoded."""
    with pytest.raises(Undecodable, match=name):
        _feed(decompressor_for(name), iter([b"data: this was never compressed\n\n" * 4]))
    pack = gzip.compress if name == "gzip" else zlib.compress
    packed = bytearray(pack(random.Random(1).randbytes(4000)))
    packed[-6] ^= 0xFF
    with pytest.raises(Undecodable, match=name):
        _feed(decompressor_for(name), iter([bytes(packed)]))


@pytest.mark.parametrize("name", ["br", "zstd", "gzip, br", "br, gzip", "compress", "x" * 500, "gzip," * 5 + "gzip"])
def test_an_unknown_encoding_is_refused_by_its_name(name: str) -> None:
    """An encoding that was not asked for is refused by its name, cut to a length for a message."""
    with pytest.raises(Undecodable) as caught:
        decompressor_for(name)
    assert name[:20] in str(caught.value)
    assert len(str(caught.value)) < 200


def test_bytes_behind_a_deflate_body_are_dropped() -> None:
    """Bytes behind the end of a deflate body are no part of it."""
    decompressor = decompressor_for("deflate")
    assert _feed(decompressor, iter([zlib.compress(b"one") + b"rest", b"more"])) == b"one"
    assert decompressor.complete


def test_no_encoding_passes_bytes_through() -> None:
    """Without an encoding the very bytes come out, and any end is an end."""
    decompressor = decompressor_for("identity")
    assert isinstance(decompressor, Identity)
    data = b"x" * 10
    assert next(iter(decompressor.feed(data))) is data
    assert decompressor.complete
