"""``anthropic``: the Messages API, directly or behind Vertex and proxies.

Source: Anthropic's documentation of streaming messages, of server tools and of the MCP connector.

A message is a sequence of content blocks, each with a start, deltas and a stop. A ``tool_use`` block is a call for the
caller. The provider runs the tools of ``server_tool_use`` blocks, which change nothing outside (search, fetch,
sandboxed code), and of ``mcp_tool_use`` blocks, which may have side effects. The provider's shell
(``bash_code_execution``) and tools with unknown names count as the latter.

**A call without arguments** has an empty ``input`` or none in its start, only empty deltas, and a stop. A call that is
cut for its length may look the same. So such a call is complete, with ``{}``, once the provider has closed the block
*and* has ended the message with a ``stop_reason`` that is not a cut. The later of the two events carries the call.

**A message that is complete at its start.** Some servers send the whole content in ``message_start`` and no blocks. The
event that ends the message then carries the content.
"""

from __future__ import annotations

import json
from typing import Any

from llmwatch.payload.executors import may_act
from llmwatch.wire.dialects.base import (
    KEEPALIVE_NAMES,
    Dialect,
    UnknownShape,
    error_event,
    fragment_of,
    is_cut,
    named,
    text_of,
    words_of,
)
from llmwatch.wire.dialects.repeated import Repeated
from llmwatch.wire.event import Event, Kind, ToolDelta
from llmwatch.wire.news import is_thinking, unknown_news
from llmwatch.wire.tool_calls import OpenCalls, Places, bare_call

__all__ = ["ANTHROPIC_EVENTS", "Anthropic"]

ANTHROPIC_EVENTS = frozenset(
    (
        "message_start",
        "message_delta",
        "message_stop",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
    )
)
"""Types of events that only this dialect has."""

_PROVIDER_TOOLS = frozenset(("server_tool_use", "mcp_tool_use"))
# Suffixes of unknown blocks and of results; the name of the provider's tool stands before the suffix.
_OTHER_TOOLS = ("_tool_use", "_tool_result")
_OPAQUE_DELTAS = frozenset(("signature_delta", "compaction_delta"))


# A member of an enum costs as much as a call on Python 3.10 and 3.11.
_TEXT = Kind.TEXT


# Key of the whole message in _given, beside the places of blocks.
_OPENING = "message"


class Anthropic(Dialect):
    """One attempt in the Messages dialect."""

    name = "anthropic"

    def __init__(self) -> None:
        super().__init__()
        self._blocks: dict[str, str] = {}
        self._calls = OpenCalls()
        # Calls that were closed without any input.
        self._bare_calls: set[str] = set()
        self._places = Places()
        self._given: dict[str, str] = {}  # content in a block's start, until the first delta
        self._opening: list[Any] = []  # content in the message's start, until the first block
        self._stop_reason = ""
        self._marked = False  # the message has a stop_reason, and no block has begun since
        self._repeated = Repeated("text")

    def read(self, event: Event) -> None:
        if text := self._repeated.value(event.data):
            event.text = text
            event.kind = _TEXT
            return
        value = self.parse(event)
        if value is None:
            return
        name = value.get("type")
        if not isinstance(name, str):
            name = event.event
        if name == "content_block_delta":
            delta = value.get("delta")
            if not isinstance(delta, dict):
                raise UnknownShape
            self._read_delta(event, value, delta)
        elif name == "content_block_start":
            block = value.get("content_block")
            if not isinstance(block, dict):
                raise UnknownShape
            self._read_start(event, str(value.get("index", 0)), block)
        elif name == "content_block_stop":
            self._read_stop(event, str(value.get("index", 0)))
        elif name == "message_delta":
            event.kind = Kind.USAGE
            self.count(event, value.get("usage"))
            delta = value.get("delta")
            reason = text_of(delta.get("stop_reason")) if isinstance(delta, dict) else ""
            self._stop_reason = reason or self._stop_reason
            event.cut = is_cut(reason)
            if reason:
                self._read_opening(event)
                self._marked = True
                if not event.cut:
                    self._close_whole(event)
                self._finish(event)
        elif name == "message_stop":
            if self._read_opening(event):
                self._finish(event)
            event.kind = Kind.TERMINAL
            self.count(event, value.get("usage"))
        elif name == "message_start":
            message = value.get("message")
            message = message if isinstance(message, dict) else {}
            self.count(event, message.get("usage"))
            self._stop_reason = text_of(message.get("stop_reason"))
            content = message.get("content")
            if content and isinstance(content, list):
                self._opening = content
                for block in content:
                    self._note_block(block if isinstance(block, dict) else {})
                self._given[_OPENING] = ""
        elif name == "error" or event.event == "error":
            error_event(event, value)
        else:
            event.kind = Kind.KEEPALIVE if name in KEEPALIVE_NAMES else event.kind
            self.count(event, value.get("usage"))
            if event.usage is not None:
                event.kind = Kind.USAGE

    def _read_delta(self, event: Event, value: dict[str, Any], delta: dict[str, Any]) -> None:
        kind = text_of(delta.get("type"))
        given = self._take_given(str(value.get("index", 0))) if self._given else ""
        if kind == "text_delta":
            event.text = text = words_of(delta.get("text")).removeprefix(given)
            event.kind = _TEXT if text else Kind.KEEPALIVE
            if text and not given:
                self._repeated.learn(event.data, text)
        elif kind == "thinking_delta":
            event.reasoning = words_of(delta.get("thinking")).removeprefix(given)
            event.kind = Kind.REASONING if event.reasoning else Kind.KEEPALIVE
        elif kind == "input_json_delta":
            fragment = fragment_of(delta.get("partial_json"))
            event.kind = Kind.TOOL_INPUT if fragment else Kind.KEEPALIVE
            place = str(value.get("index", 0))
            key = self._places.at(place)
            if fragment and key in self._calls:
                if given:
                    # The deltas restate the input from the block's start.
                    self._calls.close(key)
                self._calls.add(key, fragment)
                event.tools = (ToolDelta(key, arguments=fragment, whole=bool(given)),)
            elif fragment and place not in self._blocks:
                # Belongs to a call without a start, or to a closed call: that call is not complete.
                self._bare_calls.discard(key)
                event.tools = (ToolDelta(key, arguments=fragment),)
        elif kind in _OPAQUE_DELTAS:
            event.kind = Kind.REASONING
        elif kind == "citations_delta":
            event.kind = Kind.TEXT
        elif (news := unknown_news(delta, ())) is not None:
            event.kind = Kind.REASONING if is_thinking(news) or is_thinking(kind) else Kind.TEXT

    def _take_given(self, place: str) -> str:
        # A delta shows that the message is streamed, so the content in its start is not needed.
        self._opening = []
        self._given.pop(_OPENING, None)
        return self._given.pop(place, "")

    def _read_opening(self, event: Event) -> bool:
        """Read the blocks in the message's start, if no other blocks came. Return whether they are complete."""
        opening, self._opening = self._opening, []
        # A block of a cut message may be cut.
        whole = bool(self._stop_reason) and not is_cut(self._stop_reason)
        for place, block in enumerate(opening):
            if not isinstance(block, dict):
                raise UnknownShape
            begun, closed = Event(event.event, ""), Event(event.event, "")
            self._read_start(begun, str(place), block)
            if whole:
                self._read_stop(closed, str(place))
            else:
                self._blocks.pop(str(place), None)
            for part in (begun, closed):
                event.text += part.text
                event.reasoning += part.reasoning
                event.tools = (*event.tools, *part.tools)
                event.kind = part.kind if part.kind.is_content and event.kind is not Kind.TOOL_CALL else event.kind
        return whole and bool(opening)

    def _read_start(self, event: Event, place: str, block: dict[str, Any]) -> None:
        kind = text_of(block.get("type"))
        is_open = self._blocks.get(place) == kind
        self._blocks[place] = kind
        self._opening = []
        self.finished = self._marked = False
        self._note_block(block)
        if kind == "tool_use":
            # The API sends an empty object as a placeholder; a proxy may send the whole input here and no delta.
            given = block.get("input")
            fragment = json.dumps(given, ensure_ascii=False) if isinstance(given, dict) and given else ""
            identity, name = text_of(block.get("id")) or None, text_of(block.get("name")) or None
            key = self._places.begin(place, identity, is_open=is_open)
            name = named(self._calls, key, name)
            self._calls.add(key, fragment)
            if fragment:
                self._given[place] = fragment
            event.kind = Kind.TOOL_INPUT
            event.tools = (ToolDelta(key, identity, name, fragment),)
        elif kind in _PROVIDER_TOOLS:
            event.kind = Kind.TOOL_INPUT
        elif kind == "redacted_thinking":
            event.kind = Kind.REASONING
        elif kind == "text" and (text := words_of(block.get("text"))):
            event.kind, event.text = Kind.TEXT, text
            self._given[place] = text
        elif kind == "thinking" and (thinking := words_of(block.get("thinking"))):
            event.kind, event.reasoning = Kind.REASONING, thinking
            self._given[place] = thinking

    def _note_block(self, block: dict[str, Any]) -> None:
        kind = text_of(block.get("type"))
        if kind in _PROVIDER_TOOLS:
            self._note("mcp" if kind == "mcp_tool_use" else block.get("name"))
        elif kind != "tool_use" and kind.endswith(_OTHER_TOOLS):
            self._note(kind.removesuffix("_tool_use").removesuffix("_tool_result"))

    def _note(self, tool: object) -> None:
        self.provider_acted = self.provider_acted or may_act(tool)

    def _read_stop(self, event: Event, place: str) -> None:
        kind = self._blocks.pop(place, "")
        self._given.pop(place, None)
        key = self._places.at(place)
        if kind == "tool_use":
            bare, closed = self._calls.is_empty(key), self._calls.close(key)
            if bare:
                self._bare_calls.add(key)
            elif closed is not None:
                event.kind, event.tools = Kind.TOOL_CALL, (closed,)
        elif kind == "mcp_tool_use":
            event.kind = Kind.TOOL_CALL
        if self._marked:
            self._finish(event)

    def _close_whole(self, event: Event) -> None:
        """Close open blocks whose calls are complete objects, since the message has its reason."""
        closed = [call for key in self._calls if (call := self._calls.close_if_whole(key)) is not None]
        for call in closed:
            self._blocks.pop(call.key.partition("#")[0], None)
        if closed:
            event.kind, event.tools = Kind.TOOL_CALL, tuple(closed)

    def _finish(self, event: Event) -> None:
        """Set the finish mark, which counts once no block is open, and complete calls without arguments."""
        event.finish = self.finished = not self._blocks
        if self._bare_calls and self._stop_reason and not is_cut(self._stop_reason):
            event.kind = Kind.TOOL_CALL
            event.tools = (*event.tools, *map(bare_call, sorted(self._bare_calls)))
            self._bare_calls.clear()
