"""Amazon Bedrock's ConverseStream: binary frames with headers and two checksums."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping

from llmwatch.faults.shapes.shape import MODEL, PROMPT_TOKENS, Shape

__all__ = ["Bedrock", "frame"]

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}

_TEXT = 7
"""The type of a header that is text."""


def frame(headers: Mapping[str, str], value: object) -> bytes:
    """One frame of an AWS event stream, with ``value`` as JSON."""
    payload = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    head = b"".join(_header(name, text) for name, text in headers.items())
    start = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    start += struct.pack(">I", zlib.crc32(start)) + head + payload
    return start + struct.pack(">I", zlib.crc32(start))


def _header(name: str, text: str) -> bytes:
    key, value = name.encode(), text.encode()
    return bytes([len(key)]) + key + struct.pack(">BH", _TEXT, len(value)) + value


class Bedrock(Shape):
    """Frames have no comments, so an event without content serves as a keep-alive."""

    name = "bedrock"
    path = f"/model/{MODEL}/converse-stream"
    content_type = "application/vnd.amazon.eventstream"
    default_keepalive = "empty"

    def __init__(self, number: int = 1) -> None:
        super().__init__(number)
        self._index = -1
        self._kind = ""

    def opening(self) -> list[bytes]:
        return [self._event("messageStart", role="assistant")]

    def text(self, piece: str) -> list[bytes]:
        return self._piece("text", {"text": piece})

    def reasoning(self, piece: str) -> list[bytes]:
        return self._piece("reasoning", {"reasoningContent": {"text": piece}})

    def tool_begin(self, identifier: str, name: str) -> list[bytes]:
        closing = self._close()
        self._index += 1
        self._kind = "tool"
        start = {"toolUse": {"toolUseId": identifier, "name": name}}
        return [*closing, self._event("contentBlockStart", contentBlockIndex=self._index, start=start)]

    def tool_arguments(self, fragment: str) -> list[bytes]:
        return self._piece("tool", {"toolUse": {"input": fragment}})

    def tool_end(self) -> list[bytes]:
        return self._close()

    def finish(self, reason: str = "stop") -> list[bytes]:
        return [*self._close(), self._event("messageStop", stopReason=_STOP_REASONS.get(reason, reason))]

    def usage(self) -> list[bytes]:
        return [self._event("metadata", usage=self._usage(), metrics={"latencyMs": 1})]

    def keepalive(self, kind: str = "") -> list[bytes]:
        # Any kind becomes ``empty``, because bytes between frames would damage the stream.
        return super().keepalive("empty")

    def error(self, kind: str, code: str, message: str) -> list[bytes]:
        """A frame that reports an exception; a numeric ``code`` is the status of the model's server."""
        headers = {":message-type": "exception", ":exception-type": kind, ":content-type": "application/json"}
        status = {"originalStatusCode": int(code)} if code.isdigit() else {}
        return [frame(headers, {"message": message, **status})]

    def malformed(self) -> list[bytes]:
        damaged = bytearray(self._event("contentBlockDelta", contentBlockIndex=0, delta={"text": "?"}))
        damaged[-1] ^= 1
        return [bytes(damaged)]

    def plain(self, text: str) -> object:
        self.pieces = len(text.split())
        message = {"role": "assistant", "content": [{"text": text}]}
        return {"output": {"message": message}, "stopReason": "end_turn", "usage": self._usage()}

    def error_body(self, kind: str, code: str, message: str) -> object:
        return {"message": message}

    def _usage(self) -> dict[str, int]:
        total = PROMPT_TOKENS + self.pieces
        return {"inputTokens": PROMPT_TOKENS, "outputTokens": self.pieces, "totalTokens": total}

    def _event(self, kind: str, **fields: object) -> bytes:
        headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
        # The provider pads its events to hide the length of the content.
        return frame(headers, {**fields, "p": "abcdefghijklmnopqrstuvwxyz"[: 1 + self.pieces % 26]})

    def _piece(self, kind: str, delta: Mapping[str, object]) -> list[bytes]:
        blocks = []
        if self._kind != kind:
            blocks = self._close()
            self._index += 1
            self._kind = kind
        self.pieces += 1
        return [*blocks, self._event("contentBlockDelta", contentBlockIndex=self._index, delta=delta)]

    def _close(self) -> list[bytes]:
        if not self._kind:
            return []
        self._kind = ""
        return [self._event("contentBlockStop", contentBlockIndex=self._index)]
