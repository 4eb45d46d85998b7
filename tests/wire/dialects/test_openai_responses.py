"""The Responses dialect."""

from __future__ import annotations

from typing import Any

import pytest

from llmwatch.errors import ProviderError
from llmwatch.recovery import Facts, Reason, Sent, could_work, failure_of
from llmwatch.wire import Decoder, Kind, StreamError, ToolDelta
from tests.rows import each
from tests.wire.dialects.rows import Row, row
from tests.wire.streams import decode, sse


def event(kind: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    """An event as the API sends it: named, and typed inside."""
    return f"response.{kind}", {"type": f"response.{kind}", "sequence_number": 1, **fields}


def item(kind: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    """An output item that is done."""
    return event("output_item.done", output_index=2, item={"id": "it_1", "type": kind, "status": "completed", **fields})


def whole(arguments: str, identity: str | None, name: str) -> tuple[ToolDelta, ...]:
    """A call that came in one piece."""
    return (ToolDelta("2", identity, name, arguments, complete=True, whole=True),)


ANSWER: dict[str, Any] = {
    "output": [
        {"type": "reasoning", "summary": []},
        {"type": "message", "content": [{"type": "output_text", "text": "Hi"}, {"type": "output_text", "text": "!"}]},
        {"type": "function_call", "id": "fc", "call_id": "c1", "name": "f", "arguments": '{"a":1}'},
    ]
}
CALL = whole('{"a":1}', "c1", "f")


@each(
    "row",
    [
        *(
            row(name, event(name, response={}), Kind.LIFECYCLE)
            for name in (
                "created",
                "queued",
                "in_progress",
                "output_item.added",
                "content_part.added",
                "content_part.done",
            )
        ),
        *(
            row(name, event(name, item_id="it_1"), Kind.LIFECYCLE)
            for name in (
                "web_search_call.in_progress",
                "web_search_call.searching",
                "web_search_call.completed",
                "file_search_call.searching",
                "code_interpreter_call.interpreting",
                "mcp_list_tools.completed",
                "mcp_call.in_progress",
                "mcp_call.completed",
                "image_generation_call.generating",
                "brand.new",
            )
        ),
        row("text", event("output_text.delta", delta="hi"), Kind.TEXT, text="hi"),
        row("text without a name", event("output_text.delta", delta="hi")[1], Kind.TEXT, text="hi"),
        row("text by name alone", ("response.output_text.delta", {"delta": "hi"}), Kind.TEXT, text="hi"),
        row("empty text", event("output_text.delta", delta=""), Kind.KEEPALIVE),
        row(
            "text restated",
            event("output_text.done", text="hi"),
            Kind.LIFECYCLE,
            before=(event("output_text.delta", delta="hi"),),
        ),
        row("text without deltas", event("output_text.done", text="hi"), Kind.TEXT, text="hi"),
        row("annotation", event("output_text.annotation.added", annotation={}), Kind.TEXT),
        row("refusal", event("refusal.delta", delta="no"), Kind.TEXT, text="no"),
        row(
            "refusal restated",
            event("refusal.done", refusal="no"),
            Kind.LIFECYCLE,
            before=(event("refusal.delta", delta="no"),),
        ),
        row("refusal without deltas", event("refusal.done", refusal="no"), Kind.TEXT, text="no"),
        row("audio", event("audio.delta", delta="UklG"), Kind.TEXT),
        row("audio transcript", event("audio.transcript.delta", delta="hi"), Kind.TEXT, text="hi"),
        row("picture", event("image_generation_call.partial_image", partial_image_b64="UklG"), Kind.TEXT),
        row("reasoning", event("reasoning_text.delta", delta="hm"), Kind.REASONING, reasoning="hm"),
        row("reasoning summary", event("reasoning_summary_text.delta", delta="hm"), Kind.REASONING, reasoning="hm"),
        row("older reasoning", event("reasoning.delta", delta={"text": "hm"}), Kind.REASONING, reasoning="hm"),
        row("reasoning stated whole", event("reasoning_summary_text.done", text="hm"), Kind.REASONING, reasoning="hm"),
        row(
            "reasoning restated",
            event("reasoning_summary_text.done", text="hm"),
            Kind.LIFECYCLE,
            before=(event("reasoning_summary_text.delta", delta="hm"),),
        ),
        row("reasoning done", item("reasoning", encrypted_content="xyz", summary=[]), Kind.REASONING),
        row("message stated whole", item("message", content=[{"text": "hi"}]), Kind.TEXT, text="hi"),
        row(
            "message done",
            item("message", content=[{"text": "hi"}]),
            Kind.LIFECYCLE,
            before=(event("output_text.delta", output_index=2, content_index=0, delta="hi"),),
        ),
        row(
            "function input",
            event("function_call_arguments.delta", output_index=2, delta='{"a"'),
            Kind.TOOL_INPUT,
            tools=(ToolDelta("2", arguments='{"a"'),),
        ),
        row("empty function input", event("function_call_arguments.delta", output_index=2, delta=""), Kind.KEEPALIVE),
        row(
            "function input restated",
            event("function_call_arguments.done", output_index=2, arguments="{}"),
            Kind.LIFECYCLE,
        ),
        row(
            "input without a place",
            event("function_call_arguments.delta", item_id="fc", delta="{"),
            Kind.TOOL_INPUT,
            tools=(ToolDelta("fc", arguments="{"),),
        ),
        row(
            "custom input",
            event("custom_tool_call_input.delta", output_index=2, delta="ls"),
            Kind.TOOL_INPUT,
            tools=(ToolDelta("2", arguments="ls"),),
        ),
        row("MCP input", event("mcp_call_arguments.delta", output_index=2, delta="{"), Kind.TOOL_INPUT),
        row("code input", event("code_interpreter_call_code.delta", output_index=2, delta="1+"), Kind.TOOL_INPUT),
        row(
            "function",
            item("function_call", call_id="c1", name="f", arguments='{"a":1}'),
            Kind.TOOL_CALL,
            tools=whole('{"a":1}', "c1", "f"),
        ),
        row(
            "function without arguments",
            item("function_call", call_id="c1", name="f", arguments=""),
            Kind.TOOL_INPUT,
            tools=(ToolDelta("2", "c1", "f"),),
        ),
        row(
            "function cut",
            item("function_call", call_id="c1", name="f", arguments='{"a"'),
            Kind.TOOL_INPUT,
            tools=(ToolDelta("2", "c1", "f"),),
        ),
        row(
            "function incomplete",
            item("function_call", status="incomplete", name="f", arguments="{}"),
            Kind.TOOL_INPUT,
            tools=(ToolDelta("2", "it_1", "f"),),
        ),
        row(
            "function begun",
            event("output_item.added", item={"type": "function_call", "id": "it_1", "name": "f", "arguments": ""}),
            Kind.TOOL_INPUT,
            tools=(ToolDelta("it_1", "it_1", "f"),),
        ),
        row("MCP begun", event("output_item.added", output_index=2, item={"type": "mcp_call"}), Kind.TOOL_INPUT),
        row(
            "custom tool",
            item("custom_tool_call", call_id="c1", name="sh", input="ls"),
            Kind.TOOL_CALL,
            tools=whole('{"input": "ls"}', "c1", "sh"),
        ),
        row(
            "custom tool without input",
            item("custom_tool_call", call_id="c1", name="sh", input=""),
            Kind.TOOL_INPUT,
            tools=(ToolDelta("2", "c1", "sh"),),
        ),
        row(
            "computer",
            item("computer_call", call_id="c1", action={"type": "click"}),
            Kind.TOOL_CALL,
            tools=whole('{"type": "click"}', "c1", "computer"),
        ),
        row(
            "several actions of a computer",
            item("computer_call", call_id="c1", actions=[{"type": "click"}]),
            Kind.TOOL_CALL,
            tools=whole('{"actions": [{"type": "click"}]}', "c1", "computer"),
        ),
        row(
            "local shell",
            item("local_shell_call", call_id="c1", action={"command": ["ls"]}),
            Kind.TOOL_CALL,
            tools=whole('{"command": ["ls"]}', "c1", "local_shell"),
        ),
        row("MCP call", item("mcp_call", name="f", arguments="{}", output="done"), Kind.TOOL_CALL),
        row("call of a new kind", item("teleport_call"), Kind.TOOL_CALL),
        row(
            "MCP approval",
            item("mcp_approval_request", name="f", arguments="{}"),
            Kind.TOOL_CALL,
            tools=whole("{}", "it_1", "f"),
        ),
        row("web search done", item("web_search_call", action={}), Kind.TOOL_INPUT),
        row("code done", item("code_interpreter_call", code="1"), Kind.TOOL_INPUT),
        row(
            "completed",
            event("completed", response={"status": "completed", "error": None, "usage": {}}),
            Kind.TERMINAL,
            finish=True,
        ),
        row("incomplete", event("incomplete", response={"status": "incomplete"}), Kind.TERMINAL, finish=True, cut=True),
        row(
            "incomplete by its status",
            event("done", response={"status": "incomplete"}),
            Kind.TERMINAL,
            finish=True,
            cut=True,
        ),
        row(
            "completed with all of it",
            event("completed", response=ANSWER),
            Kind.TERMINAL,
            finish=True,
            text="Hi!",
            tools=CALL,
        ),
        row(
            "completed with what came in deltas",
            event("completed", response=ANSWER),
            Kind.TERMINAL,
            finish=True,
            before=(
                event("output_text.delta", delta="Hi!"),
                event("output_item.done", item={**ANSWER["output"][2], "call_id": None}),
            ),
        ),
        row(
            "completed with what came in one piece",
            event("completed", response=ANSWER),
            Kind.TERMINAL,
            finish=True,
            before=(
                event("output_text.done", text="Hi!"),
                event("output_item.done", output_index=7, item=ANSWER["output"][2]),
            ),
        ),
        row(
            "completed with a call that is not whole",
            event("completed", response={"output": [{"type": "function_call", "name": "f", "arguments": ""}]}),
            Kind.TERMINAL,
            finish=True,
            tools=(ToolDelta("0", None, "f"),),
        ),
        row(
            "incomplete with all of it",
            event("incomplete", response=ANSWER),
            Kind.TERMINAL,
            finish=True,
            text="Hi!",
            cut=True,
        ),
        row(
            "failed",
            event("failed", response={"status": "failed", "error": {"code": "server_error", "message": "boom"}}),
            Kind.ERROR,
            error=StreamError(None, "server_error", "boom"),
        ),
        row(
            "failed without a reason",
            event("failed", response={"status": "failed", "error": None}),
            Kind.ERROR,
            error=StreamError(None, None, "the response failed, no reason was given"),
        ),
        row(
            "error",
            ("error", {"type": "error", "code": "rate_limit_exceeded", "message": "slow", "param": None}),
            Kind.ERROR,
            error=StreamError(None, "rate_limit_exceeded", "slow"),
        ),
        row(
            "nested error",
            ("error", {"type": "error", "error": {"type": "server_error", "message": "boom"}}),
            Kind.ERROR,
            error=StreamError("server_error", None, "boom"),
        ),
        row("keepalive", {"type": "keepalive", "sequence_number": 3}, Kind.KEEPALIVE),
        row("end marker of a proxy", "[DONE]", Kind.TERMINAL),
        row("end marker with blanks", " [DONE]  ", Kind.TERMINAL),
    ],
)
def test_each_event_of_responses_has_its_meaning(row: Row) -> None:
    """Each event means what the API reference says."""
    events, _ = decode("openai-responses", *row.before, row.data)
    row.check(events[-1])


@pytest.mark.parametrize("before", [(), (event("output_text.delta", delta="a"),)])
@pytest.mark.parametrize("name", ["cancelled", "completed"])
def test_a_cancelled_response_is_a_final_error(before: tuple[Any, ...], name: str) -> None:
    """A cancelled response is no cut connection, and is not resent."""
    decoder = Decoder("openai-responses")
    decoder.feed(sse(event("created", response={}), *before, event(name, response={"status": "cancelled"})))
    assert isinstance(decoder.error, ProviderError)
    assert (decoder.error.type, "was cancelled" in str(decoder.error)) == ("cancelled", True)
    assert could_work(failure_of(decoder.error), Facts(sent=Sent.YES)) == (False, Reason.STREAM_ERROR_FINAL)
