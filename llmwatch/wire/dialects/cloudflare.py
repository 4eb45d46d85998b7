"""``cloudflare``: Workers AI's own interface (``/client/v4/accounts/.../ai/run/...``).

Source: Cloudflare's API reference of Workers AI and its guide to streaming. (``/ai/v1/chat/completions``, and some
models at these paths, are ``openai-chat``.)

An event has a piece in ``response``, and complete calls in ``tool_calls``. There is no finish reason: an event with
only the usage counts as the finish mark. ``[DONE]`` is the end mark.
"""

from __future__ import annotations

from typing import Any

from llmwatch.wire.dialects.base import Dialect, UnknownShape, is_keepalive, text_of, words_of
from llmwatch.wire.event import Event, Kind, ToolDelta
from llmwatch.wire.tool_calls import whole_call

__all__ = ["Cloudflare"]


class Cloudflare(Dialect):
    """One attempt in Workers AI's dialect."""

    name = "cloudflare"

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def read(self, event: Event) -> None:
        value = self.parse(event)
        if value is None:
            return
        event.text = words_of(value.get("response"))
        self.count(event, value.get("usage"))
        calls = value.get("tool_calls")
        if calls:
            event.tools = self._read_calls(calls)
        if any(call.complete for call in event.tools):
            event.kind = Kind.TOOL_CALL
        elif event.text:
            event.kind = Kind.TEXT
        elif event.tools:
            event.kind = Kind.TOOL_INPUT
        elif event.usage is not None:
            event.kind = Kind.USAGE
            event.finish = self.finished = True
        elif "response" in value or is_keepalive(event, value):
            event.kind = Kind.KEEPALIVE

    def _read_calls(self, calls: Any) -> tuple[ToolDelta, ...]:
        if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
            raise UnknownShape
        pieces = []
        for call in calls:
            # Flat, or in OpenAI's form.
            function = call.get("function")
            source = function if isinstance(function, dict) else call
            key, identity = str(self._count), text_of(call.get("id")) or None
            name, arguments = text_of(source.get("name")) or None, source.get("arguments")
            self._count += 1
            # A call comes in one piece, so missing arguments mean no arguments.
            given = {} if arguments is None or arguments == "" else arguments
            pieces.append((whole_call(key, identity, name, given) if name else None) or ToolDelta(key, identity, name))
        return tuple(pieces)
