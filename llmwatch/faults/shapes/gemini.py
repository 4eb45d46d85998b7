"""Gemini's ``streamGenerateContent?alt=sse``: small responses, and no event that ends the answer."""

from __future__ import annotations

import json

from llmwatch.faults.shapes.shape import MODEL, PROMPT_TOKENS, Shape, sse

__all__ = ["Gemini"]

_FINISH_REASONS = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}


class Gemini(Shape):
    """Function calls come whole, so their fragments are collected and written at their end."""

    name = "gemini"
    path = f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse"

    def __init__(self, number: int = 1) -> None:
        super().__init__(number)
        self._call = ""
        self._arguments = ""

    def text(self, piece: str) -> list[bytes]:
        self.pieces += 1
        return [self._part({"text": piece})]

    def reasoning(self, piece: str) -> list[bytes]:
        self.pieces += 1
        return [self._part({"text": piece, "thought": True})]

    def tool_begin(self, identifier: str, name: str) -> list[bytes]:
        self._call, self._arguments = name, ""
        return []

    def tool_arguments(self, fragment: str) -> list[bytes]:
        self._arguments += fragment
        return []

    def tool_end(self) -> list[bytes]:
        return [self._part({"functionCall": {"name": self._call, "args": json.loads(self._arguments or "{}")}})]

    def finish(self, reason: str = "stop") -> list[bytes]:
        candidate = {
            "content": {"role": "model", "parts": [{"text": ""}]},
            "finishReason": _FINISH_REASONS.get(reason, reason),
            "index": 0,
        }
        return [sse(self._response(candidate))]

    def error_body(self, kind: str, code: str, message: str) -> object:
        number = int(code) if code.isdigit() else 500
        return {"error": {"code": number, "message": message, "status": kind.upper()}}

    def error(self, kind: str, code: str, message: str) -> list[bytes]:
        return [sse(self.error_body(kind, code, message))]

    def plain(self, text: str) -> object:
        self.pieces = len(text.split())
        candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP", "index": 0}
        return self._response(candidate)

    def _part(self, part: dict[str, object]) -> bytes:
        return sse(self._response({"content": {"role": "model", "parts": [part]}, "index": 0}))

    def _response(self, candidate: dict[str, object]) -> dict[str, object]:
        usage = {
            "promptTokenCount": PROMPT_TOKENS,
            "candidatesTokenCount": self.pieces,
            "totalTokenCount": PROMPT_TOKENS + self.pieces,
        }
        return {
            "candidates": [candidate],
            "usageMetadata": usage,
            "modelVersion": MODEL,
            "responseId": f"fault{self.number}",
        }
