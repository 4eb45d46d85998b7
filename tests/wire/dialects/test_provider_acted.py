"""What an answer shows of the tools that the provider runs itself."""

from __future__ import annotations

from typing import Any

from llmwatch.wire import Decoder, Event, Kind, Meaning, register_dialect, unregister_dialect
from tests.rows import each
from tests.wire.dialects.test_anthropic import start
from tests.wire.dialects.test_gemini import chunk as candidate
from tests.wire.dialects.test_openai_chat import chunk
from tests.wire.dialects.test_openai_responses import event as response
from tests.wire.dialects.test_openai_responses import item
from tests.wire.streams import decode


def created(**fields: Any) -> tuple[str, dict[str, Any]]:
    """The first event of a response, which repeats what the request asked for."""
    return response("created", response={"status": "in_progress", "output": [], **fields})


@each(
    ("dialect", "item"),
    [
        ("openai-responses", created(tools=[{"type": "mcp", "server_label": "s"}])),
        ("openai-responses", created(tools=[{"type": "web_search"}, {"type": "mcp"}], tool_choice="auto")),
        ("openai-responses", created(tools=[{"type": "shell"}])),
        ("openai-responses", created(tools=[{"type": "computer_use_preview"}])),
        ("openai-responses", created(tools=[{"type": "teleport"}])),
        ("openai-responses", created(tools=[{"name": "f"}])),
        ("openai-responses", created(tools=["mcp"])),
        ("openai-responses", created(tools=[{"type": "namespace", "tools": [{"type": "mcp"}]}])),
        ("openai-responses", response("mcp_call.in_progress", item_id="m")),
        ("openai-responses", response("mcp_call.completed", item_id="m")),
        ("openai-responses", response("mcp_call_arguments.delta", delta="{")),
        ("openai-responses", response("mcp_list_tools.completed", item_id="m")),
        ("openai-responses", response("teleport_call.in_progress", item_id="m")),
        ("openai-responses", response("output_item.added", item={"type": "mcp_call"})),
        ("openai-responses", response("output_item.added", item={"type": "mcp_list_tools"})),
        ("openai-responses", item("mcp_call", output="done")),
        ("openai-responses", item("mcp_approval_request", name="f", arguments="{}")),
        ("openai-responses", item("computer_call", action={"type": "click"})),
        ("openai-responses", item("local_shell_call", action={})),
        ("openai-responses", item("shell_call", action={})),
        ("openai-responses", item("teleport_call")),
        ("openai-responses", response("failed", response={"status": "failed", "output": [{"type": "mcp_call"}]})),
        ("anthropic", start("mcp_tool_use", id="m", name="f", server_name="s")),
        ("anthropic", start("mcp_tool_result", tool_use_id="m", content=[])),
        ("anthropic", start("server_tool_use", id="s", name="bash_code_execution")),
        ("anthropic", start("server_tool_use", id="s", name="teleport")),
        ("anthropic", start("server_tool_use", id="s")),
        ("anthropic", start("teleport_tool_use", id="s", name="f")),
        ("anthropic", start("bash_code_execution_tool_result", content={})),
        ("openai-chat", chunk({"executed_tools": [{"type": "search"}, {"type": "mcp"}]})),
        ("openai-chat", chunk({"executed_tools": {"name": "f"}})),
        ("gemini", candidate({"toolCall": {"toolType": "MCP"}})),
        ("gemini", candidate({"toolResponse": {"id": "x"}})),
    ],
)
def test_a_provider_tool_with_side_effects_is_noted(dialect: str, item: Any) -> None:
    """MCP, shells, computer use and kinds that are not known are seen, from then on.

    The request may have said anything.
    """
    _, decoder = decode(dialect, item)
    assert decoder.provider_acted
    decoder.feed(b'data: {"type": "x"}\n\n')
    assert decoder.provider_acted


@each(
    ("dialect", "item"),
    [
        ("openai-responses", created()),
        ("openai-responses", created(tools=[{"type": "function", "name": "f"}, {"type": "custom", "name": "g"}])),
        ("openai-responses", created(tools=[{"type": "web_search_preview_2025_03_11"}, {"type": "file_search"}])),
        ("openai-responses", created(tools=[{"type": "code_interpreter"}, {"type": "image_generation"}])),
        ("openai-responses", created(tools=[{"type": "namespace", "tools": [{"type": "function", "name": "f"}]}])),
        ("openai-responses", created(tools=[{"type": "mcp"}], tool_choice="none")),
        ("openai-responses", created(tools=None, output=None)),
        *(
            ("openai-responses", response(name, item_id="x", delta="x"))
            for name in (
                "function_call_arguments.delta",
                "function_call_arguments.done",
                "custom_tool_call_input.delta",
                "custom_tool_call_input.done",
                "web_search_call.searching",
                "file_search_call.completed",
                "code_interpreter_call.interpreting",
                "code_interpreter_call_code.delta",
                "image_generation_call.partial_image",
                "apply_patch_call_operation_diff.delta",
                "output_text.delta",
                "brand.new",
            )
        ),
        ("openai-responses", item("function_call", call_id="c", name="f", arguments="{}")),
        ("openai-responses", item("custom_tool_call", call_id="c", name="f", input="x")),
        ("openai-responses", item("apply_patch_call", call_id="c", operation={})),
        ("openai-responses", item("web_search_call")),
        ("openai-responses", item("file_search_call")),
        ("openai-responses", item("code_interpreter_call")),
        ("openai-responses", item("tool_search_call")),
        ("openai-responses", item("reasoning")),
        ("openai-responses", item("message", content=[])),
        ("anthropic", start("tool_use", id="t", name="f", input={})),
        ("anthropic", start("server_tool_use", id="s", name="web_search")),
        ("anthropic", start("server_tool_use", id="s", name="web_fetch")),
        ("anthropic", start("server_tool_use", id="s", name="code_execution")),
        ("anthropic", start("server_tool_use", id="s", name="tool_search_tool_regex")),
        ("anthropic", start("web_search_tool_result", content=[])),
        ("anthropic", start("code_execution_tool_result", content={})),
        ("anthropic", start("tool_search_tool_result", content={})),
        ("anthropic", start("text", text="mcp_tool_use")),
        ("openai-chat", chunk({"executed_tools": [{"type": "search"}, {"type": "code_interpreter"}]})),
        ("openai-chat", chunk({"executed_tools": None})),
        ("gemini", candidate({"functionCall": {"name": "f", "args": {}}})),
        ("gemini", candidate({"executableCode": {"code": "1"}})),
        ("gemini", candidate({"toolCall": {"toolType": "GOOGLE_SEARCH_WEB"}})),
        ("gemini", candidate({"toolResponse": {"toolType": "URL_CONTEXT"}})),
        ("ndjson", {"message": {"tool_calls": [{"function": {"name": "f", "arguments": {}}}]}, "done": False}),
        ("generic", "mcp_call"),
    ],
)
def test_a_read_only_or_caller_tool_is_not_noted(dialect: str, item: Any) -> None:
    """Search, retrieval, sandboxed code and calls for the caller are nothing to be careful about."""
    assert not decode(dialect, item)[1].provider_acted


def test_a_registered_dialect_can_report_a_provider_tool() -> None:
    """A user's function knows more of its provider."""

    def function(event: Event) -> Meaning:
        return Meaning(Kind.LIFECYCLE, provider_acted=event.data == "mcp")

    register_dialect("acting", function)
    try:
        assert not decode("acting", "x")[1].provider_acted
        assert decode("acting", "mcp", "x")[1].provider_acted
    finally:
        unregister_dialect("acting")
    assert Decoder("auto").provider_acted is False
