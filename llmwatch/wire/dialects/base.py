"""What every dialect is, and what those that speak JSON have in common."""

from __future__ import annotations

from typing import Any

from llmwatch.wire.event import Event, Kind, StreamError
from llmwatch.wire.refusal import error_in, shorten

__all__ = ["DONE", "KEEPALIVE_NAMES", "Dialect", "NotAnObject", "error_event", "is_keepalive", "text_of"]

DONE = "[DONE]"
"""The end marker of OpenAI's chat completions. Proxies append it to other dialects as well."""

KEEPALIVE_NAMES = frozenset(("ping", "keepalive", "keep-alive", "keep_alive", "heartbeat"))
"""Names of events that carry nothing, in any dialect."""


class NotAnObject(ValueError):
    """The event is JSON, but no object. (Never leaves the package: the decoder makes a ``MalformedEvent`` of it.)"""


class Dialect:
    """The meaning of events, for one attempt: an instance holds what that attempt has seen so far.

    ``accepts_eof``: the end of the body is the end of the answer, no event announces it. ``ends_after_finish``:
    once ``finished`` is true the end of the body is as good as a terminal event. ``finished`` can become false
    again, when another choice of the same answer turns out to be still under way.
    """

    name: str
    accepts_eof: bool = False
    ends_after_finish: bool = False

    def __init__(self) -> None:
        self.finished = False

    def read(self, event: Event) -> None:
        """Fill in what the event means. Raises ``ValueError`` or ``RecursionError`` where it ought to be JSON."""
        raise NotImplementedError

    def parse(self, event: Event) -> dict[str, Any] | None:
        """The event's JSON object; ``None`` for the end marker, which is filled in here."""
        if event.data == DONE:
            event.kind = Kind.TERMINAL
            return None
        value = event.json()
        if type(value) is not dict:
            raise NotAnObject
        return value


def error_event(event: Event, value: object = None) -> None:
    """Make an error of the event, in the words of ``value`` or, where it has none, of the data as it stands."""
    event.kind = Kind.ERROR
    error = error_in(value)
    if error is None and isinstance(value, dict):
        # {"code": ..., "message": ...} under "event: error"
        error = error_in({"error": value})
    event.error = error or StreamError(None, None, shorten(event.data) or "no message was given")


def is_keepalive(event: Event, value: dict[str, Any]) -> bool:
    """Whether an object without anything of its dialect in it is a sign of life, by its name or its type."""
    kind = value.get("type")
    return event.event in KEEPALIVE_NAMES or (isinstance(kind, str) and kind in KEEPALIVE_NAMES)


def text_of(value: object) -> str:
    """``value`` if it is text, else nothing: a null or a shape that is not known is no text."""
    return value if isinstance(value, str) else ""
