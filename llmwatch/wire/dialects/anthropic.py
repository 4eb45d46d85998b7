"""``anthropic``: the Messages API, directly or behind Vertex and proxies.

Source: Anthropic's documentation of streaming messages, of server tools and of the MCP connector.

A message is a row of content blocks, each with a start, deltas and a stop. A ``tool_use`` block is a call for
the caller; a ``server_tool_use`` block one that the provider runs and that changes nothing outside (search,
fetch, sandboxed code); an ``mcp_tool_use`` block one that the provider runs and that may have done anything.
"""

from __future__ import annotations

import json
from typing import Any

from llmwatch.wire.dialects.base import KEEPALIVE_NAMES, Dialect, error_event, text_of
from llmwatch.wire.event import Event, Kind, ToolDelta
from llmwatch.wire.tools import OpenCalls

__all__ = ["Anthropic"]

_PROVIDER_TOOLS = frozenset(("server_tool_use", "mcp_tool_use"))
_OPAQUE_DELTAS = frozenset(("signature_delta", "compaction_delta"))


class Anthropic(Dialect):
    """One attempt in the Messages dialect."""

    name = "anthropic"

    def __init__(self) -> None:
        super().__init__()
        self._blocks: dict[str, str] = {}
        self._calls = OpenCalls()

    def read(self, event: Event) -> None:
        value = self.parse(event)
        if value is None:
            return
        name = value.get("type")
        if not isinstance(name, str):
            name = event.event
        if name == "content_block_delta":
            delta = value.get("delta")
            if isinstance(delta, dict):
                self._read_delta(event, value, delta)
        elif name == "content_block_start":
            block = value.get("content_block")
            if isinstance(block, dict):
                self._read_start(event, str(value.get("index", 0)), block)
        elif name == "content_block_stop":
            self._read_stop(event, str(value.get("index", 0)))
        elif name == "message_delta":
            event.kind = Kind.USAGE
        elif name == "message_stop":
            event.kind = Kind.TERMINAL
        elif name == "error" or value.get("error"):
            error_event(event, value)
        elif name in KEEPALIVE_NAMES:
            event.kind = Kind.KEEPALIVE

    def _read_delta(self, event: Event, value: dict[str, Any], delta: dict[str, Any]) -> None:
        kind = delta.get("type")
        if kind == "text_delta":
            event.text = text_of(delta.get("text"))
            event.kind = Kind.TEXT if event.text else Kind.KEEPALIVE
        elif kind == "thinking_delta":
            event.reasoning = text_of(delta.get("thinking"))
            event.kind = Kind.REASONING if event.reasoning else Kind.KEEPALIVE
        elif kind == "input_json_delta":
            fragment = text_of(delta.get("partial_json"))
            event.kind = Kind.TOOL_INPUT if fragment else Kind.KEEPALIVE
            key = str(value.get("index", 0))
            if fragment and key in self._calls:
                self._calls.add(key, fragment)
                event.tools = (ToolDelta(key, arguments=fragment),)
        elif kind in _OPAQUE_DELTAS:
            event.kind = Kind.REASONING
        elif kind == "citations_delta":
            event.kind = Kind.TEXT

    def _read_start(self, event: Event, key: str, block: dict[str, Any]) -> None:
        kind = text_of(block.get("type"))
        self._blocks[key] = kind
        if kind == "tool_use":
            # The API starts with an empty object as a stand-in; a proxy may give the whole input here and no delta.
            given = block.get("input")
            fragment = json.dumps(given, ensure_ascii=False) if isinstance(given, dict) and given else ""
            self._calls.add(key, fragment)
            event.kind = Kind.TOOL_INPUT
            event.tools = (
                ToolDelta(key, text_of(block.get("id")) or None, text_of(block.get("name")) or None, fragment),
            )
        elif kind in _PROVIDER_TOOLS:
            event.kind = Kind.TOOL_INPUT
        elif kind == "redacted_thinking":
            event.kind = Kind.REASONING
        elif kind == "text" and (text := text_of(block.get("text"))):
            event.kind, event.text = Kind.TEXT, text
        elif kind == "thinking" and (thinking := text_of(block.get("thinking"))):
            event.kind, event.reasoning = Kind.REASONING, thinking

    def _read_stop(self, event: Event, key: str) -> None:
        kind = self._blocks.pop(key, "")
        if kind == "tool_use":
            closed = self._calls.close(key)
            if closed is not None:
                event.kind, event.tools = Kind.TOOL_CALL, (closed,)
        elif kind == "mcp_tool_use":
            event.kind = Kind.TOOL_CALL
