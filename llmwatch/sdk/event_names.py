"""Adds the names of events for an SDK that reads nothing else.

The anthropic SDK knows an event by its ``event:`` line and skips an event without one (2.14.0 does), although the data
names the type too. Some gateways drop these lines: the answer would be lost without an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from llmwatch.sdk.error_events import BLANK_LINE, LONGEST_BEGINNING

__all__ = ["with_event_names"]

_LINE_END = re.compile(rb"\r\n|\n|\r")


def with_event_names(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """``pieces`` with an ``event:`` line before each event that has none and whose data has a ``type``.

    The bytes of every other event are unchanged. An incomplete event waits for its end.
    """
    rest = bytearray()
    for piece in pieces:
        # Each byte is searched once, except those that may begin a blank line which this piece completes.
        at = max(0, len(rest) - LONGEST_BEGINNING)
        rest += piece
        end = 0
        named = []
        while (blank := BLANK_LINE.search(rest, at)) is not None:
            if blank.end() == len(rest) and rest.endswith(b"\r"):
                # The line feed of the same line end may follow.
                break
            named.append(_named(bytes(rest[end : blank.end()])))
            at = end = blank.end()
        if named:
            del rest[:end]
            yield b"".join(named)
    if rest:
        yield _named(bytes(rest))


def _named(block: bytes) -> bytes:
    lines = _LINE_END.split(block)
    if any(line == b"event" or line.startswith(b"event:") for line in lines):
        return block
    data = b"\n".join(line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:"))
    try:
        kind = json.loads(data).get("type") if data else None
    except (ValueError, RecursionError, AttributeError):
        return block
    if not isinstance(kind, str) or not kind.isprintable():
        return block
    # Before the data, and after line ends and comments at the start of the event.
    at = re.search(rb"(?m)^(?=data:)", block.replace(b"\r", b"\n"))
    assert at is not None
    return block[: at.start()] + b"event: " + kind.encode() + b"\n" + block[at.start() :]
