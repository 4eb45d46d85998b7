"""A call log while it grows, through its rotations."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

from llmwatch import CallRecord
from llmwatch.cli.incident_log import LONGEST_LINE, read_call
from llmwatch.records.call_log import MOST_ROTATED

__all__ = ["LogFollower"]

_PIECE = 1024 * 1024


class LogFollower:
    """Reads the calls that a log gets, from a place near its end on.

    :meth:`poll` yields what has come since the last time. A line counts once it is whole. When the log was rotated, the
    rest of the old file and the files in between are read first; a file that was cut is read from its beginning.
    ``skipped`` counts lines that are no calls. ``missing`` says whether there was no file to read.
    """

    def __init__(self, path: str, *, tail: int | None = None) -> None:
        self._path = path
        self._tail = tail
        self._file: BinaryIO | None = None
        self._rest = b""
        self._beyond = False  # in the middle of a line that is too long or whose beginning was not read
        self.skipped = 0
        self.missing = False

    def poll(self) -> Iterator[CallRecord]:
        """Yield the calls whose lines are whole now. Raises OSError if the file cannot be read."""
        if self._file is None and not self._open():
            return
        while True:
            yield from self._read_on()
            later = self._later()
            if not later:
                return
            for path in later:
                self._leave()
                try:
                    self._file = open(path, "rb")  # noqa: SIM115 - it is read at the next poll too
                except FileNotFoundError:
                    break  # it was rotated just now
                if path != self._path:
                    yield from self._read_on()

    def close(self) -> None:
        """Close the file."""
        self._leave()

    def _open(self) -> bool:
        try:
            self._file = open(self._path, "rb")  # noqa: SIM115 - it is read at the next poll too
        except FileNotFoundError:
            self.missing = True
            return False
        self.missing = False
        size = os.fstat(self._file.fileno()).st_size
        if self._tail is not None and size > self._tail:
            # The byte before tells whether a line begins here.
            self._file.seek(size - self._tail - 1)
            self._beyond = self._file.read(1) != b"\n"
        self._tail = None
        return True

    def _leave(self) -> None:
        if self._file is not None:
            self._file.close()
            # The half line of a rotated file stays half a line.
            self.skipped += bool(self._rest)
        self._file, self._rest, self._beyond = None, b"", False

    def _read_on(self) -> Iterator[CallRecord]:
        assert self._file is not None
        while data := self._file.read(_PIECE):
            *lines, rest = (self._rest + data).split(b"\n")
            for line in lines:
                if self._beyond:
                    self._beyond = False
                elif line.strip():
                    try:
                        yield read_call(line + b"\n")
                    except ValueError:
                        self.skipped += 1
            if len(rest) > LONGEST_LINE:
                self.skipped += not self._beyond
                rest, self._beyond = b"", True
            self._rest = rest

    def _later(self) -> list[str]:
        """The files to go on with, if the open one is not the log any more; empty if it is."""
        assert self._file is not None
        mine = os.fstat(self._file.fileno())
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return []  # in the middle of a rotation
        if os.path.samestat(mine, status):
            return [self._path] if mine.st_size < self._file.tell() else []
        between: list[str] = []
        for number in range(1, MOST_ROTATED + 1):
            older = f"{self._path}.{number}"
            try:
                if os.path.samestat(mine, os.stat(older)):
                    return [*reversed(between), self._path]
            except FileNotFoundError:
                break
            between.append(older)
        # The open file is none of the rotated ones: another program has moved it.
        return [self._path]
