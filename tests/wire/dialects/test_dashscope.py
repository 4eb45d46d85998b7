"""DashScope's events, beside the whole answers in ``test_providers.py``."""

from __future__ import annotations

from typing import Any

import pytest

from llmwatch.errors import MalformedEvent, ProviderError, StreamTruncated
from llmwatch.wire import Collector, Decoder, Event, Kind
from tests.wire.providers import DASHSCOPE, dashscope, dashscope_choice


def read(*parts: bytes, choices: int = 1, in_pieces: bool = False) -> tuple[list[Event], Decoder, Collector]:
    """The events of these parts, at their clean end."""
    decoder = Decoder("dashscope", choices=choices, in_pieces=in_pieces)
    events = [*decoder.feed(b"".join(parts)), *decoder.end()]
    collector = Collector()
    for event in events:
        collector.add(event)
    if decoder.verdict_at_end() is None:
        collector.end()
    return events, decoder, collector


def used(tokens: int) -> dict[str, int]:
    return {"input_tokens": 5, "output_tokens": tokens}


def said(*pieces: str) -> list[bytes]:
    """These pieces, each of one more token, and the end."""
    events = [dashscope(i, dashscope_choice(piece), usage=used(i)) for i, piece in enumerate(pieces, 1)]
    return [*events, dashscope(9, dashscope_choice("", "stop"), usage=used(len(pieces)))]


def test_kinds_of_a_whole_answer() -> None:
    """Pieces are content, and the reason is the finish mark; usage stands with each."""
    events, decoder, _ = read(DASHSCOPE.body)
    assert [event.kind for event in events] == [Kind.REASONING] * 2 + [Kind.TEXT] * 3 + [Kind.USAGE]
    assert all(event.usage for event in events)
    assert events[-1].finish
    assert decoder.finished
    assert decoder.accepts_eof


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (("Hel", "lo", " world"), "Hello world"),
        (("Hel", "Hello", "Hello world"), "Hello world"),
        (("1", "1", "1"), "111"),
        (("Hello", "", "Hello world"), "Hello world"),
        (("a", "b", "ab", "abab"), "abababab"),
    ],
)
def test_pieces_and_restatements_are_told_apart(pieces: tuple[str, ...], text: str) -> None:
    """Whether events say more or everything again, the text comes once."""
    assert read(*said(*pieces))[2].text == text


def test_requested_pieces_are_never_restatements() -> None:
    """If the request asked for pieces, a piece that begins with all earlier text is one more piece."""
    assert read(*said("好", "好的", "。"), in_pieces=True)[2].text == "好好的。"
    assert read(*said("ha", "haha"), in_pieces=True)[2].text == "hahaha"
    assert read(*said("ha", "haha"))[2].text == "haha"


def test_the_string_null_is_no_finish_reason() -> None:
    """The string ``null`` ends nothing, and a body that ends after it is truncated."""
    _, decoder, _ = read(*said("Hel", "lo")[:-1])
    assert not decoder.finished
    assert isinstance(decoder.verdict_at_end(), StreamTruncated)


def test_a_limit_cuts_an_answer() -> None:
    """A limit ends an answer before it is whole."""
    events, _, _ = read(*said("Hel"), dashscope(3, dashscope_choice("", "length")))
    assert events[-1].cut


@pytest.mark.parametrize("before", [(), DASHSCOPE.parts[:3]])
@pytest.mark.parametrize("dialect", ["dashscope", "auto"])
def test_an_error_event_is_raised_with_code_and_message(before: tuple[bytes, ...], dialect: str) -> None:
    """Code and words of an error event come out, at the beginning and in the middle."""
    decoder = Decoder(dialect)
    decoder.feed(
        b"".join(before) + b'id:4\nevent:error\n:HTTP_STATUS/400\ndata:{"code":"DataInspectionFailed",'
        b'"message":"Output data may contain inappropriate content.","request_id":"q"}\n\n'
    )
    assert isinstance(decoder.error, ProviderError)
    assert decoder.error.code == "DataInspectionFailed"
    assert "inappropriate" in str(decoder.error)


def call(arguments: str, index: int = 0, **more: Any) -> dict[str, Any]:
    """A piece of a call."""
    return {
        "index": index,
        "type": "function",
        **more,
        "function": {"arguments": arguments, **more.get("function", {})},
    }


NAMED = {"id": "c", "function": {"name": "weather"}}


def test_a_restated_call_and_a_call_in_pieces_are_the_same() -> None:
    """Arguments that grow and arguments in pieces give the same call."""
    for pieces in (['{"a"', ":1}"], ['{"a"', '{"a":1}', '{"a":1}']):
        events = [dashscope(i, dashscope_choice("", tool_calls=[call(p, **NAMED)])) for i, p in enumerate(pieces)]
        _, _, collector = read(*events, dashscope(9, dashscope_choice("", "tool_calls")))
        assert [(made.id, made.name, made.json()) for made in collector.tool_calls] == [("c", "weather", {"a": 1})]


@pytest.mark.parametrize(("reason", "seen"), [("tool_calls", 1), ("stop", 1), ("length", 0), ("null", 0)])
def test_a_call_without_arguments_needs_a_whole_answer(reason: str, seen: int) -> None:
    """A call without arguments is whole where the answer is, and none where it was cut or goes on."""
    begun = dashscope(1, dashscope_choice("", tool_calls=[call("", **NAMED)]))
    _, _, collector = read(begun, dashscope(2, dashscope_choice("", reason)))
    assert len(collector.tool_calls) == seen
    half = dashscope(1, dashscope_choice("", tool_calls=[call('{"a"', **NAMED)]))
    _, _, collector = read(half, dashscope(2, dashscope_choice("", reason)))
    assert collector.tool_calls == ()


def test_parts_of_other_kinds_are_content() -> None:
    """The multimodal interface has its text in parts; pictures and sound count as content."""
    output = {"choices": [{"message": {"role": "assistant", "content": [{"text": "Hi"}]}, "finish_reason": "null"}]}
    picture = {"choices": [{"message": {"role": "assistant", "content": [{"image": "http://x"}]}}]}
    events, _, collector = read(dashscope(1, output), dashscope(2, picture))
    assert [event.kind for event in events] == [Kind.TEXT, Kind.TEXT]
    assert collector.text == "Hi"


def test_each_choice_that_was_asked_for_has_to_end() -> None:
    """With two answers asked for, the first reason finishes nothing."""
    one = {"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}
    other = {"index": 1, "message": {"content": "b"}, "finish_reason": "null"}
    events, decoder, _ = read(dashscope(1, {"choices": [one, other]}), choices=2)
    assert not events[-1].finish
    assert isinstance(decoder.verdict_at_end(), StreamTruncated)


def test_a_choice_of_unknown_form_is_malformed() -> None:
    """An unknown value in place of a choice or a call is not skipped."""
    for output in ({"choices": ["x"]}, dashscope_choice("", tool_calls=["x"]), dashscope_choice("", tool_calls="x")):
        assert isinstance(read(dashscope(1, output))[1].error, MalformedEvent)
