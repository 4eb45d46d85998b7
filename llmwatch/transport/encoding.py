"""Undoing a content encoding piece by piece, and noticing when it was cut."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Protocol

__all__ = ["Decompressor", "Identity", "Undecodable", "Unread", "Zlib", "decompressor_for"]

_PIECE = 1024 * 1024
"""Bytes that are decompressed at once, so that a small read cannot turn into an unbounded one."""


class Undecodable(Exception):
    """The bytes are not what the content encoding says, or the encoding is one that is not read here."""


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


def decompressor_for(encoding: str) -> Decompressor:
    """What undoes a ``Content-Encoding``. Raises :class:`Undecodable` for one that was not asked for and cannot be
    read piece by piece.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return Identity()
    if name in ("gzip", "x-gzip"):
        return Zlib("gzip")
    if name == "deflate":
        return Zlib("deflate")
    raise Undecodable(f"the provider compressed the stream with {name[:40]!r}, which was not asked for")
