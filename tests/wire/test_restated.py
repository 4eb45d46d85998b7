"""Text that a provider restates is delivered once."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from llmwatch.errors import StreamTruncated
from llmwatch.wire import Collector, Decoder, Kind
from llmwatch.wire.dialects.base import MOST_PIECES, Said
from tests.rows import each
from tests.wire.dialects.test_anthropic import ASKED, STOP, delta, ended, start
from tests.wire.dialects.test_openai_chat import call, chunk
from tests.wire.dialects.test_openai_responses import event as response
from tests.wire.providers import baidu, snowflake, tgi, typed
from tests.wire.streams import lines, sse


def said(*pieces: str) -> Said:
    found = Said()
    for piece in pieces:
        found.add(piece)
    return found


@pytest.mark.parametrize(
    ("pieces", "whole", "missing"),
    [
        (("a", "b"), "ab", ""),
        (("a", "b"), "abc", "c"),
        ((), "abc", "abc"),
        (("a", "b"), "b", None),
        (("a", "b"), "a", None),
        ((" a", "b\n"), "ab", ""),
        (("x" * 9,) * (2 * MOST_PIECES), "x" * 18 * MOST_PIECES + "y", "y"),
        (("x" * 9,) * (2 * MOST_PIECES), "y" + "x" * 18 * MOST_PIECES, None),
        (("\ud83d",), "\ud83d\ude00", "\ude00"),
    ],
)
def test_a_restated_whole_adds_only_missing_text(pieces: tuple[str, ...], whole: str, missing: str | None) -> None:
    """The result is the missing text, nothing, or a contradiction, for a text of any length."""
    found = said(*pieces)
    assert found.missing(whole) == copy.deepcopy(found).missing(whole) == missing


def test_the_memory_for_restatements_is_bounded() -> None:
    """The number of kept pieces of an endless text is bounded."""
    found = said(*["a"] * (10 * MOST_PIECES + 5))
    assert len(found) <= MOST_PIECES
    assert found.length == 10 * MOST_PIECES + 5


def message(finish: str | None = "stop", **fields: Any) -> dict[str, Any]:
    return {"object": "chat.completion", "choices": [{"index": 0, "finish_reason": finish, "message": fields}]}


def part(delta: dict[str, Any]) -> dict[str, Any]:
    """A chunk that says that it is one."""
    return {**chunk(delta), "object": "chat.completion.chunk"}


def last(delta: dict[str, Any], finish: str | None = "stop") -> dict[str, Any]:
    """A delta in what calls itself a whole completion."""
    return {**chunk(delta, finish), "object": "chat.completion"}


def whole(*content: dict[str, Any], **fields: Any) -> tuple[str, dict[str, Any]]:
    """The start of a message that has its content."""
    return "message_start", {"type": "message_start", "message": {"role": "assistant", "content": content, **fields}}


STOPPED = ("message_stop", {"type": "message_stop"})
USE = {"type": "tool_use", "id": "c", "name": "f", "input": {"x": 1}}


def worded(text: str, usage: Any = None) -> bytes:
    """A piece of Snowflake's."""
    return snowflake({"type": "text", "content": text, "content_list": [{"type": "text", "text": text}]}, usage)


def opened(text: str, index: int = 0) -> bytes:
    """The start of a block of Cohere's."""
    return typed("content-start", index=index, delta={"message": {"content": {"type": "text", "text": text}}})


def worded_block(text: str, index: int = 0) -> bytes:
    """And its piece."""
    return typed("content-delta", index=index, delta={"message": {"content": {"text": text}}})


def thought(text: str) -> dict[str, Any]:
    return chunk({"reasoning": text})


def details(text: str, **fields: Any) -> dict[str, Any]:
    return chunk({"content": "", **fields, "reasoning_details": [{"type": "reasoning.text", "text": text}]})


DETAILS = {"reasoning_details": [{"type": "reasoning.summary", "summary": "hm"}]}


def block(text: str) -> tuple[str, dict[str, Any]]:
    return delta("text_delta", text=text)


def item(*texts: str) -> dict[str, Any]:
    return {"type": "message", "content": [{"type": "output_text", "text": text} for text in texts]}


def spoken(text: str, **place: int) -> Any:
    return response("output_text.delta", delta=text, **({"output_index": 0, "content_index": 0} | place))


def sound(transcript: str) -> dict[str, Any]:
    return {"type": "message", "content": [{"type": "output_audio", "data": "AAAA", "transcript": transcript}]}


THOUGHT = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}


@each(
    ("dialect", "items", "right"),
    [
        # A message after its deltas, after some of them, and with all of them in each.
        ("openai-chat", (chunk({"content": "a"}), chunk({"content": "b"}), message(content="ab")), ("ab", "")),
        ("openai-chat", (chunk({"content": "a"}), message(content="ab")), ("ab", "")),
        ("openai-chat", (message(content="ab"),), ("ab", "")),
        ("openai-chat", (message(None, content="a"), message(None, content="ab"), message(content="abc")), ("abc", "")),
        ("openai-chat", (message(None, content="a"), message(content="b")), ("ab", "")),
        (
            "openai-chat",
            (chunk({"reasoning_content": "hm"}), chunk({"content": "a"}), message(content="a", reasoning_content="hm")),
            ("a", "hm"),
        ),
        ("openai-chat", (chunk({"content": "a"}), chunk(None, "stop"), message(content="a")), ("a", "")),
        # Reasoning in pieces, in details, and in both.
        ("openai-chat", (details("h"), details("m"), chunk({"content": "a"})), ("a", "hm")),
        ("openai-chat", (details("h"), details("h"), chunk({"content": "a"})), ("a", "hh")),
        ("openai-chat", (details("h", reasoning="h"), details("m", reasoning="m")), ("", "hm")),
        ("openai-chat", (thought("h"), thought("m"), details("hm"), chunk({"content": "a"})), ("a", "hm")),
        ("openai-chat", (thought("h"), details("hm"), chunk({"content": "a"})), ("a", "hm")),
        ("openai-chat", (thought("h"), details("m"), details("m"), chunk({"content": "a"})), ("a", "hmm")),
        ("openai-chat", (details("h"), details("m"), message(content="a", reasoning="hm")), ("a", "hm")),
        ("openai-chat", (thought("hm"), message(content="a", **DETAILS)), ("a", "hm")),
        ("openai-chat", (message(content="a", **DETAILS),), ("a", "hm")),
        ("openai-chat", (chunk({"content": " a\n"}), message(content="a")), (" a\n", "")),
        # A block's start that the first delta repeats, or goes on from.
        ("anthropic", (start("text", text="a"), block("a"), block("b"), STOP, ended("end_turn")), ("ab", "")),
        ("anthropic", (start("text", text="a"), block("ab"), STOP, ended("end_turn")), ("ab", "")),
        ("anthropic", (start("text", text="a"), block("b"), STOP, ended("end_turn")), ("ab", "")),
        ("anthropic", (start("text", text=""), block("a"), block("a"), STOP, ended("end_turn")), ("aa", "")),
        (
            "anthropic",
            (
                start("thinking", thinking="hm"),
                delta("thinking_delta", thinking="hm"),
                delta("thinking_delta", thinking="hm"),
                STOP,
                ended("end_turn"),
            ),
            ("", "hmhm"),
        ),
        # A message's start with all of it.
        ("anthropic", (whole({"type": "text", "text": "ab"}), ended("end_turn")), ("ab", "")),
        ("anthropic", (whole({"type": "text", "text": "ab"}), ended("end_turn"), STOPPED), ("ab", "")),
        ("anthropic", (whole({"type": "text", "text": "ab"}), STOPPED), ("ab", "")),
        ("anthropic", (whole({"type": "text", "text": "ab"}), ended("max_tokens"), STOPPED), ("ab", "")),
        (
            "anthropic",
            (whole({"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "ab"}), ended("end_turn"), STOPPED),
            ("ab", "hm"),
        ),
        (
            "anthropic",
            (whole({"type": "text", "text": "ab"}), start("text", text=""), block("ab"), STOP, ended("end_turn")),
            ("ab", ""),
        ),
        ("anthropic", (whole({"type": "text", "text": "ab"}), block("a"), block("b"), ended("end_turn")), ("ab", "")),
        # A whole completion, with its message as a delta.
        ("openai-chat", (part({"content": "a"}), part({"content": "b"}), last({"content": "ab"})), ("ab", "")),
        ("openai-chat", (part({"content": "a"}), last({"role": "assistant", "content": "ab"})), ("ab", "")),
        ("openai-chat", (part({"content": "a"}), part({"content": "b"}), last({"content": "c"})), ("abc", "")),
        ("openai-chat", (part({"content": "a"}), part({"content": "b"}), last({"content": "a"})), ("aba", "")),
        ("openai-chat", (part({"content": "a"}), part({"content": "b"}), last({})), ("ab", "")),
        (
            "openai-chat",
            (last({"content": "a"}, None), last({"content": "a"}, None), last({"content": "a"})),
            ("aaa", ""),
        ),
        ("openai-chat", (part({"content": "a"}), last({"content": "a"}, None), last({"content": "a"})), ("aaa", "")),
        (
            "openai-chat",
            (
                part({"reasoning_content": "hm"}),
                part({"content": "a"}),
                last({"content": "a", "reasoning_content": "hm"}),
            ),
            ("a", "hm"),
        ),
        # Done events and completed responses.
        (
            "openai-responses",
            (spoken("a"), spoken("b"), response("output_text.done", output_index=0, content_index=0, text="ab")),
            ("ab", ""),
        ),
        (
            "openai-responses",
            (spoken("a"), response("output_text.done", output_index=0, content_index=0, text="ab")),
            ("ab", ""),
        ),
        ("openai-responses", (spoken("a"), response("completed", response={"output": [item("ab")]})), ("ab", "")),
        ("openai-responses", (response("completed", response={"output": [THOUGHT, item("ab")]}),), ("ab", "hm")),
        (
            "openai-responses",
            (
                response("reasoning_summary_text.delta", output_index=0, summary_index=0, delta="hm"),
                response("reasoning_summary_text.done", output_index=0, summary_index=0, text="hm"),
                spoken("a", output_index=1),
                spoken("b", output_index=1, content_index=1),
                response("completed", response={"output": [THOUGHT, item("a", "b")]}),
            ),
            ("ab", "hm"),
        ),
        (
            "openai-responses",
            (
                response("output_text.delta", delta="a"),
                response("output_text.delta", delta="b"),
                response("completed", response={"output": [item("a", "b")]}),
            ),
            ("ab", ""),
        ),
        ("openai-responses", (spoken("a"), response("completed", response={"output": [item("a", "b")]})), ("ab", "")),
        (
            "openai-responses",
            (
                response("output_item.done", output_index=0, item=item("ab")),
                response("completed", response={"output": [item("ab")]}),
            ),
            ("ab", ""),
        ),
        # What sound says, and only there.
        ("openai-responses", (response("completed", response={"output": [sound("ab")]}),), ("ab", "")),
        (
            "openai-responses",
            (response("audio.transcript.delta", delta="ab"), response("completed", response={"output": [sound("ab")]})),
            ("ab", ""),
        ),
        # A last line with all of it.
        (
            "ndjson",
            ({"response": "a"}, {"response": "b"}, {"response": "ab", "done": True, "done_reason": "stop"}),
            ("ab", ""),
        ),
        (
            "ndjson",
            (
                {"message": {"thinking": "h"}},
                {"message": {"thinking": "m"}},
                {"message": {"content": "a", "thinking": "hm"}, "done": True},
            ),
            ("a", "hm"),
        ),
        ("ndjson", ({"response": "a"}, {"response": "b"}, {"response": "c", "done": True}), ("abc", "")),
        ("ndjson", ({"response": "ha"}, {"response": "ha", "done": True}), ("haha", "")),
        (
            "ndjson",
            (*[{"response": "a"}] * (MOST_PIECES + 1), {"response": "a" * (MOST_PIECES + 1) + "b", "done": True}),
            ("a" * (MOST_PIECES + 1) + "b", ""),
        ),
    ],
)
def test_text_and_reasoning_come_once(dialect: str, items: tuple[Any, ...], right: tuple[str, str]) -> None:
    """A restatement adds only the missing part, and nothing contradicts."""
    decoder = Decoder(dialect)
    events = decoder.feed(lines(*items) if dialect == "ndjson" else sse(*items))
    assert ("".join(event.text for event in events), "".join(event.reasoning for event in events)) == right
    assert (decoder.contradictions, decoder.error) == (0, None)


@pytest.mark.parametrize(
    ("dialect", "parts", "right"),
    [
        ("baidu", (baidu("a", 0), baidu("b", 1), baidu("ab", 2, end=True)), "ab"),
        ("baidu", (baidu("a", 0), baidu("b", 1), baidu("abc", 2, end=True)), "abc"),
        ("baidu", (baidu("ha", 0), baidu("ha", 1, end=True)), "haha"),
        ("baidu", (baidu("a", 0), baidu("b", 1), baidu("a", 2, end=True)), "aba"),
        ("snowflake", (worded("a"), worded("b"), worded("ab", {"total_tokens": 3})), "ab"),
        ("snowflake", (worded("a"), worded("b"), worded("c", {"total_tokens": 3})), "abc"),
        ("snowflake", (worded("ha"), worded("ha", {"total_tokens": 3})), "haha"),
        ("tgi", (tgi(1, "a"), tgi(2, "b", whole="ab")), "ab"),
        ("tgi", (tgi(1, "a"), tgi(2, "</s>", special=True, whole="ab")), "ab"),
        ("cohere", (opened("a"), worded_block("a"), worded_block("b")), "ab"),
        ("cohere", (opened("a"), worded_block("ab")), "ab"),
        ("cohere", (opened("a"), worded_block("b")), "ab"),
        ("cohere", (opened(""), worded_block("a"), worded_block("a")), "aa"),
        ("cohere", (opened("a"), worded_block("b"), opened("c", 1), worded_block("c", 1)), "abc"),
    ],
)
def test_text_of_other_providers_comes_once(dialect: str, parts: tuple[bytes, ...], right: str) -> None:
    """A last piece that is all of it again adds only what was missing.

    So does a start that the first delta repeats.
    """
    decoder = Decoder(dialect)
    assert "".join(event.text for event in decoder.feed(b"".join(parts))) == right
    assert (decoder.contradictions, decoder.error) == (0, None)


@pytest.mark.parametrize(
    ("dialect", "items", "right"),
    [
        ("openai-chat", (chunk({"content": "a"}), message(content="b")), "a"),
        ("openai-chat", (chunk({"content": "ab"}), message(content="a")), "ab"),
        ("openai-responses", (spoken("a"), response("completed", response={"output": [item("b")]})), "a"),
        (
            "openai-responses",
            (spoken("a"), response("output_text.done", output_index=0, content_index=0, text="b")),
            "a",
        ),
    ],
)
def test_a_contradiction_is_counted_and_the_first_text_stays(dialect: str, items: tuple[Any, ...], right: str) -> None:
    """Text that is not what was said adds nothing, and is not lost without a word."""
    decoder = Decoder(dialect)
    assert "".join(event.text for event in decoder.feed(sse(*items))) == right
    assert decoder.contradictions == 1


def calls(*each: tuple[str | None, str, str]) -> list[dict[str, Any]]:
    return [
        {**({"id": identity} if identity else {}), "function": {"name": name, "arguments": arguments}}
        for identity, name, arguments in each
    ]


SAID_CALL = call('{"x":1}', id="c", name="f")
HALF_CALL = call('{"x":', id="c", name="f")
CALL = (chunk(call(id="c", name="f")), chunk(call('{"x":')), chunk(call("1}")))


@pytest.mark.parametrize(
    ("dialect", "items"),
    [
        ("openai-chat", (*CALL, message("tool_calls", tool_calls=calls(("c", "f", '{"x":1}'))))),
        ("openai-chat", (*CALL, message("tool_calls", tool_calls=calls((None, "f", '{"x":1}'))))),
        ("openai-chat", (*CALL, chunk(None, "tool_calls"), message(tool_calls=calls(("c", "f", '{"x": 1}'))))),
        ("openai-chat", (*CALL[:2], message("tool_calls", tool_calls=calls(("c", "f", '{"x":1}'))))),
        ("openai-chat", (message("tool_calls", tool_calls=calls(("c", "f", '{"x":1}'))),)),
        ("openai-chat", (*CALL, chunk(call('{"x":1}')), chunk(None, "tool_calls"))),
        ("openai-chat", (part(SAID_CALL), last({"tool_calls": calls(("c", "f", '{"x":1}'))}, "tool_calls"))),
        ("openai-chat", (part(HALF_CALL), last(call("1}"), "tool_calls"))),
        ("anthropic", (whole(USE), ASKED, STOPPED)),
        ("anthropic", (whole(USE, stop_reason="tool_use"), STOPPED)),
        ("anthropic", (whole(USE), start("tool_use", id="c", name="f", input={"x": 1}), STOP, ASKED, STOPPED)),
        (
            "anthropic",
            (
                start("tool_use", id="c", name="f", input={"x": 1}),
                delta("input_json_delta", partial_json='{"x"'),
                delta("input_json_delta", partial_json=":1}"),
                STOP,
                ASKED,
            ),
        ),
    ],
)
def test_a_restated_call_comes_once(dialect: str, items: tuple[Any, ...]) -> None:
    """A call in pieces and then whole, by its id, its number or what is in it, is one call."""
    collector = Collector()
    for event in Decoder(dialect).feed(sse(*items)):
        collector.add(event)
    (found,) = collector.tool_calls
    assert (found.name, found.json(), collector.discarded_calls) == ("f", {"x": 1}, 0)


@pytest.mark.parametrize(
    ("dialect", "items"),
    [
        ("openai-chat", (*CALL[:2], message("length", tool_calls=calls(("c", "f", '{"x":'))))),
        ("openai-chat", (*CALL[:2], chunk(call('{"x":')), chunk(None, "tool_calls"))),
        ("openai-chat", (part(HALF_CALL), last(call('{"x":'), "tool_calls"))),
        ("anthropic", (whole(USE), ended("max_tokens"), STOPPED)),
        ("anthropic", (whole(USE), STOPPED)),
        (
            "anthropic",
            (
                start("tool_use", id="c", name="f", input={"x": 1}),
                delta("input_json_delta", partial_json='{"x"'),
                STOP,
                ASKED,
            ),
        ),
    ],
)
def test_a_restated_call_that_is_cut_is_none(dialect: str, items: tuple[Any, ...]) -> None:
    """A call whose second statement is not whole is not delivered."""
    collector = Collector()
    for event in Decoder(dialect).feed(sse(*items)):
        collector.add(event)
    assert (collector.tool_calls, collector.discarded_calls) == ((), 1)


def test_a_call_whole_in_the_start_of_its_message_has_no_arguments() -> None:
    """A call without input in a message's start is one without arguments.

    It is so once the message says why it ended.
    """
    for ends in ((ASKED, STOPPED), (STOPPED,)):
        collector = Collector()
        opening = whole({**USE, "input": {}}, stop_reason=None if len(ends) == 2 else "tool_use")
        for event in Decoder("anthropic").feed(sse(opening, *ends)):
            collector.add(event)
        assert [found.json() for found in collector.tool_calls] == [{}]


def test_a_message_whole_in_its_start_without_an_end_is_cut() -> None:
    """A message that is cut after its start is no answer.

    The tools that the provider ran are known at once.
    """
    decoder = Decoder("anthropic")
    decoder.feed(sse(whole({"type": "text", "text": "ab"}, {"type": "mcp_tool_use", "name": "f"})))
    decoder.end()
    assert isinstance(decoder.verdict_at_end(), StreamTruncated)
    assert decoder.provider_acted


PICTURE = {"type": "image_generation_call", "status": "completed", "result": "iVBOR"}
SOUND = {"type": "message", "content": [{"type": "output_audio", "data": "AAAA"}]}
SEARCH = {"type": "web_search_call", "status": "completed"}


@pytest.mark.parametrize(
    ("items", "output", "kind"),
    [
        ((), [PICTURE], Kind.TEXT),
        ((), [SOUND], Kind.TEXT),
        ((), [PICTURE, item("a")], Kind.TERMINAL),
        ((response("output_item.done", output_index=0, item=PICTURE),), [PICTURE], Kind.TERMINAL),
        ((response("image_generation_call.partial_image", partial_image_b64="iVB"),), [PICTURE], Kind.TERMINAL),
        ((), [{**PICTURE, "result": None}], Kind.TERMINAL),
        ((), [SEARCH], Kind.TERMINAL),
    ],
)
def test_output_of_the_completed_response_alone_is_content(
    items: tuple[Any, ...], output: list[Any], kind: Kind
) -> None:
    """A picture or sound that came in no event of its own is content, once.

    The response is over all the same.
    """
    decoder = Decoder("openai-responses")
    events = decoder.feed(sse(*items, response("completed", response={"output": output}), response("created")))
    assert (len(events), events[-1].kind, events[-1].finish) == (len(items) + 1, kind, True)
    assert (decoder.terminal, decoder.settled, decoder.error) == (True, True, None)
    shown = bool(items) or output[0] in (PICTURE, SOUND)
    assert any(event.has_content for event in events) == shown
