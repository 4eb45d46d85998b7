"""``baidu``: ERNIE's own interface (``/rpc/2.0/ai_custom/v1/wenxinworkshop/...``).

Source: Baidu's API reference, erniebot 0.5.9 and qianfan 0.4.12.3, which read what is read here. (The second version of
the interface speaks chat completions.)

Each event has a piece of the answer in ``result``; the one with ``is_end: true`` is finish mark and end mark. A call
comes whole. An error is ``error_code`` and ``error_msg``, in an event or in place of all events.
"""

from __future__ import annotations

from typing import Any

from llmwatch.wire.dialects.base import Dialect, UnknownShape, error_event, is_cut, is_keepalive, text_of
from llmwatch.wire.event import Event, Kind, ToolDelta
from llmwatch.wire.tools import whole_call

__all__ = ["Baidu"]


class Baidu(Dialect):
    """One attempt in Baidu's dialect."""

    name = "baidu"

    def read(self, event: Event) -> None:
        value = self.parse(event)
        if value is None:
            return
        if value.get("error") or value.get("error_code") or event.event == "error":
            error_event(event, value)
            return
        event.text = text_of(value.get("result"))
        usage = value.get("usage")
        event.usage = usage if isinstance(usage, dict) and usage else None
        ended = value.get("is_end") is True
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
        elif "result" in value or is_keepalive(event, value):
            event.kind = Kind.KEEPALIVE

    def _read_call(self, event: Event, call: Any) -> None:
        if not isinstance(call, dict):
            raise UnknownShape
        event.reasoning = text_of(call.get("thoughts"))
        name, arguments = text_of(call.get("name")) or None, call.get("arguments")
        # A call comes in one piece, so that nothing of it can be missing.
        given = {} if arguments is None or arguments == "" else arguments
        event.tools = ((whole_call("0", None, name, given) if name else None) or ToolDelta("0", None, name),)
