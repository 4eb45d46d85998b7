"""What every dialect is, and what those that speak JSON have in common."""

from __future__ import annotations

import copy
import json
from collections.abc import Container, Mapping
from typing import Any

from llmwatch.wire.error_objects import broken_error, error_in, has_error, printed, shorten, stray_error
from llmwatch.wire.event import Event, Kind, StreamError, ToolDelta
from llmwatch.wire.news import is_thinking, unknown_news, words_of
from llmwatch.wire.reasons import is_cut
from llmwatch.wire.restated import Said
from llmwatch.wire.tool_calls import OpenCalls

__all__ = [
    "DONE",
    "ENDS",
    "END_NAMES",
    "KEEPALIVE_NAMES",
    "Dialect",
    "NotAnObject",
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

DONE = "[DONE]"
"""The end marker of OpenAI's chat completions. Proxies append it to other dialects as well."""

ENDS = (DONE, f'"{DONE}"')
"""The same, and as servers write it that make JSON of everything."""

# What says nothing of an error under whose name it stands.
_NO_WORDS = (*ENDS, "null", "{}")

KEEPALIVE_NAMES = frozenset(("ping", "keepalive", "keep-alive", "keep_alive", "heartbeat"))
"""Names of events that carry nothing, in any dialect."""

END_NAMES = frozenset(("close", "closed", "complete", "completed", "done", "end", "eos", "finish", "finished", "stop"))
"""Names that servers give to a last event of their own, with no more than a word in it."""


class NotAnObject(ValueError):
    """The event is JSON, but no object. (Never leaves the package: the decoder makes a ``MalformedEvent`` of it.)"""


class UnknownShape(ValueError):
    """What ought to be part of a tool call is not of its form: to skip it could change what is called, and with what.

    (Never leaves the package: the decoder makes a ``MalformedEvent`` of it.)
    """


class Dialect:
    """The meaning of events, for one attempt: an instance holds what that attempt has seen so far.

    ``accepts_eof``: the end of the body is the end of the answer, no event announces it. ``has_end_mark``: some event
    says that nothing follows, beside those that say why the answer ended; without it a clean end of the body says so,
    once the dialect is ``at_rest``. ``finished``: as many choices as were asked
    for (``choices``) have their finish mark, and nothing that was begun is open; it can become false again, when
    another one turns out to be still under way. An event that makes it true, or marks a choice again, has ``finish``.
    ``over``: an event with content in it that is no text was the end mark as well, so that its kind does not say so.
    ``contradictions`` counts the events that restate something as it was not said; what was said stands.
    ``in_pieces``: the request asked for pieces, so that no event restates what others said.
    ``asks_nothing``: the request has no prompt, so that no answer is owed.
    ``provider_acted``: an event showed that the provider runs, or has at hand, a tool of its own that may have side
    effects.
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
        """Whether something has its finish mark and nothing that was begun is still under way."""
        return self.finished

    def read(self, event: Event) -> None:
        """Fill in what the event means. Raises ``ValueError`` or ``RecursionError`` where it ought to be JSON."""
        raise NotImplementedError

    def closing(self) -> tuple[ToolDelta, ...]:
        """The calls that the end of the answer completes, where no event could say so."""
        return ()

    def copy(self) -> Dialect:
        """Another one that has seen the same."""
        return copy.deepcopy(self)

    @staticmethod
    def count(event: Event, usage: object) -> None:
        """Note the provider's count of tokens, if it is one."""
        if isinstance(usage, dict) and usage:
            event.usage = usage

    def restated(self, said: Said, whole: str) -> str:
        """What a text that is stated whole adds to what was ``said`` of it."""
        missing = said.take(whole) if whole else ""
        if missing is None:
            self.contradictions += 1
        return missing or ""

    def parse(self, event: Event) -> dict[str, Any] | None:
        """The event's JSON object; ``None`` for the end marker and for an error, which are filled in here."""
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
            # Whatever it stands beside.
            error_event(event, value)
            return None
        return value


def is_done(event: Event) -> bool:
    """Whether it is the end marker, which is filled in here. It is no object, so nobody looks before that is known."""
    if event.data.strip() not in ENDS:
        return False
    event.kind = Kind.TERMINAL
    return True


def failure(reason: str) -> StreamError:
    """The error of an answer that ended because its provider failed."""
    return StreamError(None, None, f"the answer ended with finish_reason {reason}, no reason was given")


def error_event(event: Event, value: object = None) -> None:
    """Make an error of the event, in the words of ``value`` or, where it has none, of the data as it stands."""
    event.kind = Kind.ERROR
    value = printed(event.data) if value is None else value
    error = error_in(value)
    if error is None and isinstance(value, dict):
        # {"code": ..., "message": ...} under "event: error"
        error = stray_error(event.data) or error_in({"error": value})
    words = "" if event.data.strip() in _NO_WORDS else shorten(event.data)
    event.error = error or broken_error(event.data) or StreamError(None, None, words or "no message was given")


def is_keepalive(event: Event, value: dict[str, Any]) -> bool:
    """Whether an object without anything of its dialect in it is a sign of life, by its name or its type."""
    kind = value.get("type")
    return event.event in KEEPALIVE_NAMES or (isinstance(kind, str) and kind in KEEPALIVE_NAMES)


def fragment_of(value: object) -> str:
    """A piece of a tool call's arguments. Some servers give an object where its text is asked for, or a number."""
    if isinstance(value, str) or value is None:
        return value or ""
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    digits = words_of(value)
    if not digits:
        raise UnknownShape
    return digits


def kind_of_news(source: Mapping[str, Any], known: Container[str] = ()) -> Kind | None:
    """What a field that nobody has heard of makes of its event; ``None`` where none says anything."""
    news = unknown_news(source, known)
    return None if news is None else Kind.REASONING if is_thinking(news) else Kind.TEXT


def named(calls: OpenCalls, key: str, said: str | None) -> str | None:
    """The call's name as it is by now where an event ``said`` something of it. Raises ``UnknownShape`` where the
    arguments were begun under another one.
    """
    name = calls.name(key, said) if said else None
    if said and name is None:
        raise UnknownShape
    return name


def text_of(value: object) -> str:
    """``value`` if it is text, else nothing: a null or a shape that is not known is no text. For names, ids and words
    of the wire; :func:`words_of` is for what the model wrote.
    """
    return value if isinstance(value, str) else ""


def says_something(value: object) -> bool:
    """Whether a value of unknown meaning is news: text that is not blank, or a container with such text in it.

    Numbers and truth values never are: servers repeat them with every event.
    """
    if isinstance(value, str):
        return bool(value.strip())
    if isinstance(value, dict):
        return any(says_something(inner) for inner in value.values())
    return isinstance(value, list) and any(says_something(inner) for inner in value)
