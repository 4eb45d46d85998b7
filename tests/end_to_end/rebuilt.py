"""Streams that real providers sent, rebuilt piece by piece."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from llmwatch.faults import Context, Script, steps
from llmwatch.faults.steps import Framing

__all__ = ["DONE", "PATHS", "chunk", "data", "line", "messages", "named", "part", "rebuilt"]

DONE = b"data: [DONE]\n\n"

PATHS = {
    "openai-chat": "/v1/chat/completions",
    "openai-responses": "/v1/responses",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/g:streamGenerateContent?alt=sse",
    "ndjson": "/api/chat",
}
"""Where each dialect is spoken."""


def data(value: Any) -> bytes:
    """One event without a name."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def named(kind: str, **more: Any) -> bytes:
    """One event with its name, in the data too."""
    return b"event: " + kind.encode() + b"\n" + data({"type": kind, **more})


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    """One chunk of chat completions."""
    return data({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more})


def part(text: str, **more: Any) -> bytes:
    """One event of Gemini's."""
    return data({"candidates": [{"content": {"parts": [{"text": text}]}, "index": 0, **more}]})


def line(**value: Any) -> bytes:
    """One line of JSON."""
    return json.dumps(value).encode() + b"\n"


def messages(text: str, reason: str | None = "end_turn") -> bytes:
    """A message of one block of text, up to its ``stop_reason``.

    Without a reason the message stops in the middle of its block.
    """
    delta = {"type": "text_delta", "text": text}
    said = named("message_start", message={}) + named(
        "content_block_start", index=0, content_block={"type": "text", "text": ""}
    )
    said += named("content_block_delta", index=0, delta=delta)
    if reason is None:
        return said
    return said + named("content_block_stop", index=0) + named("message_delta", delta={"stop_reason": reason}, usage={})


def rebuilt(
    *pieces: bytes | float, end: str = "clean", framing: Framing = "chunked", content_type: str = "text/event-stream"
) -> Script:
    """A body of ``pieces``, with pauses in seconds.

    Its end is ``clean``, ``cut`` (a missing last chunk, a short length), ``reset``, or ``open`` for ever.
    """

    def play(context: Context) -> Iterator[steps.Step]:
        body: list[steps.Step] = [
            steps.Chunk(piece) if isinstance(piece, bytes) else steps.Wait(piece) for piece in pieces
        ]
        last = {"reset": [steps.Reset()], "open": [steps.Hang()]}.get(end, [])
        yield from context.answer([*body, *last], content_type=content_type, framing=framing, ends=end == "clean")
        if end == "cut":
            yield steps.Close()

    return Script(name="rebuilt", description="answers with given pieces", play=play)
