"""Events with their kind and content, and how sseclient-py makes an event of a block of lines.

Only this module uses sseclient-py. Complete blocks bypass sseclient-py's search for the end of an event, which loses
events on mixed newlines and is quadratic on long events. A block of one line of data, with or without a line with the
event's name before it, bypasses sseclient-py altogether: nearly every event has this form, and nothing in it needs
parsing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, Protocol, cast

from sseclient import SSEClient

__all__ = ["Event", "Fields", "Kind", "Meaning", "StreamError", "ToolDelta", "any_content", "milliseconds"]


class Kind(str, Enum):
    """The meaning of an event for the answer.

    ``TEXT``, ``REASONING``, ``TOOL_INPUT`` and ``TOOL_CALL`` are content (``is_content``): progress of the generation.
    ``TEXT`` is part of the answer itself, including sound and pictures. ``REASONING`` includes signatures, opaque
    reasoning, and thinking under any name. ``TOOL_INPUT`` is part of a call in progress; ``TOOL_CALL`` means that at
    least one call is complete. ``LIFECYCLE`` carries no output and includes events of unknown type. ``KEEPALIVE``
    carries nothing.
    """

    is_content: bool

    def __new__(cls, value: str, is_content: bool = False) -> Kind:
        kind = str.__new__(cls, value)
        kind._value_ = value
        kind.is_content = is_content
        return kind

    TEXT = ("text", True)
    REASONING = ("reasoning", True)
    TOOL_INPUT = ("tool_input", True)
    TOOL_CALL = ("tool_call", True)
    LIFECYCLE = "lifecycle"
    KEEPALIVE = "keepalive"
    USAGE = "usage"
    TERMINAL = "terminal"
    ERROR = "error"

    def __str__(self) -> str:
        # The default differs between Python 3.10, 3.11 and 3.12; records and logs need the plain word.
        return str(self._value_)


class ToolDelta(NamedTuple):
    """A piece of a tool call that the *caller* carries out. Calls that the provider runs have no pieces.

    ``key`` identifies the call within the answer. ``name`` is the name as far as it is known, ``None`` if the event has
    no part of the name. ``arguments`` is the next fragment of the arguments' JSON text; with ``whole``, the complete
    text, which replaces earlier fragments. ``complete``: the provider closed the call, and its arguments are a JSON
    object (``{}`` if the provider gave none); a cut call is never complete. ``bare``: the finish mark came with the
    start of the call, so the call has no arguments unless some follow.
    """

    key: str
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    complete: bool = False
    whole: bool = False
    bare: bool = False


class StreamError(NamedTuple):
    """An error in the provider's words; ``type`` and ``code`` are ``None`` if the provider gave none."""

    type: str | None
    code: str | None
    message: str


# The marker must stay the same object after pickling, and must not be a JSON value.
_UNPARSED: Any = ...

# json.loads searches for white space at both ends first; providers send none.
_raw_decode = json.JSONDecoder().raw_decode


_SHOWN = 40


@dataclass(slots=True, repr=False)
class Event:
    """One event of a stream.

    As sent: ``event`` (``"message"`` if the provider gave no name), ``data``, ``id``, and ``retry`` (milliseconds,
    ``None`` if it is not a number). From the dialect:

    * ``kind``; ``text``: the piece of the answer's text in this event; ``reasoning``; ``tools``: pieces of tool calls;
      ``error``.
    * ``finish``: the event is a finish mark. Only usage and the end mark are expected after it, although more may come.
    * ``cut``: the provider says that the answer, or one of its choices, is incomplete, for its length or because of a
      filter.
    * ``usage``: the provider's counts under the provider's names.

    An event may carry more than its kind says: ``text`` may stand beside ``TOOL_CALL``, and text and complete calls
    beside ``TERMINAL``. Treat an event as read-only.
    """

    event: str
    data: str = field(repr=False)
    id: str | None = None
    retry: int | None = None
    kind: Kind = Kind.LIFECYCLE
    text: str = field(default="", repr=False)
    reasoning: str = field(default="", repr=False)
    tools: tuple[ToolDelta, ...] = field(default=(), repr=False)
    finish: bool = False
    error: StreamError | None = field(default=None, repr=False)
    cut: bool = False
    usage: dict[str, Any] | None = field(default=None, repr=False)
    _json: Any = field(default=_UNPARSED, init=False, repr=False, compare=False)

    def __repr__(self) -> str:
        said = self.text or self.reasoning
        shown = f" {said if len(said) <= _SHOWN else said[: _SHOWN - 1] + '…'!r}" if said else ""
        marks = "".join(f" {name}" for name in ("finish", "cut") if getattr(self, name))
        name = "" if self.event == "message" else f" ({self.event})"
        return f"<Event {self.kind}{name}{shown}{marks}>"

    @property
    def has_content(self) -> bool:
        """Whether the event has content: by its kind, or by text, reasoning or tools in another kind."""
        return self.kind.is_content or bool(self.text or self.reasoning or self.tools)

    @property
    def tool(self) -> ToolDelta | None:
        """The first piece of a tool call in this event; ``tools`` has all of them."""
        return self.tools[0] if self.tools else None

    def json(self) -> Any:
        """``data`` as JSON. Every call returns the same object. Raises ``ValueError`` for invalid JSON."""
        value = self._json
        if value is _UNPARSED:
            text = self.data
            try:
                value, end = _raw_decode(text)
            except ValueError:
                end = -1
            if end != len(text):
                # White space around the value, or invalid JSON: json.loads decides.
                value = json.loads(text)
            self._json = value
        return value


def any_content(events: list[Event]) -> bool:
    """Whether any of ``events`` has content, see :attr:`Event.has_content`."""
    # A generator would cost a call of a function for each event of every stream.
    for event in events:  # noqa: SIM110
        if event.kind.is_content or event.text or event.reasoning or event.tools:
            return True
    return False


@dataclass(frozen=True, slots=True)
class Meaning:
    """The result of a registered dialect function where a :class:`Kind` alone is not enough.

    ``finish``: only usage and the terminal event can follow. ``cut``: the answer is incomplete, for its length or
    because of a filter. ``provider_acted``: the provider runs a tool of its own that may have side effects; from then
    on the request is not sent again without a person's consent.
    """

    kind: Kind
    text: str = ""
    reasoning: str = ""
    tools: tuple[ToolDelta, ...] = ()
    finish: bool = False
    error: StreamError | None = None
    cut: bool = False
    provider_acted: bool = False


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
