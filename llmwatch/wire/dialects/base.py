"""The base class of dialects, the comparison of restated text, and functions for JSON events."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Container, Mapping
from typing import Any

from llmwatch.wire.error_objects import broken_error, error_in, has_error, printed, shorten, stray_error
from llmwatch.wire.event import Event, Kind, StreamError, ToolDelta
from llmwatch.wire.news import is_thinking, unknown_news, words_of
from llmwatch.wire.reasons import is_cut
from llmwatch.wire.tool_calls import OpenCalls

__all__ = [
    "DONE",
    "ENDS",
    "END_NAMES",
    "KEEPALIVE_NAMES",
    "MOST_PIECES",
    "Dialect",
    "NotAnObject",
    "Said",
    "UnknownShape",
    "error_event",
    "failure",
    "fragment_of",
    "is_cut",
    "is_done",
    "is_keepalive",
    "kind_of_news",
    "named",
    "says_something",
    "text_of",
    "words_of",
]

MOST_PIECES = 1024
"""Most pieces kept as text. A caller that appends more must call :meth:`Said.fold`."""


class Said(list[str]):
    """The pieces of one text, in order, compared with a text that states the whole again.

    Some events restate the whole: a message after its deltas, a done event, a completed response. Such an event adds
    only the missing part. Memory is bounded: of a long answer only the end is kept as text, the rest as a checksum.
    """

    __slots__ = ("_folded", "_hash")

    def __init__(self) -> None:
        super().__init__()
        self._folded = 0
        self._hash = hashlib.sha256()

    def __bool__(self) -> bool:
        return bool(self._folded or len(self))

    def __deepcopy__(self, memo: object) -> Said:
        other = Said()
        other.extend(self)
        other._folded, other._hash = self._folded, self._hash.copy()
        return other

    @property
    def length(self) -> int:
        """Number of characters so far."""
        return self._folded + sum(map(len, self))

    def add(self, piece: str) -> None:
        """Append the next piece."""
        if piece:
            self.append(piece)
            if len(self) > MOST_PIECES:
                self.fold()

    def fold(self) -> None:
        """Replace the pieces by a checksum."""
        text = "".join(self)
        self._folded += len(text)
        self._hash.update(_bytes(text))
        self.clear()

    def missing(self, whole: str) -> str | None:
        """The part of ``whole`` after the text so far; ``None`` if ``whole`` contradicts the text so far."""
        rest = whole
        if self._folded:
            if hashlib.sha256(_bytes(whole[: self._folded])).digest() != self._hash.digest():
                return None
            rest = whole[self._folded :]
        text = "".join(self)
        if rest.startswith(text):
            return rest[len(text) :]
        # Some providers restate the text without the white space around it.
        return "" if rest.strip() == text.strip() else None

    def last(self, piece: str) -> str:
        """The new part of the last piece of an answer, which some servers restate as a whole.

        After a single piece, the same text again counts as a new piece.
        """
        missing = self.missing(piece) if self._folded or len(self) > 1 else None
        return piece if missing is None else missing

    def take(self, whole: str) -> str | None:
        """:meth:`missing`, and append the result."""
        rest = self.missing(whole)
        if rest:
            self.add(rest)
        return rest


def _bytes(text: str) -> bytes:
    # The two surrogates of a character outside the basic plane may come in separate pieces.
    return text.encode("utf-8", "surrogatepass")


DONE = "[DONE]"
"""The end marker of OpenAI's chat completions. Proxies append it to other dialects as well."""

ENDS = (DONE, f'"{DONE}"')
"""The end marker, plain and as a JSON string, which some servers send."""

# Data of an event "error" without any words.
_NO_WORDS = (*ENDS, "null", "{}")

KEEPALIVE_NAMES = frozenset(("ping", "keepalive", "keep-alive", "keep_alive", "heartbeat"))
"""Names of events that carry nothing, in any dialect."""

END_NAMES = frozenset(("close", "closed", "complete", "completed", "done", "end", "eos", "finish", "finished", "stop"))
"""Names of a server's own last event, which holds no more than a word."""


class NotAnObject(ValueError):
    """The event is JSON, but not an object. The decoder turns this into a ``MalformedEvent``."""


class UnknownShape(ValueError):
    """A part of a tool call has an unknown form. Skipping it could change the call's name or arguments.

    The decoder turns this into a ``MalformedEvent``.
    """


class Dialect:
    """The base of all dialects. An instance reads the events of one attempt.

    * ``accepts_eof``: the end of the body is the end of the answer; no event announces the end.
    * ``has_end_mark``: an event other than the finish mark says that nothing follows. In other dialects a clean end of
      the body completes the answer once the dialect is ``at_rest``.
    * ``finished``: the requested number of choices (``choices``) have a finish mark, and nothing that began is open.
      Can become false again when another choice continues. An event that makes it true, or marks a choice again, has
      ``finish``.
    * ``over``: an event was content without text and the end mark at once, so its kind does not show the end mark.
    * ``contradictions``: number of events that restated something differently; the first version stands.
    * ``in_pieces``: the request asked for pieces, so no event restates earlier ones. ``asks_nothing``: the request has
      no prompt, so no answer is due.
    * ``provider_acted``: an event showed that the provider runs or offers a tool of its own that may have side effects.
    """

    name: str
    accepts_eof: bool = False
    has_end_mark: bool = True
    over: bool = False

    def __init__(self) -> None:
        self.finished = False
        self.provider_acted = False
        self.choices = 1
        self.contradictions = 0
        self.in_pieces = False
        self.asks_nothing = False

    @property
    def at_rest(self) -> bool:
        """Whether something has a finish mark and nothing that began is open."""
        return self.finished

    def read(self, event: Event) -> None:
        """Fill in the event's meaning. Raises ``ValueError`` or ``RecursionError`` for invalid data."""
        raise NotImplementedError

    def closing(self) -> tuple[ToolDelta, ...]:
        """The calls that the end of the answer completes without an event."""
        return ()

    def copy(self) -> Dialect:
        """A copy with the same state."""
        return copy.deepcopy(self)

    @staticmethod
    def count(event: Event, usage: object) -> None:
        """Set the event's ``usage`` if ``usage`` is an object with fields."""
        if isinstance(usage, dict) and usage:
            event.usage = usage

    def restated(self, said: Said, whole: str) -> str:
        """The new part of ``whole``, which restates the text in ``said``; counts a contradiction."""
        missing = said.take(whole) if whole else ""
        if missing is None:
            self.contradictions += 1
        return missing or ""

    def parse(self, event: Event) -> dict[str, Any] | None:
        """The event's JSON object; ``None`` for the end marker and for an error, which this fills in."""
        try:
            value = event.json()
        except ValueError:
            if not is_done(event):
                raise
            return None
        if type(value) is not dict:
            if is_done(event):
                return None
            raise NotAnObject
        if has_error(value):
            error_event(event, value)
            return None
        return value


def is_done(event: Event) -> bool:
    """Whether the event, whose data is not an object, is the end marker; if so, fill in its kind."""
    if event.data.strip() not in ENDS:
        return False
    event.kind = Kind.TERMINAL
    return True


def failure(reason: str) -> StreamError:
    """The error of an answer that ended because the provider failed."""
    return StreamError(None, None, f"the answer ended with finish_reason {reason}, no reason was given")


def error_event(event: Event, value: object = None) -> None:
    """Turn the event into an error, with the words of ``value``, or else of the raw data."""
    event.kind = Kind.ERROR
    value = printed(event.data) if value is None else value
    error = error_in(value)
    if error is None and isinstance(value, dict):
        # {"code": ..., "message": ...} under "event: error"
        error = stray_error(event.data) or error_in({"error": value})
    words = "" if event.data.strip() in _NO_WORDS else shorten(event.data)
    event.error = error or broken_error(event.data) or StreamError(None, None, words or "no message was given")


def is_keepalive(event: Event, value: dict[str, Any]) -> bool:
    """Whether an object without fields of its dialect is a keep-alive, by its name or type."""
    kind = value.get("type")
    return event.event in KEEPALIVE_NAMES or (isinstance(kind, str) and kind in KEEPALIVE_NAMES)


def fragment_of(value: object) -> str:
    """A piece of a tool call's arguments. Some servers send an object or a number in place of its text."""
    if isinstance(value, str) or value is None:
        return value or ""
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    digits = words_of(value)
    if not digits:
        raise UnknownShape
    return digits


def kind_of_news(source: Mapping[str, Any], known: Container[str] = ()) -> Kind | None:
    """The kind of an event with text in an unknown field of ``source``; ``None`` without such a field."""
    news = unknown_news(source, known)
    return None if news is None else Kind.REASONING if is_thinking(news) else Kind.TEXT


def named(calls: OpenCalls, key: str, said: str | None) -> str | None:
    """The call's name after an event that ``said`` a part of it; ``None`` if the event has none.

    Raises ``UnknownShape`` if the arguments began under another name.
    """
    name = calls.name(key, said) if said else None
    if said and name is None:
        raise UnknownShape
    return name


def text_of(value: object) -> str:
    """``value`` if text, else empty. For names and ids; :func:`words_of` is for the model's text."""
    return value if isinstance(value, str) else ""


def says_something(value: object) -> bool:
    """Whether a value of unknown meaning is, or contains, text that is not blank.

    Numbers and booleans never count: servers repeat them with every event.
    """
    if isinstance(value, str):
        return bool(value.strip())
    if isinstance(value, dict):
        return any(says_something(inner) for inner in value.values())
    return isinstance(value, list) and any(says_something(inner) for inner in value)
