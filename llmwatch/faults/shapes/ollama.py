"""Ollama's ``/api/chat``: one JSON object a line, the last of them with ``"done": true``."""

from __future__ import annotations

import json

from llmwatch.faults.shapes.shape import MODEL, PROMPT_TOKENS, Shape

__all__ = ["Ollama"]


class Ollama(Shape):
    """Tool calls come whole. Lines have no comments, so a blank line serves as a keep-alive."""

    name = "ndjson"
    path = "/api/chat"
    content_type = "application/x-ndjson"
    default_keepalive = "blank"

    def __init__(self, number: int = 1) -> None:
        super().__init__(number)
        self._call = ""
        self._arguments = ""
        self._reason = "stop"

    def text(self, piece: str) -> list[bytes]:
        self.pieces += 1
        return [self._line({"content": piece})]

    def reasoning(self, piece: str) -> list[bytes]:
        self.pieces += 1
        return [self._line({"content": "", "thinking": piece})]

    def tool_begin(self, identifier: str, name: str) -> list[bytes]:
        self._call, self._arguments = name, ""
        return []

    def tool_arguments(self, fragment: str) -> list[bytes]:
        self._arguments += fragment
        return []

    def tool_end(self) -> list[bytes]:
        call = {"function": {"name": self._call, "arguments": json.loads(self._arguments or "{}")}}
        return [self._line({"content": "", "tool_calls": [call]})]

    def finish(self, reason: str = "stop") -> list[bytes]:
        self._reason = "length" if reason == "length" else "stop"
        return []

    def terminal(self) -> list[bytes]:
        return [_line(self._last(""))]

    def keepalive(self, kind: str = "") -> list[bytes]:
        kind = kind or self.default_keepalive
        if kind in ("comment", "ping"):
            kind = "blank"
        return super().keepalive(kind)

    def error(self, kind: str, code: str, message: str) -> list[bytes]:
        return [_line({"error": message})]

    def error_body(self, kind: str, code: str, message: str) -> object:
        return {"error": message}

    def malformed(self) -> list[bytes]:
        return [b'{"broken": \n']

    def plain(self, text: str) -> object:
        self.pieces = len(text.split())
        return self._last(text)

    def _base(self, message: dict[str, object]) -> dict[str, object]:
        return {
            "model": MODEL,
            "created_at": "2023-11-14T22:13:20Z",
            "message": {"role": "assistant", **message},
        }

    def _line(self, message: dict[str, object]) -> bytes:
        return _line({**self._base(message), "done": False})

    def _last(self, text: str) -> dict[str, object]:
        counts = {"prompt_eval_count": PROMPT_TOKENS, "eval_count": self.pieces}
        return {**self._base({"content": text}), "done": True, "done_reason": self._reason, **counts}


def _line(data: object) -> bytes:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
