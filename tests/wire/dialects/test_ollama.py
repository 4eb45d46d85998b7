"""Ollama's dialect."""

from __future__ import annotations

from typing import Any

import pytest

from llmwatch.errors import EmptyStream
from llmwatch.wire import Decoder, Kind, StreamError, ToolDelta
from tests.rows import each
from tests.wire.dialects.rows import Row, row
from tests.wire.streams import decode, lines


def chat(done: bool = False, **message: Any) -> dict[str, Any]:
    """A line of /api/chat."""
    return {"model": "m", "message": {"role": "assistant", **message}, "done": done}


def calls(*functions: Any) -> list[Any]:
    """Tool calls as Ollama sends them."""
    return [{"function": function} for function in functions]


ONE = ToolDelta("0", None, "f", '{"a": 1}', complete=True, whole=True)


@each(
    "row",
    [
        row("text", chat(content="hi"), Kind.TEXT, text="hi"),
        row("empty", chat(content=""), Kind.KEEPALIVE),
        row("thinking", chat(content="", thinking="hm"), Kind.REASONING, reasoning="hm"),
        row("thinking and text", chat(content="hi", thinking="hm"), Kind.TEXT, text="hi", reasoning="hm"),
        row(
            "call",
            chat(content="", tool_calls=calls({"name": "f", "arguments": {"a": 1}})),
            Kind.TOOL_CALL,
            tools=(ONE,),
        ),
        row(
            "call with text arguments",
            chat(tool_calls=calls({"name": "f", "arguments": '{"a": 1}'})),
            Kind.TOOL_CALL,
            tools=(ONE,),
        ),
        row(
            "call without arguments",
            chat(tool_calls=calls({"name": "f", "arguments": ""})),
            Kind.TOOL_INPUT,
            tools=(ToolDelta("0", None, "f"),),
        ),
        row(
            "call without a name",
            chat(tool_calls=calls({"arguments": {}})),
            Kind.TOOL_INPUT,
            tools=(ToolDelta("0"),),
        ),
        row(
            "whole call beside one without arguments",
            chat(tool_calls=calls({"name": "g"}, {"name": "f", "arguments": {"a": 1}})),
            Kind.TOOL_CALL,
            tools=(ToolDelta("0", None, "g"), ONE._replace(key="1")),
        ),
        row(
            "next call",
            chat(tool_calls=calls({"name": "g", "arguments": {}})),
            Kind.TOOL_CALL,
            tools=(ToolDelta("1", None, "g", "{}", complete=True, whole=True),),
            before=(chat(tool_calls=calls({"name": "f", "arguments": {}})),),
        ),
        row("generate", {"response": "hi", "done": False}, Kind.TEXT, text="hi"),
        row("generate thinking", {"response": "", "thinking": "hm", "done": False}, Kind.REASONING, reasoning="hm"),
        row("generate empty", {"response": "", "done": False}, Kind.KEEPALIVE),
        row("done", chat(done=True, content=""), Kind.TERMINAL),
        row(
            "done for its length",
            {"response": "", "done": True, "done_reason": "length"},
            Kind.TERMINAL,
            finish=True,
            cut=True,
        ),
        row("reason without done", {"response": "", "done_reason": "stop"}, Kind.LIFECYCLE, finish=True),
        row("done with text", {"response": "!", "done": True, "eval_count": 3}, Kind.TERMINAL, text="!"),
        row(
            "done with call",
            chat(True, tool_calls=calls({"name": "f", "arguments": {"a": 1}})),
            Kind.TERMINAL,
            tools=(ONE,),
        ),
        row("error", {"error": "model not found"}, Kind.ERROR, error=StreamError(None, None, "model not found")),
        row("unknown object", {"status": "pulling"}, Kind.LIFECYCLE),
    ],
)
def test_each_line_of_ollama_has_its_meaning(row: Row) -> None:
    """Each line means what the API reference says."""
    events, _ = decode("ndjson", *row.before, row.data)
    row.check(events[-1])


def test_text_in_the_last_line_is_content() -> None:
    """A last line that carries text says so, although its kind is terminal."""
    events, _ = decode("ndjson", {"response": "!", "done": True})
    assert (events[0].kind.is_content, events[0].has_content) == (False, True)


def test_last_line_needs_no_line_end_when_it_is_whole() -> None:
    """Without its line end a whole last line is read at the end of the body.

    A cut one is evidence of truncation.
    """
    events, decoder = decode("ndjson", body=b'{"response":"a","done":false}\n{"response":"","done":true}')
    assert [event.kind for event in events] == [Kind.TEXT, Kind.TERMINAL]
    assert decoder.verdict_at_end() is None
    events, decoder = decode("ndjson", body=b'{"response":"a","done":false}\n{"response":"","do')
    assert [event.kind for event in events] == [Kind.TEXT]
    assert decoder.pending == 18
    assert "last 18 bytes" in str(decoder.verdict_at_end())


def test_last_line_of_white_space_is_nothing() -> None:
    """White space behind the last line is no event and no evidence of a cut."""
    _, decoder = decode("ndjson", body=b'{"response":"a","done":false}\n  ')
    assert (decoder.events, decoder.pending) == (1, 0)


@pytest.mark.parametrize("reason", ["load", "unload"])
@pytest.mark.parametrize("said", [{"response": ""}, {"message": {"role": "assistant", "content": ""}}])
def test_loading_a_model_is_no_answer(reason: str, said: dict[str, Any]) -> None:
    """A request with a prompt has got no answer by it; a request without a prompt wanted no more."""
    body = lines({"model": "m", **said, "done": True, "done_reason": reason})
    for asks_nothing, settled, error in ((False, False, EmptyStream), (True, True, type(None))):
        decoder = Decoder("ndjson", asks_nothing=asks_nothing)
        (event,) = decoder.feed(body)
        assert (event.kind, event.finish, decoder.settled) == (Kind.TERMINAL, settled, settled)
        assert type(decoder.verdict_at_end()) is error
