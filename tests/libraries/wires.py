"""Healthy bodies as the services of the libraries send them, in pieces, each of which is one event."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

__all__ = ["ANSWER", "LIBRARIES", "Wire"]

_WORDS = ("Hel", "lo ", "world")
ANSWER = "".join(_WORDS)

_SSE = "text/event-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """A healthy body of one service, as :func:`tests.libraries.running.script` plays it."""

    content_type: str
    pieces: tuple[bytes, ...]

    @property
    def half(self) -> int:
        """The number of pieces up to the second word: some content, and no end mark."""
        return next(number for number, piece in enumerate(self.pieces, 1) if _WORDS[1].encode() in piece)


def _sse(value: Any, event: str | None = None) -> bytes:
    named = f"event: {event}\n" if event else ""
    return f"{named}data: {json.dumps(value)}\n\n".encode()


def _named(kind: str, **more: Any) -> bytes:
    return _sse({"type": kind, **more}, kind)


def _line(**value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return _sse({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})


_CHAT = Wire(
    content_type=_SSE,
    pieces=(
        *(_chunk({"role": "assistant", "content": word}) for word in _WORDS),
        _chunk({}, "stop"),
        b"data: [DONE]\n\n",
    ),
)


def _messages() -> Wire:
    message = {"id": "i", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None}
    usage = {"input_tokens": 3, "output_tokens": 1}
    texts = ({"type": "text_delta", "text": word} for word in _WORDS)
    return Wire(
        content_type=_SSE,
        pieces=(
            _named("message_start", message={**message, "stop_sequence": None, "usage": usage}),
            _named("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            *(_named("content_block_delta", index=0, delta=text) for text in texts),
            _named("content_block_stop", index=0),
            _named(
                "message_delta",
                delta={"stop_reason": "end_turn", "stop_sequence": None},
                usage={"output_tokens": 3},
            ),
            _named("message_stop"),
        ),
    )


def _cohere_v1() -> Wire:
    billed = {"prompt_tokens": 1, "response_tokens": 3, "total_tokens": 4, "billed_tokens": 4}
    meta = {"api_version": {"version": "1"}}
    whole = {"response_id": "r", "text": ANSWER, "generation_id": "g", "chat_history": [], "token_count": billed}
    return Wire(
        content_type="application/stream+json",
        pieces=(
            _line(is_finished=False, event_type="stream-start", generation_id="g"),
            *(_line(is_finished=False, event_type="text-generation", text=word) for word in _WORDS),
            _line(
                is_finished=True,
                event_type="stream-end",
                finish_reason="COMPLETE",
                response={**whole, "meta": meta},
            ),
        ),
    )


def _cohere_v2() -> Wire:
    message = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    usage = {"tokens": {"input_tokens": 3, "output_tokens": 3}}
    return Wire(
        content_type=_SSE,
        pieces=(
            _named("message-start", id="i", delta={"message": message}),
            _named("content-start", index=0, delta={"message": {"content": {"type": "text", "text": ""}}}),
            *(_named("content-delta", index=0, delta={"message": {"content": {"text": word}}}) for word in _WORDS),
            _named("content-end", index=0),
            _named("message-end", delta={"finish_reason": "COMPLETE", "usage": usage}),
        ),
    )


def _dashscope() -> Wire:
    pieces = []
    for number, word in enumerate(_WORDS):
        choice = {
            "message": {"role": "assistant", "content": word},
            "finish_reason": "stop" if number == 2 else "null",
        }
        usage = {"input_tokens": 5, "output_tokens": number + 1, "total_tokens": number + 6}
        data = json.dumps({"output": {"choices": [choice]}, "usage": usage, "request_id": "q"})
        pieces.append(f"id:{number}\nevent:result\n:HTTP_STATUS/200\ndata:{data}\n\n".encode())
    return Wire(content_type=_SSE, pieces=tuple(pieces))


def _text_generation() -> Wire:
    pieces = []
    for number, word in enumerate(_WORDS):
        last = number == 2
        details = {"finish_reason": "length", "generated_tokens": 3, "seed": None, "prefill": [], "tokens": []}
        token = {"id": number, "text": word, "logprob": -0.5, "special": False}
        value = {"index": number + 1, "token": token, "generated_text": ANSWER if last else None}
        pieces.append(b"data:" + json.dumps({**value, "details": details if last else None}).encode() + b"\n\n")
    return Wire(content_type=_SSE, pieces=tuple(pieces))


def _candidates(word: str) -> dict[str, Any]:
    end = {"finishReason": "STOP"} if word == _WORDS[-1] else {}
    return {"candidates": [{"content": {"parts": [{"text": word}], "role": "model"}, "index": 0, **end}]}


_GEMINI = Wire(content_type=_SSE, pieces=tuple(_sse(_candidates(word)) for word in _WORDS))
# Without alt=sse the service sends one JSON array. google-api-core 2.33 refuses a line end behind its bracket.
_GEMINI_ARRAY = Wire(
    content_type="application/json",
    pieces=(
        *(
            (b"," if number else b"[") + json.dumps(_candidates(word)).encode() + b"\r\n"
            for number, word in enumerate(_WORDS)
        ),
        b"]",
    ),
)


def _ollama() -> Wire:
    made: dict[str, Any] = {"model": "m", "created_at": "2026-11-29T00:00:00Z"}
    return Wire(
        content_type="application/x-ndjson",
        pieces=(
            *(_line(**made, message={"role": "assistant", "content": word}, done=False) for word in _WORDS),
            _line(**made, message={"role": "assistant", "content": ""}, done=True, done_reason="stop", eval_count=3),
        ),
    )


LIBRARIES: dict[str, dict[str, tuple[str, Wire]]] = {
    "requests": {
        "openai": ("openai==0.28.1", _CHAT),
        "cohere": ("cohere==4.57", _cohere_v1()),
        "dashscope": ("dashscope==2.0.2", _dashscope()),
        "text-generation": ("text-generation==0.7.0", _text_generation()),
        "google-generativeai": ("google-generativeai==0.8.6", _GEMINI_ARRAY),
    },
    "httpx": {
        "openai": ("openai==3.57.0", _CHAT),
        "anthropic": ("anthropic==2.14.0", _messages()),
        "mistralai": ("mistralai==3.7.0", _CHAT),
        "groq": ("groq==1.7.0", _CHAT),
        "zai": ("zai-sdk==0.2.3", _CHAT),
        "ollama": ("ollama==0.6.3", _ollama()),
        "cohere": ("cohere==7.3.1", _cohere_v2()),
        "google-genai": ("google-genai==3.6.1", _GEMINI),
    },
}
"""By what they stand on: the package and version, and what its service sends."""
