"""``cortex-agent``: Snowflake's Cortex Agents (``.../cortex/agent:run``, ``.../agents/NAME:run``).

Source: Snowflake's reference of the Cortex Agents Run API (2026).

The event names begin like those of the Responses API, but the data has no type. Text and thinking come in deltas.
``response.text`` and ``response.thinking`` restate a block, and ``response`` restates all blocks; each adds only the
missing part. ``response`` is the finish mark. ``metadata`` about the thread may follow, and then the body ends.

The agent runs its own tools; their output (``response.tool_result.*``) is not part of the answer's text. A call for the
caller is marked by ``client_side_execute`` and comes whole. Tables and charts are parts of the answer without text.

The older interface has a single event, ``message.delta`` with pieces of content, and ``[DONE]``.
"""

from __future__ import annotations

from typing import Any

from llmwatch.wire.dialects.base import Dialect, Said, UnknownShape, error_event, is_keepalive, text_of, words_of
from llmwatch.wire.event import Event, Kind, ToolDelta
from llmwatch.wire.news import is_thinking, says_something
from llmwatch.wire.tool_calls import whole_call

__all__ = ["CORTEX_EVENTS", "CortexAgent"]

CORTEX_EVENTS = frozenset(
    (
        "response",
        "response.chart",
        "response.status",
        "response.table",
        "response.text",
        "response.text.annotation",
        "response.text.delta",
        "response.thinking",
        "response.thinking.delta",
        "response.tool_result",
        "response.tool_result.analyst.delta",
        "response.tool_result.status",
        "response.tool_use",
    )
)
"""Names of this dialect's events. Other dialects use some of them only with data that has a type."""

_STATES = frozenset(("response.status", "response.tool_result.status", "metadata"))
_OTHER_OUTPUT = frozenset(("response.chart", "response.table", "response.text.annotation"))
# The provider's tools that only read: they search and write queries.
_READING = ("cortex_search", "cortex_analyst", "web_search", "data_to_chart")


class CortexAgent(Dialect):
    """One attempt in the dialect of Cortex Agents."""

    name = "cortex-agent"
    has_end_mark = False

    def __init__(self) -> None:
        super().__init__()
        self._text: dict[Any, Said] = {}
        self._thinking: dict[Any, Said] = {}
        self._whole: set[str] = set()

    def read(self, event: Event) -> None:
        value = self.parse(event)
        if value is None:
            return
        name, place = event.event, value.get("content_index")
        if name == "error":
            error_event(event, value)
        elif name == "response.text.delta":
            event.text = words_of(value.get("text"))
            self._text.setdefault(place, Said()).add(event.text)
            event.kind = Kind.TEXT if event.text else Kind.KEEPALIVE
        elif name == "response.thinking.delta":
            event.reasoning = words_of(value.get("text"))
            self._thinking.setdefault(place, Said()).add(event.reasoning)
            event.kind = Kind.REASONING if event.reasoning else Kind.KEEPALIVE
        elif name == "response.text":
            event.text = self.restated(self._text.setdefault(place, Said()), words_of(value.get("text")))
            event.kind = Kind.TEXT if event.text else event.kind
        elif name == "response.thinking":
            event.reasoning = self.restated(self._thinking.setdefault(place, Said()), words_of(value.get("text")))
            event.kind = Kind.REASONING if event.reasoning else event.kind
        elif name == "response.tool_use":
            self._read_call(event, value)
        elif name == "response":
            self._read_whole(event, value)
        elif name == "message.delta":
            self._read_message(event, value.get("delta"))
        elif name in _OTHER_OUTPUT:
            event.kind = Kind.TEXT
        elif name.startswith("response.tool_result") and name not in _STATES:
            event.kind = Kind.TOOL_INPUT
        elif name not in _STATES:
            self._read_unknown(event, name, value)

    def _read_message(self, event: Event, delta: Any) -> None:
        content = delta.get("content") if isinstance(delta, dict) else None
        pieces = [piece for piece in content if isinstance(piece, dict)] if isinstance(content, list) else []
        event.text = "".join(words_of(piece.get("text")) for piece in pieces)
        tools = [piece for piece in pieces if piece.get("type") != "text"]
        for piece in tools:
            used = piece.get("tool_use")
            kind = text_of(used.get("type")) if isinstance(used, dict) else ""
            self.provider_acted = self.provider_acted or (used is not None and not kind.startswith(_READING))
        event.kind = Kind.TEXT if event.text else Kind.TOOL_INPUT if tools else Kind.KEEPALIVE

    def _read_unknown(self, event: Event, name: str, value: dict[str, Any]) -> None:
        if is_keepalive(event, value):
            event.kind = Kind.KEEPALIVE
        elif name.endswith(".delta") and says_something(value):
            event.kind = Kind.REASONING if is_thinking(name) else Kind.TEXT

    def _read_call(self, event: Event, use: dict[str, Any]) -> None:
        kind, identity = text_of(use.get("type")), text_of(use.get("tool_use_id")) or None
        event.kind = Kind.TOOL_INPUT
        if str(use.get("client_side_execute")).lower() != "true":
            self.provider_acted = self.provider_acted or not kind.startswith(_READING)
            return
        name, given = text_of(use.get("name")) or None, use.get("input")
        key = identity or str(use.get("content_index", len(self._whole)))
        if key in self._whole:
            return
        whole = whole_call(key, identity, name, {} if given is None else given) if name else None
        if whole is not None:
            self._whole.add(key)
            event.kind = Kind.TOOL_CALL
        event.tools = (*event.tools, whole or ToolDelta(key, identity, name))

    def _read_whole(self, event: Event, message: dict[str, Any]) -> None:
        """Read the whole answer, which may be the first event with content."""
        content = message.get("content")
        if content is not None and not isinstance(content, list):
            raise UnknownShape
        # Matches the blocks by order, because the numbers in events may differ.
        text, thinking = iter(self._text.values()), iter(self._thinking.values())
        for place, item in enumerate(content or ()):
            kind = text_of(item.get("type")) if isinstance(item, dict) else ""
            inner = item.get(kind) if kind else None
            block = inner if isinstance(inner, dict) else item
            if kind == "tool_use":
                self._read_call(event, {"content_index": place, **block})
            elif kind == "text":
                event.text += self.restated(next(text, Said()), words_of(block.get("text")))
            elif kind == "thinking":
                event.reasoning += self.restated(next(thinking, Said()), words_of(block.get("text")))
        event.finish = self.finished = True
        if any(call.complete for call in event.tools):
            event.kind = Kind.TOOL_CALL
        elif event.text or event.reasoning:
            event.kind = Kind.TEXT if event.text else Kind.REASONING
        elif not event.tools:
            event.kind = Kind.LIFECYCLE
