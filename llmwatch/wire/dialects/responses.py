"""``openai-responses``: the Responses API of OpenAI and of servers that speak like it.

Source: OpenAI's API reference (streaming events of the Responses API).

What was streamed in deltas is repeated whole by ``*.done`` events, by ``output_item.done`` and by
``response.completed``; only the deltas are text, so that nothing comes twice. A tool call is the other way
round: ``output_item.done`` restates it, and that is the call.
"""

from __future__ import annotations

from typing import Any

from llmwatch.wire.dialects.base import KEEPALIVE_NAMES, Dialect, error_event, text_of
from llmwatch.wire.event import Event, Kind, StreamError, ToolDelta
from llmwatch.wire.refusal import error_in
from llmwatch.wire.tools import whole_call

__all__ = ["OpenAIResponses"]

_TEXT_DELTAS = frozenset(
    (
        "response.output_text.delta",
        "response.refusal.delta",
        "response.audio.transcript.delta",
        "response.output_audio_transcript.delta",
    )
)
# Output that is no text: it counts, and adds nothing to the answer's text.
_OTHER_OUTPUT = frozenset(
    (
        "response.audio.delta",
        "response.output_audio.delta",
        "response.image_generation_call.partial_image",
        "response.output_text.annotation.added",
    )
)
_REASONING_DELTAS = frozenset(
    (
        "response.reasoning_text.delta",
        "response.reasoning_summary_text.delta",
        "response.reasoning.delta",
        "response.reasoning_summary.delta",
    )
)
# Input of tools that the caller runs ...
_INPUT_DELTAS = frozenset(("response.function_call_arguments.delta", "response.custom_tool_call_input.delta"))
# ... and of those that the provider runs, or that are restated in a form of their own.
_OTHER_INPUT_DELTAS = frozenset(
    (
        "response.mcp_call_arguments.delta",
        "response.mcp_call.arguments.delta",
        "response.code_interpreter_call_code.delta",
        "response.code_interpreter_call.code.delta",
        "response.shell_call_command.delta",
        "response.apply_patch_call_operation_diff.delta",
    )
)
_TERMINAL = frozenset(("response.completed", "response.incomplete", "response.done"))

# Calls that the caller carries out: where their arguments stand.
_CALLER_CALLS = {
    "function_call": "arguments",
    "custom_tool_call": "input",
    "computer_call": "action",
    "local_shell_call": "action",
    "shell_call": "action",
    "apply_patch_call": "operation",
    "mcp_approval_request": "arguments",
}
# Calls that the provider carried out and that changed nothing outside: search, retrieval, sandboxed code,
# pictures. Their end moves generation forward and is often all that is seen for minutes, but there is no call
# to be careful about.
_HARMLESS_CALLS = frozenset(
    ("web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call", "tool_search_call")
)


class OpenAIResponses(Dialect):
    """One attempt in the Responses dialect."""

    name = "openai-responses"

    def read(self, event: Event) -> None:
        value = self.parse(event)
        if value is None:
            return
        name = value.get("type")
        if not isinstance(name, str):
            name = event.event
        if name in _TEXT_DELTAS:
            event.text = text_of(value.get("delta"))
            event.kind = Kind.TEXT if event.text else Kind.KEEPALIVE
        elif name in _REASONING_DELTAS:
            delta = value.get("delta")
            event.reasoning = text_of(delta.get("text")) if isinstance(delta, dict) else text_of(delta)
            event.kind = Kind.REASONING if delta else Kind.KEEPALIVE
        elif name in _INPUT_DELTAS:
            fragment = text_of(value.get("delta"))
            event.kind = Kind.TOOL_INPUT if fragment else Kind.KEEPALIVE
            event.tools = (ToolDelta(_key(value), arguments=fragment),) if fragment else ()
        elif name in _OTHER_INPUT_DELTAS:
            event.kind = Kind.TOOL_INPUT if value.get("delta") else Kind.KEEPALIVE
        elif name in _OTHER_OUTPUT:
            event.kind = Kind.TEXT
        else:
            _read_other(event, name, value)


def _read_other(event: Event, name: str, value: dict[str, Any]) -> None:
    item = value.get("item")
    response = value.get("response")
    if name == "response.output_item.done" and isinstance(item, dict):
        _read_item(event, _key(value), item)
    elif name == "response.output_item.added" and isinstance(item, dict) and _begins_a_call(item):
        # Before any of its arguments: a call that is cut here was begun all the same.
        event.kind = Kind.TOOL_INPUT
    elif name in _TERMINAL:
        event.kind = Kind.TERMINAL
        if isinstance(response, dict) and response.get("status") in ("failed", "cancelled"):
            _fail(event, response)
    elif name == "response.failed":
        _fail(event, response if isinstance(response, dict) else value)
    elif name in ("error", "response.error") or value.get("error"):
        error_event(event, value)
    elif name in KEEPALIVE_NAMES:
        event.kind = Kind.KEEPALIVE


def _fail(event: Event, response: dict[str, Any]) -> None:
    event.kind = Kind.ERROR
    event.error = error_in(response) or StreamError(None, None, "the response failed, no reason was given")


def _key(value: dict[str, Any]) -> str:
    place = value.get("output_index")
    return str(place) if type(place) is int else text_of(value.get("item_id")) or "0"


def _begins_a_call(item: dict[str, Any]) -> bool:
    kind = text_of(item.get("type"))
    return kind in _CALLER_CALLS or (kind.endswith("_call") and kind not in _HARMLESS_CALLS)


def _read_item(event: Event, key: str, item: dict[str, Any]) -> None:
    kind = text_of(item.get("type"))
    if kind in _CALLER_CALLS:
        call = None
        if item.get("status") not in ("incomplete", "in_progress"):
            arguments = item.get(_CALLER_CALLS[kind])
            if kind == "custom_tool_call":
                arguments = {"input": arguments} if arguments else None
            identity = text_of(item.get("call_id")) or text_of(item.get("id")) or None
            call = whole_call(key, identity, text_of(item.get("name")) or kind.removesuffix("_call"), arguments)
        event.tools = (call,) if call is not None else ()
        event.kind = Kind.TOOL_CALL if call is not None else Kind.LIFECYCLE
    elif kind in _HARMLESS_CALLS:
        event.kind = Kind.TOOL_INPUT
    elif kind.endswith("_call"):
        # MCP, and whatever is added to the API in future: it may have done something out there.
        event.kind = Kind.TOOL_CALL
    elif kind in ("reasoning", "compaction"):
        # Without a summary this is all that is seen of it.
        event.kind = Kind.REASONING
