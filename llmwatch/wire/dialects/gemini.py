"""``gemini``: ``streamGenerateContent`` with ``alt=sse``, on Google AI and on Vertex.

Source: Google's reference of ``GenerateContentResponse``, ``Candidate``, ``Part`` and ``FunctionCall``.

There is no terminal event. The answer is finished once the requested number of candidates have a ``finishReason``; then
the body ends. A body that ends with fewer candidates is complete if each of these has one, because Google may send
fewer. A blocked prompt has no candidates; the event that reports it is the end.

Calls come whole. On Vertex, if the request asks for it, a call comes as a name, assignments to JSON paths, and an empty
call that closes it. The closing event carries the call, unless its arguments are incomplete.
"""

from __future__ import annotations

from typing import Any

from llmwatch.wire.assignments import Assignments
from llmwatch.wire.dialects.base import Dialect, UnknownShape, error_event, is_keepalive, text_of, words_of
from llmwatch.wire.event import Event, Kind, ToolDelta
from llmwatch.wire.news import is_thinking, unknown_news
from llmwatch.wire.tool_calls import whole_call

__all__ = ["Gemini"]

# Input and output of the provider's sandbox and tools.
_SANDBOX = ("executableCode", "codeExecutionResult", "toolCall", "toolResponse")

# Prefixes of the provider's own tools that only read.
_READING = ("GOOGLE_SEARCH", "GOOGLE_MAPS", "URL_CONTEXT", "FILE_SEARCH", "CODE_EXECUTION", "ENTERPRISE_WEB_SEARCH")

# Finish reasons of an answer with a call that the provider does not pass on.
_LOST_CALL = frozenset(("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"))


class _Call:
    """A call whose arguments are being streamed."""

    __slots__ = ("arguments", "identity", "key", "name")

    def __init__(self, key: str, identity: str | None, name: str | None) -> None:
        self.key = key
        self.identity = identity
        self.name = name
        self.arguments = Assignments()


class Gemini(Dialect):
    """One attempt in the Gemini dialect."""

    name = "gemini"
    has_end_mark = False

    def __init__(self) -> None:
        super().__init__()
        self._open: set[int] = set()
        self._done: set[int] = set()
        self._count = 0
        self._streamed: dict[int, _Call] = {}

    @property
    def at_rest(self) -> bool:
        return bool(self._done) and not self._open

    def read(self, event: Event) -> None:
        value = self.parse(event)
        if value is None:
            return
        if event.event == "error":
            error_event(event, value)
            return
        self.count(event, value.get("usageMetadata"))
        candidates = value.get("candidates")
        candidates = [one for one in candidates if isinstance(one, dict)] if isinstance(candidates, list) else []
        if not candidates:
            feedback = value.get("promptFeedback")
            if isinstance(feedback, dict) and feedback.get("blockReason"):
                event.kind, event.finish = Kind.TERMINAL, True
            elif event.usage is not None:
                event.kind = Kind.USAGE
            elif is_keepalive(event, value):
                event.kind = Kind.KEEPALIVE
            return
        seen: set[Kind] = set()
        for candidate in candidates:
            self._read_candidate(event, candidate, seen)
        self.finished = len(self._done) >= self.choices and not self._open
        ended = any(_reason(candidate) for candidate in candidates)
        event.finish = ended and self.finished
        if event.usage is not None:
            seen.add(Kind.USAGE)
        elif ended:
            seen.add(Kind.LIFECYCLE)
        event.kind = next((kind for kind in _RANK if kind in seen), Kind.KEEPALIVE)

    def _read_candidate(self, event: Event, candidate: dict[str, Any], seen: set[Kind]) -> None:
        index = candidate.get("index", 0)
        index = index if type(index) is int else 0
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        if _reason(candidate):
            self._open.discard(index)
            self._done.add(index)
        elif index not in self._done or parts:
            self._open.add(index)
        event.cut = event.cut or _reason(candidate) not in ("", "STOP", *_LOST_CALL)
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict):
                seen.add(self._read_part(event, index, part))
        if _reason(candidate) in _LOST_CALL:
            event.tools = (*event.tools, ToolDelta(self._next_key()))
            seen.add(Kind.TOOL_INPUT)

    def _read_part(self, event: Event, index: int, part: dict[str, Any]) -> Kind:
        call = part.get("functionCall")
        if isinstance(call, dict):
            piece = self._read_call(index, call)
            event.tools = event.tools if piece is None else (*event.tools, piece)
            return Kind.TOOL_CALL if piece is not None and piece.complete else Kind.TOOL_INPUT
        if call:
            raise UnknownShape
        text = words_of(part.get("text"))
        if text and part.get("thought"):
            event.reasoning += text
            return Kind.REASONING
        if text:
            event.text += text
            return Kind.TEXT
        if part.get("inlineData") or part.get("fileData"):
            return Kind.TEXT
        if any(part.get(name) for name in _SANDBOX):
            self._note(part.get("toolCall") or part.get("toolResponse"))
            return Kind.TOOL_INPUT
        news = unknown_news(part, ("text",))
        if news is None:
            return Kind.KEEPALIVE
        return Kind.REASONING if is_thinking(news) or part.get("thought") else Kind.TEXT

    def _note(self, tool: Any) -> None:
        kind = text_of(tool.get("toolType")) if isinstance(tool, dict) else ""
        self.provider_acted = self.provider_acted or bool(tool and not kind.startswith(_READING))

    def _read_call(self, index: int, call: dict[str, Any]) -> ToolDelta | None:
        name, identity = text_of(call.get("name")) or None, text_of(call.get("id")) or None
        arguments, pieces, goes_on = call.get("args"), call.get("partialArgs"), bool(call.get("willContinue"))
        streamed = self._streamed.get(index)
        if streamed is not None and (name is None or (name == streamed.name and arguments is None)):
            begun = None
        elif name is not None and not pieces and not goes_on:
            key = self._next_key()
            whole = whole_call(key, identity, name, {} if arguments is None else arguments)
            return whole or ToolDelta(key, identity, name)
        else:
            # Without a name this is part of a call without a beginning, which is never complete.
            streamed = self._streamed[index] = _Call(self._next_key(), identity, name)
            begun = ToolDelta(streamed.key, identity, name)
        if pieces:
            streamed.arguments.add(pieces)
        if goes_on:
            return begun
        del self._streamed[index]
        text = streamed.arguments.text() if streamed.name else ""
        return whole_call(streamed.key, streamed.identity, streamed.name, text) or begun

    def _next_key(self) -> str:
        self._count += 1
        return str(self._count - 1)


# In order of importance for a resend: a complete call outranks text, and text outranks the rest.
_RANK = (Kind.TOOL_CALL, Kind.TEXT, Kind.TOOL_INPUT, Kind.REASONING, Kind.USAGE, Kind.LIFECYCLE)


def _reason(candidate: dict[str, Any]) -> str:
    reason = text_of(candidate.get("finishReason"))
    return "" if reason == "FINISH_REASON_UNSPECIFIED" else reason
