"""``gemini``: ``streamGenerateContent`` with ``alt=sse``, on Google AI and on Vertex.

Source: Google's reference of ``GenerateContentResponse``, ``Candidate``, ``Part`` and ``FunctionCall``.

There is no terminal event: the answer is finished once every candidate seen so far has a ``finishReason``, and
then the body ends. A blocked prompt has no candidates; the event that says so is the end.
"""

from __future__ import annotations

from typing import Any

from llmwatch.wire.dialects.base import Dialect, error_event, is_keepalive, text_of
from llmwatch.wire.event import Event, Kind
from llmwatch.wire.tools import whole_call

__all__ = ["Gemini"]

# What the provider's own sandbox is fed and gives back.
_SANDBOX = ("executableCode", "codeExecutionResult", "toolCall", "toolResponse")


class Gemini(Dialect):
    """One attempt in the Gemini dialect."""

    name = "gemini"
    ends_after_finish = True

    def __init__(self) -> None:
        super().__init__()
        self._open: set[int] = set()
        self._done: set[int] = set()
        self._count = 0

    def read(self, event: Event) -> None:
        value = self.parse(event)
        if value is None:
            return
        if value.get("error") or event.event == "error":
            error_event(event, value)
            return
        candidates = value.get("candidates")
        candidates = [one for one in candidates if isinstance(one, dict)] if isinstance(candidates, list) else []
        if not candidates:
            feedback = value.get("promptFeedback")
            if isinstance(feedback, dict) and feedback.get("blockReason"):
                event.kind = Kind.TERMINAL
            elif value.get("usageMetadata"):
                event.kind = Kind.USAGE
            elif is_keepalive(event, value):
                event.kind = Kind.KEEPALIVE
            return
        seen: set[Kind] = set()
        for candidate in candidates:
            self._read_candidate(event, candidate, seen)
        self.finished = bool(self._done) and not self._open
        ended = any(_reason(candidate) for candidate in candidates)
        event.finish = ended and self.finished
        if ended:
            seen.add(Kind.USAGE if value.get("usageMetadata") else Kind.LIFECYCLE)
        event.kind = next((kind for kind in _RANK if kind in seen), Kind.KEEPALIVE)

    def _read_candidate(self, event: Event, candidate: dict[str, Any], seen: set[Kind]) -> None:
        index = candidate.get("index", 0)
        index = index if type(index) is int else 0
        if _reason(candidate):
            self._open.discard(index)
            self._done.add(index)
        elif index not in self._done:
            self._open.add(index)
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict):
                seen.add(self._read_part(event, part))

    def _read_part(self, event: Event, part: dict[str, Any]) -> Kind:
        call = part.get("functionCall")
        if isinstance(call, dict):
            return self._read_call(event, call)
        text = text_of(part.get("text"))
        if text and part.get("thought"):
            event.reasoning += text
            return Kind.REASONING
        if text:
            event.text += text
            return Kind.TEXT
        if part.get("inlineData") or part.get("fileData"):
            return Kind.TEXT
        if any(part.get(name) for name in _SANDBOX):
            return Kind.TOOL_INPUT
        return Kind.REASONING if part.get("thoughtSignature") else Kind.KEEPALIVE

    def _read_call(self, event: Event, call: dict[str, Any]) -> Kind:
        if call.get("willContinue") or call.get("partialArgs"):
            # Vertex can stream arguments as assignments to JSON paths. They are not put together here, so such
            # a call is seen but never comes out of it.
            return Kind.TOOL_INPUT
        name = text_of(call.get("name")) or None
        if name is None:
            # The empty call that ends a streamed one.
            return Kind.TOOL_CALL
        arguments = call.get("args")
        delta = whole_call(
            str(self._count), text_of(call.get("id")) or None, name, {} if arguments is None else arguments
        )
        self._count += 1
        if delta is None:
            return Kind.TOOL_INPUT
        event.tools = (*event.tools, delta)
        return Kind.TOOL_CALL


# A complete call outranks text, and text outranks the rest: what matters most for a resend.
_RANK = (Kind.TOOL_CALL, Kind.TEXT, Kind.TOOL_INPUT, Kind.REASONING, Kind.USAGE, Kind.LIFECYCLE)


def _reason(candidate: dict[str, Any]) -> bool:
    return text_of(candidate.get("finishReason")) not in ("", "FINISH_REASON_UNSPECIFIED")
