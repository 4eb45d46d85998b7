"""Names of events for an SDK that goes by them alone.

The anthropic SDK looks at the ``event:`` line of an event and passes over one that has none (2.14.0 does), although its
data names its type as well. Gateways drop these lines: the answer came, and would be lost without a word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from llmwatch.sdk.error_events import BLANK_LINE, LONGEST_BEGINNING

__all__ = ["with_event_names"]

_LINE_END = re.compile(rb"\r\n|\n|\r")


def with_event_names(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """``pieces``, with an ``event:`` line in front of each event that has none and whose data has a ``type``.

    The bytes of every other event are as they came. What is no whole event yet waits for its end.
    """
    rest = bytearray()
    for piece in pieces:
        # Every byte is looked at once, but for those that may begin the blank line that the piece completes.
        at = max(0, len(rest) - LONGEST_BEGINNING)
        rest += piece
        end = 0
        named = []
        while (blank := BLANK_LINE.search(rest, at)) is not None:
            if blank.end() == len(rest) and rest.endswith(b"\r"):
                # The line feed that belongs to it may follow.
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
    # In front of the data, behind the line ends and comments that may lead the event.
    at = re.search(rb"(?m)^(?=data:)", block.replace(b"\r", b"\n"))
    assert at is not None
    return block[: at.start()] + b"event: " + kind.encode() + b"\n" + block[at.start() :]
