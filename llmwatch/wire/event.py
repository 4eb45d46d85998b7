"""What comes out of the decoder: one parsed event, what kind it is, and the pieces that it carries."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

__all__ = ["Event", "Kind", "Meaning", "StreamError", "ToolDelta", "any_content"]


class Kind(str, Enum):
    """What an event means for the answer.

    ``TEXT``, ``REASONING``, ``TOOL_INPUT`` and ``TOOL_CALL`` are content (``is_content``): they move generation
    forward. ``TEXT`` is anything of the answer itself, sound and pictures too; ``REASONING`` also stands for
    signatures, opaque reasoning and thinking under any name; ``TOOL_INPUT`` is a call under way; ``TOOL_CALL`` says
    that at least one call is complete. ``LIFECYCLE`` carries no output (events of unknown type are counted here),
    ``KEEPALIVE`` nothing at all.
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
        # The default differs between Python 3.10, 3.11 and 3.12; records and logs want the plain word.
        return str(self._value_)


class ToolDelta(NamedTuple):
    """A piece of a tool call that the *caller* is to carry out; calls that the provider runs itself have none.

    ``key`` tells the calls of one answer apart. ``name`` is all that is known of the name by now, and ``None`` where
    the event says nothing of it. ``arguments`` is the next fragment of the call's JSON text, or,
    with ``whole``, all of it, in place of what came before. ``complete`` says that the provider closed the call
    and that its arguments are a JSON object (``{}`` where it gave none); a call that is cut never is. ``bare`` says
    that the finish mark came with the beginning of the call: it takes no arguments, unless some follow.
    """

    key: str
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    complete: bool = False
    whole: bool = False
    bare: bool = False


class StreamError(NamedTuple):
    """A failure in the provider's own words; ``type`` and ``code`` are ``None`` where it gave none."""

    type: str | None
    code: str | None
    message: str


# A named constant would not survive pickling as the same object, and JSON has no way to say this one.
_UNPARSED: Any = ...

# json.loads looks for white space at both ends first, which no provider sends.
_raw_decode = json.JSONDecoder().raw_decode


_SHOWN = 40


@dataclass(slots=True, repr=False)
class Event:
    """One event of a stream.

    ``event`` (``"message"`` where the provider gave no name), ``data``, ``id`` and ``retry`` (milliseconds,
    ``None`` where it is no number) are as they were sent. The rest is the dialect's reading: ``kind``;
    ``text``, the piece of the answer in this event and nothing else; ``reasoning``; ``tools``, pieces of tool
    calls; ``error``; ``finish``, true on a finish mark, after which nothing but usage and the end mark is
    expected, although more may come; ``cut``, true where the provider says that it ended the answer, or one
    choice of it, before it was whole: for its length, or by a filter; and ``usage``, the provider's counts under its
    own names, wherever they stand. An event may carry more than its kind says: ``text`` may stand beside
    ``TOOL_CALL``, and text and complete calls beside ``TERMINAL``. Treat it as read-only.
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
        """Whether generation moved forward: by its kind, or by what stands beside it in a terminal event."""
        return self.kind.is_content or bool(self.text or self.reasoning or self.tools)

    @property
    def tool(self) -> ToolDelta | None:
        """The first piece of a tool call in this event; ``tools`` has all of them."""
        return self.tools[0] if self.tools else None

    def json(self) -> Any:
        """``data`` as JSON, parsed once: every call returns the same object. Raises ``ValueError`` where it is none."""
        value = self._json
        if value is _UNPARSED:
            text = self.data
            try:
                value, end = _raw_decode(text)
            except ValueError:
                end = -1
            if end != len(text):
                # Among white space, or none, which json.loads tells apart.
                value = json.loads(text)
            self._json = value
        return value


def any_content(events: list[Event]) -> bool:
    """Whether one of them has content, see :attr:`Event.has_content`."""
    # A generator would be a function for each event of every stream.
    for event in events:  # noqa: SIM110
        if event.kind.is_content or event.text or event.reasoning or event.tools:
            return True
    return False


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a registered dialect function says of an event when a bare :class:`Kind` is not enough.

    ``finish`` marks the event after which only usage and the terminal event can come; ``cut`` an answer that ended
    before it was whole, for its length or by a filter. ``provider_acted`` says that the provider runs a tool of its
    own that may have side effects: from then on the request is not sent again without a person's consent.
    """

    kind: Kind
    text: str = ""
    reasoning: str = ""
    tools: tuple[ToolDelta, ...] = ()
    finish: bool = False
    error: StreamError | None = None
    cut: bool = False
    provider_acted: bool = False
