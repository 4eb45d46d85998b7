"""``ndjson``: Ollama's own API (``/api/chat``, ``/api/generate``), one JSON object a line.

Source: Ollama's API reference. The line with ``done: true`` is the end mark and carries the usage; it may also carry a
last piece of text. ``done_reason`` is the finish mark; some servers send it without ``done``. The reasons ``load`` and
``unload`` count only for a request without a prompt. Tool calls come whole.
"""

from __future__ import annotations

from typing import Any

from llmwatch.wire.dialects.base import MOST_PIECES, Dialect, Said, UnknownShape, is_cut, text_of, words_of
from llmwatch.wire.event import Event, Kind, ToolDelta
from llmwatch.wire.news import is_thinking, thoughts, unknown_news
from llmwatch.wire.tool_calls import bare_call, whole_call

__all__ = ["Ollama"]


# Reasons that Ollama gives without an answer.
_NO_ANSWER = frozenset(("load", "unload"))
_THOUGHTS = ("thinking", "reasoning_content", "reasoning", "reasoning_text")
_KNOWN = frozenset(("content", "images", "tool_calls", "tool_name", "tool_call_id"))


class Ollama(Dialect):
    """One attempt in Ollama's dialect."""

    name = "ndjson"

    def __init__(self) -> None:
        super().__init__()
        self._called: list[tuple[str | None, str | None, str]] = []  # id, name and arguments of every call
        self._text, self._reasoning = Said(), Said()
        self._bare: list[ToolDelta] = []  # calls without arguments, possibly because of a cut

    def read(self, event: Event) -> None:
        value = self.parse(event)
        if value is None and event.error is None:
            return
        value = event.json() if value is None else value
        message = value.get("message")
        source = message if isinstance(message, dict) else value
        event.text = words_of(source.get("content" if source is message else "response"))
        if event.error is not None:
            return
        for name in _THOUGHTS:
            if name in source and (thought := thoughts(source[name])):
                event.reasoning = thought
                break
        if "eval_count" in value:
            self.count(event, {name: value[name] for name in ("prompt_eval_count", "eval_count") if name in value})
        if value.get("done") is True:
            # Some servers restate the whole answer in the last line; others send one more piece.
            event.text, event.reasoning = self._text.last(event.text), self._reasoning.last(event.reasoning)
        else:
            if event.text:
                said = self._text
                said.append(event.text)
                if len(said) > MOST_PIECES:
                    said.fold()
            if event.reasoning:
                self._reasoning.add(event.reasoning)
        event.tools = self._read_calls(source.get("tool_calls"), last=value.get("done") is True)
        reason = text_of(value.get("done_reason"))
        if reason and (self.asks_nothing or reason not in _NO_ANSWER):
            event.finish = self.finished = True
            event.cut = is_cut(reason)
            if not event.cut:
                event.tools = (*event.tools, *(bare_call(call.key, call.id, call.name) for call in self._bare))
            self._bare.clear()
        if value.get("done") is True:
            event.kind = Kind.TERMINAL
        elif any(call.complete for call in event.tools):
            event.kind = Kind.TOOL_CALL
        elif event.text or source.get("images") or value.get("image"):
            event.kind = Kind.TEXT
        elif event.tools:
            event.kind = Kind.TOOL_INPUT
        elif event.reasoning:
            event.kind = Kind.REASONING
        elif source is message and (news := unknown_news(message, _KNOWN)) is not None:
            event.kind = Kind.REASONING if is_thinking(news) else Kind.TEXT
        elif event.usage is not None:
            event.kind = Kind.USAGE
        elif not reason and ("message" in value or "response" in value):
            event.kind = Kind.KEEPALIVE

    def _read_calls(self, calls: Any, *, last: bool) -> tuple[ToolDelta, ...]:
        pieces: list[ToolDelta] = []
        bare: list[ToolDelta] = []
        if calls and not isinstance(calls, list):
            raise UnknownShape
        for call in calls or ():
            if not isinstance(call, dict):
                raise UnknownShape
            function = call.get("function")
            function = function if isinstance(function, dict) else {}
            name = text_of(function.get("name")) or None
            key, identity = str(len(self._called) + len(pieces)), text_of(call.get("id")) or None
            whole = whole_call(key, identity, name, function.get("arguments")) if name else None
            # An incomplete call is kept too, because the model asked for it.
            pieces.append(whole or ToolDelta(key, identity, name))
            if whole is None and name and function.get("arguments") in (None, "", {}):
                bare.append(pieces[-1])
        said = [(piece.id, piece.name, piece.arguments) for piece in pieces]
        if last and said == self._called:
            # The last line restates all calls.
            return ()
        self._called += said
        self._bare += bare
        return tuple(pieces)
