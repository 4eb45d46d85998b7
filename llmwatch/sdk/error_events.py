"""Holds a bad event back until llmwatch's exception for it has come.

The bytes of a body are passed on as they come, those of an error event or of broken JSON too, and the exception
follows. An SDK that reads such an event raises an exception of its own without llmwatch's data, or a bare
``JSONDecodeError``, and hangs up, so the call would be recorded as given up. Or the SDK takes the event for an ordinary
one. So an event that looks bad is held until the next bytes or the exception. If the exception comes, the event is
dropped, and the call is recorded as what it was.

This serves event streams of JSON, as those of both SDKs are. An event that looks good is never held. Each line is
checked once, which takes about a microsecond, a twentieth of what the SDK spends on it.
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterator

__all__ = ["BLANK_LINE", "LONGEST_BEGINNING", "without_bad_events"]

_LINE_END = re.compile(rb"\r\n|\n|\r")
BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
"""The end of an event."""
LONGEST_BEGINNING = len(b"\r\n\r")
"""Bytes at the end of a piece that may begin a blank line: they are searched with the next piece."""


def without_bad_events(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """``pieces`` without a bad event that is followed by an exception instead of another piece.

    A byte order mark is left out: both SDKs take it for a part of the first line, and lose that event (openai 3.57,
    anthropic 2.14).
    """
    lines = _Lines()
    for piece in _without_mark(pieces):
        begins = lines.look_at(piece)
        if begins is None:
            yield piece
            continue
        if begins:
            yield piece[:begins]
        held = bytearray(piece[begins:])
        at, ended = 0, False
        for following in pieces:
            if not ended:
                ended = BLANK_LINE.search(held, at) is not None
                at = max(0, len(held) - LONGEST_BEGINNING)
            held += following
            # Bytes after the event, other than line ends, show that no exception was made of it.
            if ended and following.strip(b"\r\n"):
                break
        lines.restart(held)
        yield bytes(held)


def _without_mark(pieces: Iterator[bytes]) -> Iterator[bytes]:
    start = b""
    for piece in pieces:
        start += piece
        if start and len(start) < len(BOM_UTF8) and BOM_UTF8.startswith(start):
            continue
        yield start.removeprefix(BOM_UTF8)
        if start:
            yield from pieces
            return
    if start:
        yield start


class _Lines:
    """The lines of an event stream, checked as they are completed."""

    def __init__(self) -> None:
        self._begun = bytearray()

    def look_at(self, piece: bytes) -> int | None:
        """The start of the first event in ``piece`` that looks bad, or ``None``. The rest is not checked."""
        event = start = 0
        for end in _LINE_END.finditer(piece):
            line = piece[start : end.start()]
            if self._begun:
                line = bytes(self._begun + line)
                self._begun.clear()
            if line.startswith(b"data:") and _is_bad(line[5:]):
                return event
            start = end.end()
            if not line:
                event = start
        self._begun += piece[start:]
        return None

    def restart(self, held: bytearray) -> None:
        """Continue after ``held``."""
        self._begun = held[max(held.rfind(b"\n"), held.rfind(b"\r")) + 1 :]


def _is_bad(data: bytes) -> bool:
    data = data.strip()
    if not data or data.startswith(b"[DONE]"):
        return False
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return True
    return isinstance(value, dict) and (bool(value.get("error")) or value.get("type") == "error")
