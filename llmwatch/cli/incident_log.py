"""An incident log, read line by line: its calls, and the skipped lines with their reasons."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

from llmwatch import CallRecord, ConfigError
from llmwatch.records.call import CALL_SCHEMA

__all__ = ["LONGEST_LINE", "IncidentLog", "Skipped", "opened", "read_call", "tame"]

LONGEST_LINE = 4 * 1024 * 1024
"""Maximum length of a line in bytes; a record of a hundred attempts has a tenth of that."""

_PIECE = 64 * 1024
# No value of a record has more digits, and an integer too large for a float would fail in the sums.
_MOST_DIGITS = 18
_MOST_WHY = 200
# The messages of the records' readers begin with these. Other messages of a ValueError may quote the line.
_READERS = ("CallRecord", "AttemptRecord", "DecisionRecord", "Timings")


def tame(text: str, most: int = 200) -> str:
    """``text`` as one line of at most ``most`` characters, without control characters.

    Line ends and tabs become blanks. Characters that are not printable (controls, marks of the direction of writing,
    lone surrogates) are replaced, so that no value of a file can forge a line or control the terminal.
    """
    line = " ".join(text[: most * 2].split())
    line = line if line.isprintable() else "".join(char if char.isprintable() else "\ufffd" for char in line)
    return line if len(line) <= most else line[: most - 3] + "..."


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A line that is not a record: its number, from 1, and the reason, which quotes nothing of the line."""

    line: int
    why: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"line": self.line, "why": self.why}


class IncidentLog:
    """The calls of one log, in the order of its lines.

    ``lines`` counts the lines so far that were not blank, ``read`` the calls so far.
    """

    def __init__(self, source: BinaryIO, name: str, on_skipped: Callable[[Skipped], None], kind: str) -> None:
        self._source = source
        self._kind = kind
        self._on_skipped = on_skipped
        self.name = name
        self.lines = 0
        self.read = 0

    def calls(self) -> Iterator[CallRecord]:
        """Yield each call, one line held at a time. A failed read raises :class:`~llmwatch.ConfigError`."""
        for number, line in enumerate(self._lines(), 1):
            if line is not None and not line.strip():
                continue
            self.lines += 1
            try:
                record = read_call(line)
            except ValueError as error:
                self._on_skipped(Skipped(line=number, why=tame(str(error), _MOST_WHY)))
                continue
            self.read += 1
            yield record

    def _lines(self) -> Iterator[bytes | None]:
        # None stands for a line that is too long, and is not held whole.
        try:
            while line := self._source.readline(LONGEST_LINE + 1):
                if len(line) > LONGEST_LINE and not line.endswith(b"\n"):
                    while (rest := self._source.readline(_PIECE)) and not rest.endswith(b"\n"):
                        pass
                    yield None
                else:
                    yield line
        except OSError as error:
            raise _unreadable(self._kind, self.name, error) from None


@contextmanager
def opened(path: str, on_skipped: Callable[[Skipped], None], *, kind: str = "incident log") -> Iterator[IncidentLog]:
    """The log at ``path``; ``-``: standard input. Raises :class:`~llmwatch.ConfigError` if opening fails.

    ``kind`` is what errors call the file.
    """
    if path == "-":
        if sys.stdin is None:
            raise ConfigError("Standard input is closed; name a file.", field="FILE")
        yield IncidentLog(sys.stdin.buffer, "standard input", on_skipped, kind)
        return
    name = tame(path)
    try:
        source = open(path, "rb")  # noqa: SIM115 - what is raised inside the block below is not this call's
    except OSError as error:
        raise _unreadable(kind, name, error) from None
    with source:
        yield IncidentLog(source, name, on_skipped, kind)


def _unreadable(kind: str, name: str, error: OSError) -> ConfigError:
    why = error.strerror or type(error).__name__
    return ConfigError(f"The {kind} {name} cannot be read: {why}.", field="FILE")


def read_call(line: bytes | None) -> CallRecord:
    """The record in a line. Raises :class:`ValueError`, whose text quotes nothing of the line."""
    if line is None:
        raise ValueError(f"it is longer than {LONGEST_LINE // 1024**2} MiB")
    source = _parsed(line)
    schema = source.get("schema") if isinstance(source, dict) else None
    if type(schema) is int and schema > CALL_SCHEMA:
        raise ValueError(f"a newer llmwatch wrote it: its schema is {schema}, and this one reads up to {CALL_SCHEMA}")
    try:
        return CallRecord.from_dict(source)
    except ValueError as error:
        if not str(error).startswith(_READERS):
            raise ValueError("it is no record: one of its values is not known to this version of llmwatch") from None
        raise ValueError(f"it is no record: {error}") from None


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8-sig").rstrip("\r\n"), parse_int=_whole, parse_constant=_refuse)
    except UnicodeDecodeError:
        why = "it is not UTF-8 text"
    except json.JSONDecodeError as error:
        why = f"it is no JSON from column {error.colno} on"
    except (ValueError, RecursionError):
        why = "it is JSON that no record holds"
    if not line.endswith(b"\n"):
        why += "; its line end is missing: half-written, or still being written"
    raise ValueError(why)


def _whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError
    return int(digits)


def _refuse(constant: str) -> NoReturn:
    raise ValueError
