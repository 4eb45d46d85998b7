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

    ``tool_calls`` holds only calls whose block was closed and whose arguments parse as JSON. ``discarded_calls`` counts
    those that were begun and are not among them: it is above 0 only where the provider ended the answer before it was
    whole (a length limit, a filter), since anywhere else such a call is an error. ``events`` are those of
    the attempt that succeeded; of a discarded one nothing is left here, only in ``record``.
    """

    text: str
    reasoning: str
    tool_calls: Sequence[ToolCall]
    discarded_calls: int = 0
    events: Sequence[Event]
    record: CallRecord
