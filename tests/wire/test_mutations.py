"""Answers in which one value is replaced by one of another kind, everywhere."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from llmwatch.errors import LLMWatchError, MalformedEvent
from llmwatch.wire import (
    Collector,
    Decoder,
    Event,
    Kind,
    Meaning,
    StreamError,
    ToolDelta,
    register_dialect,
    unregister_dialect,
)
from llmwatch.wire.eventstream import FrameFramer, frame_events
from tests.wire.dialects import test_anthropic as anthropic
from tests.wire.dialects import test_gemini as gemini
from tests.wire.dialects import test_openai_chat as chat
from tests.wire.dialects import test_openai_responses as responses
from tests.wire.frames import chunk_frame
from tests.wire.providers import ANSWERS as PROVIDERS
from tests.wire.streams import lines, sse


def values_of(*names: str) -> list[Any]:
    """The JSON of these providers' events, or lines: one of each form."""
    body = b"".join(PROVIDERS[name].body for name in names)
    found = [line.removeprefix(b"data:").strip() for line in body.split(b"\n")]
    return one_of_each([json.loads(text) for text in found if text.startswith(b"{")])


def one_of_each(values: list[Any]) -> list[Any]:
    """The first value of each form: those that differ in text and numbers alone are mutated alike."""
    return list({str(form_of(value)): value for value in reversed(values)}.values())[::-1]


def form_of(value: Any) -> Any:
    """The types of a value and of its parts."""
    if isinstance(value, dict):
        return {key: value[key] if key in ("type", "event_type") else form_of(value[key]) for key in value}
    return [form_of(one) for one in value] if isinstance(value, list) else type(value)


def frames_of(*names: str) -> list[Event]:
    """The events in these providers' frames."""
    return frame_events(FrameFramer().feed(b"".join(PROVIDERS[name].body for name in names)))


ANSWERS: dict[str, list[Any]] = {
    "openai-chat": [
        chat.ROLE,
        chat.chunk({"content": "a"}),
        chat.chunk({"content": [{"type": "thinking", "thinking": [{"text": "t"}]}, {"type": "text", "text": "x"}]}),
        chat.chunk({"reasoning_content": "t", "executed_tools": [{"type": "search"}], "audio": {"transcript": "x"}}),
        *chat.WHOLE,
        chat.chunk(chat.call("{}", id="c2", name="g", index=1)),
        chat.chunk({"function_call": {"name": "h", "arguments": "{}"}}, index=1),
        chat.chunk(None, "tool_calls"),
        chat.chunk(None, "stop", 1),
        {"choices": [], "usage": {"total_tokens": 1}},
        {"error": {"type": "x", "code": 1, "message": "boom"}},
    ],
    "anthropic": [
        anthropic.event("message_start", message={"content": []}),
        anthropic.start("text", text="a"),
        anthropic.delta("text_delta", text="b"),
        anthropic.STOP,
        anthropic.start("server_tool_use", 1, name="web_search"),
        anthropic.delta("input_json_delta", 1, partial_json="{}"),
        anthropic.start("tool_use", 2, id="t", name="f", input={"a": 1}),
        anthropic.delta("input_json_delta", 2, partial_json=""),
        anthropic.event("content_block_stop", index=2),
        anthropic.start("tool_use", 3, id="t", name="f", input={}),
        anthropic.event("content_block_stop", index=3),
        anthropic.ASKED,
        anthropic.event("message_stop"),
    ],
    "openai-responses": [
        responses.event(
            "created", response={"tools": [{"type": "namespace", "tools": [{"type": "function"}]}], "output": []}
        ),
        responses.event("output_text.delta", delta="a"),
        responses.event("reasoning.delta", delta={"text": "t"}),
        responses.event("output_item.added", output_index=2, item={"type": "function_call", "id": "i", "name": "f"}),
        responses.event("function_call_arguments.delta", output_index=2, delta="{}"),
        responses.item("function_call", call_id="c", name="f", arguments="{}"),
        responses.item("computer_call", call_id="c", actions=[{"type": "click"}]),
        responses.item("mcp_call", name="f"),
        responses.event("output_text.done", text="a"),
        responses.event("completed", response={"status": "completed", **responses.ANSWER}),
    ],
    "gemini": [
        gemini.chunk({"text": "a"}, {"text": "t", "thought": True}, {"toolCall": {"toolType": "FILE_SEARCH"}}),
        gemini.chunk({"functionCall": {"name": "f", "args": {"a": 1}, "id": "c"}}),
        gemini.BEGUN,
        gemini.piece("$.a[0]", stringValue="x", willContinue=True),
        gemini.piece("$.a[0]", stringValue="y"),
        gemini.END,
        gemini.chunk(reason="MALFORMED_FUNCTION_CALL"),
        {"promptFeedback": {"blockReason": "SAFETY"}},
    ],
    "ndjson": [
        {"message": {"content": "a", "thinking": "t"}, "done": False},
        {"message": {"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {"a": 1}}}]}, "done": False},
        {"message": {"content": ""}, "done": True, "done_reason": "stop"},
    ],
    "generic": [("error", {"type": "x", "code": 1, "message": "boom"})],
}
ANSWERS |= {
    "cohere": values_of("cohere-tools", "cohere", "cohere-v1-tools"),
    "baidu": values_of("baidu", "baidu-tools"),
    "dashscope": values_of("dashscope", "dashscope-cumulative", "dashscope-text", "dashscope-tools"),
    "tgi": values_of("tgi"),
    "snowflake": values_of("snowflake", "snowflake-tools"),
    "llamacpp": [
        {"index": 0, "content": "a", "tokens": [9], "stop": False, "tokens_predicted": 1},
        {"index": 0, "content": "", "stop": True, "stop_type": "eos", "tokens_predicted": 3, "tokens_evaluated": 5},
    ],
    "cloudflare": [
        {"response": "a", "p": "x"},
        {"response": None, "tool_calls": [{"name": "f", "arguments": {"a": 1}}], "p": "x"},
        {"response": "", "usage": {"prompt_tokens": 5, "completion_tokens": 3}},
    ],
    "sglang": [
        {"text": "a", "output_ids": [9], "meta_info": {"id": "q", "finish_reason": None, "completion_tokens": 1}},
        {"text": "ab", "meta_info": {"finish_reason": {"type": "abort", "message": "m"}, "completion_tokens": 2}},
    ],
    # ConverseStream's events, in the form in which they stand in frames of the other operation.
    "bedrock": [
        *one_of_each([{event.event: json.loads(event.data)} for event in frames_of("bedrock-tools", "bedrock")]),
        {"outputs": [{"text": "a", "stop_reason": "stop"}]},
        {"choices": [{"message": {"content": "a"}, "stop_reason": None}]},
    ],
}
VALUES: tuple[Any, ...] = (
    *(None, 5, True, "x", "", [], {}, [5], [None], {"a": 1}, ["text_delta"], "\ud800"),
    *({"type": ["x"]}, [{"type": {}}], 10**400, float("inf")),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything inside."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for key, one in inner:
        yield (*path, key)
        yield from places(one, (*path, key))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """``value`` with something else at one place."""
    if not path:
        return new
    value = copy.copy(list(value) if isinstance(value, tuple) else value)
    value[path[0]] = changed(value[path[0]], path[1:], new)
    return value


def mutations(dialect: str) -> Iterator[list[Any]]:
    """Every place with every value, and many with several."""
    answer = [dict(one[1]) if isinstance(one, tuple) else one for one in ANSWERS[dialect]]
    everywhere = list(places(answer))
    for path in everywhere:
        for new in VALUES:
            yield changed(answer, path, new)
    choose = random.Random(4)
    for _ in range(200):
        mutated: Any = answer
        for _ in range(4):
            mutated = changed(mutated, choose.choice(list(places(mutated)) or [()]), choose.choice(VALUES))
        if isinstance(mutated, list):
            yield mutated


def body_of(dialect: str, answer: list[Any]) -> bytes:
    """A body of events that are JSON, whatever they are."""
    if dialect == "bedrock":
        return b"".join(map(chunk_frame, answer))
    return lines(*answer) if dialect == "ndjson" else sse(*map(json.dumps, answer))


@pytest.mark.parametrize("dialect", ANSWERS)
def test_any_replaced_value_gives_events_or_llmwatchs_errors(dialect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder and a collector give events, calls and llmwatch's own errors.

    Any value may have been replaced by anything. The net under the dialects is not needed: they check what they read
    and raise what they say, nothing else.
    """
    raised: list[Exception] = []
    unreadable = Decoder._read_unreadable

    def read_unreadable(self: Decoder, event: Event, exc: Exception) -> None:
        raised.append(exc)
        unreadable(self, event, exc)

    monkeypatch.setattr(Decoder, "_read_unreadable", read_unreadable)
    for answer in mutations(dialect):
        kind = "text/event-stream" if dialect == "cohere" else ""
        decoder, collector = Decoder(dialect, content_type=kind), Collector()
        for event in [*decoder.feed(body_of(dialect, answer)), *decoder.end()]:
            collector.add(event)
        collector.end()
        verdicts = (decoder.verdict_at_end(), collector.verdict_at_end())
        assert all(one is None or isinstance(one, LLMWatchError) for one in verdicts)
        assert isinstance(collector.text + collector.reasoning, str)
        assert all(isinstance(call.json(), dict) and call.name for call in collector.tool_calls)
        assert collector.discarded_calls >= 0
    assert raised or dialect == "generic"
    assert [exc for exc in raised if not isinstance(exc, (ValueError, RecursionError))] == []


def test_any_exception_of_a_dialect_is_a_malformed_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unforeseen exception does not get out as it is.

    It quotes nothing, and does not lose the events before it.
    """

    def read(self: Any, event: Event) -> None:
        if "planted" in event.data:
            raise TypeError("planted")
        event.kind = Kind.TEXT

    monkeypatch.setattr("llmwatch.wire.dialects.anthropic.Anthropic.read", read)
    decoder = Decoder("anthropic")
    assert len(decoder.feed(sse({"a": 1}, {"b": "planted"}, {"c": 1}))) == 1
    assert isinstance(decoder.error, MalformedEvent)
    assert "has a shape that cannot be read (TypeError)" in str(decoder.error)
    assert "planted" not in str(decoder.error)


@pytest.mark.parametrize(
    ("dialect", "item"),
    [
        ("openai-chat", chat.chunk({"content": "a", "tool_calls": 5})),
        ("openai-chat", chat.chunk({"tool_calls": {"index": 0}})),
        ("openai-chat", chat.chunk({"tool_calls": ["f"]})),
        ("openai-chat", chat.chunk({"tool_calls": [{"index": 0, "function": "f"}]})),
        ("openai-chat", chat.chunk({"function_call": "f"})),
        ("openai-chat", chat.chunk(chat.call(True))),
        ("anthropic", anthropic.event("content_block_start", index=0, content_block=5)),
        ("anthropic", anthropic.event("content_block_delta", index=0, delta=None)),
        ("anthropic", anthropic.delta("input_json_delta", partial_json=[5])),
        ("openai-responses", responses.event("output_item.done", item=5)),
        ("gemini", gemini.chunk({"functionCall": "f"})),
        ("ndjson", {"message": {"tool_calls": {"function": {}}}}),
        ("ndjson", {"message": {"tool_calls": ["f"]}}),
    ],
)
def test_a_tool_call_of_unknown_form_is_malformed(dialect: str, item: Any) -> None:
    """Without it the rest would be another answer, or another call."""
    decoder = Decoder(dialect)
    decoder.feed(lines(item) if dialect == "ndjson" else sse(item))
    assert isinstance(decoder.error, MalformedEvent)
    assert "a tool call in it that is not of its form" in str(decoder.error)


def test_arguments_may_be_an_object() -> None:
    """Some servers give the object in place of its text."""
    collector = Collector()
    call = chat.chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": {"a": 1}}}]})
    for event in Decoder("openai-chat").feed(sse(chat.ROLE, call, chat.chunk(None, "tool_calls"))):
        collector.add(event)
    assert [one.json() for one in collector.tool_calls] == [{"a": 1}]


@pytest.mark.parametrize(
    "meaning",
    [
        Meaning("text"),  # type: ignore[arg-type]
        Meaning(Kind.TEXT, text=None),  # type: ignore[arg-type]
        Meaning(Kind.TEXT, reasoning=b"x"),  # type: ignore[arg-type]
        Meaning(Kind.TOOL_CALL, tools=None),  # type: ignore[arg-type]
        Meaning(Kind.TOOL_CALL, tools=("x",)),  # type: ignore[arg-type]
        Meaning(Kind.TOOL_CALL, tools=(ToolDelta(["k"]),)),  # type: ignore[arg-type]
        Meaning(Kind.TOOL_CALL, tools=(ToolDelta("k", name=5),)),  # type: ignore[arg-type]
        Meaning(Kind.TOOL_CALL, tools=(ToolDelta("k", arguments={}),)),  # type: ignore[arg-type]
        Meaning(Kind.ERROR, error="boom"),  # type: ignore[arg-type]
        Meaning(Kind.ERROR, error=StreamError(None, None, None)),  # type: ignore[arg-type]
    ],
)
def test_a_meaning_of_the_wrong_type_is_a_malformed_event(meaning: Meaning) -> None:
    """A registered function's slip is found where it is made, not where its answer is put together."""
    register_dialect("slipping", lambda event: meaning)
    try:
        decoder = Decoder("slipping")
        assert decoder.feed(sse("x")) == []
        assert isinstance(decoder.error, MalformedEvent)
        assert "wrong type" in str(decoder.error)
    finally:
        unregister_dialect("slipping")
