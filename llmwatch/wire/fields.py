"""From blocks to events: sseclient-py parses the lines of each block of the framer.

Only this module uses sseclient-py. Complete blocks bypass sseclient-py's search for the end of an event, which loses
events on mixed newlines and is quadratic on long events. A block of one line of data, with or without a line with the
event's name before it, bypasses sseclient-py altogether: nearly every event has this form, and nothing in it needs
parsing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, cast

from sseclient import SSEClient

from llmwatch.wire.event import Event

__all__ = ["Fields", "milliseconds"]

# sseclient-py concatenates lines in quadratic time. Larger blocks are passed to it in pieces of at most _LINES_AT_ONCE
# lines.
_LONG = 4096
_LINES_AT_ONCE = 16

# More digits than any meaningful wait in milliseconds has; int() is quadratic in the number of digits.
_MOST_DIGITS = 15

_SPACE = 0x20


class _RawEvent(Protocol):
    """The fields of one event as sseclient-py names them."""

    event: str
    data: str
    id: str | None
    retry: str | None


class _Blocks(list[bytes]):
    """The blocks of one read, hidden from logs: sseclient-py logs its source at debug level."""

    def __repr__(self) -> str:
        return f"<{len(self)} blocks>"

    __str__ = __repr__


class _Client(SSEClient):
    """An ``SSEClient`` that takes each block as a unit.

    A version of sseclient-py without ``_read`` finds the same events, because a block ends where an event ends.
    """

    # sseclient-py names its logger after the class's module. llmwatch's logger has no lines for events.
    __module__ = SSEClient.__module__

    def __init__(self, blocks: _Blocks) -> None:
        # The stubs ask for an iterator; each events() iterates anew over the list.
        super().__init__(cast("Iterator[bytes]", blocks))
        self._blocks = blocks

    def _read(self) -> Iterator[bytes]:
        return iter(self._blocks)


def milliseconds(retry: str) -> int | None:
    """The value of a ``retry`` field; ``None`` unless it is 1 to 15 ASCII digits, as the standard asks."""
    return int(retry) if retry.isascii() and retry.isdigit() and len(retry) <= _MOST_DIGITS else None


class Fields:
    """Parses blocks with one client for the whole stream: making a client costs as much as an event."""

    __slots__ = ("_blocks", "_client")

    def __init__(self) -> None:
        self._blocks = _Blocks()
        self._client = _Client(self._blocks)

    def parse(self, blocks: list[bytes]) -> list[Event]:
        """The events of ``blocks``, in order."""
        events: list[Event] = []
        for block in blocks:
            name, line = "message", block
            if block.startswith(b"event:"):
                end = block.find(b"\n")
                # One space after the colon does not belong to the value.
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
        """JSON lines as events: the line is the data; there are no other fields."""
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
                # The last field of a name wins.
                others[name] = line
        pieces = [data[i : i + _LINES_AT_ONCE] for i in range(0, len(data), _LINES_AT_ONCE)]
        pieces[0] = [*others.values(), *pieces[0]]
        events = list(self._parse([b"\n".join(piece) + b"\n\n" for piece in pieces]))
        whole = events[0]
        whole.data = "\n".join([event.data for event in events])
        return whole


def _event_of(raw: _RawEvent) -> Event:
    return Event(raw.event, raw.data, raw.id, None if raw.retry is None else milliseconds(raw.retry))
