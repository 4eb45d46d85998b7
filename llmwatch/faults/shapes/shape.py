"""The base of the shapes, and writing server-sent events.

A shape is the form of a provider's answers. A new shape is made for each answer, and counts its blocks, items and
sequence numbers. Its methods return complete blocks of bytes, one for each event.
"""

from __future__ import annotations

import json
from typing import ClassVar

__all__ = ["CREATED", "MODEL", "PROMPT_TOKENS", "Shape", "sse"]

MODEL = "fault-1"
CREATED = 1_700_000_000
PROMPT_TOKENS = 7


def sse(data: object, event: str | None = None) -> bytes:
    """One server-sent event, with text as data, or any other value as JSON."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    lines = [f"data: {line}" for line in text.split("\n")]
    if event is not None:
        lines.insert(0, f"event: {event}")
    return ("\n".join(lines) + "\n\n").encode()


class Shape:
    """The base of all shapes. ``number`` is the request's number, which the ids of the answer contain.

    ``path`` is the usual path of a call; ``base`` is the path, without a trailing slash, of the base URL that the
    provider's SDK takes.
    """

    name: ClassVar[str]
    path: ClassVar[str]
    base: ClassVar[str] = ""
    content_type: ClassVar[str] = "text/event-stream"
    default_keepalive: ClassVar[str] = "comment"

    def __init__(self, number: int = 1) -> None:
        self.number = number
        self.pieces = 0

    def opening(self) -> list[bytes]:
        """The events before any content."""
        return []

    def text(self, piece: str) -> list[bytes]:
        """A piece of the answer's text."""
        raise NotImplementedError

    def reasoning(self, piece: str) -> list[bytes]:
        """A piece of reasoning."""
        raise NotImplementedError

    def tool_begin(self, identifier: str, name: str) -> list[bytes]:
        """The beginning of a tool call."""
        raise NotImplementedError

    def tool_arguments(self, fragment: str) -> list[bytes]:
        """A piece of the arguments of the tool call that has begun."""
        raise NotImplementedError

    def tool_end(self) -> list[bytes]:
        """The end of the tool call; empty if the shape does not mark it."""
        return []

    def finish(self, reason: str = "stop") -> list[bytes]:
        """The finish mark with its reason (``stop``, ``length``, ``tool_calls``); not the last event."""
        return []

    def restated(self, text: str) -> list[bytes]:
        """A restatement of the whole text; empty if the shape has no event for it."""
        return []

    def usage(self) -> list[bytes]:
        """Usage, if it is a separate event."""
        return []

    def terminal(self) -> list[bytes]:
        """The event that ends the answer; empty if the end of the body ends it."""
        return []

    def keepalive(self, kind: str = "") -> list[bytes]:
        """A keep-alive: ``comment``, ``ping``, ``blank`` or ``empty`` (a delta without content)."""
        kind = kind or self.default_keepalive
        if kind == "comment":
            return [b": keep-alive\n\n"]
        if kind == "ping":
            return [sse({"type": "ping"}, "ping")]
        if kind == "blank":
            return [b"\n"]
        if kind == "empty":
            return self.empty_delta()
        raise ValueError(f"keep-alive {kind!r}: one of comment, ping, blank, empty")

    def empty_delta(self) -> list[bytes]:
        """A delta without content."""
        return self.text("")

    def error(self, kind: str, code: str, message: str) -> list[bytes]:
        """An error inside the stream."""
        return [sse(self.error_body(kind, code, message), "error")]

    def malformed(self) -> list[bytes]:
        """An event with broken JSON in it."""
        return [b'data: {"broken": \n\n']

    def plain(self, text: str) -> object:
        """The answer of a plain call, to be written as JSON."""
        raise NotImplementedError

    def error_body(self, kind: str, code: str, message: str) -> object:
        """The body of an HTTP error, to be written as JSON."""
        return {"error": {"type": kind, "code": code, "message": message}}
