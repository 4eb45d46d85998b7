"""``cohere``: Cohere's chat, version 2 (server-sent events) and 1 (JSON lines), and generate.

Source: Cohere's API reference, and the client cohere 7.3.1.

In the second version each event has a ``type``. Blocks of content and calls are numbered and have a start, deltas and
an end. ``message-end`` is finish mark and end mark, with reason and usage. The plan before calls (``tool-plan-delta``)
is reasoning.

In the first version each line has an ``event_type``. Calls come in pieces and then whole. ``stream-end`` restates the
whole answer and adds only the missing part. The lines of the older generate have text alone.
"""

from __future__ import annotations

from typing import Any

from llmwatch.wire.dialects.base import (
    KEEPALIVE_NAMES,
    Dialect,
    Said,
    UnknownShape,
    error_event,
    failure,
    fragment_of,
    is_cut,
    kind_of_news,
    named,
    text_of,
    words_of,
)
from llmwatch.wire.error_objects import has_error
from llmwatch.wire.event import Event, Kind, ToolDelta
from llmwatch.wire.news import is_thinking
from llmwatch.wire.reasons import is_failure
from llmwatch.wire.tool_calls import OpenCalls, Places, whole_call

__all__ = ["COHERE_EVENTS", "COHERE_LINES", "Cohere"]

COHERE_EVENTS = frozenset(
    (
        "message-start",
        "content-start",
        "content-delta",
        "content-end",
        "tool-plan-delta",
        "tool-call-start",
        "tool-call-delta",
        "tool-call-end",
        "citation-start",
        "citation-end",
        "message-end",
    )
)
"""Types of events in the second version."""

COHERE_LINES = frozenset(
    (
        "stream-start",
        "search-queries-generation",
        "search-results",
        "text-generation",
        "citation-generation",
        "tool-calls-chunk",
        "tool-calls-generation",
        "stream-end",
    )
)
"""Types of lines in the first version."""

# Fields of an error body, which as a rule has only a message.
_ERROR_BODY = frozenset(("id", "message", "status_code"))

_KNOWN = frozenset(("content", "tool_plan", "tool_calls", "citations"))
_LINE_KNOWN = frozenset(
    ("text", "event_type", "generation_id", "response_id", "conversation_id", "finish_reason", "response", "error")
)


class Cohere(Dialect):
    """One attempt in Cohere's dialect, of either version."""

    name = "cohere"

    def __init__(self) -> None:
        super().__init__()
        self._calls = OpenCalls()
        # The text so far, which the first version restates at the end.
        self._said = Said()
        self._places = Places()
        self._given: dict[str, str] = {}  # text in a block's start, until the first delta
        self._begun: set[str] = set()
        self._whole: set[str] = set()

    def read(self, event: Event) -> None:
        value = self.parse(event)
        if value is None:
            return
        kind = text_of(value.get("type"))
        line = text_of(value.get("event_type"))
        if has_error(value) or event.event == "error":
            error_event(event, value)
        elif kind in COHERE_EVENTS:
            self._read_event(event, kind, value)
        elif line or "is_finished" in value:
            self._read_line(event, line, value)
        elif kind.endswith("-delta") and isinstance(value.get("delta"), dict):
            # The delta of an unknown kind of block.
            news = kind_of_news(value["delta"])
            event.kind = Kind.KEEPALIVE if news is None else Kind.REASONING if is_thinking(kind) else news
        elif kind in KEEPALIVE_NAMES or event.event in KEEPALIVE_NAMES:
            event.kind = Kind.KEEPALIVE
        elif value.keys() <= _ERROR_BODY and text_of(value.get("message")):
            # An error in place of an event.
            error_event(event, value)

    # The second version --------------------------------------------------------------------------------------------

    def _read_event(self, event: Event, kind: str, value: dict[str, Any]) -> None:
        delta = value.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        message = delta.get("message")
        message = message if isinstance(message, dict) else {}
        key = str(value.get("index", 0))
        if kind in ("content-start", "content-delta"):
            self._read_content(event, key, message.get("content"), begins=kind == "content-start")
            if not event.has_content and (news := kind_of_news(message, _KNOWN)) is not None:
                event.kind = news
        elif kind == "tool-plan-delta":
            event.reasoning = words_of(message.get("tool_plan"))
            event.kind = Kind.REASONING if event.reasoning else Kind.KEEPALIVE
        elif kind in ("tool-call-start", "tool-call-delta"):
            self._read_call(event, key, message.get("tool_calls"), begins=kind == "tool-call-start")
        elif kind == "tool-call-end":
            closed = self._calls.close(self._places.at(key))
            if closed is not None:
                event.kind, event.tools = Kind.TOOL_CALL, (closed,)
        elif kind == "citation-start":
            event.kind = Kind.TEXT
        elif kind == "message-end":
            self._end(event, delta.get("finish_reason"), delta.get("usage"), delta.get("error"))

    def _read_content(self, event: Event, key: str, content: object, *, begins: bool) -> None:
        if isinstance(content, dict):
            # A delta may repeat the text of the block's start, or continue it.
            given = self._given.pop(key, "") if self._given else ""
            event.text = words_of(content.get("text")).removeprefix(given)
            event.reasoning = words_of(content.get("thinking")).removeprefix(given)
            if event.text or event.reasoning:
                event.kind = Kind.TEXT if event.text else Kind.REASONING
                if begins:
                    self._given[key] = event.text or event.reasoning
            elif (news := kind_of_news(content, ("text", "thinking"))) is not None:
                # An unknown kind of content.
                event.kind = news

    def _read_call(self, event: Event, place: str, call: object, *, begins: bool) -> None:
        if not isinstance(call, dict) or not isinstance(call.get("function"), dict):
            raise UnknownShape
        function = call["function"]
        identity, name = text_of(call.get("id")) or None, text_of(function.get("name")) or None
        fragment = fragment_of(function.get("arguments"))
        key = self._places.at(place)
        if begins:
            key = self._places.begin(place, identity, is_open=key in self._calls)
        if identity or name or fragment:
            event.kind = Kind.TOOL_INPUT
            event.tools = (ToolDelta(key, identity, named(self._calls, key, name), fragment),)
            self._calls.add(key, fragment)
        else:
            event.kind = Kind.KEEPALIVE

    # The first version ---------------------------------------------------------------------------------------------

    def _read_line(self, event: Event, line: str, value: dict[str, Any]) -> None:
        if line == "stream-end" or value.get("is_finished") is True:
            self._read_last_line(event, value)
        elif line == "tool-calls-chunk":
            self._say(event, words_of(value.get("text")))
            self._read_chunk(event, value.get("tool_call_delta"))
        elif line == "tool-calls-generation":
            event.tools = self._read_whole_calls(value.get("tool_calls"))
            event.kind = Kind.TOOL_CALL if any(call.complete for call in event.tools) else Kind.TOOL_INPUT
        elif line in ("search-queries-generation", "search-results"):
            # The provider's own search, which only reads.
            event.kind = Kind.TOOL_INPUT
        elif line == "citation-generation":
            event.kind = Kind.TEXT
        elif line in ("", "text-generation"):
            self._say(event, words_of(value.get("text")))
            event.kind = Kind.TEXT if event.text else kind_of_news(value, _LINE_KNOWN) or Kind.KEEPALIVE
        elif line.endswith(("-generation", "-chunk")) and (news := kind_of_news(value, _LINE_KNOWN)) is not None:
            event.kind = Kind.REASONING if is_thinking(line) else news

    def _say(self, event: Event, text: str) -> None:
        if text:
            event.kind, event.text = Kind.TEXT, text
            self._said.add(text)

    def _read_chunk(self, event: Event, delta: object) -> None:
        if not isinstance(delta, dict):
            return
        key, name = str(delta.get("index", 0)), text_of(delta.get("name")) or None
        fragment = fragment_of(delta.get("parameters"))
        if name or fragment:
            self._begun.add(key)
            event.kind = Kind.TEXT if event.text else Kind.TOOL_INPUT
            event.tools = (ToolDelta(key, None, name, fragment),)

    def _read_whole_calls(self, calls: object) -> tuple[ToolDelta, ...]:
        """Complete calls, which replace their earlier pieces, without those that came whole before."""
        if calls and not isinstance(calls, list):
            raise UnknownShape
        pieces: list[ToolDelta] = []
        for place, call in enumerate(calls if isinstance(calls, list) else ()):
            if not isinstance(call, dict):
                raise UnknownShape
            key, name = str(place), text_of(call.get("name")) or None
            parameters = call.get("parameters")
            whole = whole_call(key, None, name, {} if parameters is None else parameters) if name else None
            if key not in self._whole:
                pieces.append(whole or ToolDelta(key, None, name))
            if whole is not None:
                self._whole.add(key)
        return tuple(pieces)

    def _read_last_line(self, event: Event, value: dict[str, Any]) -> None:
        response = value.get("response")
        response = response if isinstance(response, dict) else {}
        generations = response.get("generations")
        first = generations[0] if isinstance(generations, list) and generations else {}
        whole = words_of(response.get("text")) or (words_of(first.get("text")) if isinstance(first, dict) else "")
        # Older last lines have a last piece of text.
        event.text = words_of(value.get("text")) or self.restated(self._said, whole)
        event.tools = self._read_whole_calls(response.get("tool_calls"))
        reason = value.get("finish_reason") or response.get("finish_reason")
        self._end(event, reason, response.get("meta"), value.get("error"))

    def _end(self, event: Event, reason: object, usage: object, error: object) -> None:
        event.finish = self.finished = True
        event.kind = Kind.TERMINAL
        event.usage = usage if isinstance(usage, dict) and usage else None
        event.cut = is_cut(reason)
        if text_of(error) or is_failure(reason):
            error_event(event, {"error": error} if text_of(error) else None)
            if not text_of(error):
                event.error = failure(str(reason))
