"""Anthropic's Messages: named events with numbered content blocks, and pings."""

from __future__ import annotations

from collections.abc import Mapping

from llmwatch.faults.shapes.shape import MODEL, PROMPT_TOKENS, Shape, sse

__all__ = ["Anthropic"]

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


class Anthropic(Shape):
    name = "anthropic"
    path = "/v1/messages"
    default_keepalive = "ping"

    def __init__(self, number: int = 1) -> None:
        super().__init__(number)
        self._index = -1
        self._kind = ""

    def opening(self) -> list[bytes]:
        usage = {"input_tokens": PROMPT_TOKENS, "output_tokens": 1}
        message = {**self._message(), "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
        return [self._event("message_start", message=message)]

    def text(self, piece: str) -> list[bytes]:
        return self._piece("text", {"type": "text", "text": ""}, {"type": "text_delta", "text": piece})

    def reasoning(self, piece: str) -> list[bytes]:
        start = {"type": "thinking", "thinking": "", "signature": ""}
        return self._piece("thinking", start, {"type": "thinking_delta", "thinking": piece})

    def tool_begin(self, identifier: str, name: str) -> list[bytes]:
        closing = self._close()
        self._kind = ""
        return [*closing, *self._open("tool_use", {"type": "tool_use", "id": identifier, "name": name, "input": {}})]

    def tool_arguments(self, fragment: str) -> list[bytes]:
        self.pieces += 1
        return [self._delta({"type": "input_json_delta", "partial_json": fragment})]

    def tool_end(self) -> list[bytes]:
        return self._close()

    def finish(self, reason: str = "stop") -> list[bytes]:
        delta = {"stop_reason": _STOP_REASONS.get(reason, reason), "stop_sequence": None}
        usage = {"output_tokens": self.pieces}
        return [*self._close(), self._event("message_delta", delta=delta, usage=usage)]

    def terminal(self) -> list[bytes]:
        return [self._event("message_stop")]

    def empty_delta(self) -> list[bytes]:
        # Matches the open block, because opening a text block would end it.
        if self._kind == "tool_use":
            return [self._delta({"type": "input_json_delta", "partial_json": ""})]
        if self._kind == "thinking":
            return [self._delta({"type": "thinking_delta", "thinking": ""})]
        return self.text("")

    def malformed(self) -> list[bytes]:
        return [b'event: content_block_delta\ndata: {"type":"content_block_delta","index": \n\n']

    def plain(self, text: str) -> object:
        usage = {"input_tokens": PROMPT_TOKENS, "output_tokens": len(text.split())}
        content = [{"type": "text", "text": text}]
        return {
            **self._message(),
            "content": content,
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": usage,
        }

    def error_body(self, kind: str, code: str, message: str) -> object:
        # Anthropic's errors have a type and no code.
        return {"type": "error", "error": {"type": kind, "message": message}}

    def _message(self) -> dict[str, object]:
        return {"id": f"msg_fault{self.number}", "type": "message", "role": "assistant", "model": MODEL}

    def _event(self, kind: str, **fields: object) -> bytes:
        return sse({"type": kind, **fields}, kind)

    def _piece(self, kind: str, start: Mapping[str, object], delta: Mapping[str, object]) -> list[bytes]:
        blocks = [] if self._kind == kind else [*self._close(), *self._open(kind, start)]
        self.pieces += 1
        return [*blocks, self._delta(delta)]

    def _delta(self, delta: Mapping[str, object]) -> bytes:
        return self._event("content_block_delta", index=self._index, delta=delta)

    def _open(self, kind: str, block: Mapping[str, object]) -> list[bytes]:
        self._index += 1
        self._kind = kind
        return [self._event("content_block_start", index=self._index, content_block=block)]

    def _close(self) -> list[bytes]:
        if not self._kind:
            return []
        blocks = []
        if self._kind == "thinking":
            blocks.append(self._delta({"type": "signature_delta", "signature": "c2lnbmF0dXJl"}))
        blocks.append(self._event("content_block_stop", index=self._index))
        self._kind = ""
        return blocks
