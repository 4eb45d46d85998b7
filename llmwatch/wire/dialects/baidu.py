"""``baidu``: ERNIE's own interface (``/rpc/2.0/ai_custom/v1/wenxinworkshop/...``).

Source: Baidu's API reference, and the clients erniebot 0.5.9 and qianfan 0.4.12.3. (The second version of the interface
is ``openai-chat``.)

Each event has a piece of the answer in ``result``. The event with ``is_end: true`` is finish mark and end mark. A call
comes in one piece. An error is ``error_code`` and ``error_msg``, in an event or in place of all events.
"""

from __future__ import annotations

from typing import Any

from llmwatch.wire.dialects.base import (
    Dialect,
    Said,
    UnknownShape,
    error_event,
    is_cut,
    is_keepalive,
    kind_of_news,
    text_of,
    words_of,
)
from llmwatch.wire.error_objects import has_error
from llmwatch.wire.event import Event, Kind, ToolDelta
from llmwatch.wire.news import thoughts
from llmwatch.wire.tool_calls import whole_call

__all__ = ["Baidu"]

# Known fields of an event.
_KNOWN = frozenset(("result", "function_call", "usage", "finish_reason", "log_id", "error_msg"))


class Baidu(Dialect):
    """One attempt in Baidu's dialect."""

    name = "baidu"

    def __init__(self) -> None:
        super().__init__()
        self._said = Said()
        self._called: list[ToolDelta] = []

    def read(self, event: Event) -> None:
        value = self.parse(event)
        if value is None:
            return
        if has_error(value) or value.get("error_code") or event.event == "error":
            error_event(event, value)
            return
        ended = value.get("is_end") is True
        event.text = words_of(value.get("result"))
        if ended:
            event.text = self._said.last(event.text)
        else:
            self._said.add(event.text)
        event.reasoning = thoughts(value.get("reasoning_content"))
        usage = value.get("usage")
        event.usage = usage if isinstance(usage, dict) and usage else None
        reason = value.get("finish_reason")
        event.cut = value.get("is_truncated") is True or is_cut(reason)
        call = value.get("function_call")
        if call:
            self._read_call(event, call)
        if ended:
            event.kind = Kind.TERMINAL
            event.finish = self.finished = True
        elif any(tool.complete for tool in event.tools):
            event.kind = Kind.TOOL_CALL
        elif event.text:
            event.kind = Kind.TEXT
        elif event.tools:
            event.kind = Kind.TOOL_INPUT
        elif event.reasoning:
            event.kind = Kind.REASONING
        elif "is_end" in value and (news := kind_of_news(value, _KNOWN)) is not None:
            event.kind = news
        elif "result" in value or is_keepalive(event, value):
            event.kind = Kind.KEEPALIVE

    def _read_call(self, event: Event, call: Any) -> None:
        if not isinstance(call, dict):
            raise UnknownShape
        event.reasoning = event.reasoning or words_of(call.get("thoughts"))
        name, arguments = text_of(call.get("name")) or None, call.get("arguments")
        # A call comes in one piece, so missing arguments mean no arguments.
        given = {} if arguments is None or arguments == "" else arguments
        key = str(len(self._called))
        whole = whole_call(key, None, name, given) if name else None
        if whole is not None:
            if any((call.name, call.arguments) == (whole.name, whole.arguments) for call in self._called):
                # The last event repeats the call.
                return
            self._called.append(whole)
        event.tools = (whole or ToolDelta(key, None, name),)
