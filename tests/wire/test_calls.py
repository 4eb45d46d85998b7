"""Calls in every wrapping: one each, whole; what was cut is none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmwatch.wire import Collector, Decoder
from tests.rows import each
from tests.wire.dialects import test_gemini as gemini
from tests.wire.dialects.test_anthropic import ASKED, STOP, TOOL, delta, ended, start
from tests.wire.dialects.test_anthropic import event as typed
from tests.wire.dialects.test_openai_chat import chunk
from tests.wire.dialects.test_openai_responses import event as response
from tests.wire.streams import lines, sse

CALLED = chunk(None, "tool_calls")
PIECE = delta("input_json_delta", partial_json='{"x":1}')


def fragment(arguments: str = "", **more: Any) -> dict[str, Any]:
    """One chunk with one piece of a call: ``index``, ``id`` and ``name`` as they are given."""
    function = {"arguments": arguments, **({"name": more.pop("name")} if "name" in more else {})}
    return chunk({"tool_calls": [{**more, "function": function}]})


def item(**more: Any) -> dict[str, Any]:
    return {"type": "function_call", "id": "f", "call_id": "c", "name": "w", "arguments": "", **more}


def collected(dialect: str, items: tuple[Any, ...], *, ends: bool = True) -> Collector:
    decoder, collector = Decoder(dialect), Collector()
    body = lines(*items) if dialect == "ndjson" else sse(*items)
    for event in (*decoder.feed(body), *decoder.end()):
        collector.add(event)
    if ends and decoder.verdict_at_end() is None:
        collector.end()
    return collector


def called(collector: Collector) -> list[tuple[str, dict[str, Any]]]:
    return [(call.name, call.json()) for call in collector.tool_calls]


def marked(arguments: str = "", reason: str = "tool_calls", **more: Any) -> dict[str, Any]:
    """The same with a finish mark."""
    found = fragment(arguments, **more)
    found["choices"][0]["finish_reason"] = reason
    return found


def asked(name: str, arguments: str, reason: str = "null") -> dict[str, Any]:
    """One event of DashScope's: all of a call so far."""
    call = {"index": 0, "id": "c", "function": {"name": name, "arguments": arguments}}
    return {"output": {"choices": [{"message": {"tool_calls": [call]}, "finish_reason": reason}]}, "request_id": "q"}


def planned(kind: str, *, index: int = 0, **call: Any) -> dict[str, Any]:
    """One event of Cohere's about a call."""
    return {"type": f"tool-call-{kind}", "index": index, "delta": {"message": {"tool_calls": call}}}


def spoken(*calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """A line of Ollama's with whole calls; one without arguments has none."""
    return {
        "message": {"tool_calls": [{"function": {"name": name, "arguments": given or ""}} for name, given in calls]}
    }


def wanted(call: tuple[str, dict[str, Any]], *, is_end: bool = False) -> dict[str, Any]:
    """An event of Baidu's with a whole call."""
    return {"result": "", "is_end": is_end, "function_call": {"name": call[0], "arguments": json.dumps(call[1])}}


PLANNED = {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL"}}
W = ("w", {"x": 1})
V = ("v", {"y": 2})
LOOK = ("look_up", {"x": 1})
BARE = ("w", {})
Y = delta("input_json_delta", partial_json='{"y":2}')


@each(
    ("dialect", "items", "right"),
    [
        # With a mark in every chunk, and behind an early one.
        ("openai-chat", (marked('{"x"', index=0, id="c", name="w"), marked(":1}", index=0), "[DONE]"), [W]),
        ("openai-chat", (marked('{"x"', index=0, id="c", name="w"), fragment(":1}", index=0), "[DONE]"), [W]),
        ("openai-chat", (CALLED, fragment('{"x":1}', index=0, id="c", name="w"), "[DONE]"), [W]),
        (
            "openai-chat",
            (CALLED, fragment('{"x":', index=0, id="c", name="w"), fragment("1}", index=0), CALLED),
            [W],
        ),
        ("openai-chat", (marked(index=0, id="c", name="w"), marked('{"x":1}', index=0), "[DONE]"), [W]),
        (
            "openai-chat",
            (marked(index=0, id="c", name="w"), marked('{"x"', index=0), fragment(":1}", index=0), "[DONE]"),
            [W],
        ),
        ("openai-chat", (marked(index=0, id="c", name="w"), "[DONE]"), [BARE]),
        ("openai-chat", (marked(index=0, id="c", name="w"),), [BARE]),
        ("openai-chat", (marked(index=0, id="c", name="w"), CALLED, "[DONE]"), [BARE]),
        # Whose name comes in pieces, or again, or with more of it each time.
        (
            "openai-chat",
            (
                fragment(index=0, id="c", name="look_"),
                fragment(index=0, name="up"),
                fragment('{"x":1}', index=0),
                CALLED,
            ),
            [LOOK],
        ),
        (
            "openai-chat",
            (fragment(index=0, id="c", name="look_"), fragment('{"x":1}', index=0, name="up"), CALLED),
            [LOOK],
        ),
        (
            "openai-chat",
            (fragment(index=0, id="c", name="look_"), fragment('{"x":1}', index=0, id="c", name="look_up"), CALLED),
            [LOOK],
        ),
        (
            "openai-chat",
            (fragment(id="c", name="look_"), fragment(id="c", name="up"), fragment('{"x":1}', id="c"), CALLED),
            [LOOK],
        ),
        (
            "openai-chat",
            (fragment(index=0, name="look_"), fragment(index=0, name="up"), marked('{"x":1}', index=0, id="c")),
            [LOOK],
        ),
        (
            "openai-chat",
            (
                fragment(index=0, id="c", name="do"),
                fragment(index=0, name="do"),
                fragment('{"x":1}', index=0, name="_it"),
                CALLED,
            ),
            [("dodo_it", {"x": 1})],
        ),
        (
            "openai-chat",
            (
                chunk({"function_call": {"name": "look_"}}),
                chunk({"function_call": {"name": "up", "arguments": '{"x":1}'}}),
                chunk(None, "function_call"),
            ),
            [LOOK],
        ),
        ("openai-chat", (fragment('{"x":', index=0, id="c", name="w"), fragment("1}", index=0, name="w"), CALLED), [W]),
        (
            "dashscope",
            (asked("look_", ""), asked("look_up", '{"x"'), asked("look_up", '{"x":1}', "tool_calls")),
            [LOOK],
        ),
        (
            "anthropic",
            (start("tool_use", id="c", name="look_"), start("tool_use", id="c", name="look_up"), PIECE, STOP, ASKED),
            [LOOK],
        ),
        (
            "cohere",
            (
                planned("start", id="c", function={"name": "look_", "arguments": ""}),
                planned("delta", function={"name": "up", "arguments": '{"x":1}'}),
                planned("end"),
                PLANNED,
            ),
            [LOOK],
        ),
        # Whose arguments come again with each fragment.
        (
            "openai-chat",
            (
                fragment("{", index=0, id="c", name="w"),
                fragment('{"x":', index=0),
                fragment('{"x":1}', index=0),
                CALLED,
            ),
            [W],
        ),
        (
            "openai-chat",
            (
                fragment('{"x"', index=0, id="c", name="w"),
                fragment('{"x":1}', index=0, id="c", name="w"),
                fragment('{"x":1}', index=0, id="c", name="w"),
                CALLED,
            ),
            [W],
        ),
        (
            "anthropic",
            (
                start("tool_use", id="c", name="w"),
                delta("input_json_delta", partial_json='{"x"'),
                PIECE,
                STOP,
                ASKED,
            ),
            [W],
        ),
        (
            "cohere",
            (
                planned("start", id="c", function={"name": "w", "arguments": '{"x"'}),
                planned("delta", function={"arguments": '{"x":1}'}),
                planned("end"),
                PLANNED,
            ),
            [W],
        ),
        # That has an object in it which looks so.
        (
            "openai-chat",
            (
                fragment('{"x":', index=0, id="c", name="w"),
                fragment('{"x":1}', index=0),
                fragment("}", index=0),
                CALLED,
            ),
            [("w", {"x": {"x": 1}})],
        ),
        # Of a server that gives all of them the same number, or the same id.
        (
            "openai-chat",
            (
                fragment('{"x":1}', index=0, id="c", name="w"),
                fragment('{"y":2}', index=0, id="c", name="v"),
                fragment('{"x":1}', index=0, id="c", name="look_up"),
                CALLED,
            ),
            [W, V, LOOK],
        ),
        (
            "openai-chat",
            (marked('{"x":1}', index=0, id="a", name="w"), marked('{"y":2}', index=0, id="b", name="v"), "[DONE]"),
            [W, V],
        ),
        (
            "anthropic",
            (
                start("tool_use", id="a", name="w"),
                PIECE,
                STOP,
                start("tool_use", id="b", name="v"),
                Y,
                STOP,
                ASKED,
            ),
            [W, V],
        ),
        (
            "anthropic",
            (start("tool_use", id="a", name="w"), STOP, start("tool_use", id="b", name="v"), STOP, ASKED),
            [BARE, ("v", {})],
        ),
        (
            "anthropic",
            (start("tool_use", id="a", name="w"), PIECE, start("tool_use", id="b", name="v"), Y, ASKED),
            [W, V],
        ),
        (
            "cohere",
            (
                planned("start", id="a", function={"name": "w", "arguments": '{"x":1}'}),
                planned("end"),
                planned("start", id="b", function={"name": "v", "arguments": ""}),
                planned("end"),
                PLANNED,
            ),
            [W, ("v", {})],
        ),
        (
            "openai-responses",
            (
                response("output_item.done", output_index=0, item=item(arguments='{"x":1}')),
                response(
                    "output_item.done", output_index=0, item=item(id="g", call_id="d", name="v", arguments='{"y":2}')
                ),
                response("completed"),
            ),
            [W, V],
        ),
        (
            "openai-responses",
            (
                response("output_item.added", output_index=0, item=item()),
                response("function_call_arguments.done", output_index=0, arguments='{"x":1}'),
                response("output_item.done", output_index=0, item=item(arguments='{"x":1}')),
                response("output_item.added", output_index=0, item=item(id="g", call_id="d", name="v")),
                response("function_call_arguments.done", output_index=0, arguments='{"y":2}'),
                response(
                    "completed",
                    response={
                        "output": [item(arguments='{"x":1}'), item(id="g", call_id="d", name="v", arguments='{"y":2}')]
                    },
                ),
            ),
            [W, V],
        ),
        (
            "openai-responses",
            (
                response("output_item.done", output_index=0, item=item(arguments='{"x":1}')),
                response("completed", response={"output": [item(id="g", call_id="d", name="v", arguments='{"y":2}')]}),
            ),
            [W, V],
        ),
        # Whose name stands in one of its events only, and whose ids in the end are others.
        (
            "openai-responses",
            (
                response("output_item.added", output_index=0, item=item(name="")),
                response("function_call_arguments.done", output_index=0, name="w", arguments='{"x":1}'),
                response("completed"),
            ),
            [W],
        ),
        (
            "openai-responses",
            (
                response("output_item.added", output_index=0, item=item()),
                response("output_item.done", output_index=0, item=item(name="", arguments='{"x":1}')),
                response("completed"),
            ),
            [W],
        ),
        (
            "openai-responses",
            (
                response("output_item.added", output_index=0, item=item()),
                response("completed", response={"output": [item(id="g", call_id="d", arguments='{"x":1}')]}),
            ),
            [W],
        ),
        # With a new id for each fragment, and with an empty object in place of its arguments at first.
        (
            "openai-chat",
            (
                fragment('{"x"', index=0, id="a", name="w"),
                fragment(":", index=0, id="b", name="w"),
                fragment("1}", index=0, id="c", name="w"),
                CALLED,
            ),
            [W],
        ),
        (
            "openai-chat",
            (
                fragment("{}", index=0, id="c", name="w"),
                fragment('{"x":', index=0),
                fragment("1}", index=0),
                CALLED,
            ),
            [W],
        ),
        ("openai-chat", (fragment("{}", index=0, id="c", name="w"), CALLED), [BARE]),
        # That the last event says again, with the rest of the answer, or that comes with it.
        ("ndjson", (spoken(W), {**spoken(W), "done": True, "done_reason": "stop"}), [W]),
        ("ndjson", (spoken(W), spoken(V), {**spoken(W, V), "done": True, "done_reason": "stop"}), [W, V]),
        ("ndjson", (spoken(W), {**spoken(V), "done": True, "done_reason": "stop"}), [W, V]),
        ("ndjson", (spoken(W), spoken(W), {"done": True, "done_reason": "stop"}), [W, W]),
        ("ndjson", (spoken(BARE), {**spoken(BARE), "done": True, "done_reason": "stop"}), [BARE]),
        ("baidu", (wanted(W), wanted(W, is_end=True)), [W]),
        ("baidu", (wanted(W), wanted(V, is_end=True)), [W, V]),
        ("baidu", (wanted(W), {"result": "", "is_end": True}), [W]),
        # Whose block nothing ended.
        ("anthropic", (TOOL, PIECE, ASKED, typed("message_stop")), [("f", {"x": 1})]),
        ("anthropic", (TOOL, PIECE, ASKED), [("f", {"x": 1})]),
        # Without arguments.
        ("openai-chat", (fragment(index=0, id="c", name="w"), CALLED, "[DONE]"), [BARE]),
        ("openai-chat", (fragment(index=0, id="c", name="w"), chunk(None, "stop")), [BARE]),
        ("openai-chat", (fragment(" ", index=0, id="c", name="w"), chunk(None, "end_turn"), "[DONE]"), [BARE]),
        (
            "openai-chat",
            (fragment(index=0, id="a", name="w"), fragment('{"x":1}', index=1, id="b", name="w"), CALLED),
            [BARE, W],
        ),
        (
            "openai-chat",
            (chunk({"function_call": {"name": "w", "arguments": ""}}), chunk(None, "function_call")),
            [BARE],
        ),
        ("anthropic", (start("tool_use", id="c", name="w"), STOP, ended("end_turn"), typed("message_stop")), [BARE]),
        ("anthropic", (start("tool_use", id="c", name="w", input={}), STOP, ASKED), [BARE]),
        (
            "openai-responses",
            (response("output_item.done", item=item(status="completed")), response("completed")),
            [BARE],
        ),
        ("openai-responses", (response("output_item.done", item=item()), response("completed")), [BARE]),
        (
            "openai-responses",
            (response("completed", response={"status": "completed", "output": [item(status="completed")]}),),
            [BARE],
        ),
        ("gemini", (gemini.chunk({"functionCall": {"name": "w"}}), gemini.chunk(reason="STOP")), [BARE]),
        ("gemini", (gemini.BEGUN, gemini.END, gemini.chunk(reason="STOP")), [("f", {})]),
        (
            "ndjson",
            (
                {"message": {"tool_calls": [{"function": {"name": "w", "arguments": ""}}]}},
                {"done": True, "done_reason": "stop"},
            ),
            [BARE],
        ),
        # The order, the numbers and the ids of the pieces.
        (
            "openai-chat",
            (fragment(index=0, id="c", name="w"), fragment('{"x"', index=1), fragment(":1}", index=2), CALLED),
            [W],
        ),
        (
            "openai-chat",
            (fragment(id="c", name="w"), fragment('{"x"'), fragment(":1}"), CALLED),
            [W],
        ),
        (
            "openai-chat",
            (fragment(index=0, name="w"), fragment(index=0, id="c"), fragment('{"x":1}', index=0), CALLED),
            [W],
        ),
        ("openai-chat", (fragment(name="w"), fragment(id="c"), fragment('{"x":1}'), CALLED), [W]),
        ("openai-chat", (fragment(id="c"), fragment(name="w"), fragment('{"x":1}'), CALLED), [W]),
        ("openai-chat", (fragment('{"x"', id="c", name="w"), fragment(":1}", id="c"), CALLED), [W]),
        (
            "openai-chat",
            (fragment('{"x"', index=0, id="c", name="w"), fragment(":1}", index=1, id="c"), CALLED),
            [W],
        ),
        (
            "openai-chat",
            (fragment('{"x":1}', id="a", name="w"), fragment('{"x":1}', id="b", name="w"), CALLED),
            [W, W],
        ),
        ("openai-chat", (fragment('{"x":1}', name="w"), fragment('{"y":2}', name="v"), CALLED), [W, ("v", {"y": 2})]),
        ("openai-chat", (fragment('{"x":1}', name="w"), fragment('{"x":1}', name="w"), CALLED), [W, W]),
        (
            "openai-chat",
            (fragment('{"x":1}', index=0, name="w"), fragment('{"y":2}', index=0, name="v"), CALLED),
            [W, ("v", {"y": 2})],
        ),
        (
            "openai-chat",
            (fragment('{"x":1}', index=0, id="a", name="w"), fragment('{"x":1}', index=0, id="b", name="w"), CALLED),
            [W, W],
        ),
        (
            "openai-chat",
            (
                fragment('{"x"', index=0, id="a", name="w"),
                fragment('{"y"', index=1, id="b", name="v"),
                fragment(":1}", index=0),
                fragment(":2}", index=1),
                CALLED,
            ),
            [W, ("v", {"y": 2})],
        ),
        # Closed by other words than output_item.done.
        (
            "openai-responses",
            (
                response("output_item.added", output_index=0, item=item()),
                response("function_call_arguments.done", output_index=0, item_id="f", arguments='{"x":1}'),
                response("completed", response={"status": "completed", "output": []}),
            ),
            [W],
        ),
        (
            "openai-responses",
            (
                response("output_item.added", output_index=0, item=item()),
                response("function_call_arguments.done", output_index=0, item_id="f", arguments='{"x":1}'),
                "[DONE]",
            ),
            [W],
        ),
        (
            "openai-responses",
            (
                response("function_call_arguments.done", output_index=0, item_id="f", name="w", arguments='{"x":1}'),
                response("completed"),
            ),
            [W],
        ),
        (
            "openai-responses",
            (
                response("output_item.added", output_index=0, item=item()),
                response("function_call_arguments.done", output_index=0, item_id="f", arguments='{"x":1}'),
                response("output_item.done", output_index=0, item=item(arguments='{"x":1}', status="completed")),
                response("completed", response={"status": "completed", "output": [item(arguments='{"x":1}')]}),
            ),
            [W],
        ),
        (
            "openai-responses",
            (
                response("output_item.added", output_index=1, item=item()),
                response("completed", response={"output": [item(arguments='{"x":1}', status="completed")]}),
            ),
            [W],
        ),
    ],
)
def test_a_whole_call_comes_out_once(dialect: str, items: tuple[Any, ...], right: list[Any]) -> None:
    """Each call in any wrapping is delivered once, whole, and with one piece that completes it."""
    collector = collected(dialect, items)
    assert called(collector) == right
    assert (collector.discarded_calls, collector.verdict_at_end()) == (0, None)
    complete = [piece.key for event in collector.events for piece in event.tools if piece.complete]
    assert len(complete) == len(set(complete)) == len(right)


@each(
    ("dialect", "items"),
    [
        ("openai-chat", (fragment(index=0, id="c", name="w"),)),
        ("openai-chat", (fragment(index=0, id="c", name="w"), "[DONE]")),
        ("openai-chat", (fragment(index=0, id="c", name="w"), chunk(None, "length"), "[DONE]")),
        ("openai-chat", (fragment(index=0, id="c", name="w"), chunk(None, "error"))),
        ("openai-chat", (fragment('{"x"', index=0, id="c", name="w"), CALLED, "[DONE]")),
        ("openai-chat", (marked('{"x"', index=0, id="c", name="w"), fragment(":1", index=0), "[DONE]")),
        ("openai-chat", (marked('{"x"', "length", index=0, id="c", name="w"), fragment(":1}", index=0), "[DONE]")),
        ("openai-chat", (CALLED, fragment('{"x"', index=0, id="c", name="w"), "[DONE]")),
        ("openai-chat", (CALLED, fragment(index=0, id="c", name="w"), "[DONE]")),
        ("openai-chat", (fragment(index=0, id="c", name="w"), fragment('{"x"', index=1), CALLED)),
        ("openai-chat", (fragment(name="w"), fragment(id="c"), fragment('{"x":'), CALLED)),
        ("openai-chat", (marked(index=0, id="c", name="w"), fragment('{"x"', index=0), "[DONE]")),
        ("openai-chat", (marked("", "length", index=0, id="c", name="w"), "[DONE]")),
        ("openai-chat", (marked("", "length", index=0, id="c", name="w"),)),
        # Half of one and then another one, and half of what an empty object stood in for.
        ("openai-chat", (fragment("{}", index=0, id="c", name="w"), fragment('{"x":', index=0), CALLED)),
        (
            "openai-chat",
            (
                fragment('{"x":', index=0, id="a", name="w"),
                fragment('{"x":1}', index=0, id="b", name="w"),
                chunk(None, "tool_calls"),
            ),
        ),
        # Without a name, or another one than the call that began there.
        (
            "openai-responses",
            (response("output_item.done", item=item(name="", arguments='{"x":1}')), response("completed")),
        ),
        # Under one name when the arguments began, and under another one later.
        (
            "openai-chat",
            (fragment('{"x":', index=0, id="c", name="look_"), fragment("1}", index=0, id="c", name="look_up"), CALLED),
        ),
        (
            "openai-chat",
            (fragment('{"x":', index=0, id="c", name="look_"), fragment("1}", index=0, id="c", name="up"), CALLED),
        ),
        (
            "cohere",
            (
                planned("start", id="c", function={"name": "look_", "arguments": '{"x"'}),
                planned("delta", function={"name": "up", "arguments": ":1}"}),
                planned("end"),
                PLANNED,
            ),
        ),
        # All of the arguments again with each fragment, but for the last; and half of an object in another one.
        (
            "openai-chat",
            (
                fragment("{", index=0, id="c", name="w"),
                fragment('{"x"', index=0),
                fragment('{"x":{"y":1}', index=0),
                CALLED,
            ),
        ),
        ("openai-chat", (fragment('{"x":', index=0, id="c", name="w"), fragment('{"x":1}', index=0), CALLED)),
        (
            "openai-chat",
            (fragment('{"x"', index=0, id="c", name="w"), fragment('{"x":1}', index=0), chunk(None, "length")),
        ),
        ("openai-chat", (fragment('{"x"', index=0, id="c", name="w"), fragment('{"x":1}', index=0), "[DONE]")),
        ("anthropic", (TOOL, PIECE, ended("max_tokens"), typed("message_stop"))),
        ("anthropic", (TOOL, PIECE, typed("message_stop"))),
        ("anthropic", (TOOL, delta("input_json_delta", partial_json='{"x"'), ASKED, typed("message_stop"))),
        ("anthropic", (start("tool_use", id="c", name="w"), STOP)),
        ("anthropic", (start("tool_use", id="c", name="w"), ASKED, typed("message_stop"))),
        ("anthropic", (start("tool_use", id="c", name="w"), STOP, ended("max_tokens"), typed("message_stop"))),
        ("anthropic", (TOOL, delta("input_json_delta", partial_json='{"x"'), STOP, ASKED, typed("message_stop"))),
        ("openai-responses", (response("output_item.added", item=item()), response("completed"))),
        (
            "openai-responses",
            (response("output_item.done", item=item()), response("incomplete", response={"status": "incomplete"})),
        ),
        ("openai-responses", (response("output_item.done", item=item(status="incomplete")), response("completed"))),
        (
            "openai-responses",
            (
                response("output_item.added", output_index=0, item=item()),
                response("function_call_arguments.done", output_index=0, arguments='{"x"'),
                response("completed"),
            ),
        ),
        ("gemini", (gemini.BEGUN, gemini.chunk(reason="STOP"))),
        ("gemini", (gemini.BEGUN,)),
        (
            "ndjson",
            (
                {"message": {"tool_calls": [{"function": {"name": "w", "arguments": ""}}]}},
                {"done": True, "done_reason": "length"},
            ),
        ),
        ("ndjson", ({"message": {"tool_calls": [{"function": {"name": "w", "arguments": ""}}]}}, {"done": True})),
        (
            "ndjson",
            (
                {"message": {"tool_calls": [{"function": {"name": "w", "arguments": '{"x"'}}]}},
                {"done": True, "done_reason": "stop"},
            ),
        ),
    ],
)
def test_a_cut_call_never_comes_out(dialect: str, items: tuple[Any, ...]) -> None:
    """A cut call is counted, and not returned.

    It is cut in or before its arguments, for its length, or closed by an end mark alone.
    """
    collector = collected(dialect, items)
    assert called(collector) == []
    assert collector.discarded_calls == 1
    assert not any(piece.complete for event in collector.events for piece in event.tools)


CUT = ("sensitive", "cancelled", "CANCELED", "aborted", "time_limit", "token_limit", "SPII")


@pytest.mark.parametrize("reason", CUT)
def test_an_answer_that_a_filter_or_a_limit_ended_is_cut(reason: str) -> None:
    """Its text says so.

    A call of which nothing but the name came is not taken for one without arguments.
    """
    collector = collected("openai-chat", (chunk({"content": "a"}), chunk(None, reason), "[DONE]"))
    assert (collector.text, collector.cut) == ("a", True)
    collector = collected("openai-chat", (fragment(index=0, id="c", name="w"), chunk(None, reason), "[DONE]"))
    assert (called(collector), collector.discarded_calls, collector.verdict_at_end()) == ([], 1, None)


def test_an_unknown_finish_reason_cuts_nothing() -> None:
    """An unknown word is a finish mark too."""
    collector = collected("openai-chat", (fragment(index=0, id="c", name="w"), chunk(None, "fini"), "[DONE]"))
    assert (called(collector), collector.cut) == ([BARE], False)


def test_arguments_under_a_new_number_before_its_name_are_malformed() -> None:
    """The arguments might belong to another call, so the event is malformed."""
    decoder = Decoder("openai-chat")
    decoder.feed(sse(fragment(index=0, id="a", name="w"), fragment('{"y":2}', index=1), fragment(index=1, name="v")))
    assert decoder.error is not None
    assert "tool call" in str(decoder.error)


@pytest.mark.parametrize("ids", [{}, {"id": ""}, {"id": None}])
def test_two_calls_of_dashscope_that_are_numbered_alike(ids: dict[str, Any]) -> None:
    """Their order in the list tells them apart, in each event that says everything so far."""
    events = []
    for given, reason in (
        (('{"x":1}', "{"), "null"),
        (('{"x":1}', '{"x":2}'), "null"),
        (('{"x":1}', '{"x":2}'), "stop"),
    ):
        calls = [{**ids, "index": 0, "function": {"name": "w", "arguments": arguments}} for arguments in given]
        events += [{"output": {"choices": [{"message": {"tool_calls": calls}, "finish_reason": reason}]}}]
    assert called(collected("dashscope", tuple(events))) == BOTH
    collector = collected("dashscope", (events[0], {"output": {"choices": [{"finish_reason": "stop"}]}}))
    assert (called(collector), collector.discarded_calls) == ([W], 1)


def listing(*calls: dict[str, Any], reason: str | None = None, field: str = "delta") -> dict[str, Any]:
    """One chunk with a list of calls: ``index``, ``id``, name and arguments of each."""
    entries = []
    for entry in calls:
        function = {name: entry[name] for name in ("name", "arguments") if name in entry}
        entries.append({name: entry[name] for name in ("index", "id") if name in entry} | {"function": function})
    return {"choices": [{"index": 0, field: {"tool_calls": entries}, "finish_reason": reason}]}


ONE, TWO = {"name": "w", "arguments": '{"x":1}'}, {"name": "w", "arguments": '{"x":2}'}
BOTH = [W, ("w", {"x": 2})]
# How a server numbers two calls of one function that it gives no ids: all alike, or not at all.
NUMBERINGS: list[dict[str, Any]] = [
    {"index": 0},
    {"index": 0, "id": ""},
    {"index": 0, "id": "null"},
    {"id": "null"},
    {},
]


@pytest.mark.parametrize("numbering", NUMBERINGS)
def test_two_calls_of_one_function_that_are_numbered_alike(numbering: dict[str, Any]) -> None:
    """Two whole objects, each with the name, are two calls, in one list, in two, and in a message."""
    one, two = {**numbering, **ONE}, {**numbering, **TWO}
    for items in (
        (listing(one, two, reason="tool_calls"), "[DONE]"),
        (listing(one, two), CALLED, "[DONE]"),
        (listing(one), listing(two), CALLED, "[DONE]"),
        (listing(one), listing(two, reason="stop"), "[DONE]"),
        (listing(one, reason="tool_calls"), listing(two, reason="tool_calls"), "[DONE]"),
        (listing(one, two, reason="tool_calls", field="message"), "[DONE]"),
        (listing(one, two), listing(one, two, reason="tool_calls", field="message"), "[DONE]"),
        (listing(one), listing(one, two, reason="tool_calls", field="message"), "[DONE]"),
    ):
        collector = collected("openai-chat", items)
        assert called(collector) == BOTH
        assert (collector.discarded_calls, collector.verdict_at_end()) == (0, None)
        assert {call.id for call in collector.tool_calls} == {None}


@pytest.mark.parametrize("numbering", NUMBERINGS)
def test_the_same_call_twice_in_one_list_is_two_calls(numbering: dict[str, Any]) -> None:
    """A list says nothing again, with arguments or with none."""
    for given in (ONE, {"name": "w", "arguments": "{}"}):
        entry = {**numbering, **given}
        for field in ("delta", "message"):
            collector = collected("openai-chat", (listing(entry, entry, field=field), CALLED, "[DONE]"))
            assert [call.arguments for call in collector.tool_calls] == [given["arguments"]] * 2


@pytest.mark.parametrize("reason", ["tool_calls", None])
def test_a_numbered_call_that_is_said_again_is_one(reason: str | None) -> None:
    """The same object in another event is no other call.

    One behind an empty object that stood in for it is none either.
    """
    one = {"index": 0, **ONE}
    for items in (
        (listing(one), listing(one, reason=reason)),
        (listing({**one, "arguments": "{}"}), listing(one, reason=reason)),
    ):
        assert called(collected("openai-chat", (*items, CALLED, "[DONE]"))) == [W]


@pytest.mark.parametrize("numbering", NUMBERINGS[:3])
@pytest.mark.parametrize("half", ['{"x":', '{"x":1'])
def test_half_a_call_beside_a_whole_one_is_none(numbering: dict[str, Any], half: str) -> None:
    """A half object in front of a whole one, or behind it, never comes out, in one list or in two."""
    cut, two = {**numbering, "name": "w", "arguments": half}, {**numbering, **TWO}
    for items in (
        (listing(cut, two),),
        (listing(cut), listing(two)),
        (listing(two, cut),),
        (listing(two), listing(cut)),
    ):
        collector = collected("openai-chat", (*items, CALLED, "[DONE]"))
        assert called(collector) in ([], [("w", {"x": 2})])
        assert collector.discarded_calls > 0
        assert collector.verdict_at_end() is not None
    collector = collected("openai-chat", (listing({**numbering, **ONE}, two), "[DONE]"))
    assert ("w", {"x": 2}) not in called(collector)


@pytest.mark.parametrize("place", [{}, {"output_index": 0}])
@pytest.mark.parametrize("begins", [True, False])
def test_items_without_ids_at_one_place_are_calls_of_their_own(place: dict[str, Any], begins: bool) -> None:
    """The second item does not take the place of the first, and the completed response adds none."""
    calls = [{"type": "function_call", **given} for given in (ONE, TWO)]
    items = []
    for call in calls:
        begun = response("output_item.added", item={**call, "arguments": ""}, **place)
        piece = response("function_call_arguments.delta", delta=call["arguments"], **place)
        items += [begun, piece] if begins else []
        items += [response("output_item.done", item=call, **place)]
    end = response("completed", response={"status": "completed", "output": calls})
    assert called(collected("openai-responses", (*items, end))) == BOTH
    # The same item again is the same call.
    assert called(collected("openai-responses", (*items, items[-1], end))) == BOTH
    # What was begun and not closed is missed.
    cut = response("output_item.added", item={**calls[0], "arguments": ""}, **place)
    collector = collected("openai-responses", (*items, cut, response("completed")))
    assert (called(collector), collector.discarded_calls) == (BOTH, 1)
