"""``ndjson``: Ollama's own API (``/api/chat``, ``/api/generate``), one JSON object a line.

Source: Ollama's API reference. The line with ``done: true`` ends the stream and carries the usage; it may carry
a last piece of text as well. Tool calls come whole.
"""

from __future__ import annotations

from typing import Any

from llmwatch.wire.dialects.base import Dialect, error_event, text_of
from llmwatch.wire.event import Event, Kind, ToolDelta
from llmwatch.wire.tools import whole_call

__all__ = ["Ollama"]


class Ollama(Dialect):
    """One attempt in Ollama's dialect."""

    name = "ndjson"

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def read(self, event: Event) -> None:
        value = self.parse(event)
        if value is None:
            return
        if value.get("error"):
            error_event(event, value)
            return
        message = value.get("message")
        source = message if isinstance(message, dict) else value
        event.text = text_of(source.get("content" if source is message else "response"))
        event.reasoning = text_of(source.get("thinking"))
        seen_call = self._read_calls(event, source.get("tool_calls"))
        if value.get("done") is True:
            event.kind = Kind.TERMINAL
        elif event.tools:
            event.kind = Kind.TOOL_CALL
        elif event.text or source.get("images") or value.get("image"):
            event.kind = Kind.TEXT
        elif seen_call:
            event.kind = Kind.TOOL_INPUT
        elif event.reasoning:
            event.kind = Kind.REASONING
        elif "message" in value or "response" in value:
            event.kind = Kind.KEEPALIVE

    def _read_calls(self, event: Event, calls: Any) -> bool:
        whole: list[ToolDelta] = []
        calls = [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
        for call in calls:
            function = call.get("function")
            function = function if isinstance(function, dict) else {}
            name = text_of(function.get("name")) or None
            delta = whole_call(str(self._count), text_of(call.get("id")) or None, name, function.get("arguments"))
            self._count += 1
            if delta is not None and name:
                whole.append(delta)
        event.tools = tuple(whole)
        return bool(calls)
