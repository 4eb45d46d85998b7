"""The chat completions dialect."""

from __future__ import annotations

from typing import Any

from llmwatch.wire import Decoder, Kind, StreamError, ToolDelta
from tests.rows import each
from tests.wire.dialects.rows import Row, row
from tests.wire.streams import decode, sse

ROLE: dict[str, Any] = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}
USAGE = {"prompt_tokens": 1, "completion_tokens": 2}


def chunk(delta: Any = None, reason: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    """A chunk with one choice."""
    return {"choices": [{"index": index, "delta": {} if delta is None else delta, "finish_reason": reason}], **more}


def call(arguments: str = "", *, index: Any = 0, **more: Any) -> dict[str, Any]:
    """A delta with a piece of one tool call."""
    function = {"arguments": arguments} | ({"name": more.pop("name")} if "name" in more else {})
    place = {} if index is None else {"index": index}
    return {"tool_calls": [{**place, "function": function, **more}]}


BEGUN = (ROLE, chunk(call(id="c1", name="f")))
WHOLE = (*BEGUN, chunk(call('{"a":')), chunk(call("1}")))


def beside(delta: dict[str, Any]) -> dict[str, Any]:
    """A chunk whose choice has text beside its delta."""
    return {"choices": [{"index": 0, "delta": delta, "text": "hi", "finish_reason": None}]}


@each(
    "row",
    [
        row("role", ROLE, Kind.LIFECYCLE),
        row("role with null content", chunk({"role": "assistant", "content": None}), Kind.LIFECYCLE),
        row("empty delta", chunk(), Kind.KEEPALIVE),
        row("empty delta later", chunk(), Kind.KEEPALIVE, before=(ROLE,)),
        row("empty content", chunk({"content": ""}), Kind.KEEPALIVE, before=(ROLE,)),
        row("null content", chunk({"content": None}), Kind.KEEPALIVE, before=(ROLE,)),
        row("text", chunk({"content": "hi"}), Kind.TEXT, text="hi", before=(ROLE,)),
        row("text at once", chunk({"content": "hi"}), Kind.TEXT, text="hi"),
        row("text with role", chunk({"role": "assistant", "content": "hi"}), Kind.TEXT, text="hi", before=(ROLE,)),
        row("text beside nulls", chunk({"content": "hi", "tool_calls": None, "reasoning": ""}), Kind.TEXT, text="hi"),
        row("text of another choice", chunk({"content": "hi"}, index=3), Kind.TEXT, text="hi", before=(ROLE,)),
        row("text without index", {"choices": [{"delta": {"content": "hi"}}]}, Kind.TEXT, text="hi"),
        row("text with usage", chunk({"content": "hi"}, usage=USAGE), Kind.TEXT, text="hi", before=(ROLE,)),
        row("text with error null", chunk({"content": "hi"}, error=None), Kind.TEXT, text="hi", before=(ROLE,)),
        row("text and reason", chunk({"content": "hi"}, "stop"), Kind.TEXT, text="hi", finish=True),
        row("older completion", {"choices": [{"text": "hi", "index": 0, "finish_reason": None}]}, Kind.TEXT, text="hi"),
        row(
            "whole message",
            {"choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]},
            Kind.TEXT,
            text="hi",
            finish=True,
        ),
        row("refusal", chunk({"refusal": "no"}), Kind.TEXT, text="no", before=(ROLE,)),
        row("audio", chunk({"audio": {"data": "UklG"}}), Kind.TEXT),
        row("audio transcript", chunk({"audio": {"transcript": "hi"}}), Kind.TEXT, text="hi"),
        row("images", chunk({"content": "", "images": [{"type": "image_url"}]}), Kind.TEXT),
        row("annotations", chunk({"annotations": [{"type": "url_citation"}]}), Kind.TEXT),
        row("reasoning_content", chunk({"reasoning_content": "hm"}), Kind.REASONING, reasoning="hm", before=(ROLE,)),
        row("reasoning_content at once", chunk({"reasoning_content": "hm"}), Kind.REASONING, reasoning="hm"),
        row("reasoning", chunk({"content": "", "reasoning": "hm"}), Kind.REASONING, reasoning="hm", before=(ROLE,)),
        row(
            "reasoning in both fields",
            chunk({"reasoning": "hm", "reasoning_content": "hm"}),
            Kind.REASONING,
            reasoning="hm",
        ),
        row("reasoning details", chunk({"reasoning": "hm", "reasoning_details": [{}]}), Kind.REASONING, reasoning="hm"),
        row(
            "reasoning details alone",
            chunk(
                {
                    "content": "",
                    "reasoning_details": [
                        {"type": "reasoning.summary", "summary": "h", "index": 0},
                        {"type": "reasoning.text", "text": "m", "signature": "c2ln"},
                        {"type": "reasoning.encrypted", "data": "gAAAA"},
                    ],
                }
            ),
            Kind.REASONING,
            reasoning="hm",
        ),
        row(
            "reasoning and the same in details",
            chunk({"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}),
            Kind.REASONING,
            reasoning="hm",
            before=(ROLE,),
        ),
        row("opaque reasoning", chunk({"reasoning_details": [{"type": "reasoning.encrypted"}]}), Kind.REASONING),
        row(
            "parts",
            chunk(
                {
                    "content": [
                        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                        {"type": "text", "text": "hi"},
                    ]
                }
            ),
            Kind.TEXT,
            text="hi",
            reasoning="hm",
        ),
        row(
            "a summary in parts",
            chunk({"content": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}, "x"]}]}),
            Kind.REASONING,
            reasoning="hm",
        ),
        row("text beside the same in a delta", beside({"content": "hi", "token_id": 7}), Kind.TEXT, text="hi"),
        row("text beside a delta without any", beside({"role": "assistant"}), Kind.TEXT, text="hi"),
        row(
            "tool begins",
            chunk(call(id="c1", name="f")),
            Kind.TOOL_INPUT,
            tools=(ToolDelta("0.0", "c1", "f"),),
            before=(ROLE,),
        ),
        row(
            "tool begins at once", chunk(call(id="c1", name="f")), Kind.TOOL_INPUT, tools=(ToolDelta("0.0", "c1", "f"),)
        ),
        row(
            "tool input",
            chunk(call('{"a"')),
            Kind.TOOL_INPUT,
            tools=(ToolDelta("0.0", arguments='{"a"'),),
            before=BEGUN,
        ),
        row("empty tool input", chunk(call("")), Kind.KEEPALIVE, before=BEGUN),
        row(
            "tool complete",
            chunk(None, "tool_calls"),
            Kind.TOOL_CALL,
            tools=(ToolDelta("0.0", complete=True),),
            finish=True,
            before=WHOLE,
        ),
        row(
            "tool complete by stop",
            chunk(None, "stop"),
            Kind.TOOL_CALL,
            tools=(ToolDelta("0.0", complete=True),),
            finish=True,
            before=WHOLE,
        ),
        row("tool cut by length", chunk(None, "length"), Kind.LIFECYCLE, finish=True, cut=True, before=WHOLE),
        row("cut by a filter", chunk(None, "content_filter"), Kind.LIFECYCLE, finish=True, cut=True),
        row("end marker with blanks", " \t[DONE] ", Kind.TERMINAL),
        row(
            "tool arguments cut",
            chunk(None, "tool_calls"),
            Kind.LIFECYCLE,
            finish=True,
            before=(*BEGUN, chunk(call('{"a"'))),
        ),
        row(
            "tool without arguments",
            chunk(None, "tool_calls"),
            Kind.TOOL_CALL,
            finish=True,
            tools=(ToolDelta("0.0", arguments="{}", complete=True, whole=True),),
            before=BEGUN,
        ),
        row("tool without arguments cut", chunk(None, "length"), Kind.LIFECYCLE, finish=True, cut=True, before=BEGUN),
        row(
            "next tool begins",
            chunk(call(id="c2", name="g", index=1)),
            Kind.TOOL_CALL,
            tools=(ToolDelta("0.0", complete=True), ToolDelta("0.1", "c2", "g")),
            before=WHOLE,
        ),
        row(
            "next tool while one is open",
            chunk(call(id="c2", name="g", index=1)),
            Kind.TOOL_INPUT,
            tools=(ToolDelta("0.1", "c2", "g"),),
            before=(*BEGUN, chunk(call('{"a"'))),
        ),
        row(
            "tool in one chunk",
            chunk(call("{}", id="c", name="f"), "tool_calls"),
            Kind.TOOL_CALL,
            tools=(ToolDelta("0.0", "c", "f", "{}"), ToolDelta("0.0", complete=True)),
            finish=True,
        ),
        row(
            "all tools numbered 0",
            chunk(call("{}", id="c2", name="g")),
            Kind.TOOL_CALL,
            tools=(ToolDelta("0.0", complete=True), ToolDelta("0.0#c2", "c2", "g", "{}")),
            before=WHOLE,
        ),
        row(
            "tools without a number",
            chunk(call("{}", id="c2", name="g", index=None)),
            Kind.TOOL_CALL,
            tools=(ToolDelta("0.c1", complete=True), ToolDelta("0.c2", "c2", "g", "{}")),
            before=(ROLE, chunk(call("{}", id="c1", name="f", index=None))),
        ),
        row(
            "piece without number or id",
            chunk(call("}", index=None)),
            Kind.TOOL_INPUT,
            tools=(ToolDelta("0.c1", arguments="}"),),
            before=(ROLE, chunk(call("{", id="c1", name="f", index=None))),
        ),
        row(
            "same id again",
            chunk(call("1}", id="c1", name="f")),
            Kind.TOOL_INPUT,
            tools=(ToolDelta("0.0", "c1", "f", "1}"),),
            before=(*BEGUN, chunk(call('{"a":'))),
        ),
        row(
            "parts of odd shapes",
            chunk({"content": ["x", {"text": "a"}, {"thinking": "b"}]}),
            Kind.TEXT,
            text="a",
            reasoning="b",
        ),
        row(
            "text and reasoning",
            chunk({"content": "a", "reasoning": "b"}),
            Kind.TEXT,
            text="a",
            reasoning="b",
            before=(ROLE,),
        ),
        row(
            "custom tool",
            chunk(None, "tool_calls"),
            Kind.TOOL_CALL,
            finish=True,
            tools=(ToolDelta("0.0", arguments='{"input": "ls"}', complete=True, whole=True),),
            before=(
                chunk(
                    {"tool_calls": [{"index": 0, "id": "c", "type": "custom", "custom": {"name": "sh", "input": "ls"}}]}
                ),
            ),
        ),
        row(
            "function_call",
            chunk({"function_call": {"name": "f", "arguments": "{"}}),
            Kind.TOOL_INPUT,
            tools=(ToolDelta("0.function", None, "f", "{"),),
        ),
        row(
            "function_call complete",
            chunk(None, "function_call"),
            Kind.TOOL_CALL,
            finish=True,
            tools=(ToolDelta("0.function", complete=True),),
            before=(chunk({"function_call": {"name": "f", "arguments": "{}"}}),),
        ),
        row("finish", chunk(None, "stop"), Kind.LIFECYCLE, finish=True, before=(ROLE,)),
        row("finish with usage", chunk(None, "stop", usage=USAGE), Kind.USAGE, finish=True, before=(ROLE,)),
        row("empty finish reason", chunk({"content": "hi"}, ""), Kind.TEXT, text="hi", before=(ROLE,)),
        row(
            "finish of one of two", chunk(None, "stop"), Kind.LIFECYCLE, before=(ROLE, chunk({"content": "x"}, index=1))
        ),
        row(
            "finish of the second of two",
            chunk(None, "stop", 1),
            Kind.LIFECYCLE,
            finish=True,
            before=(ROLE, chunk({"content": "x"}, index=1), chunk(None, "stop")),
        ),
        row("usage", {"choices": [], "usage": USAGE}, Kind.USAGE, before=(ROLE, chunk(None, "stop"))),
        row("usage without choices", {"usage": USAGE}, Kind.USAGE),
        row("prompt filter", {"choices": [], "prompt_filter_results": [{}]}, Kind.LIFECYCLE),
        row(
            "late filter result",
            {"choices": [{"index": 0, "finish_reason": None, "content_filter_results": {}}]},
            Kind.KEEPALIVE,
            before=(ROLE, chunk(None, "stop")),
        ),
        row("unknown object", {"hello": "world"}, Kind.LIFECYCLE),
        row("done", "[DONE]", Kind.TERMINAL),
        row(
            "error",
            {"error": {"type": "server_error", "code": None, "message": "boom"}},
            Kind.ERROR,
            error=StreamError("server_error", None, "boom"),
        ),
        row(
            "error with code",
            {"error": {"code": 502, "message": "upstream"}},
            Kind.ERROR,
            error=StreamError(None, "502", "upstream"),
        ),
        row(
            "error beside choices",
            chunk({"content": ""}, "error", error={"code": "server_error", "message": "boom"}),
            Kind.ERROR,
            error=StreamError(None, "server_error", "boom"),
        ),
        row(
            "error by reason alone",
            chunk({}, "error"),
            Kind.ERROR,
            finish=True,
            cut=True,
            error=StreamError(None, None, "the answer ended with finish_reason error, no reason was given"),
        ),
        row("error as text", {"error": "boom"}, Kind.ERROR, error=StreamError(None, None, "boom")),
        row(
            "error object",
            {"object": "error", "message": "boom", "type": "BadRequestError", "code": 400},
            Kind.ERROR,
            error=StreamError("BadRequestError", "400", "boom"),
        ),
        row(
            "named error", ("error", {"message": "boom", "code": "x"}), Kind.ERROR, error=StreamError(None, "x", "boom")
        ),
        row("named error without JSON", ("error", "boom"), Kind.ERROR, error=StreamError(None, None, "boom")),
        row("named ping", ("ping", {"type": "ping"}), Kind.KEEPALIVE),
        row("typed ping", {"type": "ping"}, Kind.KEEPALIVE),
        row("named ping without JSON", ("ping", "12:00"), Kind.KEEPALIVE),
        row("empty data", "", Kind.KEEPALIVE),
    ],
)
def test_each_chunk_of_chat_completions_has_its_meaning(row: Row) -> None:
    """Each event means what the providers document."""
    events, _ = decode("openai-chat", *row.before, row.data)
    row.check(events[-1])


def test_whole_answer_is_finished_and_terminal() -> None:
    """``finish_reason`` finishes an answer, the usage after it is delivered, and ``[DONE]`` ends it."""
    decoder = Decoder("openai-chat")
    decoder.feed(sse(ROLE, chunk({"content": "hi"})))
    assert (decoder.finished, decoder.accepts_eof, decoder.terminal) == (False, False, False)
    decoder.feed(sse(chunk(None, "stop")))
    assert (decoder.finished, decoder.accepts_eof, decoder.terminal) == (True, True, False)
    assert [event.kind for event in decoder.feed(sse({"choices": [], "usage": USAGE}))] == [Kind.USAGE]
    assert [event.kind for event in decoder.feed(sse("[DONE]", chunk({"content": "late"})))] == [Kind.TERMINAL]
    assert (decoder.terminal, decoder.verdict_at_end()) == (True, None)


def test_content_of_another_choice_takes_the_finish_back() -> None:
    """A choice that turns up after the others finished means that the answer is not finished.

    The answer has several choices.
    """
    decoder = Decoder("openai-chat")
    events = decoder.feed(sse(chunk({"content": "a"}), chunk(None, "stop")))
    assert (events[-1].finish, decoder.finished) == (True, True)
    events = decoder.feed(sse(chunk({"content": "more"}, index=1)))
    assert (events[-1].finish, decoder.finished) == (False, False)
    events = decoder.feed(sse(chunk(None, "stop", 1)))
    assert (events[-1].finish, decoder.finished) == (True, True)


def test_two_choices_in_one_chunk() -> None:
    """A chunk may carry several choices; their text comes in order, and their calls are kept apart."""
    both = {
        "choices": [chunk({"content": "a"})["choices"][0], chunk(call("{}", id="c", name="f"), index=1)["choices"][0]]
    }
    (event,), _ = decode("openai-chat", both)
    assert (event.kind, event.text, event.tool) == (Kind.TEXT, "a", ToolDelta("1.0", "c", "f", "{}"))
