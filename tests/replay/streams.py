"""Healthy streams of providers and servers, and what they say.

They are rebuilt from what each provider documents or was seen to send.

The bodies are short, and their words have characters of two, three and four bytes, so that a body can be cut at every
byte. What a stream says was written down by hand from the documented meaning of the wire; the clients of the providers
that the tests have (openai, anthropic) read the same bodies in ``test_sdk.py``, and those of the others in
``tests/providers``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.wire import providers

__all__ = ["DONE", "STREAMS", "Stream", "chunk", "event", "line"]

WORDS = ("Hé語 ", "🐕")
TEXT = "".join(WORDS)
THOUGHT = "hm, 語"
CITY = {"c": "Malmö"}

Call = tuple[str | None, str, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One body, how it is asked for and announced, and what is in it.

    ``provider`` is who sends it and ``source`` where its shape is from; ``client`` names the SDK that reads it too.
    ``usage`` and ``finish`` are the provider's own words, ``cut`` says that it ended its answer early. ``unread`` says
    that no dialect knows what is in its events: the data as it stands is the text.
    """

    provider: str
    source: str
    path: str
    parts: tuple[bytes, ...]
    content_type: str = "text/event-stream"
    client: str = ""
    unread: bool = False
    text: str = TEXT
    reasoning: str = ""
    calls: tuple[Call, ...] = ()
    usage: dict[str, Any] | None = None
    finish: str | None = "stop"
    cut: bool = False
    request: dict[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(self.parts)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def event(value: Any, name: str = "") -> bytes:
    """A server-sent event."""
    return (f"event: {name}\n".encode() if name else b"") + b"data: " + _json(value) + b"\n\n"


def line(value: Any) -> bytes:
    """A line of JSON."""
    return _json(value) + b"\n"


def chunk(delta: Any = None, finish: str | None = None, *, choice: Any = None, **more: Any) -> bytes:
    """A chunk of a chat completion with one choice; ``choice`` stands in it beside the delta."""
    one = {"index": 0, "delta": delta or {}, "finish_reason": finish, **(choice or {})}
    return event({"id": "c", "choices": [one], **more})


def _no_choice(**more: Any) -> bytes:
    return event({"id": "c", "choices": [], **more})


def _words(name: str = "content", words: tuple[str, ...] = WORDS, **more: Any) -> list[bytes]:
    return [chunk({**more, name: word}) for word in words]


def _call(arguments: str, index: int | None = 0, **more: Any) -> dict[str, Any]:
    """A delta with a piece of a call; with ``id`` and ``name`` the piece that begins one."""
    name = more.pop("name", None)
    function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
    place = {} if index is None else {"index": index}
    begins = {"type": "function"} if name else {}
    return {"tool_calls": [{**place, **more, **begins, "function": function}]}


DONE = b"data: [DONE]\n\n"
ROLE = {"role": "assistant", "content": ""}
THOUGHTS = ("hm, ", "語")
USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
CHAT = "/v1/chat/completions"
WEATHER: Call = ("c1", "weather", CITY)
LIST: Call = ("c2", "tasks", {})

_OPENAI = {
    "openai": Stream(
        provider="OpenAI",
        source="API reference, chat completion chunks with include_usage and obfuscation",
        path=CHAT,
        client="openai",
        parts=(
            chunk({**ROLE, "refusal": None}, usage=None, obfuscation="x1"),
            *[chunk({"content": word}, usage=None, obfuscation="y") for word in WORDS],
            chunk(None, "stop", usage=None),
            _no_choice(usage=USAGE),
            DONE,
        ),
        usage=USAGE,
    ),
    "openai-tools": Stream(
        provider="OpenAI",
        source="API reference, parallel function calls",
        path=CHAT,
        client="openai",
        parts=(
            chunk({"role": "assistant", "content": None}),
            chunk(_call("", id="c1", name="weather")),
            chunk(_call('{"c":')),
            chunk(_call('"Malmö"}')),
            chunk(_call("{}", 1, id="c2", name="tasks")),
            chunk(None, "tool_calls"),
            DONE,
        ),
        text="",
        calls=(WEATHER, LIST),
        finish="tool_calls",
    ),
    "openai-length": Stream(
        provider="OpenAI",
        source="API reference, an answer that max_tokens ends",
        path=CHAT,
        client="openai",
        parts=(chunk(ROLE), *_words(), chunk(None, "length"), DONE),
        finish="length",
        cut=True,
    ),
    "openai-completions": Stream(
        provider="OpenAI",
        source="API reference, completions",
        path="/v1/completions",
        client="openai-completions",
        parts=(
            *[
                event(
                    {"id": "c", "object": "text_completion", "choices": [{"text": w, "index": 0, "finish_reason": f}]}
                )
                for w, f in zip((*WORDS, ""), (None, None, "stop"), strict=True)
            ],
            DONE,
        ),
        request={"prompt": "?"},
    ),
    "azure": Stream(
        provider="Azure OpenAI",
        source="its reference: prompt_filter_results before any choice, content_filter_results beside deltas",
        path="/openai/deployments/d/chat/completions",
        client="openai",
        parts=(
            event({"id": "", "object": "", "model": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}),
            chunk(ROLE, choice={"content_filter_results": {}}),
            *[chunk({"content": w}, choice={"content_filter_results": {"hate": {"filtered": False}}}) for w in WORDS],
            chunk(None, "stop", choice={"content_filter_results": {}}),
            _no_choice(usage=USAGE),
            DONE,
        ),
        usage=USAGE,
    ),
    "github-copilot": Stream(
        provider="GitHub Copilot",
        source="reports of its reasoning_text and reasoning_opaque (2026)",
        path="/chat/completions",
        client="openai",
        parts=(
            _no_choice(prompt_filter_results=[{"content_filter_results": {}}]),
            *[chunk({"role": "assistant", "content": None, "reasoning_text": word}) for word in THOUGHTS],
            *_words(role="assistant"),
            chunk({"content": None, "reasoning_opaque": "b3BhcXVl"}),
            chunk({"content": None}, "stop", usage=USAGE),
            DONE,
        ),
        reasoning=THOUGHT,
        usage=USAGE,
    ),
    "github-models": Stream(
        provider="GitHub Models",
        source="its reference: the shape of Azure's inference API",
        path="/inference/chat/completions",
        client="openai",
        parts=(
            chunk(ROLE),
            *[chunk({"content": word}, choice={"logprobs": None}, usage=None) for word in WORDS],
            chunk({}, "stop"),
            _no_choice(usage=USAGE),
            DONE,
        ),
        usage=USAGE,
    ),
}


def _response(kind: str, **more: Any) -> bytes:
    return event({"type": f"response.{kind}", **more}, f"response.{kind}")


_RESPONSES_USAGE = {"input_tokens": 5, "output_tokens": 3, "total_tokens": 8}
_MESSAGE = {"id": "m1", "type": "message", "role": "assistant", "status": "completed"}
_FUNCTION = {"id": "f1", "type": "function_call", "call_id": "c1", "name": "weather", "status": "completed"}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": []}


def _completed(*output: Any) -> bytes:
    return _response(
        "completed",
        response={"id": "r", "object": "response", "status": "completed", "output": output, "usage": _RESPONSES_USAGE},
    )


_CREATED = _response("created", response={"id": "r", "object": "response", "status": "in_progress", "output": []})
_RESPONSES = {
    "openai-responses": Stream(
        provider="OpenAI",
        source="API reference, Responses: a summary of the reasoning, then text",
        path="/v1/responses",
        client="openai-responses",
        parts=(
            _CREATED,
            _response("reasoning_summary_text.delta", output_index=0, summary_index=0, item_id="r1", delta=THOUGHT),
            _response("output_item.added", output_index=1, item={**_MESSAGE, "status": "in_progress", "content": []}),
            _response("content_part.added", output_index=1, content_index=0, item_id="m1", part=_part("")),
            *[
                _response("output_text.delta", output_index=1, content_index=0, item_id="m1", delta=word)
                for word in WORDS
            ],
            _response("output_text.done", output_index=1, content_index=0, item_id="m1", text=TEXT),
            _response("output_item.done", output_index=1, item={**_MESSAGE, "content": [_part(TEXT)]}),
            _completed({**_MESSAGE, "content": [_part(TEXT)]}),
        ),
        request={"input": "?"},
        reasoning=THOUGHT,
        usage=_RESPONSES_USAGE,
        finish="completed",
    ),
    "openai-responses-tools": Stream(
        provider="OpenAI",
        source="API reference, Responses: a function call",
        path="/v1/responses",
        client="openai-responses",
        parts=(
            _CREATED,
            _response(
                "output_item.added", output_index=0, item={**_FUNCTION, "status": "in_progress", "arguments": ""}
            ),
            _response("function_call_arguments.delta", output_index=0, item_id="f1", delta='{"c":'),
            _response("function_call_arguments.delta", output_index=0, item_id="f1", delta='"Malmö"}'),
            _response("function_call_arguments.done", output_index=0, item_id="f1", arguments='{"c":"Malmö"}'),
            _response("output_item.done", output_index=0, item={**_FUNCTION, "arguments": '{"c":"Malmö"}'}),
            _completed({**_FUNCTION, "arguments": '{"c":"Malmö"}'}),
        ),
        request={"input": "?"},
        text="",
        calls=(WEATHER,),
        usage=_RESPONSES_USAGE,
        finish="completed",
    ),
}


def _typed(kind: str, **more: Any) -> bytes:
    return event({"type": kind, **more}, kind)


def _block(index: int, kind: str, name: str, start: Any, pieces: tuple[tuple[str, str, str], ...]) -> list[bytes]:
    return [
        _typed("content_block_start", index=index, content_block={"type": kind, name: start}),
        *[
            _typed("content_block_delta", index=index, delta={"type": delta, field_name: piece})
            for delta, field_name, piece in pieces
        ],
        _typed("content_block_stop", index=index),
    ]


def _tool_use(index: int, identity: str, name: str, *fragments: str) -> list[bytes]:
    use = {"type": "tool_use", "id": identity, "name": name, "input": {}}
    return [
        _typed("content_block_start", index=index, content_block=use),
        *[
            _typed("content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": fragment})
            for fragment in fragments
        ],
        _typed("content_block_stop", index=index),
    ]


_BARE = {"id": "m", "type": "message", "role": "assistant", "model": "claude", "content": [], "stop_reason": None}
_STARTED = _typed("message_start", message={**_BARE, "usage": {"input_tokens": 5, "output_tokens": 1}})
_ANTHROPIC_TEXT = tuple(("text_delta", "text", word) for word in WORDS)


def _stopped(reason: str, usage: Any = None) -> tuple[bytes, bytes]:
    return (
        _typed("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=usage or _OUTPUT),
        _typed("message_stop"),
    )


_OUTPUT = {"output_tokens": 9}
_ANTHROPIC = {
    "anthropic": Stream(
        provider="Anthropic",
        source="documentation of streaming messages: thinking, its signature, a ping, text",
        path="/v1/messages",
        client="anthropic",
        parts=(
            _STARTED,
            _typed("ping"),
            *_block(
                0,
                "thinking",
                "thinking",
                "",
                (
                    *[("thinking_delta", "thinking", word) for word in THOUGHTS],
                    ("signature_delta", "signature", "c2ln"),
                ),
            ),
            *_block(1, "text", "text", "", _ANTHROPIC_TEXT),
            *_stopped("end_turn"),
        ),
        reasoning=THOUGHT,
        usage=_OUTPUT,
        finish="end_turn",
    ),
    "anthropic-tools": Stream(
        provider="Anthropic",
        source="documentation of streaming messages: calls, one of them without arguments",
        path="/v1/messages",
        client="anthropic",
        parts=(
            _STARTED,
            *_block(0, "text", "text", "", _ANTHROPIC_TEXT),
            *_tool_use(1, "c1", "weather", "", '{"c":', '"Malmö"}'),
            *_tool_use(2, "c2", "tasks", ""),
            *_stopped("tool_use"),
        ),
        calls=(WEATHER, LIST),
        usage=_OUTPUT,
        finish="tool_use",
    ),
    "vertex-anthropic": Stream(
        provider="Anthropic on Vertex AI",
        source="its reference: the same events behind streamRawPredict",
        path="/v1/projects/p/locations/l/publishers/anthropic/models/claude:streamRawPredict",
        parts=(
            _STARTED,
            *_block(0, "text", "text", "", _ANTHROPIC_TEXT),
            *_stopped("max_tokens"),
        ),
        usage=_OUTPUT,
        finish="max_tokens",
        cut=True,
    ),
    "zai-anthropic": Stream(
        provider="Z.ai",
        source="its endpoint for Anthropic's clients: usage comes whole at the end",
        path="/api/anthropic/v1/messages",
        client="anthropic",
        parts=(
            _STARTED,
            *_block(0, "text", "text", "", _ANTHROPIC_TEXT),
            *_stopped("end_turn", {"input_tokens": 5, "output_tokens": 9}),
        ),
        usage={"input_tokens": 5, "output_tokens": 9},
        finish="end_turn",
    ),
}


def _gemini(*parts: Any, finish: str | None = None, **more: Any) -> bytes:
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    return event({"candidates": [{**candidate, **({"finishReason": finish} if finish else {})}], **more})


_GEMINI_PATH = "/v1beta/models/gemini:streamGenerateContent?alt=sse"
_GEMINI_USAGE = {"promptTokenCount": 5, "candidatesTokenCount": 3, "totalTokenCount": 8}
_ASK_GEMINI = {"contents": [{"role": "user", "parts": [{"text": "?"}]}]}
_GEMINI = {
    "gemini": Stream(
        provider="Gemini",
        source="API reference, streamGenerateContent: thoughts, then text; each event has the usage so far",
        path=_GEMINI_PATH,
        parts=(
            _gemini({"text": THOUGHT, "thought": True}, usageMetadata={"promptTokenCount": 5}),
            *[_gemini({"text": word}) for word in WORDS[:-1]],
            _gemini({"text": WORDS[-1]}, finish="STOP", usageMetadata=_GEMINI_USAGE, responseId="r"),
        ),
        reasoning=THOUGHT,
        usage=_GEMINI_USAGE,
        finish="STOP",
        request=_ASK_GEMINI,
    ),
    "vertex": Stream(
        provider="Vertex AI",
        source="its reference: function calls whole, the reason in an event of its own",
        path="/v1/projects/p/locations/l/publishers/google/models/g:streamGenerateContent?alt=sse",
        parts=(
            _gemini({"text": TEXT}),
            _gemini({"functionCall": {"name": "weather", "args": CITY}, "thoughtSignature": "c2ln"}),
            _gemini({"functionCall": {"name": "tasks", "args": {}}}),
            _gemini({"text": ""}, finish="STOP", usageMetadata=_GEMINI_USAGE),
        ),
        calls=((None, "weather", CITY), (None, "tasks", {})),
        usage=_GEMINI_USAGE,
        finish="STOP",
        request=_ASK_GEMINI,
    ),
}

_COMPATIBLE = {
    "mistral": Stream(
        provider="Mistral",
        source="API reference, reasoning models: content in parts, usage beside the reason",
        path=CHAT,
        parts=(
            chunk(ROLE),
            chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]}]}),
            chunk({"content": [{"type": "text", "text": WORDS[0]}]}),
            *_words(words=WORDS[1:]),
            chunk({"content": ""}, "stop", usage=USAGE),
            DONE,
        ),
        reasoning=THOUGHT,
        usage=USAGE,
    ),
    "mistral-tools": Stream(
        provider="Mistral",
        source="API reference: whole calls in the chunk that ends the answer",
        path=CHAT,
        client="openai",
        parts=(
            chunk(ROLE),
            chunk(
                {
                    "content": "",
                    "tool_calls": [
                        {"id": "c1", "function": {"name": "weather", "arguments": '{"c":"Malmö"}'}, "index": 0},
                        {"id": "c2", "function": {"name": "tasks", "arguments": "{}"}, "index": 1},
                    ],
                },
                "tool_calls",
                usage=USAGE,
            ),
            DONE,
        ),
        text="",
        calls=(WEATHER, LIST),
        usage=USAGE,
        finish="tool_calls",
    ),
    "deepseek": Stream(
        provider="DeepSeek",
        source="API reference: keep-alive comments, reasoning_content and content each null beside the other",
        path="/chat/completions",
        client="openai",
        parts=(
            b": keep-alive\n\n",
            chunk({"role": "assistant", "content": None, "reasoning_content": ""}),
            *[chunk({"content": None, "reasoning_content": word}) for word in THOUGHTS],
            *[chunk({"content": word, "reasoning_content": None}) for word in WORDS],
            chunk({"content": "", "reasoning_content": None}, "stop", usage=USAGE),
            DONE,
        ),
        reasoning=THOUGHT,
        usage=USAGE,
    ),
    "groq": Stream(
        provider="Groq",
        source="API reference: its own field x_groq opens the stream and closes it with the usage",
        path="/openai/v1/chat/completions",
        client="openai",
        parts=(
            chunk(ROLE, x_groq={"id": "req_1"}),
            *_words("reasoning", THOUGHTS, channel="analysis"),
            *_words(),
            chunk(None, "stop", x_groq={"id": "req_1", "usage": USAGE}),
            DONE,
        ),
        reasoning=THOUGHT,
        usage=USAGE,
    ),
    "openrouter": Stream(
        provider="OpenRouter",
        source="API reference: comments while it waits, reasoning twice in a delta, usage with a choice",
        path="/api/v1/chat/completions",
        client="openai",
        parts=(
            b": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n",
            *[
                chunk(
                    {**ROLE, "reasoning": w, "reasoning_details": [{"type": "reasoning.text", "text": w, "index": 0}]}
                )
                for w in THOUGHTS
            ],
            *[chunk({"role": "assistant", "content": w}, choice={"native_finish_reason": None}) for w in WORDS],
            chunk(ROLE, "stop", choice={"native_finish_reason": "STOP"}),
            chunk(ROLE, usage={**USAGE, "cost": 0.1}),
            DONE,
        ),
        reasoning=THOUGHT,
        usage={**USAGE, "cost": 0.1},
    ),
    "together": Stream(
        provider="Together",
        source="API reference: each choice has the token beside its delta too",
        path=CHAT,
        client="openai",
        parts=(
            *[
                chunk({"token_id": 9, "role": "assistant", "content": w}, choice={"text": w, "seed": None}, usage=None)
                for w in WORDS
            ],
            chunk({"token_id": 1, "role": "assistant", "content": ""}, "stop", choice={"text": ""}, usage=USAGE),
            DONE,
        ),
        usage=USAGE,
    ),
    "fireworks": Stream(
        provider="Fireworks",
        source="API reference: usage beside the reason",
        path="/inference/v1/chat/completions",
        client="openai",
        parts=(
            chunk({"role": "assistant"}),
            *_words("reasoning_content", THOUGHTS),
            *_words(),
            chunk(None, "stop", usage=USAGE, perf_metrics={"num-concurrent-requests": 1}),
            DONE,
        ),
        reasoning=THOUGHT,
        usage=USAGE,
    ),
    "perplexity": Stream(
        provider="Perplexity",
        source="its guide to stream_mode full: the message so far beside each delta, citations, usage in each",
        path="/chat/completions",
        client="openai",
        parts=(
            *[
                chunk(
                    {"role": "assistant", "content": WORDS[place]},
                    "stop" if place == 1 else None,
                    choice={"message": {"role": "assistant", "content": "".join(WORDS[: place + 1])}},
                    citations=["https://example.org"],
                    usage={**USAGE, "completion_tokens": place + 2},
                )
                for place in range(2)
            ],
            DONE,
        ),
        usage=USAGE,
    ),
    "perplexity-end": Stream(
        provider="Perplexity",
        source="reports of its older streams: the last event says the whole again, and no [DONE] follows",
        path="/chat/completions",
        client="openai",
        parts=(
            *[
                chunk({"content": WORDS[at]}, choice={"message": {"content": "".join(WORDS[: at + 1])}})
                for at in range(2)
            ],
            chunk({"content": ""}, "stop", choice={"message": {"role": "assistant", "content": TEXT}}, usage=USAGE),
        ),
        usage=USAGE,
    ),
    "xai": Stream(
        provider="xAI",
        source="API reference: usage so far in each chunk, reasoning_content",
        path=CHAT,
        client="openai",
        parts=(
            *_words("reasoning_content", THOUGHTS, role="assistant"),
            *[chunk({"content": word, "role": "assistant"}) for word in WORDS],
            chunk(None, "stop"),
            _no_choice(usage={**USAGE, "num_sources_used": 0}, citations=["https://example.org"]),
            DONE,
        ),
        reasoning=THOUGHT,
        usage={**USAGE, "num_sources_used": 0},
    ),
    "cerebras": Stream(
        provider="Cerebras",
        source="API reference: usage and time_info beside the reason",
        path=CHAT,
        client="openai",
        parts=(
            chunk({"role": "assistant"}),
            *_words("reasoning", THOUGHTS),
            *_words(),
            chunk(None, "stop", usage=USAGE, time_info={"queue_time": 0.1}),
            DONE,
        ),
        reasoning=THOUGHT,
        usage=USAGE,
    ),
    "ollama-v1": Stream(
        provider="Ollama",
        source="its OpenAI interface (0.9 and later): reasoning beside empty content",
        path=CHAT,
        client="openai",
        parts=(
            *_words("reasoning", THOUGHTS, role="assistant", content=""),
            *_words(role="assistant"),
            chunk(ROLE, "stop"),
            _no_choice(usage=USAGE),
            DONE,
        ),
        reasoning=THOUGHT,
        usage=USAGE,
    ),
    "ollama-v1-tools": Stream(
        provider="Ollama",
        source="its OpenAI interface: whole calls, each with its index",
        path=CHAT,
        client="openai",
        parts=(
            chunk({**ROLE, **_call('{"c":"Malmö"}', id="c1", name="weather")}),
            chunk({**ROLE, **_call("{}", 1, id="c2", name="tasks")}),
            chunk(ROLE, "tool_calls"),
            DONE,
        ),
        text="",
        calls=(WEATHER, LIST),
        finish="tool_calls",
    ),
    "llama.cpp": Stream(
        provider="llama.cpp",
        source="its server's README (b5000 and later): null content first, timings beside the usage",
        path=CHAT,
        client="openai",
        parts=(
            chunk({"role": "assistant", "content": None}),
            *_words("reasoning_content", THOUGHTS),
            *_words(),
            chunk(None, "stop"),
            _no_choice(usage=USAGE, timings={"prompt_n": 5, "predicted_n": 3}),
            DONE,
        ),
        reasoning=THOUGHT,
        usage=USAGE,
    ),
    "llama-cpp-python": Stream(
        provider="llama-cpp-python",
        source="its server (0.3): sse-starlette's CRLF and pings in comments",
        path=CHAT,
        client="openai",
        parts=tuple(
            part.replace(b"\n", b"\r\n")
            for part in (chunk({"role": "assistant"}), b": ping - 1\n\n", *_words(), chunk(None, "stop"), DONE)
        ),
    ),
    "vllm": Stream(
        provider="vLLM",
        source="its OpenAI server (0.10): continuous usage, stop_reason beside the reason",
        path=CHAT,
        client="openai",
        parts=(
            chunk(ROLE, choice={"logprobs": None}, usage={"prompt_tokens": 5, "completion_tokens": 0}),
            *_words("reasoning_content", THOUGHTS),
            *_words(),
            chunk({"content": ""}, "stop", choice={"stop_reason": None}),
            _no_choice(usage=USAGE),
            DONE,
        ),
        reasoning=THOUGHT,
        usage=USAGE,
    ),
    "vllm-tools": Stream(
        provider="vLLM",
        source="its OpenAI server (0.10): a call's id, then its name and arguments in pieces",
        path=CHAT,
        client="openai",
        parts=(
            chunk(ROLE),
            chunk(_call("", id="c1", name="weather")),
            chunk(_call('{"c": "Ma')),
            chunk(_call('lmö"}')),
            chunk(_call("", 1, id="c2", name="tasks")),
            chunk(_call("{}", 1)),
            chunk({"content": ""}, "tool_calls", choice={"stop_reason": 128008}),
            DONE,
        ),
        text="",
        calls=(WEATHER, LIST),
        finish="tool_calls",
    ),
    "tgi-v1": Stream(
        provider="Text Generation Inference",
        source="its messages API (3.x): the last token beside the reason",
        path=CHAT,
        client="openai",
        parts=(
            *[chunk({"role": "assistant", "content": word}, usage=None) for word in WORDS[:-1]],
            chunk({"role": "assistant", "content": WORDS[-1]}, "stop", usage=None),
            _no_choice(usage=USAGE),
            DONE,
        ),
        usage=USAGE,
    ),
    "hf-router": Stream(
        provider="Hugging Face router",
        source="its guide: whatever the provider behind it sends, here a call of which each piece has id and name null",
        path=CHAT,
        client="openai",
        parts=(
            chunk({**ROLE, **_call("", id="c1", name="weather")}),
            chunk({"tool_calls": [{"index": 0, "id": None, "function": {"name": None, "arguments": '{"c":"Malmö'}}]}),
            chunk({"tool_calls": [{"index": 0, "id": None, "function": {"name": None, "arguments": '"}'}}]}),
            chunk(None, "tool_calls"),
            _no_choice(usage=USAGE),
            DONE,
        ),
        text="",
        calls=(WEATHER,),
        usage=USAGE,
        finish="tool_calls",
    ),
    "lmstudio": Stream(
        provider="LM Studio",
        source="its OpenAI interface (0.3): a fingerprint in each chunk, an empty object at the end",
        path=CHAT,
        client="openai",
        parts=(
            *[chunk({"role": "assistant", "content": w}, system_fingerprint="m") for w in WORDS],
            chunk(None, "stop", choice={"logprobs": None}, system_fingerprint="m"),
            DONE,
        ),
    ),
    "sglang": Stream(
        provider="SGLang",
        source="its OpenAI server (0.5): every field it knows, matched_stop beside the reason",
        path=CHAT,
        client="openai",
        parts=(
            chunk({**ROLE, "reasoning_content": None, "tool_calls": None}),
            *[chunk({"role": None, "content": None, "reasoning_content": w, "tool_calls": None}) for w in THOUGHTS],
            *[chunk({"role": None, "content": w, "reasoning_content": None, "tool_calls": None}) for w in WORDS],
            chunk({"content": None}, "stop", choice={"matched_stop": 151645}),
            _no_choice(usage=USAGE),
            DONE,
        ),
        reasoning=THOUGHT,
        usage=USAGE,
    ),
    "litellm": Stream(
        provider="LiteLLM proxy",
        source="its documentation of thinking: reasoning_content with thinking_blocks that repeat it",
        path="/chat/completions",
        client="openai",
        parts=(
            *[
                chunk({"content": "", "reasoning_content": w, "thinking_blocks": [{"type": "thinking", "thinking": w}]})
                for w in THOUGHTS
            ],
            *_words(provider_specific_fields=None),
            chunk(None, "stop"),
            chunk({"content": ""}, None, usage=USAGE),
            DONE,
        ),
        reasoning=THOUGHT,
        usage=USAGE,
    ),
    "minimax": Stream(
        provider="MiniMax",
        source="API reference, chatcompletion_v2: the last event is the whole message, and no [DONE] follows",
        path="/v1/text/chatcompletion_v2",
        parts=(
            *_words("reasoning_content", THOUGHTS, role="assistant"),
            *_words(role="assistant"),
            chunk({"content": ""}, "stop"),
            event(
                {
                    "id": "c",
                    "object": "chat.completion",
                    "choices": [
                        {
                            "index": 0,
                            "finish_reason": "stop",
                            "message": {"role": "assistant", "content": TEXT, "reasoning_content": THOUGHT},
                        }
                    ],
                    "usage": USAGE,
                    "base_resp": {"status_code": 0, "status_msg": ""},
                }
            ),
        ),
        reasoning=THOUGHT,
        usage=USAGE,
    ),
    "moonshot": Stream(
        provider="Moonshot",
        source="API reference of Kimi: the usage stands in the choice that ends",
        path=CHAT,
        client="openai",
        parts=(
            chunk(ROLE),
            *_words("reasoning_content", THOUGHTS),
            *_words(),
            chunk(None, "stop", choice={"usage": USAGE}),
            DONE,
        ),
        reasoning=THOUGHT,
        usage=USAGE,
    ),
    "zhipu": Stream(
        provider="Zhipu",
        source="API reference: a whole call in one delta, usage beside the reason",
        path="/api/paas/v4/chat/completions",
        client="openai",
        parts=(
            *_words("reasoning_content", THOUGHTS, role="assistant"),
            chunk({"role": "assistant", **_call('{"c":"Malmö"}', id="c1", name="weather")}),
            chunk(ROLE, "tool_calls", usage=USAGE),
            DONE,
        ),
        text="",
        reasoning=THOUGHT,
        calls=(WEATHER,),
        usage=USAGE,
        finish="tool_calls",
    ),
    "dashscope-v1": Stream(
        provider="DashScope, compatible mode",
        source="API reference: a call's id is empty after its first piece",
        path="/compatible-mode/v1/chat/completions",
        client="openai",
        parts=(
            chunk({"content": None, "role": "assistant", **_call("", id="c1", name="weather")}),
            chunk(_call('{"c": "Malmö', id="")),
            chunk(_call('"}', id="")),
            chunk({"content": ""}, "tool_calls"),
            _no_choice(usage=USAGE),
            DONE,
        ),
        text="",
        calls=(WEATHER,),
        usage=USAGE,
        finish="tool_calls",
    ),
    "databricks": Stream(
        provider="Databricks",
        source="its guide to reasoning models: content in parts, a summary of the reasoning among them",
        path="/serving-endpoints/claude/invocations",
        parts=(
            chunk(
                {
                    "role": "assistant",
                    "content": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": THOUGHT}]}],
                }
            ),
            chunk({"content": [{"type": "text", "text": WORDS[0]}]}),
            *_words(words=WORDS[1:]),
            chunk({"content": ""}, "stop", usage=USAGE),
            DONE,
        ),
        reasoning=THOUGHT,
        usage=USAGE,
    ),
    "nvidia": Stream(
        provider="NVIDIA NIM",
        source="its reference: reasoning_content, a usage of null until the end",
        path=CHAT,
        client="openai",
        parts=(
            chunk({**ROLE, "reasoning_content": None}, usage=None),
            *[chunk({"reasoning_content": word}, usage=None) for word in THOUGHTS],
            *[chunk({"content": word}, usage=None) for word in WORDS],
            chunk(None, "stop", usage=None),
            _no_choice(usage=USAGE),
            DONE,
        ),
        reasoning=THOUGHT,
        usage=USAGE,
    ),
}


def _ollama(*, done: bool = False, **more: Any) -> bytes:
    return line({"model": "m", "created_at": "2026-01-01T00:00:00Z", "done": done, **more})


def _says(**more: Any) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": "", **more}}


_COUNTS = {"prompt_eval_count": 5, "eval_count": 3}
_LINES = {
    "ollama": Stream(
        provider="Ollama",
        source="API reference, chat: thinking, then content; the counts in the last line",
        path="/api/chat",
        content_type="application/x-ndjson",
        parts=(
            *[_ollama(**_says(thinking=word)) for word in THOUGHTS],
            *[_ollama(**_says(content=word)) for word in WORDS],
            _ollama(**_says(), done=True, done_reason="stop", total_duration=9, **_COUNTS),
        ),
        reasoning=THOUGHT,
        usage=_COUNTS,
    ),
    "ollama-tools": Stream(
        provider="Ollama",
        source="API reference, chat with tools: whole calls, arguments as objects",
        path="/api/chat",
        content_type="application/x-ndjson",
        parts=(
            _ollama(**_says(tool_calls=[{"function": {"name": "weather", "arguments": CITY}}])),
            _ollama(**_says(tool_calls=[{"function": {"name": "tasks", "arguments": {}}}])),
            _ollama(**_says(), done=True, done_reason="stop", **_COUNTS),
        ),
        text="",
        calls=((None, "weather", CITY), (None, "tasks", {})),
        usage=_COUNTS,
    ),
    "ollama-generate": Stream(
        provider="Ollama",
        source="API reference, generate",
        path="/api/generate",
        content_type="application/x-ndjson",
        parts=(
            *[_ollama(response=word) for word in WORDS],
            _ollama(response="", done=True, done_reason="length", context=[1, 2], **_COUNTS),
        ),
        usage=_COUNTS,
        finish="length",
        cut=True,
        request={"prompt": "?"},
    ),
}


def _sglang(text: str, tokens: int, reason: Any = None, **more: Any) -> bytes:
    info = {"id": "q", "finish_reason": reason, "prompt_tokens": 5, "completion_tokens": tokens, "cached_tokens": 1}
    return event({"text": text, "output_ids": [9] * tokens, "meta_info": info, **more})


def _llama(word: str, **more: Any) -> bytes:
    return event({"index": 0, "content": word, "tokens": [9], "stop": False, "id_slot": 0, **more})


_LLAMA_COUNTS = {"tokens_evaluated": 5, "tokens_predicted": 3}
_SGLANG_COUNTS = {"prompt_tokens": 5, "completion_tokens": 3, "cached_tokens": 1}
_RUN = "/client/v4/accounts/1/ai/run/@cf/meta/llama"
_NATIVE = {"text": "?", "sampling_params": {"max_new_tokens": 3}}
_FORMS = {
    "llama.cpp-completion": Stream(
        provider="llama.cpp",
        source="its server's README (b5000), /completion: an event with stop true, and nothing behind it",
        path="/completion",
        parts=(
            *[_llama(word, tokens_predicted=at, tokens_evaluated=5) for at, word in enumerate(WORDS, 1)],
            _llama("", stop=True, stop_type="eos", stopping_word="", truncated=False, **_LLAMA_COUNTS, timings={}),
        ),
        finish="eos",
        usage=_LLAMA_COUNTS,
        request={"prompt": "?", "n_predict": 3},
    ),
    "llamafile": Stream(
        provider="llamafile",
        source="its completion (0.8): the older form, with a boolean for each reason",
        path="/completion",
        parts=(
            *[event({"content": word, "multimodal": True, "slot_id": 0, "stop": False}) for word in WORDS],
            event({"content": "", "stop": True, "stopped_eos": False, "stopped_limit": True, **_LLAMA_COUNTS}),
        ),
        finish=None,
        cut=True,
        usage=_LLAMA_COUNTS,
        request={"prompt": "?", "n_predict": 3},
    ),
    "cloudflare": Stream(
        provider="Cloudflare Workers AI",
        source="its reference: pieces under response, with padding, usage in the last one",
        path=_RUN,
        parts=(
            *[event({"response": word, "p": "abc"}) for word in WORDS],
            event({"response": "", "usage": USAGE}),
            DONE,
        ),
        usage=USAGE,
        finish=None,
    ),
    "cloudflare-tools": Stream(
        provider="Cloudflare Workers AI",
        source="its guide to function calling: whole calls",
        path=_RUN,
        parts=(
            event({"response": None, "tool_calls": [{"name": "weather", "arguments": CITY}], "p": "ab"}),
            event({"response": None, "tool_calls": [{"name": "tasks", "arguments": {}}], "p": "ab"}),
            event({"response": "", "usage": USAGE}),
            DONE,
        ),
        text="",
        calls=((None, "weather", CITY), (None, "tasks", {})),
        usage=USAGE,
        finish=None,
    ),
    "sglang-generate": Stream(
        provider="SGLang",
        source="its native API (0.5): everything so far in each event",
        path="/generate",
        parts=(
            _sglang(WORDS[0], 1),
            _sglang(WORDS[0] + "\ufffd", 2),
            _sglang(TEXT, 3, {"type": "stop", "matched": 151645}),
            DONE,
        ),
        usage=_SGLANG_COUNTS,
        request=_NATIVE,
    ),
    "sglang-pieces": Stream(
        provider="SGLang",
        source="its native API (0.5), started with incremental streaming output",
        path="/generate",
        parts=(
            _sglang(WORDS[0], 1),
            _sglang(WORDS[0], 2, output_ids=[9]),
            _sglang(WORDS[1], 3, {"type": "length", "length": 3}, output_ids=[9]),
            DONE,
        ),
        text=WORDS[0] + TEXT,
        usage=_SGLANG_COUNTS,
        finish="length",
        cut=True,
        request=_NATIVE,
    ),
}
# A wire that no dialect reads: generic hands over the data of each event as it came.
_OTHER = tuple(event({"piece": word}) for word in WORDS)
_UNREAD = {
    "another": Stream(
        provider="a backend of one's own",
        source="no documentation: pieces in a field of its own, and no mark of an end",
        path="/answers",
        parts=_OTHER,
        unread=True,
        text="".join(_json({"piece": word}).decode() for word in WORDS),
        finish=None,
    ),
}

_OWN = {
    "bedrock": ("Bedrock ConverseStream", "end_turn", "botocore 1.44.8"),
    "bedrock-tools": ("Bedrock ConverseStream", "tool_use", "botocore 1.44.8"),
    "bedrock-messages": ("Bedrock InvokeModel", "end_turn", "botocore 1.44.8"),
    "cohere": ("Cohere", "COMPLETE", "cohere 7.3.1"),
    "cohere-tools": ("Cohere", "TOOL_CALL", "cohere 7.3.1"),
    "cohere-v1": ("Cohere v1", "COMPLETE", "cohere 7.3.1"),
    "cohere-v1-tools": ("Cohere v1", "COMPLETE", "cohere 7.3.1"),
    "baidu": ("Baidu", "normal", "erniebot 0.5.9, qianfan 0.4.12.3"),
    "dashscope": ("DashScope", "stop", "dashscope 2.0.2"),
    "dashscope-cumulative": ("DashScope", "stop", "dashscope 2.0.2"),
    "dashscope-tools": ("DashScope", "tool_calls", "dashscope 2.0.2"),
    "tgi": ("Text Generation Inference", "eos_token", "text-generation 0.7.0, huggingface_hub 2.4.0"),
    "snowflake": ("Snowflake Cortex", None, "snowflake.core 1.14.0"),
    "snowflake-tools": ("Snowflake Cortex", None, "snowflake.core 1.14.0"),
    "cohere-generate": ("Cohere v1", "COMPLETE", "cohere 7.3.1"),
    "baidu-tools": ("Baidu", "function_call", "erniebot 0.5.9"),
    "dashscope-text": ("DashScope", "stop", "dashscope 2.0.2"),
    "bedrock-titan": ("Bedrock InvokeModel", "FINISH", "botocore 1.44.8"),
    "bedrock-nova": ("Bedrock InvokeModel", "end_turn", "botocore 1.44.8"),
}


def _as_provided(name: str) -> Stream:
    provider, finish, source = _OWN[name]
    answer = providers.ANSWERS[name]
    return Stream(
        provider=provider,
        source=f"the provider's own library: {source}",
        path=answer.path,
        parts=answer.parts,
        content_type=answer.content_type,
        text=answer.text,
        reasoning=answer.reasoning,
        calls=answer.calls,
        usage=answer.usage,
        finish=finish,
        request=answer.request,
    )


STREAMS: dict[str, Stream] = {
    **_OPENAI,
    **_RESPONSES,
    **_ANTHROPIC,
    **_GEMINI,
    **_COMPATIBLE,
    **_LINES,
    **_FORMS,
    **_UNREAD,
    **{name: _as_provided(name) for name in _OWN},
}
