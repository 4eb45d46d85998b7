"""A whole answer at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmwatch.records import CallRecord
from llmwatch.wire import Event, ToolCall

__all__ = ["Collected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """The answer of :meth:`Client.collect`, complete by its dialect's own terminal event.

    ``tool_calls`` holds only calls whose block was closed and whose arguments parse as JSON. ``events`` are those of
    the attempt that succeeded; of a discarded one nothing is left here, only in ``record``.
    """

    text: str
    reasoning: str
    tool_calls: Sequence[ToolCall]
    events: Sequence[Event]
    record: CallRecord
