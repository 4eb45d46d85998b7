"""An event whose JSON is not parsed means what it would mean parsed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from llmwatch.wire.decoder import Decoder
from llmwatch.wire.dialects.repeated import Repeated
from llmwatch.wire.event import Event

PLAIN = ("a", " the", "é", "日本", "word", " of")
PIECES = (*PLAIN, "\u00a0", "\u2028", "\x7f", "\u200b", '"', "\\", 'x"y', "a\\nb", "\n", "\t", "", "null", '"content"')


def chat(chance: random.Random) -> str:
    """A chunk of a chat completion: a piece of text as a rule, and now and then anything else."""
    delta: dict[str, Any] = {"content": chance.choice(PIECES)}
    choice: dict[str, Any] = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
    value: dict[str, Any] = {"id": "c", "object": "chat.completion.chunk", "choices": [choice]}
    if chance.random() < 0.3:
        value["obfuscation"] = chance.choice(("", "aB3", "x", 'q"', "q\\", "é", "aaaaaaaa"))
    rare: list[Callable[[], object]] = [
        lambda: choice.update(index=1),
        lambda: delta.update(role="assistant"),
        lambda: delta.update(reasoning_content="why"),
        lambda: delta.update(tool_calls=[{"index": 0, "id": "t", "function": {"name": "f", "arguments": "{}"}}]),
        lambda: choice.update(delta={"refusal": "content"}),
        lambda: value.update(usage={"completion_tokens": 3}),
        lambda: value.update(error={"message": "content"}),
        lambda: value.update(id=chance.choice("cd"), content="x"),
        lambda: choice.update(finish_reason="stop"),
        lambda: value.update(choices=[choice, {**choice, "index": 1}]),
    ]
    if chance.random() < 0.1:
        chance.choice(rare)()
    return json.dumps(value, ensure_ascii=chance.random() < 0.3, separators=(",", chance.choice((":", ":", ": "))))


def messages(chance: random.Random) -> str:
    """The same for a message of Anthropic's."""
    delta: dict[str, Any] = {"type": "text_delta", "text": chance.choice(PIECES)}
    value: dict[str, Any] = {"type": "content_block_delta", "index": 0, "delta": delta}
    rare: list[dict[str, Any]] = [
        {"type": "content_block_start", "index": chance.choice((0, 1)), "content_block": {"type": "text", "text": "a"}},
        {"type": "content_block_stop", "index": 0},
        {**value, "delta": {"type": "thinking_delta", "thinking": "text"}},
        {**value, "delta": {"type": "input_json_delta", "partial_json": "text"}},
        {**value, "index": 1},
        {**value, "text": "x"},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
        {"type": "error", "error": {"type": "overloaded_error", "message": "text"}},
    ]
    if chance.random() < 0.1:
        value = chance.choice(rare)
    return json.dumps(value, ensure_ascii=chance.random() < 0.3, separators=(",", chance.choice((":", ":", ": "))))


def damaged(chance: random.Random, data: str) -> str:
    """``data`` with something replaced that may no longer be JSON, or be other JSON."""
    old, new = chance.choice(
        (
            ("}", ""),
            ('"delta"', '"delta":{"content":"z"},"delta"'),
            ("}", ',"content":"z"}'),
            ("}", ',"c\\u006fntent":"z"}'),
            ("a", "\t"),
            ('":', '" :'),
            ("]", "] "),
            ("null", "nul"),
            ("0", "00"),
        )
    )
    return data.replace(old, new, 1) if chance.random() < 0.5 else new.join(data.rsplit(old, 1))


def seen(dialect: str, blocks: list[str]) -> list[Any]:
    """All that a decoder says about a stream."""
    decoder = Decoder(dialect, tolerant=True)
    events: list[Event] = []
    for block in blocks:
        events += decoder.feed(f"data: {block}\n\n".encode())
    events += decoder.end()
    return [
        *map(repr, events),
        *((e.kind, e.text, e.reasoning, e.tools, e.finish, e.error, e.cut, e.usage) for e in events),
        *(str(part) for part in (decoder.error, decoder.fault, decoder.verdict_at_end())),
        *(decoder.terminal, decoder.settled, decoder.finished, decoder.accepts_eof, decoder.contradictions),
    ]


@pytest.mark.parametrize(("dialect", "make"), [("openai-chat", chat), ("anthropic", messages)])
def test_nothing_changes_where_the_json_is_not_parsed(
    monkeypatch: pytest.MonkeyPatch, dialect: str, make: Callable[[random.Random], str]
) -> None:
    """Streams at random, of alike events and of nearly alike ones, whole and damaged."""
    bare, alike = Repeated.value, 0

    def counted(self: Repeated, data: str) -> str:
        nonlocal alike
        value = bare(self, data)
        alike += bool(value)
        return value

    streams = []
    for seed in range(1000):
        chance = random.Random(seed)
        blocks = [make(chance)]
        for _ in range(chance.randrange(2, 16)):
            # As a rule the event before with another text.
            data = blocks[-1] if chance.random() < 0.5 else make(chance)
            data = data.replace('"a"', f'"{chance.choice(("b", "é", "is", "a"))}"', chance.choice((1, 1, 2)))
            blocks.append(damaged(chance, data) if chance.random() < 0.1 else data)
        streams.append(blocks)
    monkeypatch.setattr(Repeated, "value", counted)
    found = [seen(dialect, blocks) for blocks in streams]
    assert alike > 500
    monkeypatch.setattr(Repeated, "value", lambda self, data: "")
    for blocks, one in zip(streams, found, strict=True):
        assert one == seen(dialect, blocks), blocks


def test_a_text_that_json_would_refuse_is_parsed() -> None:
    repeated = Repeated("content")
    repeated.learn('{"content":"a"}', "a")
    for data in (
        '{"content":"a\tb"}',
        '{"content":"a\\nb"}',
        '{"content":"a"b"}',
        '{"content":"ab}',
        '{"content":"b"} ',
    ):
        assert repeated.value('{"content":"fine"}') == "fine"
        assert not repeated.value(data)
        assert not repeated.value('{"content":"fine"}')
        repeated.learn('{"content":"a"}', "a")


def test_padding_may_differ() -> None:
    """OpenAI ends each chunk with a string of random length."""
    repeated = Repeated("content")
    repeated.learn('{"content":"a","obfuscation":"x1"}', "a")
    assert repeated.value('{"content":"b","obfuscation":"Yz24"}') == "b"
    assert not repeated.value('{"content":"b","obfuscation":"Yz24","error":{}}')


def test_nothing_is_learnt_for_ever_in_vain() -> None:
    """Where each event has a field that changes, to look for it is given up."""
    repeated = Repeated("content")
    for number in range(10):
        assert not repeated.value(f'{{"n":{number},"content":"a"}}')
        repeated.learn(f'{{"n":{number},"content":"a"}}', "a")
    assert not repeated.value('{"n":9,"content":"b"}')


@pytest.mark.parametrize(
    "data",
    [
        '{"content":"a","content":"a"}',
        '{"content":"a","c\\u006fntent":"a"}',
        '{"content" :"a"}',
        '{"content":\t"a"}',
        '{"content":"b"}',
        '{"content":["a"]}',
    ],
)
def test_nothing_is_learnt_where_another_value_could_be_meant(data: str) -> None:
    """JSON's last value of a name counts, and a name can be written in more than one way."""
    repeated = Repeated("content")
    repeated.learn(data, "a")
    assert not repeated.value(data.replace('"a"', '"z"', 1))
