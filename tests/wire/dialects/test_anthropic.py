"""The Messages dialect."""

from __future__ import annotations

from typing import Any

from llmwatch.wire import Kind, StreamError, ToolDelta
from tests.rows import each
from tests.wire.dialects.rows import Row, row
from tests.wire.streams import decode


def event(kind: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    """An event as the API sends it: named, and typed inside."""
    return kind, {"type": kind, **fields}


def start(kind: str, index: int = 0, **fields: Any) -> tuple[str, dict[str, Any]]:
    """The start of a content block."""
    return event("content_block_start", index=index, content_block={"type": kind, **fields})


def delta(kind: str, index: int = 0, **fields: Any) -> tuple[str, dict[str, Any]]:
    """A delta of a content block."""
    return event("content_block_delta", index=index, delta={"type": kind, **fields})


STOP = event("content_block_stop", index=0)
TOOL = start("tool_use", id="t1", name="f", input={})


def ended(reason: str) -> tuple[str, dict[str, Any]]:
    """Why the message ends."""
    return event("message_delta", delta={"stop_reason": reason}, usage={})


ASKED = ended("tool_use")
TOOL_DELTA = (ToolDelta("0", "t1", "f"),)


@each(
    "row",
    [
        row("message start", event("message_start", message={"content": []}), Kind.LIFECYCLE),
        row("ping", event("ping"), Kind.KEEPALIVE),
        row("ping by name alone", ("ping", {}), Kind.KEEPALIVE),
        row("text start", start("text", text=""), Kind.LIFECYCLE),
        row("text start with text", start("text", text="hi"), Kind.TEXT, text="hi"),
        row("text", delta("text_delta", text="hi"), Kind.TEXT, text="hi"),
        row("text by type alone", delta("text_delta", text="hi")[1], Kind.TEXT, text="hi"),
        row("empty text", delta("text_delta", text=""), Kind.KEEPALIVE),
        row("citation", delta("citations_delta", citation={}), Kind.TEXT),
        row("text stop", STOP, Kind.LIFECYCLE, before=(start("text", text=""),)),
        row("thinking start", start("thinking", thinking="", signature=""), Kind.LIFECYCLE),
        row("thinking start with thinking", start("thinking", thinking="hm"), Kind.REASONING, reasoning="hm"),
        row("thinking", delta("thinking_delta", thinking="hm"), Kind.REASONING, reasoning="hm"),
        row("empty thinking", delta("thinking_delta", thinking=""), Kind.KEEPALIVE),
        row("signature", delta("signature_delta", signature="xyz"), Kind.REASONING),
        row("compaction", delta("compaction_delta", content="xyz"), Kind.REASONING),
        row("redacted thinking", start("redacted_thinking", data="xyz"), Kind.REASONING),
        row("tool start", TOOL, Kind.TOOL_INPUT, tools=TOOL_DELTA),
        row(
            "tool input",
            delta("input_json_delta", partial_json='{"a"'),
            Kind.TOOL_INPUT,
            before=(TOOL,),
            tools=(ToolDelta("0", arguments='{"a"'),),
        ),
        row("empty tool input", delta("input_json_delta", partial_json=""), Kind.KEEPALIVE, before=(TOOL,)),
        row(
            "tool complete",
            STOP,
            Kind.TOOL_CALL,
            tools=(ToolDelta("0", complete=True),),
            before=(
                TOOL,
                delta("input_json_delta", partial_json='{"a":'),
                delta("input_json_delta", partial_json="1}"),
            ),
        ),
        row("tool without input", STOP, Kind.LIFECYCLE, before=(TOOL, delta("input_json_delta", partial_json=""))),
        row("tool cut", STOP, Kind.LIFECYCLE, before=(TOOL, delta("input_json_delta", partial_json='{"a":'))),
        row(
            "tool in one piece",
            start("tool_use", id="t1", name="f", input={"a": 1}),
            Kind.TOOL_INPUT,
            tools=(ToolDelta("0", "t1", "f", '{"a": 1}'),),
        ),
        row(
            "tool in one piece complete",
            STOP,
            Kind.TOOL_CALL,
            tools=(ToolDelta("0", complete=True),),
            before=(start("tool_use", id="t1", name="f", input={"a": 1}),),
        ),
        row(
            "input of a call that was not begun",
            delta("input_json_delta", partial_json="{}"),
            Kind.TOOL_INPUT,
            tools=(ToolDelta("0", arguments="{}"),),
        ),
        row(
            "reason after a call without arguments",
            ASKED,
            Kind.TOOL_CALL,
            finish=True,
            tools=(ToolDelta("0", arguments="{}", complete=True, whole=True),),
            before=(TOOL, delta("input_json_delta", partial_json=""), STOP),
        ),
        row(
            "end of a call without arguments after the reason",
            STOP,
            Kind.TOOL_CALL,
            finish=True,
            tools=(ToolDelta("0", arguments="{}", complete=True, whole=True),),
            before=(start("tool_use", id="t1", name="f"), ASKED),
        ),
        row("length after such a call", ended("max_tokens"), Kind.USAGE, finish=True, cut=True, before=(TOOL, STOP)),
        row("end with a call without arguments", event("message_stop"), Kind.TERMINAL, before=(TOOL, STOP, ASKED)),
        row("end with such a call still open", event("message_stop"), Kind.TERMINAL, before=(TOOL, ASKED)),
        row(
            "end for its length with such a call",
            event("message_stop"),
            Kind.TERMINAL,
            before=(TOOL, STOP, ended("max_tokens")),
        ),
        row("end without a reason with such a call", event("message_stop"), Kind.TERMINAL, before=(TOOL, STOP)),
        row(
            "end with a call that says nothing of its input",
            event("message_stop"),
            Kind.TERMINAL,
            before=(start("tool_use", id="t1", name="f"), STOP, ASKED),
        ),
        row(
            "end with a call that went on after its stop",
            event("message_stop"),
            Kind.TERMINAL,
            before=(TOOL, STOP, delta("input_json_delta", partial_json='{"a"'), ASKED),
        ),
        row("server tool start", start("server_tool_use", id="s1", name="web_search", input={}), Kind.TOOL_INPUT),
        row(
            "server tool input",
            delta("input_json_delta", partial_json='{"query"'),
            Kind.TOOL_INPUT,
            before=(start("server_tool_use", id="s1", name="web_search"),),
        ),
        row(
            "server tool stop",
            STOP,
            Kind.LIFECYCLE,
            before=(start("server_tool_use", id="s1"), delta("input_json_delta", partial_json="{}")),
        ),
        row("MCP tool start", start("mcp_tool_use", id="m1", name="f", server_name="s"), Kind.TOOL_INPUT),
        row("MCP tool stop", STOP, Kind.TOOL_CALL, before=(start("mcp_tool_use", id="m1"),)),
        row("search result", start("web_search_tool_result", content=[]), Kind.LIFECYCLE),
        row("unknown block", start("hologram"), Kind.LIFECYCLE),
        row("unknown delta", delta("hologram_delta", data="x"), Kind.TEXT),
        row("unknown thoughts", delta("daydream_thinking_delta", data="x"), Kind.REASONING),
        row("unknown delta with nothing in it", delta("hologram_delta", data="", level=3, on=True), Kind.LIFECYCLE),
        row("stop of an unknown block", event("content_block_stop", index=9), Kind.LIFECYCLE),
        row(
            "message delta",
            event("message_delta", delta={"stop_reason": "end_turn"}, usage={}),
            Kind.USAGE,
            finish=True,
        ),
        row("length", ended("max_tokens"), Kind.USAGE, finish=True, cut=True),
        row("a reason with a block open", ended("end_turn"), Kind.USAGE, before=(start("text", text=""),)),
        row(
            "the block's end after it",
            STOP,
            Kind.LIFECYCLE,
            before=(start("text", text=""), ended("end_turn")),
            finish=True,
        ),
        row("type of another shape", delta(["text_delta"], text="x"), Kind.TEXT),  # type: ignore[arg-type]
        row("message stop", event("message_stop"), Kind.TERMINAL),
        row(
            "error",
            event("error", error={"type": "overloaded_error", "message": "Overloaded"}),
            Kind.ERROR,
            error=StreamError("overloaded_error", None, "Overloaded"),
        ),
        row("error without a type", {"error": {"message": "boom"}}, Kind.ERROR, error=StreamError(None, None, "boom")),
        row("unknown event", event("brand_new"), Kind.LIFECYCLE),
        row("end marker of a proxy", "[DONE]", Kind.TERMINAL),
        row("end marker with blanks", " [DONE]  ", Kind.TERMINAL),
    ],
)
def test_each_event_of_messages_has_its_meaning(row: Row) -> None:
    """Each event means what the documentation says."""
    events, _ = decode("anthropic", *row.before, row.data)
    row.check(events[-1])


def test_blocks_are_kept_apart_by_index() -> None:
    """Two tool blocks that are open at once each end with their own input."""
    events, _ = decode(
        "anthropic",
        start("tool_use", 0, id="a", name="f", input={}),
        start("tool_use", 1, id="b", name="g", input={}),
        delta("input_json_delta", 0, partial_json="{}"),
        delta("input_json_delta", 1, partial_json="{"),
        event("content_block_stop", index=0),
        event("content_block_stop", index=1),
    )
    assert [one.kind for one in events[-2:]] == [Kind.TOOL_CALL, Kind.LIFECYCLE]
