"""OpenAI's chat completions, which most servers of open models use too."""

from __future__ import annotations

from llmwatch.faults.shapes.shape import CREATED, MODEL, PROMPT_TOKENS, Shape, sse

__all__ = ["Chat"]


class Chat(Shape):
    name = "openai-chat"
    path = "/v1/chat/completions"
    base = "/v1"

    def __init__(self, number: int = 1) -> None:
        super().__init__(number)
        self._tool = -1

    def opening(self) -> list[bytes]:
        return [self._delta({"role": "assistant", "content": ""})]

    def text(self, piece: str) -> list[bytes]:
        self.pieces += 1
        return [self._delta({"content": piece})]

    def reasoning(self, piece: str) -> list[bytes]:
        self.pieces += 1
        return [self._delta({"reasoning_content": piece})]

    def tool_begin(self, identifier: str, name: str) -> list[bytes]:
        self._tool += 1
        call = {"index": self._tool, "id": identifier, "type": "function", "function": {"name": name, "arguments": ""}}
        return [self._delta({"tool_calls": [call]})]

    def tool_arguments(self, fragment: str) -> list[bytes]:
        self.pieces += 1
        return [self._delta({"tool_calls": [{"index": self._tool, "function": {"arguments": fragment}}]})]

    def finish(self, reason: str = "stop") -> list[bytes]:
        return [self._delta({}, reason)]

    def restated(self, text: str) -> list[bytes]:
        return [sse(self.plain(text))]

    def usage(self) -> list[bytes]:
        return [sse({**self._base("chat.completion.chunk"), "choices": [], "usage": self._usage()})]

    def terminal(self) -> list[bytes]:
        return [sse("[DONE]")]

    def empty_delta(self) -> list[bytes]:
        return [self._delta({})]

    def error(self, kind: str, code: str, message: str) -> list[bytes]:
        return [sse(self.error_body(kind, code, message))]

    def plain(self, text: str) -> object:
        self.pieces = len(text.split())
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return {**self._base("chat.completion"), "choices": [choice], "usage": self._usage()}

    def error_body(self, kind: str, code: str, message: str) -> object:
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}

    def _base(self, kind: str) -> dict[str, object]:
        return {"id": f"chatcmpl-fault{self.number}", "object": kind, "created": CREATED, "model": MODEL}

    def _delta(self, delta: dict[str, object], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return sse({**self._base("chat.completion.chunk"), "choices": [choice]})

    def _usage(self) -> dict[str, int]:
        return {
            "prompt_tokens": PROMPT_TOKENS,
            "completion_tokens": self.pieces,
            "total_tokens": PROMPT_TOKENS + self.pieces,
        }
