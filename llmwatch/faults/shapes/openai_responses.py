"""OpenAI's Responses: typed events with sequence numbers, and output items in place of choices."""

from __future__ import annotations

from llmwatch.faults.shapes.shape import CREATED, MODEL, PROMPT_TOKENS, Shape, sse

__all__ = ["Responses"]


class Responses(Shape):
    name = "openai-responses"
    path = "/v1/responses"
    base = "/v1"

    def __init__(self, number: int = 1) -> None:
        super().__init__(number)
        self._sequence = -1
        self._done: list[dict[str, object]] = []
        self._kind = ""
        self._written = ""
        self._call: dict[str, object] = {}
        self._incomplete = False

    def opening(self) -> list[bytes]:
        return [
            self._event("response.created", response=self._response("in_progress")),
            self._event("response.in_progress", response=self._response("in_progress")),
        ]

    def text(self, piece: str) -> list[bytes]:
        blocks = self._open("message")
        self._written += piece
        self.pieces += 1
        delta = self._event("response.output_text.delta", **self._place(), content_index=0, delta=piece, logprobs=[])
        return [*blocks, delta]

    def reasoning(self, piece: str) -> list[bytes]:
        blocks = self._open("reasoning")
        self._written += piece
        self.pieces += 1
        delta = self._event("response.reasoning_summary_text.delta", **self._place(), summary_index=0, delta=piece)
        return [*blocks, delta]

    def tool_begin(self, identifier: str, name: str) -> list[bytes]:
        blocks = self._close()
        self._kind, self._written = "function_call", ""
        self._call = {"call_id": identifier, "name": name}
        item = {**self._item("in_progress"), "arguments": ""}
        return [*blocks, self._event("response.output_item.added", output_index=len(self._done), item=item)]

    def tool_arguments(self, fragment: str) -> list[bytes]:
        self._written += fragment
        self.pieces += 1
        return [self._event("response.function_call_arguments.delta", **self._place(), delta=fragment)]

    def tool_end(self) -> list[bytes]:
        return self._close()

    def finish(self, reason: str = "stop") -> list[bytes]:
        self._incomplete = reason == "length"
        return self._close("incomplete" if self._incomplete else "completed")

    def terminal(self) -> list[bytes]:
        status = "incomplete" if self._incomplete else "completed"
        return [self._event(f"response.{status}", response=self._response(status))]

    def keepalive(self, kind: str = "") -> list[bytes]:
        if kind == "ping":
            return [self._event("keepalive")]
        return super().keepalive(kind)

    def error(self, kind: str, code: str, message: str) -> list[bytes]:
        return [self._event("error", code=code or kind, message=message, param=None)]

    def malformed(self) -> list[bytes]:
        return [b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta": \n\n']

    def plain(self, text: str) -> object:
        self.pieces = len(text.split())
        self._kind, self._written = "message", text
        self._done.append(self._item("completed"))
        return self._response("completed")

    def error_body(self, kind: str, code: str, message: str) -> object:
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}

    def _event(self, kind: str, **fields: object) -> bytes:
        self._sequence += 1
        return sse({"type": kind, "sequence_number": self._sequence, **fields}, kind)

    def _response(self, status: str) -> dict[str, object]:
        over = status != "in_progress"
        usage = {
            "input_tokens": PROMPT_TOKENS,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": self.pieces,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": PROMPT_TOKENS + self.pieces,
        }
        return {
            "id": f"resp_fault{self.number}",
            "object": "response",
            "created_at": CREATED,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "model": MODEL,
            "output": list(self._done) if over else [],
            "usage": usage if over else None,
        }

    def _place(self) -> dict[str, object]:
        return {"item_id": self._identifier(), "output_index": len(self._done)}

    def _identifier(self) -> str:
        prefix = {"message": "msg", "reasoning": "rs", "function_call": "fc"}[self._kind]
        return f"{prefix}_fault{self.number}_{len(self._done)}"

    def _item(self, status: str) -> dict[str, object]:
        item: dict[str, object] = {"id": self._identifier(), "type": self._kind}
        if self._kind == "reasoning":
            return {**item, "summary": [{"type": "summary_text", "text": self._written}] if self._written else []}
        if self._kind == "function_call":
            return {**item, "status": status, **self._call, "arguments": self._written}
        part = {"type": "output_text", "text": self._written, "annotations": [], "logprobs": []}
        content = [part] if status != "in_progress" else []
        return {**item, "status": status, "role": "assistant", "content": content}

    def _open(self, kind: str) -> list[bytes]:
        if self._kind == kind:
            return []
        blocks = self._close()
        self._kind, self._written = kind, ""
        item = self._item("in_progress")
        blocks.append(self._event("response.output_item.added", output_index=len(self._done), item=item))
        if kind == "message":
            part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            blocks.append(self._event("response.content_part.added", **self._place(), content_index=0, part=part))
        else:
            part = {"type": "summary_text", "text": ""}
            added = self._event("response.reasoning_summary_part.added", **self._place(), summary_index=0, part=part)
            blocks.append(added)
        return blocks

    def _close(self, status: str = "completed") -> list[bytes]:
        if not self._kind:
            return []
        where, written = self._place(), self._written
        blocks: list[bytes] = []
        if self._kind == "message":
            part = {"type": "output_text", "text": written, "annotations": [], "logprobs": []}
            blocks = [
                self._event("response.output_text.done", **where, content_index=0, text=written, logprobs=[]),
                self._event("response.content_part.done", **where, content_index=0, part=part),
            ]
        elif self._kind == "reasoning":
            part = {"type": "summary_text", "text": written}
            blocks = [
                self._event("response.reasoning_summary_text.done", **where, summary_index=0, text=written),
                self._event("response.reasoning_summary_part.done", **where, summary_index=0, part=part),
            ]
        elif status == "completed":
            name = self._call["name"]
            blocks = [self._event("response.function_call_arguments.done", **where, name=name, arguments=written)]
        item = self._item(status)
        blocks.append(self._event("response.output_item.done", output_index=len(self._done), item=item))
        self._done.append(item)
        self._kind = ""
        return blocks
