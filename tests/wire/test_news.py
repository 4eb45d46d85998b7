"""Progress of an answer in known and in unknown fields."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmwatch.wire import Decoder, Event, Kind
from llmwatch.wire.news import says_something, thoughts
from llmwatch.wire.refusal import COHERE_LINE_TYPE
from tests.rows import each
from tests.wire import providers
from tests.wire.dialects.test_anthropic import delta
from tests.wire.dialects.test_openai_chat import ROLE, chunk
from tests.wire.dialects.test_openai_responses import event as response
from tests.wire.frames import event_frame
from tests.wire.streams import decode


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("x", True),
        ([{"type": "a", "data": "x"}], True),
        ({"a": {"b": ["", "x"]}}, True),
        ("", False),
        (" \n\t", False),
        (3, False),
        (1.5, False),
        (True, False),
        (None, False),
        ({}, False),
        ([], False),
        ([{}, [], ""], False),
        ({"type": "a", "id": "b", "index": 0, "created": "now"}, False),
        ({"a": 1, "b": [2, {"c": False}]}, False),
    ],
)
def test_only_text_counts_as_content(value: object, says: bool) -> None:
    """A text that is not blank counts, at any depth, outside the descriptive fields."""
    assert says_something(value) is says


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("hm", "hm"),
        ([{"type": "thinking", "thinking": "h"}, {"text": "m"}], "hm"),
        ({"thinking": "hm"}, "hm"),
        ({"text": 3}, "3"),
        (3, "3"),
        (True, ""),
        (None, ""),
    ],
)
def test_readable_reasoning_is_read(value: object, text: str) -> None:
    """The readable reasoning of a field, in one piece or in parts."""
    assert thoughts(value) == text


def part(**fields: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": [fields]}, "index": 0}]}


def line(**message: Any) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": "", **message}, "done": False}


@each(
    ("dialect", "item", "kind", "reasoning"),
    [
        ("openai-chat", chunk({"content": None, "reasoning_text": "hm"}), Kind.REASONING, "hm"),
        ("openai-chat", chunk({"content": None, "reasoning_opaque": "gAAAA"}), Kind.REASONING, ""),
        ("openai-chat", chunk({"thinking": "hm"}), Kind.REASONING, "hm"),
        (
            "openai-chat",
            chunk({"thinking_blocks": [{"type": "thinking", "thinking": "hm"}], "reasoning_content": "hm"}),
            Kind.REASONING,
            "hm",
        ),
        ("openai-chat", chunk({"thinking_blocks": [{"type": "thinking", "thinking": "hm"}]}), Kind.REASONING, "hm"),
        ("openai-chat", chunk({"hologram": "x"}), Kind.TEXT, ""),
        ("openai-chat", chunk({"provider_specific_fields": {"citation": {"title": "x"}}}), Kind.TEXT, ""),
        ("anthropic", delta("hologram_delta", hologram="x"), Kind.TEXT, ""),
        ("anthropic", delta("thought_delta", words="x"), Kind.REASONING, ""),
        ("openai-responses", response("hologram.delta", delta="x"), Kind.TEXT, ""),
        ("openai-responses", response("inner_thought.delta", delta={"text": "x"}), Kind.REASONING, ""),
        ("gemini", part(hologram={"data": "x"}), Kind.TEXT, ""),
        ("gemini", part(thinkingSummary="x"), Kind.REASONING, ""),
        ("ndjson", line(reasoning_content="hm"), Kind.REASONING, "hm"),
        ("ndjson", line(thoughts_opaque="x"), Kind.REASONING, ""),
        ("ndjson", line(hologram="x"), Kind.TEXT, ""),
    ],
)
def test_text_in_an_unknown_field_is_content(dialect: str, item: Any, kind: Kind, reasoning: str) -> None:
    """Unknown fields with text are progress, and count for the safety of a resend.

    Thinking under any name is reasoning.
    """
    before = (ROLE,) if dialect == "openai-chat" else ()
    (*_, event), _ = decode(dialect, *before, item)
    assert (event.kind, event.reasoning, event.has_content) == (kind, reasoning, True)


@pytest.mark.parametrize(
    ("dialect", "item"),
    [
        ("openai-chat", chunk({"content": "", "reasoning_text": ""})),
        ("openai-chat", chunk({"content": "", "reasoning_opaque": None, "thinking_blocks": []})),
        ("openai-chat", chunk({"role": "assistant", "content": "", "obfuscation": "aB3", "provider": "p"})),
        ("openai-chat", chunk({"content": "", "service_tier": "default", "system_fingerprint": "fp", "id": "x"})),
        ("openai-chat", chunk({"content": "", "progress": 3, "busy": True, "more": {"n": 1, "type": "x"}})),
        ("anthropic", delta("hologram_delta", hologram=" ", n=3)),
        ("openai-responses", response("hologram.delta", delta="", obfuscation="aB3")),
        ("openai-responses", response("hologram.delta", delta={"n": 3})),
        ("gemini", part(hologram={"n": 3}, text="")),
        ("ndjson", line(reasoning_content="", hologram=3)),
        ("ndjson", {"model": "m", "remote_host": "h", "created_at": "now", "response": "", "done": False}),
    ],
)
def test_descriptive_fields_are_no_content(dialect: str, item: Any) -> None:
    """Empty fields, numbers, booleans and what describes an event are no content, however many come."""
    before = (ROLE,) if dialect == "openai-chat" else ()
    (*_, event), _ = decode(dialect, *before, item)
    assert not event.has_content


def block(**fields: Any) -> bytes:
    """A piece of a block of Cohere's."""
    return providers.typed("content-delta", index=0, delta={"message": fields})


def piece(**fields: Any) -> bytes:
    """A piece of DashScope's."""
    return providers.dashscope(1, providers.dashscope_choice("", **fields))


def token(**fields: Any) -> bytes:
    """An event of TGI's, with a token that has no text."""
    return providers.data({"index": 1, "token": {"id": 1, "text": "", **fields}, "generated_text": None})


def listed(**fields: Any) -> bytes:
    """A piece of Snowflake's that names its fields twice."""
    return providers.snowflake({**fields, "content_list": [fields]})


@each(
    ("dialect", "body", "kind", "reasoning"),
    [
        ("cohere", block(hologram="x"), Kind.TEXT, ""),
        ("cohere", block(content={"type": "hologram", "hologram": {"data": "x"}}), Kind.TEXT, ""),
        ("cohere", block(content={"type": "thinking", "thought_opaque": "x"}), Kind.REASONING, ""),
        ("cohere", providers.typed("hologram-delta", index=0, delta={"message": {"beam": "x"}}), Kind.TEXT, ""),
        ("cohere", providers.typed("thinking-delta", index=0, delta={"message": {"beam": "x"}}), Kind.REASONING, ""),
        ("cohere-v1", providers.line({"event_type": "text-generation", "text": "", "beam": "x"}), Kind.TEXT, ""),
        ("cohere-v1", providers.line({"event_type": "hologram-generation", "beam": "x"}), Kind.TEXT, ""),
        ("cohere-v1", providers.line({"event_type": "thinking-generation", "beam": "x"}), Kind.REASONING, ""),
        ("bedrock", providers.converse({"hologram": {"beam": "x"}}), Kind.TEXT, ""),
        ("bedrock", providers.converse({"thoughtContent": {"beam": "x"}}), Kind.REASONING, ""),
        ("bedrock", event_frame("hologramDelta", {"delta": {"beam": "x"}}), Kind.TEXT, ""),
        ("baidu", providers.baidu("", 0, hologram="x"), Kind.TEXT, ""),
        ("baidu", providers.baidu("", 0, thoughts=[{"beam": "x"}]), Kind.REASONING, ""),
        ("baidu", providers.baidu("", 0, reasoning_content="hm"), Kind.REASONING, "hm"),
        ("dashscope", piece(hologram="x"), Kind.TEXT, ""),
        ("dashscope", piece(thought_summary="x"), Kind.REASONING, ""),
        ("dashscope", providers.dashscope(1, {"text": "", "finish_reason": "null", "hologram": "x"}), Kind.TEXT, ""),
        ("tgi", token(hologram="x"), Kind.TEXT, ""),
        ("tgi", token(thought="x"), Kind.REASONING, ""),
        ("tgi", providers.data({"index": 1, "hologram": "x", "generated_text": None}), Kind.TEXT, ""),
        ("snowflake", listed(type="hologram", hologram="x"), Kind.TEXT, ""),
        ("snowflake", listed(type="thinking", signature="x"), Kind.REASONING, ""),
    ],
)
def test_text_in_an_unknown_field_of_any_dialect_is_content(
    dialect: str, body: bytes, kind: Kind, reasoning: str
) -> None:
    """Wherever a provider has its pieces: an unknown field in one, and an unknown kind of piece."""
    (event,) = decoded(dialect, body)
    assert (event.kind, event.text, event.reasoning, event.has_content) == (kind, "", reasoning, True)


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("cohere", block(hologram=3, content={"type": "text", "text": ""})),
        ("cohere", block(content={"type": "text", "n": 3, "text": " "[:0]})),
        ("cohere", providers.typed("hologram-delta", index=0, delta={"message": {"n": 3, "type": "x"}})),
        ("cohere-v1", providers.line({"event_type": "text-generation", "text": "", "generation_id": "g", "n": 3})),
        ("cohere-v1", providers.line({"event_type": "hologram-generation", "is_finished": False, "n": 3})),
        ("cohere-v1", providers.line({"event_type": "debug", "prompt": "x"})),
        ("bedrock", providers.converse({"hologram": {"type": "x", "n": 3}})),
        ("bedrock", event_frame("hologramDelta", {"delta": {"n": 3}, "p": "abc"})),
        ("baidu", providers.baidu("", 0, hologram=" ", more={"n": 3}, model="m")),
        ("dashscope", piece(hologram={"n": 3}, name="x")),
        ("tgi", token(logprob=-0.5, special=True, hologram=None)),
        ("tgi", token(special=True, text="</s>")),
        ("snowflake", listed(type="text", text="", n=3)),
    ],
)
def test_descriptive_fields_of_any_dialect_are_no_content(dialect: str, body: bytes) -> None:
    """Numbers, blanks, names and special tokens move nothing."""
    (event,) = decoded(dialect, body)
    assert not event.has_content


def test_a_restated_unknown_field_is_no_progress() -> None:
    """Each event of DashScope's may say everything so far.

    What stays the same moves nothing, and what grows does.
    """
    events = decoded("dashscope", piece(hologram="x") + piece(hologram="x") + piece(hologram="xy"))
    assert [event.kind for event in events] == [Kind.TEXT, Kind.KEEPALIVE, Kind.TEXT]


def decoded(dialect: str, body: bytes) -> list[Event]:
    """The events of a body; of Cohere's first version, by its content type."""
    decoder = Decoder("cohere", content_type=COHERE_LINE_TYPE) if dialect == "cohere-v1" else Decoder(dialect)
    return [*decoder.feed(body), *decoder.end()]


DESCRIBES = (
    *("role", "id", "index", "name", "type", "object", "model", "obfuscation", "provider", "service_tier"),
    *("fingerprint", "system_fingerprint", "created", "created_at", "timestamp", "date"),
)


@each("name", DESCRIBES)
def test_a_descriptive_field_is_no_content_at_any_depth(name: str) -> None:
    """Alone in a delta, in a part or in a message, and within an unknown field."""
    for fields in ({name: "x"}, {"novel": {name: "x"}}, {"novel": [{name: "x"}]}):
        for dialect, item in (
            ("openai-chat", chunk({"content": "", **fields})),
            ("anthropic", delta("hologram_delta", **{key: said for key, said in fields.items() if key != "type"})),
            ("openai-responses", response("hologram.delta", delta=fields)),
            ("gemini", part(**fields)),
            ("ndjson", line(**fields)),
        ):
            before = (ROLE,) if dialect == "openai-chat" else ()
            (*_, event), _ = decode(dialect, *before, item)
            assert not event.has_content, (dialect, fields)


@pytest.mark.parametrize(
    ("dialect", "item", "kind"),
    [
        ("openai-chat", {"choices": [], "usage": {"completion_tokens": 3}}, Kind.USAGE),
        ("openai-chat", {**chunk({"content": ""}), "usage": {"completion_tokens": 3}}, Kind.USAGE),
        ("openai-chat", {**chunk({"content": "a"}), "usage": {"completion_tokens": 3}}, Kind.TEXT),
        ("openai-chat", {**ROLE, "usage": {"completion_tokens": 3}}, Kind.LIFECYCLE),
        ("openai-chat", {"choices": [], "x_groq": {"usage": {"completion_tokens": 3}}}, Kind.USAGE),
        (
            "openai-chat",
            {"choices": [{"index": 0, "delta": {}, "usage": {"completion_tokens": 3}, "finish_reason": "stop"}]},
            Kind.USAGE,
        ),
        ("openai-responses", response("completed", response={"usage": {"output_tokens": 3}}), Kind.TERMINAL),
        ("openai-responses", response("created", response={"usage": {"output_tokens": 3}}), Kind.LIFECYCLE),
        ("anthropic", ("message_start", {"type": "message_start", "message": {"usage": {"output_tokens": 3}}}), None),
        ("anthropic", ("ping", {"type": "ping", "usage": {"output_tokens": 3}}), Kind.USAGE),
        (
            "gemini",
            {**part(text=""), "usageMetadata": {"candidatesTokenCount": 3}},
            Kind.USAGE,
        ),
        ("ndjson", {"done": True, "done_reason": "stop", "prompt_eval_count": 1, "eval_count": 3}, Kind.TERMINAL),
    ],
)
def test_usage_is_found_at_every_place(dialect: str, item: Any, kind: Kind | None) -> None:
    """The event has it.

    It is the event's kind where nothing of the answer stands beside it, and it is no opening.
    """
    (event,), decoder = decode(dialect, item)
    assert event.kind is (kind or Kind.LIFECYCLE)
    assert event.usage is not None
    assert decoder.output_tokens == 3


@pytest.mark.parametrize("usage", [None, {}, 3])
def test_a_null_usage_is_none(usage: object) -> None:
    """Null, which many servers send with each chunk, is none."""
    (_, event), _ = decode("openai-chat", ROLE, {**chunk({"content": ""}), "usage": usage})
    assert (event.kind, event.usage) == (Kind.KEEPALIVE, None)


def test_output_tokens_only_grow() -> None:
    """A smaller count, and one of the prompt, change nothing."""
    decoder = Decoder("openai-chat")
    for usage, tokens in (({"completion_tokens": 2}, 2), ({"completion_tokens": 1}, 2), ({"prompt_tokens": 9}, 2)):
        decoder.feed(b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n")
        assert decoder.output_tokens == tokens
