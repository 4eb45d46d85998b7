"""Undoing a content encoding piece by piece, and noticing when it was cut."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Protocol

__all__ = ["Decompressor", "Identity", "Undecodable", "UnknownEncoding", "Unread", "Zlib", "decompressor_for"]

_MOST_ENCODINGS = 5
"""Layers of encodings that are undone; urllib3 has the same limit."""

_PIECE = 1024 * 1024
"""Bytes that are decompressed at once, so that a small read cannot turn into an unbounded one."""


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


class Zlib:
    """gzip (several members allowed) and deflate (with and without its zlib wrapper, since servers disagree)."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._bits = 16 + zlib.MAX_WBITS if encoding == "gzip" else zlib.MAX_WBITS
        self._inner = zlib.decompressobj(self._bits)
        self._fed = False
        self._sure = False  # that the body is, or is not, what its wrapper bytes say
        self._begun = b""  # what was fed before zlib could tell whether its wrapper is there

    @property
    def complete(self) -> bool:
        return self._inner.eof or not self._fed

    def feed(self, data: bytes) -> Iterator[bytes]:
        out = b""
        while data or len(out) == _PIECE:
            if self._inner.eof:
                if self._encoding != "gzip" or not data:
                    return
                self._inner = zlib.decompressobj(self._bits)
            self._fed = self._fed or bool(data)
            out = self._step(data)
            if out:
                yield out
            data = self._inner.unconsumed_tail or self._inner.unused_data

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
            raise Undecodable(f"the body is not valid {self._encoding}") from error


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
