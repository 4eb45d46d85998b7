"""``snowflake``: Cortex inference (``/api/v2/cortex/inference:complete``).

Source: Snowflake's API reference, and the client snowflake.core 1.14.0. (``/cortex/v1/`` is ``openai-chat`` and
``anthropic``.)

The events look like chunks of chat completions, but the deltas have a type and state their fields twice (beside the
type, and in ``content_list``), and there is no finish reason. No event is an end mark; the last event has the usage,
and then the body ends. If events have an empty ``usage``, an end of the body before an event that fills it is a cut.

No event closes a call. A call is complete as soon as its arguments are a complete object; a call without arguments is
complete once the usage has come.
"""

from __future__ import annotations

from typing import Any

from llmwatch.wire.dialects.base import (
    Dialect,
    Said,
    error_event,
    fragment_of,
    is_cut,
    is_keepalive,
    kind_of_news,
    named,
    text_of,
    words_of,
)
from llmwatch.wire.error_objects import has_error
from llmwatch.wire.event import Event, Kind, ToolDelta
from llmwatch.wire.news import is_thinking
from llmwatch.wire.tool_calls import OpenCalls

__all__ = ["Snowflake"]


_KNOWN = frozenset(
    ("content", "content_list", "text", "tool_use", "tool_use_id", "tool_results", "input", "finish_reason")
)


def _news(choice: dict[str, Any]) -> Kind | None:
    """The kind of an event with text in unknown fields of its delta or of the delta's list."""
    delta = choice.get("delta")
    delta = delta if isinstance(delta, dict) else {}
    listed = delta.get("content_list")
    parts = [part for part in listed if isinstance(part, dict)] if isinstance(listed, list) else []
    kinds = [kind for place in (delta, *parts) if (kind := kind_of_news(place, _KNOWN)) is not None]
    thinking = is_thinking(text_of(delta.get("type")))
    return None if not kinds else Kind.TEXT if Kind.TEXT in kinds and not thinking else Kind.REASONING


class Snowflake(Dialect):
    """One attempt in Snowflake's dialect."""

    name = "snowflake"
    accepts_eof = True

    def __init__(self) -> None:
        super().__init__()
        self._calls = OpenCalls()
        self._current = ""
        self._identity: str | None = None
        self._count = 0
        self._said = Said()
        self._owed = False  # an event had an empty usage, which the last event fills

    def read(self, event: Event) -> None:
        value = self.parse(event)
        if value is None:
            return
        if has_error(value) or event.event == "error":
            error_event(event, value)
            return
        if "usage" in value:
            usage = value["usage"]
            self.accepts_eof = bool(usage)
            self._owed = self._owed or not usage
            event.usage = usage if isinstance(usage, dict) and usage else None
        choices = value.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if isinstance(choice, dict):
            self._read_choice(event, choice)
        if any(tool.complete for tool in event.tools):
            event.kind = Kind.TOOL_CALL
        elif event.text:
            event.kind = Kind.TEXT
        elif event.tools:
            event.kind = Kind.TOOL_INPUT
        elif event.reasoning:
            event.kind = Kind.REASONING
        elif event.usage:
            event.kind = Kind.USAGE
        elif isinstance(choice, dict) and (news := _news(choice)) is not None:
            event.kind = news
        elif choice is not None or is_keepalive(event, value):
            event.kind = Kind.KEEPALIVE

    def _read_choice(self, event: Event, choice: dict[str, Any]) -> None:
        delta = choice.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        listed = delta.get("content_list")
        parts = [part for part in listed if isinstance(part, dict)] if isinstance(listed, list) else []
        event.text = words_of(delta.get("content")) or words_of(delta.get("text"))
        if not event.text:
            event.text = "".join(words_of(part.get("text")) for part in parts)
        if event.usage is not None and self._owed:
            event.text = self._said.last(event.text)
        else:
            self._said.add(event.text)
        self._read_thinking(event, delta)
        if delta.get("type") == "tool_use" or delta.get("tool_use_id"):
            event.tools = self._read_call(parts[0] if len(parts) == 1 else delta)
        reason = choice.get("finish_reason")
        # The last event fills a usage that was empty before, or has only usage.
        alone = event.usage is not None and not event.text and not event.tools and not event.reasoning
        if text_of(reason) or alone or (self._owed and event.usage is not None):
            event.finish = self.finished = True
            event.cut = is_cut(reason)
            if not event.cut and (text_of(reason) or alone):
                closed = [self._calls.close(key) for key in self._calls]
                event.tools = (*event.tools, *[call for call in closed if call is not None])

    def _read_thinking(self, event: Event, delta: dict[str, Any]) -> None:
        thinking = delta.get("thinking")
        summary = delta.get("reasoning")
        if isinstance(thinking, dict):
            event.reasoning = words_of(thinking.get("thinking"))
        elif isinstance(summary, dict):
            event.reasoning = words_of(summary.get("summary"))
        else:
            event.reasoning = words_of(thinking) or words_of(summary)

    def _read_call(self, use: dict[str, Any]) -> tuple[ToolDelta, ...]:
        identity, name = text_of(use.get("tool_use_id")) or None, text_of(use.get("name")) or None
        fragment = fragment_of(use.get("input"))
        if not self._current or ((identity or name) and identity != self._identity):
            self._current, self._identity = str(self._count), identity
            self._count += 1
            self._calls.add(self._current)
        key = self._current
        if key not in self._calls:
            # Only white space can follow a complete call.
            return (ToolDelta(key, arguments=fragment),) if fragment.strip() else ()
        piece = ToolDelta(key, identity, named(self._calls, key, name), fragment)
        self._calls.add(key, fragment)
        closed = self._calls.close_if_whole(key) if fragment.rstrip().endswith("}") else None
        return (piece,) if closed is None else (piece, closed)
