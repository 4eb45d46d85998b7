"""Undoes a content encoding piece by piece, counts the decoded bytes, and notices a cut body.

A decompressor belongs to the worker of one attempt and is never entered twice. If a caller leaves a feed half-way, the
next feed returns the rest first, in order. Nothing is decompressed behind an error or the end.
"""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from urllib3 import response as urllib3_response
from urllib3.response import HTTPResponse

from llmwatch.errors import BodyTooLarge

__all__ = [
    "BodyMeter",
    "Decompressor",
    "Foreign",
    "Identity",
    "Undecodable",
    "UnknownEncoding",
    "Unread",
    "Zlib",
    "body_too_large",
    "decompressor_for",
    "unread_for",
]

_MOST_ENCODINGS = 5
"""Layers of encodings that are undone; urllib3 has the same limit."""

_PIECE = 1024 * 1024
"""Bytes that are decompressed at once, so that a small read cannot turn into an unbounded one."""


_FRAME = 64 * 1024
"""Bytes by which a body may be longer on the wire than decoded: headers, checksums, server flushes."""


class Undecodable(Exception):
    """The bytes do not match the content encoding, or the encoding is not read here."""


class UnknownEncoding(Undecodable):
    """The encoding is not read here, so another try would not help. ``name``: the header's value."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Decompressor(Protocol):
    """Takes the bytes as they were sent, and gives the decoded bytes."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Everything that can be decoded by now. Raises :class:`Undecodable`."""

    @property
    def complete(self) -> bool:
        """Whether the body may end here."""


class Identity:
    """No encoding."""

    complete = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data


class Unread:
    """An encoding that is not undone: gives nothing."""

    complete = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        return iter(())


class Foreign:
    """An encoding that urllib3 undoes for its readers: br and zstd, where their packages are installed.
    It is undone here only to be counted. The reader meets what ``decoder`` cannot undo; from there on nothing is
    counted.
    """

    complete = True

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder

    def feed(self, data: bytes) -> Iterator[bytes]:
        while self._decoder is not None and (data or self._decoder.has_unconsumed_tail):
            try:
                piece, data = self._decoder.decompress(data, max_length=_PIECE), b""
            except Exception:
                # The package's own exception.
                self._decoder = None
                return
            if piece:
                yield piece


class Zlib:
    """gzip, several members allowed, and deflate, with and without zlib wrapper, since servers differ."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._bits = 16 + zlib.MAX_WBITS if encoding == "gzip" else zlib.MAX_WBITS
        self._inner = zlib.decompressobj(self._bits)
        self._rest = b""  # fed but not decompressed yet, since the caller stopped
        self._full = False  # the last piece had the full size, so zlib may hold more
        self._broken = False
        self._fed = False
        self._sure = False  # whether the wrapper is there is known
        self._begun = b""  # fed before zlib could tell whether the wrapper is there

    @property
    def complete(self) -> bool:
        return self._inner.eof or not self._fed

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._broken:
            raise self._undecodable()
        # The state is kept here, not in the generator, which the caller may leave for the next one.
        self._rest = self._rest + data if self._rest else data
        while self._rest or self._full:
            if self._inner.eof:
                if self._encoding != "gzip" or not self._rest:
                    self._rest, self._full = b"", False
                    return
                self._inner = zlib.decompressobj(self._bits)
            data, self._rest = self._rest, b""
            self._fed = self._fed or bool(data)
            out = self._step(data)
            self._rest = self._inner.unconsumed_tail or self._inner.unused_data
            self._full = len(out) == _PIECE
            if out:
                yield out

    def _step(self, data: bytes) -> bytes:
        unsure = self._encoding == "deflate" and not self._sure
        self._begun += data if unsure else b""
        self._sure = self._sure or len(self._begun) >= 2
        try:
            return self._inner.decompress(data, _PIECE)
        except zlib.error as error:
            if unsure:
                self._inner = zlib.decompressobj(-zlib.MAX_WBITS)
                return self._step(self._begun)
            self._broken = True
            raise self._undecodable() from error

    def _undecodable(self) -> Undecodable:
        return Undecodable(f"the body is not valid {self._encoding}")


class _Layers:
    """Encodings over each other: ``layers`` in the order in which they are undone."""

    def __init__(self, layers: list[Decompressor]) -> None:
        self._layers = layers

    @property
    def complete(self) -> bool:
        return all(layer.complete for layer in self._layers)

    def feed(self, data: bytes) -> Iterator[bytes]:
        pieces: Iterator[bytes] = iter((data,))
        for layer in self._layers:
            pieces = _undone(layer, pieces)
        return pieces


def _undone(layer: Decompressor, pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield from layer.feed(piece)


def decompressor_for(encoding: str) -> Decompressor:
    """The decompressor for a ``Content-Encoding`` of one or several encodings.
    Raises :class:`UnknownEncoding` for an encoding that is not read here.
    """
    names = [name.strip().lower() for name in encoding.split(",")]
    layers: list[Decompressor] = []
    # The sender applied the last name last.
    for name in reversed(names):
        if name in ("gzip", "x-gzip", "deflate"):
            layers.append(Zlib(name.removeprefix("x-")))
        elif name not in ("", "identity"):
            raise UnknownEncoding(encoding.strip()[:40])
    if len(layers) > _MOST_ENCODINGS:
        raise UnknownEncoding(encoding.strip()[:40])
    if len(layers) > 1:
        return _Layers(layers)
    return layers[0] if layers else Identity()


def unread_for(encoding: str) -> Decompressor:
    """The counter for a body whose encoding :func:`decompressor_for` does not read.
    It counts decoded bytes where urllib3 can decode piece by piece (2.6 and later, with Brotli 1.2 and later), and
    bytes on the wire elsewhere.
    """
    name = encoding.strip().lower()
    make, known = getattr(urllib3_response, "_get_decoder", None), HTTPResponse.CONTENT_DECODERS
    if make is None or not any(part.strip() in known for part in name.split(",")):
        return Unread()
    try:
        decoder = make(name)
        bounded = "max_length" in inspect.signature(decoder.decompress).parameters
    except Exception:
        return Unread()
    layers = getattr(decoder, "_decoders", (decoder,))
    return Foreign(decoder) if bounded and all(map(_is_bounded, layers)) else Unread()


def _is_bounded(decoder: Any) -> bool:
    # Brotli before 1.2 undoes all of its input at once, and urllib3 only warns of that.
    inner = getattr(decoder, "_obj", None)
    return type(decoder).__name__ != "BrotliDecoder" or hasattr(inner, "can_accept_more_data")


def body_too_large(host: str, most: int) -> BodyTooLarge:
    """The error for a body of ``host`` that is larger than ``most`` bytes."""
    return BodyTooLarge(
        f"The body from {host} is larger than {most:,} bytes (decoded, where it is compressed) and was not read any"
        " further, to protect the memory of this process. If such an answer is wanted, raise max_body"
        " (LLMWATCH_MAX_BODY_BYTES); 0 removes the cap."
    )


class BodyMeter:
    """Undoes the encoding of one body. Raises :class:`~llmwatch.BodyTooLarge` beyond ``most`` bytes.
    ``decompressor`` undoes the encoding. Its user may replace it by :class:`Unread` where the bytes do not match the
    encoding. Bytes on the wire are counted too, since a compressed body may go on without content.
    """

    def __init__(self, decompressor: Decompressor, most: int, host: str) -> None:
        self.decompressor = decompressor
        self._most = most
        self._host = host
        self._came = 0
        self._size = 0

    @property
    def complete(self) -> bool:
        """Whether the body may end here."""
        return self.decompressor.complete

    @property
    def unread(self) -> bool:
        """Whether the encoding is not undone, or undone only to be counted."""
        return isinstance(self.decompressor, (Unread, Foreign))

    @property
    def plain(self) -> bool:
        """Whether the bytes pass unchanged, or not at all."""
        return isinstance(self.decompressor, (Identity, Unread))

    def feed(self, data: bytes) -> Iterable[bytes]:
        """Everything that can be decoded by now.
        Raises :class:`Undecodable` and :class:`~llmwatch.BodyTooLarge`.
        """
        self._came += len(data)
        if self._came - _FRAME > self._most:
            raise body_too_large(self._host, self._most)
        if self.decompressor.__class__ is not Identity:
            return self._undone(data)
        self._size += len(data)
        if self._size > self._most:
            raise body_too_large(self._host, self._most)
        return (data,)

    def _undone(self, data: bytes) -> Iterator[bytes]:
        hidden = self.unread
        for piece in self.decompressor.feed(data):
            self._size += len(piece)
            if self._size > self._most:
                raise body_too_large(self._host, self._most)
            if not hidden:
                yield piece

    def count(self, data: bytes) -> None:
        """Count the bytes of a body that is not read here. Undecodable bytes count as they came."""
        try:
            for _ in self.feed(data):
                pass
        except Undecodable:
            self.decompressor = Unread()
