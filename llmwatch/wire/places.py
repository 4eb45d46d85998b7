"""Where in the bytes of a read its events end, for those who hand on the bytes and have read the events."""

from __future__ import annotations

import re

from llmwatch.wire.fields import Fields
from llmwatch.wire.framing import Framer

__all__ = ["beginning", "end_of_events"]

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
# Of the beginning of an event: enough to tell a comment from data, and whether an empty line may follow.
_HEAD = 4096
_TAIL = len(b"\r\n\r\n")


def beginning(data: bytes) -> bytes:
    """What of ``data`` belongs to an event that has begun and not ended, as far as :func:`end_of_events` needs it."""
    place = 0
    for blank in _BLANK_LINE.finditer(data):
        place = blank.end()
    begun = data[place:]
    return begun if len(begun) <= _HEAD + _TAIL else begun[:_HEAD] + begun[-_TAIL:]


def end_of_events(data: bytes, count: int, *, begun: bytes = b"") -> int:
    """The place in ``data`` behind its first ``count`` server-sent events; its length where it holds fewer.

    ``begun`` is the :func:`beginning` of the event in which ``data`` begins.
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
