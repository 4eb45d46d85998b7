"""Tokens that a provider made JSON numbers of are text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from llmwatch.wire import Collector, Decoder
from tests.rows import each
from tests.wire.dialects.test_anthropic import delta, start
from tests.wire.dialects.test_openai_chat import call, chunk
from tests.wire.dialects.test_openai_responses import event as response
from tests.wire.frames import chunk_frame
from tests.wire.streams import lines, sse

PIECES: tuple[Any, ...] = ("$", 0, ".", 0, 6, " of ", 2.5, 17, "")
WHOLE = "$0.06 of 2.517"


def collected(dialect: str, items: Iterator[Any] | list[Any]) -> Collector:
    """The collected answer of a body with these events."""
    if dialect == "bedrock":
        body = b"".join(map(chunk_frame, items))
    else:
        body = lines(*items) if dialect == "ndjson" else sse(*items)
    decoder, collector = Decoder(dialect, content_type="text/event-stream" if dialect == "cohere" else ""), Collector()
    for event in [*decoder.feed(body), *decoder.end()]:
        collector.add(event)
    assert decoder.error is None
    collector.end()
    return collector


TEXT = {
    "chat": ("openai-chat", lambda piece: chunk({"content": piece})),
    "chat beside a role": ("openai-chat", lambda piece: chunk({"role": "assistant", "content": piece})),
    "chat in parts": ("openai-chat", lambda piece: chunk({"content": [{"type": "text", "text": piece}]})),
    "a refusal": ("openai-chat", lambda piece: chunk({"refusal": piece})),
    "completions": ("openai-chat", lambda piece: {"choices": [{"index": 0, "text": piece, "finish_reason": None}]}),
    "responses": ("openai-responses", lambda piece: response("output_text.delta", output_index=0, delta=piece)),
    "messages": ("anthropic", lambda piece: delta("text_delta", text=piece)),
    "gemini": ("gemini", lambda piece: {"candidates": [{"content": {"parts": [{"text": piece}]}}]}),
    "Ollama's chat": ("ndjson", lambda piece: {"message": {"content": piece}, "done": False}),
    "Ollama's generate": ("ndjson", lambda piece: {"response": piece, "done": False}),
    "Workers AI": ("cloudflare", lambda piece: {"response": piece}),
    "TGI": ("tgi", lambda piece: {"token": {"text": piece}}),
    "llama.cpp": ("llamacpp", lambda piece: {"content": piece, "stop": False}),
    "Cohere": (
        "cohere",
        lambda piece: {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": piece}}}},
    ),
    "Cohere's first version": ("cohere", lambda piece: {"event_type": "text-generation", "text": piece}),
    "Baidu": ("baidu", lambda piece: {"result": piece, "is_end": False}),
    "Snowflake": ("snowflake", lambda piece: {"choices": [{"delta": {"content": piece}}]}),
    "Cortex": ("cortex-agent", lambda piece: ("response.text.delta", {"content_index": 0, "text": piece})),
    "Llama on Bedrock": ("bedrock", lambda piece: {"generation": piece}),
}
THOUGHTS = {
    **{
        name: ("openai-chat", lambda piece, name=name: chunk({name: piece}))
        for name in ("reasoning_content", "reasoning", "thinking")
    },
    "messages": ("anthropic", lambda piece: delta("thinking_delta", thinking=piece)),
    "responses": ("openai-responses", lambda piece: response("reasoning_text.delta", output_index=0, delta=piece)),
    "Ollama": ("ndjson", lambda piece: {"message": {"content": "", "thinking": piece}, "done": False}),
}


@each("wire", TEXT)
def test_a_number_in_a_text_is_its_digits(wire: str) -> None:
    """No digit of an answer is lost, the first one and a zero least of all."""
    dialect, item = TEXT[wire]
    assert collected(dialect, list(map(item, PIECES))).text == WHOLE
    assert collected(dialect, [item(7), item("!")]).text == "7!"


@pytest.mark.parametrize("wire", THOUGHTS)
def test_a_number_in_reasoning_is_its_digits(wire: str) -> None:
    """The same of what the model thinks."""
    dialect, item = THOUGHTS[wire]
    assert collected(dialect, list(map(item, PIECES))).reasoning == WHOLE


# What Bedrock wraps of a make that is not known comes out as it is.
@each("wire", [*(wire for wire in TEXT if "Bedrock" not in wire), *THOUGHTS])
@each("value", [None, True, False, {}, []])
def test_booleans_and_null_are_no_text(wire: str, value: Any) -> None:
    """A truth value or a null stands for nothing that a model wrote."""
    dialect, item = TEXT.get(wire) or THOUGHTS[wire]
    collector = collected(dialect, [item("a"), item(value), item("b")])
    assert collector.text + collector.reasoning == "ab"


def test_a_restated_whole_may_be_a_number() -> None:
    """TGI's whole, and a part of Responses, add nothing to the digits that came before."""
    token = {"token": {"text": 4}, "generated_text": None}
    assert collected("tgi", [token, {"token": {"text": 2}, "generated_text": 42}]).text == "42"
    said = [response("output_text.delta", output_index=0, content_index=0, delta=piece) for piece in (4, 2)]
    done = response("output_text.done", output_index=0, content_index=0, text=42)
    assert collected("openai-responses", [*said, done]).text == "42"


CALLS = {
    "chat": (
        "openai-chat",
        [chunk(call('{"amount": 2', id="c", name="f"))],
        lambda piece: chunk(call(piece)),
        [chunk(call("}")), chunk(None, "tool_calls")],
    ),
    "messages": (
        "anthropic",
        [start("tool_use", id="c", name="f", input={}), delta("input_json_delta", partial_json='{"amount": 2')],
        lambda piece: delta("input_json_delta", partial_json=piece),
        [
            delta("input_json_delta", partial_json="}"),
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
        ],
    ),
}


@pytest.mark.parametrize("wire", CALLS)
def test_a_number_in_arguments_is_its_digits(wire: str) -> None:
    """A call is asked for with the number that the model wrote."""
    dialect, begun, item, ended = CALLS[wire]
    calls = collected(dialect, [*begun, item(5), item(0), *ended]).tool_calls
    assert [one.arguments for one in calls] == ['{"amount": 250}']


@pytest.mark.parametrize("wire", CALLS)
def test_a_cut_call_with_numbers_is_none(wire: str) -> None:
    """A call whose rest is missing is never delivered."""
    dialect, begun, item, ended = CALLS[wire]
    collector = collected(dialect, [*begun, item(5), item(0), *ended[1:]])
    assert (collector.tool_calls, collector.discarded_calls) == ((), 1)
