"""Recognising a line of server-sent events by its beginning."""

from __future__ import annotations

__all__ = ["ENOUGH_OF_LINE", "may_be_events"]

ENOUGH_OF_LINE = 8
"""Bytes of a line that decide whether it is an event's: more than any field's name with the colon."""

_FIELDS = (b"data", b"event", b"id", b"retry")


def may_be_events(line: bytes, *, whole: bool) -> bool:
    """Whether ``line`` (the beginning of a line, unless ``whole``) can be a line of server-sent events."""
    name, colon, _ = line[:ENOUGH_OF_LINE].partition(b":")
    if colon or whole:
        return name in _FIELDS or not name
    return any(field.startswith(name) for field in _FIELDS)
