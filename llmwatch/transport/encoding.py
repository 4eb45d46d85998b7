"""Undoing a content encoding piece by piece, counting what comes out, and noticing when it was cut.

A decompressor belongs to the worker of one attempt and is never entered twice: what a caller has left in the middle of
a feed comes out of the next one, in order, and behind an error or the end nothing is decompressed any more.
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
"""Bytes by which a body may be longer on the wire than decoded: headers, checksums, and what a server flushes."""


class Undecodable(Exception):
    """The bytes are not what the content encoding says, or the encoding is one that is not read here."""


class UnknownEncoding(Undecodable):
    """The encoding is one that is not read here, which another try would not change. ``name``: the header's words."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Decompressor(Protocol):
    """Bytes as they were sent in, bytes as they were meant out."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Everything that can be told by now. Raises :class:`Undecodable`."""

    @property
    def complete(self) -> bool:
        """Whether this may be the end."""


class Identity:
    """No encoding."""

    complete = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data


class Unread:
    """An encoding that is not undone: nothing can be told of what was meant."""

    complete = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        return iter(())


class Foreign:
    """An encoding that urllib3 undoes for its readers (br and zstd, where their packages are installed). Here it is
    undone to be counted alone. What ``decoder`` cannot undo is the reader's to find, and counts no more.
    """

    complete = True

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder

    def feed(self, data: bytes) -> Iterator[bytes]:
        while self._decoder is not None and (data or self._decoder.has_unconsumed_tail):
            try:
                piece, data = self._decoder.decompress(data, max_length=_PIECE), b""
            except Exception:
                # Of whichever package it is.
                self._decoder = None
                return
            if piece:
                yield piece


class Zlib:
    """gzip (several members allowed) and deflate (with and without its zlib wrapper, since servers disagree)."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._bits = 16 + zlib.MAX_WBITS if encoding == "gzip" else zlib.MAX_WBITS
        self._inner = zlib.decompressobj(self._bits)
        self._rest = b""  # what was fed and not decompressed yet, because the caller stopped asking
        self._full = False  # the last piece had its whole size, so zlib may hold more of it
        self._broken = False
        self._fed = False
        self._sure = False  # that the body is, or is not, what its wrapper bytes say
        self._begun = b""  # what was fed before zlib could tell whether its wrapper is there

    @property
    def complete(self) -> bool:
        return self._inner.eof or not self._fed

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._broken:
            raise self._undecodable()
        # All of the state is kept here, not in the generator, whose caller may leave it for the next one.
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
    """One encoding over another: ``layers`` in the order in which they are undone."""

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
    """What undoes a ``Content-Encoding``, several in a row included. Raises :class:`UnknownEncoding` for one that is
    not read here.
    """
    names = [name.strip().lower() for name in encoding.split(",")]
    layers: list[Decompressor] = []
    # The last one named was applied last.
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
    """What counts a body whose encoding :func:`decompressor_for` does not read: what it holds, where urllib3 can tell
    that piece by piece (2.6 and later, with Brotli 1.2 and later), else the bytes as they come.
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
    # Brotli before 1.2 undoes all of what it is given, and urllib3 only warns of that.
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
    """Undoes the encoding of one body, and raises :class:`~llmwatch.BodyTooLarge` before more than ``most`` bytes are
    out of it.

    ``decompressor`` undoes the encoding, and may be replaced by :class:`Unread` where the bytes are not what they say.
    What comes over the wire is counted as well, for a compressed body may go on without holding anything.
    """

    def __init__(self, decompressor: Decompressor, most: int, host: str) -> None:
        self.decompressor = decompressor
        self._most = most
        self._host = host
        self._came = 0
        self._size = 0

    @property
    def complete(self) -> bool:
        """Whether this may be the end."""
        return self.decompressor.complete

    @property
    def unread(self) -> bool:
        """Whether there is an encoding that is not undone, or only to be counted."""
        return isinstance(self.decompressor, (Unread, Foreign))

    @property
    def plain(self) -> bool:
        """Whether what comes is handed on as it comes, or not at all."""
        return isinstance(self.decompressor, (Identity, Unread))

    def feed(self, data: bytes) -> Iterable[bytes]:
        """Everything that can be told by now. Raises :class:`Undecodable` and :class:`~llmwatch.BodyTooLarge`."""
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
        """Count what nobody reads here. What cannot be decoded is the reader's to find, and counts as it came."""
        try:
            for _ in self.feed(data):
                pass
        except Undecodable:
            self.decompressor = Unread()
