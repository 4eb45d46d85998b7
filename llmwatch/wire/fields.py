"""From blocks to events: sseclient-py reads the lines of each block that the framer cut.

This is the only module that knows sseclient-py. Blocks go in whole, so its own search for the end of an event, which
loses events on mixed newlines and is quadratic on long ones, has nothing to do and is passed by. So is all of it for a
block of one line of data, with or without a line with the event's name before it: in such a block, which nearly every
event is, there is nothing to find out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, cast

from sseclient import SSEClient

from llmwatch.wire.event import Event

__all__ = ["Fields", "milliseconds"]

# sseclient-py adds line to line, in time that grows with the square of their number. Below this size that is nothing;
# above it, at most this many lines are handed over at once.
_LONG = 4096
_LINES_AT_ONCE = 16

# Beyond this, a wait in milliseconds is no wait that anybody means, and int() is quadratic in the number of digits.
_MOST_DIGITS = 15

_SPACE = 0x20


class _RawEvent(Protocol):
    """The fields of one event as sseclient-py names them."""

    event: str
    data: str
    id: str | None
    retry: str | None


class _Blocks(list[bytes]):
    """The blocks of one read. sseclient-py logs its source at debug level, and blocks are answers: nothing to log."""

    def __repr__(self) -> str:
        return f"<{len(self)} blocks>"

    __str__ = __repr__


class _Client(SSEClient):
    """Takes each block as it is. A version without this method finds the same events, since blocks end as events do."""

    # Its logger is named after the class's module, and llmwatch's own has a line for each incident, not for each event.
    __module__ = SSEClient.__module__

    def __init__(self, blocks: _Blocks) -> None:
        # Its stubs ask for an iterator; what it does is to iterate anew, over whatever is there, for each events().
        super().__init__(cast("Iterator[bytes]", blocks))
        self._blocks = blocks

    def _read(self) -> Iterator[bytes]:
        return iter(self._blocks)


def milliseconds(retry: str) -> int | None:
    """The ``retry`` field: ASCII digits only, as the standard has it, and no more of them than a wait can need."""
    return int(retry) if retry.isascii() and retry.isdigit() and len(retry) <= _MOST_DIGITS else None


class Fields:
    """Parses blocks, read by read, with one client for the whole stream: making one costs as much as an event."""

    __slots__ = ("_blocks", "_client")

    def __init__(self) -> None:
        self._blocks = _Blocks()
        self._client = _Client(self._blocks)

    def parse(self, blocks: list[bytes]) -> list[Event]:
        """The events of these blocks in order."""
        events: list[Event] = []
        for block in blocks:
            name, line = "message", block
            if block.startswith(b"event:"):
                end = block.find(b"\n")
                # A single space behind the colon is none of the value.
                name = block[7 if block[6] == _SPACE else 6 : end].decode() or name
                line = block[end + 1 :]
            if line.startswith(b"data:") and line.find(b"\n") == len(line) - 2:
                events.append(Event(name, line[6 if line[5] == _SPACE else 5 : -2].decode()))
            elif len(block) > _LONG and block.count(b"\n") > _LINES_AT_ONCE:
                events.append(_event_of(self._parse_many_lines(block)))
            else:
                events += map(_event_of, self._parse([block]))
        return events

    @staticmethod
    def lines(lines: list[bytes]) -> list[Event]:
        """JSON lines as events: the line is the data, and there are no other fields."""
        return [Event("message", line.decode()) for line in lines]

    def _parse(self, blocks: list[bytes]) -> Iterable[_RawEvent]:
        self._blocks[:] = blocks
        return self._client.events()

    def _parse_many_lines(self, block: bytes) -> _RawEvent:
        data: list[bytes] = []
        others: dict[bytes, bytes] = {}
        for line in block[:-2].split(b"\n"):
            name = line[:5].partition(b":")[0]
            if name == b"data":
                data.append(line)
            else:
                # The last one wins.
                others[name] = line
        pieces = [data[i : i + _LINES_AT_ONCE] for i in range(0, len(data), _LINES_AT_ONCE)]
        pieces[0] = [*others.values(), *pieces[0]]
        events = list(self._parse([b"\n".join(piece) + b"\n\n" for piece in pieces]))
        whole = events[0]
        whole.data = "\n".join([event.data for event in events])
        return whole


def _event_of(raw: _RawEvent) -> Event:
    return Event(raw.event, raw.data, raw.id, None if raw.retry is None else milliseconds(raw.retry))
