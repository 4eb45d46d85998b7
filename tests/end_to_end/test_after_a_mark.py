"""Text, calls and usage that come some time after a finish mark, in every entry point."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest

import llmwatch
from llmwatch import Client, Limits, Retry, Session
from llmwatch.sdk import Transport
from llmwatch.wire import Collector
from tests.end_to_end.calls import asking, together
from tests.end_to_end.conftest import Serve
from tests.end_to_end.rebuilt import DONE, PATHS, chunk, data, line, messages, named, part, rebuilt
from tests.end_to_end.times import BEAT, LIMIT, LONG

# What comes after a mark comes when a connection that only drains would be gone.
SETTINGS: dict[str, Any] = {
    "limits": Limits(finish=LONG, drain=BEAT, ttfb=LONG, stale=LONG, progress=LONG),
    "retry": Retry.none(),
}
USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
Said = tuple[str, list[str], int | None]
"""Text, the arguments of each call, output tokens."""


def _call(number: int) -> bytes:
    function = {"name": "read", "arguments": f'{{"p": {number}}}'}
    return chunk({"tool_calls": [{"index": number, "id": f"c{number}", "type": "function", "function": function}]})


def _tool_use(number: int) -> bytes:
    use = {"type": "tool_use", "id": f"c{number}", "name": "read", "input": {}}
    delta = {"type": "input_json_delta", "partial_json": f'{{"p": {number}}}'}
    return (
        named("content_block_start", index=number, content_block=use)
        + named("content_block_delta", index=number, delta=delta)
        + named("content_block_stop", index=number)
    )


def _stop(reason: str, tokens: int) -> bytes:
    return named("message_delta", delta={"stop_reason": reason}, usage={"output_tokens": tokens})


_BEGUN = named(
    "message_start", message={"id": "m", "type": "message", "role": "assistant", "model": "m", "content": []}
)
_ASKED = chunk({}, "tool_calls")
BODIES: dict[str, tuple[str, list[bytes], Said]] = {
    "chat, text": (
        "openai-chat",
        [chunk({"content": "a"}, "stop"), chunk({"content": "b"}), chunk({}, "stop") + DONE],
        ("ab", [], None),
    ),
    "chat, a mark first": (
        "openai-chat",
        [chunk({"content": ""}, "stop"), chunk({"content": "ab"}), chunk({}, "stop") + DONE],
        ("ab", [], None),
    ),
    "chat, calls": (
        "openai-chat",
        [_call(0), _ASKED, _call(1), _ASKED + DONE],
        ("", ['{"p": 0}', '{"p": 1}'], None),
    ),
    "chat, usage": (
        "openai-chat",
        [chunk({"content": "ab"}), chunk({}, "stop"), data({"choices": [], "usage": USAGE}), DONE],
        ("ab", [], 3),
    ),
    "messages, a call": (
        "anthropic",
        [_BEGUN + _tool_use(0), _stop("tool_use", 2), _tool_use(1), _stop("tool_use", 3) + named("message_stop")],
        ("", ['{"p": 0}', '{"p": 1}'], 3),
    ),
    "messages, usage": (
        "anthropic",
        [
            messages("ab").replace(named("message_start", message={}), _BEGUN),
            _stop("end_turn", 3),
            named("message_stop"),
        ],
        ("ab", [], 3),
    ),
    "gemini, text": ("gemini", [part("a", finishReason="STOP"), part("b", finishReason="STOP")], ("ab", [], None)),
    "gemini, usage": (
        "gemini",
        [part("ab", finishReason="STOP"), data({"usageMetadata": {"candidatesTokenCount": 3}})],
        ("ab", [], 3),
    ),
    "ollama, text": (
        "ndjson",
        [line(message={"content": "a"}, done_reason="stop"), line(message={"content": "b"}, done=True, eval_count=3)],
        ("ab", [], 3),
    ),
}


def _by_stream(url: str, body: Any) -> Said:
    with Client(**SETTINGS) as client, client.stream("POST", url, json=body) as stream:
        events = list(stream)
    collector = Collector()
    for event in events:
        collector.add(event)
    collector.end()
    calls = [call.arguments for call in collector.tool_calls]
    usages = [event.usage for event in events if event.usage]
    counts = [
        usage[name]
        for usage in usages[-1:]
        for name in ("completion_tokens", "output_tokens", "candidatesTokenCount", "eval_count")
        if name in usage
    ]
    return "".join(event.text for event in events), calls, counts[0] if counts else None


def _by_collect(url: str, body: Any) -> Said:
    with Client(**SETTINGS) as client:
        answer = client.collect("POST", url, json=body)
    return answer.text, [call.arguments for call in answer.tool_calls], answer.usage and answer.usage.output_tokens


def _by_session(url: str, body: Any) -> bytes:
    with Session(**SETTINGS) as session, session.post(url, json=body, stream=True) as response:
        return response.content


def _by_transport(url: str, body: Any) -> bytes:
    with httpx.Client(transport=Transport(**SETTINGS), timeout=None) as client:
        return client.post(url, json=body).content


def _by_openai(url: str, body: Any) -> Said:
    text, calls, tokens = "", [], None
    base = url.removesuffix("/chat/completions")
    with llmwatch.sdk.openai(api_key="k", base_url=base, timeout=LONG, **SETTINGS) as client:
        for made in client.chat.completions.create(model="m", messages=body["messages"], stream=True):
            tokens = made.usage.completion_tokens if made.usage else tokens
            for choice in made.choices:
                text += choice.delta.content or ""
                calls += [call.function.arguments for call in choice.delta.tool_calls or ()]
    return text, calls, tokens


def _by_anthropic(url: str, body: Any) -> Said:
    text, calls, tokens = "", [], None
    base = url.removesuffix("/v1/messages")
    with llmwatch.sdk.anthropic(api_key="k", base_url=base, timeout=LONG, **SETTINGS) as client:
        for event in client.messages.create(model="m", max_tokens=9, messages=body["messages"], stream=True):
            if event.type == "content_block_delta":
                text += getattr(event.delta, "text", "")
                calls += [event.delta.partial_json] if event.delta.type == "input_json_delta" else []
            elif event.type == "message_delta":
                tokens = event.usage.output_tokens or tokens
    return text, calls, tokens


ENTRY_POINTS: dict[str, Callable[[str, Any], Any]] = {
    "stream": _by_stream,
    "collect": _by_collect,
    "Session": _by_session,
    "Transport": _by_transport,
}
SDKS = {"openai-chat": _by_openai, "anthropic": _by_anthropic}


@pytest.mark.parametrize("name", BODIES)
def test_content_after_a_finish_mark_is_delivered_in_every_entry_point(serve: Serve, name: str) -> None:
    """Each part is delivered, although it comes long after the one before; nothing is resent."""
    dialect, parts, said = BODIES[name]
    pauses = [piece for each in parts for piece in (each, LIMIT)][:-1]
    script = rebuilt(*pauses, content_type="application/x-ndjson" if dialect == "ndjson" else "text/event-stream")
    asks = [*ENTRY_POINTS.values(), *([SDKS[dialect]] if dialect in SDKS else [])]
    servers = [serve(script) for _ in asks]
    found = together(
        [partial(ask, server.url + PATHS[dialect], asking()) for ask, server in zip(asks, servers, strict=True)]
    )
    for answer in found:
        assert answer == (b"".join(parts) if isinstance(answer, bytes) else said)
    assert [len(server.requests) for server in servers] == [1] * len(asks)
