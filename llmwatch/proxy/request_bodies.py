"""The body of a request: in memory where it may be sent again, else read while it is sent.

A model call is JSON, so a JSON body of up to 64 MiB is read whole before anything is sent, and so is any body of up to
1 MiB. A larger one, an upload, is read as the upstream takes it, and sent once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

__all__ = ["BrokenBody", "Incoming"]

_LARGEST_JSON = 64 << 20
_LARGEST_OTHER = 1 << 20
_PIECE = 65536
_CHUNK_HEAD = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")
_LONGEST_LINE = 4096
_MOST_TRAILERS = 64


class BrokenBody(Exception):
    """The client's body ended before its announced end, or breaks the rules of its framing."""


class Incoming:
    """The body that ``file`` gives: ``length`` bytes, or chunks if ``length`` is ``None``.

    ``file`` has ``read1`` and ``readline``. One thread at a time reads: first the one that serves the connection, then
    the worker that sends an upload.
    """

    def __init__(self, file: Any, length: int | None) -> None:
        self._file = file
        self._length = length
        self._pieces = self._counted(length) if length is not None else self._chunks()
        self._begun: list[bytes] = []  # read whole pieces of an upload, still to be given
        self.ended = length == 0
        """Whether the whole body was read."""

    def read(self, *, json: bool) -> bytes | None:
        """The whole body, or ``None`` if it is an upload.
        :meth:`__iter__` gives what comes behind what was read.
        Raises :class:`BrokenBody`, and :class:`OSError` for a client that has gone.
        """
        most = _LARGEST_JSON if json else _LARGEST_OTHER
        if self._length is not None and self._length > most:
            return None
        read, size = [], 0
        for piece in self._pieces:
            read.append(piece)
            size += len(piece)
            if size > most:
                self._begun = read
                return None
        return b"".join(read)

    def __iter__(self) -> Iterator[bytes]:
        while self._begun:
            yield self._begun.pop(0)
        yield from self._pieces

    def _counted(self, left: int) -> Iterator[bytes]:
        while left:
            piece = self._file.read1(min(_PIECE, left))
            if not piece:
                raise BrokenBody("The body ended before its announced length.")
            left -= len(piece)
            self.ended = left == 0
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        while True:
            match = _CHUNK_HEAD.fullmatch(self._file.readline(_LONGEST_LINE))
            if match is None:
                raise BrokenBody("The size of a chunk cannot be read.")
            left = int(match[1], 16)
            if not left:
                break
            while left:
                piece = self._file.read1(min(_PIECE, left))
                if not piece:
                    raise BrokenBody("The body ended in a chunk.")
                left -= len(piece)
                yield piece
            if self._file.readline(3) != b"\r\n":
                raise BrokenBody("A chunk has no line end.")
        for _ in range(_MOST_TRAILERS):
            # Trailers are left out, as RFC 9110 (6.5.1) allows.
            line = self._file.readline(_LONGEST_LINE)
            if line == b"\r\n":
                self.ended = True
                return
            if not line.endswith(b"\r\n"):
                break
        raise BrokenBody("The trailers of the body cannot be read.")
