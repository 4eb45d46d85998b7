"""What a line of server-sent events begins with."""

from __future__ import annotations

__all__ = ["ENOUGH_OF_LINE", "may_be_events"]

ENOUGH_OF_LINE = 8
"""Bytes of a line that show whether it is one of server-sent events: more than any field's name with its colon."""

_FIELDS = (b"data", b"event", b"id", b"retry")


def may_be_events(line: bytes, *, whole: bool) -> bool:
    """Whether ``line``, or if it is not ``whole`` the line that it begins, can be one of server-sent events."""
    name, colon, _ = line[:ENOUGH_OF_LINE].partition(b":")
    if colon or whole:
        return name in _FIELDS or not name
    return any(field.startswith(name) for field in _FIELDS)
