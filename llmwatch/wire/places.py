"""Positions in the bytes of a read at which events end, for passing on the bytes of decoded events."""

from __future__ import annotations

import re

from llmwatch.wire.event import Fields
from llmwatch.wire.framing import Framer

__all__ = ["beginning", "end_of_events"]

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
# Bytes kept of the start of an event (comment or data) and of its end (whether an empty line may follow).
_HEAD = 4096
_TAIL = len(b"\r\n\r\n")


def beginning(data: bytes) -> bytes:
    """The unfinished event at the end of ``data``, as far as :func:`end_of_events` needs it."""
    place = 0
    for blank in _BLANK_LINE.finditer(data):
        place = blank.end()
    begun = data[place:]
    return begun if len(begun) <= _HEAD + _TAIL else begun[:_HEAD] + begun[-_TAIL:]


def end_of_events(data: bytes, count: int, *, begun: bytes = b"") -> int:
    """The position in ``data`` after the first ``count`` server-sent events; its length if it has fewer.

    ``begun`` is the :func:`beginning` of the event that continues at the start of ``data``.
    """
    if count <= 0:
        return 0
    framer, fields = Framer(), Fields()
    framer.feed(begun)
    place = 0
    for end in _LINE_END.finditer(data):
        count -= len(fields.parse(framer.feed(data[place : end.end()])))
        place = end.end()
        if count <= 0:
            return place
    return len(data)
