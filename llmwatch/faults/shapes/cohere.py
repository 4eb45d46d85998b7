"""Cohere's second chat interface: typed events with numbered blocks and calls."""

from __future__ import annotations

from collections.abc import Mapping

from llmwatch.faults.shapes.shape import PROMPT_TOKENS, Shape, sse

__all__ = ["Cohere"]

_FINISH_REASONS = {"stop": "COMPLETE", "length": "MAX_TOKENS", "tool_calls": "TOOL_CALL"}


class Cohere(Shape):
    """The event that ends the answer has the finish reason and the usage."""

    name = "cohere"
    path = "/v2/chat"

    def __init__(self, number: int = 1) -> None:
        super().__init__(number)
        self._index = -1
        self._kind = ""
        self._reason = "COMPLETE"

    def opening(self) -> list[bytes]:
        message = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
        return [self._event("message-start", id=f"fault{self.number}", delta={"message": message})]

    def text(self, piece: str) -> list[bytes]:
        return self._piece("text", piece)

    def reasoning(self, piece: str) -> list[bytes]:
        return self._piece("thinking", piece)

    def tool_begin(self, identifier: str, name: str) -> list[bytes]:
        closing = self._close()
        self._index += 1
        self._kind = "tool-call"
        call = {"id": identifier, "type": "function", "function": {"name": name, "arguments": ""}}
        return [*closing, self._call("tool-call-start", call)]

    def tool_arguments(self, fragment: str) -> list[bytes]:
        self.pieces += 1
        return [self._call("tool-call-delta", {"function": {"arguments": fragment}})]

    def tool_end(self) -> list[bytes]:
        return self._close()

    def finish(self, reason: str = "stop") -> list[bytes]:
        self._reason = _FINISH_REASONS.get(reason, reason)
        return self._close()

    def terminal(self) -> list[bytes]:
        delta = {"finish_reason": self._reason, "usage": self._usage()}
        return [self._event("message-end", id=f"fault{self.number}", delta=delta)]

    def plain(self, text: str) -> object:
        self.pieces = len(text.split())
        message = {"role": "assistant", "content": [{"type": "text", "text": text}]}
        return {"id": f"fault{self.number}", "message": message, "finish_reason": "COMPLETE", "usage": self._usage()}

    def error_body(self, kind: str, code: str, message: str) -> object:
        # Cohere's errors have neither types nor codes.
        return {"id": f"fault{self.number}", "message": message}

    def _usage(self) -> dict[str, object]:
        tokens = {"input_tokens": PROMPT_TOKENS, "output_tokens": self.pieces}
        return {"billed_units": tokens, "tokens": tokens}

    def _event(self, kind: str, **fields: object) -> bytes:
        return sse({"type": kind, **fields}, kind)

    def _call(self, kind: str, call: Mapping[str, object]) -> bytes:
        return self._event(kind, index=self._index, delta={"message": {"tool_calls": call}})

    def _content(self, edge: str, content: Mapping[str, object]) -> bytes:
        return self._event(f"content-{edge}", index=self._index, delta={"message": {"content": content}})

    def _piece(self, kind: str, piece: str) -> list[bytes]:
        blocks = []
        if self._kind != kind:
            blocks = self._close()
            self._index += 1
            self._kind = kind
            blocks.append(self._content("start", {"type": kind, kind: ""}))
        self.pieces += 1
        return [*blocks, self._content("delta", {kind: piece})]

    def _close(self) -> list[bytes]:
        if not self._kind:
            return []
        kind = "tool-call-end" if self._kind == "tool-call" else "content-end"
        self._kind = ""
        return [self._event(kind, index=self._index)]
