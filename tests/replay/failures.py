"""Streams that failed, as providers, servers and proxies have let them fail.

In every dialect a failure is never a success.

Each is asked for like a healthy one and answered with 200. ``error`` is what ``Client`` raises, and ``words`` are the
provider's own that it has to repeat. ``whole`` says that a passthrough hands over every byte and raises nothing: what
failed is in the body, and the program reads that itself. Where the body ended before the answer, a passthrough raises
too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from llmwatch import EmptyStream, LLMWatchError, MalformedEvent, NotAStream, ProviderError, StreamCut, StreamTruncated
from tests.replay.streams import DONE, STREAMS, chunk, event, line
from tests.wire import providers
from tests.wire.frames import exception_frame

__all__ = ["FAILURES", "Failure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One body, how it is asked for, announced and ended, and what comes of it.

    ``client`` is the SDK that asks so.
    """

    path: str
    body: bytes
    error: type[LLMWatchError]
    whole: bool
    content_type: str = "text/event-stream"
    ends: str = "clean"
    words: str = ""
    client: str = ""
    request: dict[str, Any] = field(default_factory=dict)


def _of(name: str, body: bytes, error: type[LLMWatchError], **more: Any) -> Failure:
    """A failure of what a healthy stream is."""
    stream = STREAMS[name]
    known = {
        "path": stream.path,
        "content_type": stream.content_type,
        "request": stream.request,
        "client": stream.client,
    }
    whole = more.pop("whole", error not in (StreamCut, StreamTruncated))
    return Failure(**{**known, **more}, body=body, error=error, whole=whole)


def _without(name: str, parts: int, **more: Any) -> Failure:
    """A healthy stream that ends cleanly before its last ``parts``."""
    return _of(name, b"".join(STREAMS[name].parts[:-parts]), StreamTruncated, **more)


def _cut(name: str, parts: int, ends: str = "cut", **more: Any) -> Failure:
    """A healthy stream whose framing is cut before its last ``parts``."""
    return _of(name, b"".join(STREAMS[name].parts[:-parts]), StreamCut, ends=ends, **more)


def _half(name: str, parts: int, **more: Any) -> Failure:
    """A healthy stream that ends cleanly in the middle of the part that stands before its last ``parts``."""
    *before, last = STREAMS[name].parts[:-parts]
    return _of(name, b"".join(before) + last[: len(last) // 2], StreamTruncated, **more)


def _says(name: str, said: bytes, words: str = "planted words", *, before: int = 3, after: bytes = b"") -> Failure:
    """A healthy stream that says after some parts what went wrong."""
    return _of(name, b"".join(STREAMS[name].parts[:before]) + said + after, ProviderError, words=words)


ERROR = {"type": "server_error", "code": "x", "message": "planted words"}
_FLAT = {"type": "error", "code": "x", "message": "planted words"}
_CHAT = "openai"
_PAGE = b"<!doctype html><html><body><h1>Gateway</h1></body></html>"
_DOCUMENT = (
    b'{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}]}'
)
_BEGUN = b"".join(STREAMS["openai-tools"].parts[:3])


def _responses(kind: str, **more: Any) -> bytes:
    return event({"type": kind, **more}, kind)


_IN_OPENAI = {
    "chat, end after content": _without(_CHAT, 3),
    "chat, cut after content": _cut(_CHAT, 3),
    "chat, reset after content": _cut(_CHAT, 3, "reset"),
    "chat, short of its length": _cut(_CHAT, 3, "short"),
    "chat, cut after the finish mark": _cut(_CHAT, 1),
    "chat, end in the middle of an event": _half(_CHAT, 3),
    "chat, [DONE] alone, then a cut": _of(_CHAT, b"".join(STREAMS[_CHAT].parts[:3]) + DONE, StreamCut, ends="cut"),
    "chat, [DONE] and nothing else": _of(_CHAT, DONE, EmptyStream),
    "chat, a role and [DONE]": _of(_CHAT, STREAMS[_CHAT].parts[0] + DONE, EmptyStream),
    "chat, an error first": _says(_CHAT, event({"error": ERROR}), before=0),
    "chat, an error, then [DONE]": _says(_CHAT, event({"error": ERROR}), after=DONE),
    "chat, an error as a string": _says(_CHAT, event({"error": "planted words"}), after=DONE),
    "chat, an event called error": _says(_CHAT, event({"message": "planted words"}, "error"), after=DONE),
    "chat, FastAPI's detail": _says(_CHAT, event({"detail": "planted words"}), after=DONE),
    "chat, a status of error": _says(_CHAT, event({"status": "error", "message": "planted words"}), after=DONE),
    "chat, no success": _says(_CHAT, event({"success": False, "message": "planted words"}), after=DONE),
    "chat, an end mark called error": _says(_CHAT, event("[DONE]", "error"), "no message was given", after=DONE),
    "chat, an opening without its empty line": _of(_CHAT, STREAMS[_CHAT].parts[0][:-1], StreamTruncated),
    "chat, an error beside an empty choice": _says(
        "openrouter", chunk({"content": ""}, "error", error={"code": 502, "message": "planted words"}), after=DONE
    ),
    "chat, a reason of error": _says(_CHAT, chunk({}, "error"), "error", after=DONE),
    "chat, vLLM's error object": _says("vllm", event({**ERROR, "object": "error"}), after=DONE),
    "chat, broken JSON": _of(_CHAT, STREAMS[_CHAT].parts[0] + b'data: {"choices":[{\n\n' + DONE, MalformedEvent),
    "chat, a call in pieces that end": _of("openai-tools", _BEGUN, StreamTruncated),
    "chat, a call in pieces that are cut": _of("openai-tools", _BEGUN, StreamCut, ends="cut"),
    "chat, an error document": _of(
        _CHAT,
        b'{"error":{"message":"planted words"}}',
        ProviderError,
        words="planted words",
        content_type="application/json",
    ),
    "chat, a completion in one document": _of(_CHAT, _DOCUMENT, NotAStream, content_type="application/json"),
    "chat, a page": _of(_CHAT, _PAGE, NotAStream, content_type="text/html"),
    "chat, a page that calls itself a stream": _of(_CHAT, _PAGE, NotAStream),
    "chat, nothing": _of(_CHAT, b"", EmptyStream),
    "chat, comments alone": _of(_CHAT, b": ping\n\n: ping\n\n", EmptyStream),
    "completions, end after content": _without("openai-completions", 2),
    "azure, the filter's results alone": _without("azure", 6),
    "responses, end after deltas": _without("openai-responses", 3),
    "responses, cut before its last event": _cut("openai-responses", 1),
    "responses, failed": _says(
        "openai-responses", _responses("response.failed", response={"status": "failed", "error": ERROR})
    ),
    "responses, an error": _says("openai-responses", _responses("error", code="x", message="planted words")),
    "responses, a call that is cut": _cut("openai-responses-tools", 4),
}
_IN_ANTHROPIC = {
    "messages, end after a block": _without("anthropic", 2),
    "messages, end within a block": _without("anthropic", 4),
    "messages, a stop reason in an open block": _of(
        "anthropic",
        b"".join((*STREAMS["anthropic"].parts[:-3], STREAMS["anthropic"].parts[-2])),
        StreamTruncated,
    ),
    "messages, cut after the stop reason": _cut("anthropic", 1),
    "messages, FastAPI's detail": _says(
        "anthropic",
        event({"detail": "planted words"}),
        before=5,
        after=b"".join(STREAMS["anthropic"].parts[5:]) + DONE,
    ),
    "messages, an opening without its empty line": _of(
        "anthropic", STREAMS["anthropic"].parts[0][:-1], StreamTruncated
    ),
    "messages, overloaded": _says("anthropic", event({"type": "error", "error": ERROR}, "error"), before=5),
    "messages, a call that ends in its input": _without("anthropic-tools", 7),
    "messages, broken JSON": _of(
        "anthropic",
        b"".join(
            (
                *STREAMS["anthropic"].parts[:3],
                b"event: content_block_delta\ndata: {\n\n",
                *STREAMS["anthropic"].parts[3:],
            )
        ),
        MalformedEvent,
    ),
}
_IN_OTHERS = {
    "gemini, end without a reason": _without("gemini", 1),
    "gemini, cut after the reason": _cut("gemini", 0),
    "gemini, an error": _says("gemini", event({"error": {"code": 503, "message": "planted words"}}), before=2),
    "ollama, end without done": _without("ollama", 1),
    "ollama, cut within a line": _of(
        "ollama", STREAMS["ollama"].body[: -len(STREAMS["ollama"].parts[-1]) - 9], StreamCut, ends="cut"
    ),
    "ollama, an error": _says("ollama", line({"error": "planted words"})),
    "bedrock, end without a reason": _without("bedrock", 2),
    "bedrock, end within a frame": _half("bedrock", 1),
    "bedrock, an exception": _says("bedrock", exception_frame("throttlingException", "planted words"), before=6),
    "bedrock, a frame that is damaged": _of(
        "bedrock", STREAMS["bedrock"].parts[0] + STREAMS["bedrock"].parts[1].replace(b"me ", b"you"), MalformedEvent
    ),
    "cohere, end without its message-end": _without("cohere", 2),
    "cohere, ended by an error": _says(
        "cohere", providers.typed("message-end", delta={"finish_reason": "ERROR", "error": "planted words"}), before=9
    ),
    "cohere v1, end without its stream-end": _without("cohere-v1", 1),
    "baidu, end without its last piece": _without("baidu", 1),
    "baidu, an error": _says("baidu", event({"error_code": 336100, "error_msg": "planted words"}), before=1),
    "dashscope, end without a reason": _without("dashscope", 1),
    "dashscope, an error": _says("dashscope", event({**_FLAT, "request_id": "q"}, "error")),
    "tgi, end without its text": _without("tgi", 1),
    "tgi, an error": _says("tgi", event({"error": "planted words", "error_type": "overloaded"}), before=1),
    "snowflake, end before its usage": _without("snowflake", 1),
    "snowflake, an error": _says("snowflake", event({"error": ERROR}, "error"), before=1),
    "mistral, end after thinking": _without("mistral", 4),
    "deepseek, keep-alives alone": _of("deepseek", b": keep-alive\n\n" * 3, EmptyStream),
    "perplexity, end without a reason": _without("perplexity", 2),
    "together, an error": _says("together", event({"error": {"message": "planted words", "type_": "x"}}), before=2),
    "minimax, a status in place of an answer": _of(
        "minimax",
        event({"base_resp": {"status_code": 1002, "status_msg": "planted words"}}),
        ProviderError,
        words="planted words",
    ),
    "transformers, an error that is broken JSON": _says(
        _CHAT, b'data: {"error": "planted words: no "key" here"}\n\n', after=DONE
    ),
    "llama.cpp, an error field": _says("llama.cpp", b'error: {"code":500,"message":"planted words"}\n\n', after=DONE),
    "llama.cpp, an error behind its completion": _says(
        "llama.cpp-completion", event({"error": {"code": 500, "message": "planted words"}}), before=1
    ),
    "llama.cpp, end without its last event": _without("llama.cpp-completion", 1),
    "llama.cpp, cut after content": _cut("llama.cpp-completion", 1),
    "llamafile, end without its last event": _without("llamafile", 1),
    "cloudflare, a list of errors": _says(
        "cloudflare",
        event({"success": False, "errors": [{"code": 3040, "message": "planted words"}], "result": None}),
        before=0,
    ),
    "cloudflare, end after content": _without("cloudflare", 2),
    "cloudflare, cut before the end mark": _cut("cloudflare", 1),
    "sglang, end after content": _without("sglang-generate", 2),
    "sglang, cut after the reason": _cut("sglang-generate", 1),
    "sglang, aborted": _says(
        "sglang-generate",
        event({"text": "", "meta_info": {"finish_reason": {"type": "abort", "message": "planted words"}}}),
        before=1,
        after=DONE,
    ),
    "sglang, an error": _says("sglang-generate", event({"error": {"message": "planted words"}}), before=2, after=DONE),
    "dashscope, an error in its compatible mode": _says(
        "dashscope-v1", event({"code": "Throttling", "message": "planted words", "request_id": "q"}), after=DONE
    ),
    "zhipu, an error with a code": _says(
        "zhipu", event({"code": 1113, "msg": "planted words", "success": False}), after=DONE
    ),
    "litellm, an error in a line of its own": _says(
        "litellm", b'{"error":{"message":"planted words","code":"500"}}\n\n', after=DONE
    ),
}

FAILURES: dict[str, Failure] = {**_IN_OPENAI, **_IN_ANTHROPIC, **_IN_OTHERS}
