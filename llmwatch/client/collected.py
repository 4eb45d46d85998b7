"""The whole answer of a collected call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmwatch.records import CallRecord
from llmwatch.wire import Event, ToolCall, Usage

__all__ = ["Collected"]


_SHOWN = 40
"""Characters of the text in a ``repr``."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Collected:
    """The answer of :meth:`Client.collect`.

    ``tool_calls`` holds the calls whose block is closed and whose arguments parse as JSON. ``discarded_calls`` counts
    the tool calls that were begun and are not in ``tool_calls``. It is above 0 only if the provider cut the answer (a
    length limit, a filter); in any other answer such a call is an error. ``events`` are those of the attempt that
    succeeded; discarded attempts stand in ``record`` alone.

    ``usage`` is the provider's count of tokens. ``finish_reason`` is ``stop``, ``length``, ``tool_calls``,
    ``content_filter`` or ``other``; ``provider_finish_reason`` is the provider's own word. Each is ``None`` if the
    provider sends none. ``cut`` is true if the provider ended the answer early. ``end`` says how the answer ended:
    ``terminal`` (an end mark), ``eof`` (a clean end of the body after a finish mark) or ``finish`` (a finish mark,
    after which the body stayed open).
    """

    text: str
    reasoning: str
    tool_calls: Sequence[ToolCall]
    discarded_calls: int = 0
    usage: Usage | None = None
    finish_reason: str | None = None
    provider_finish_reason: str | None = None
    cut: bool = False
    events: Sequence[Event]
    record: CallRecord

    @property
    def end(self) -> str | None:
        """How the answer ended: ``terminal``, ``eof`` or ``finish``."""
        return self.record.end

    def __repr__(self) -> str:
        text = self.text if len(self.text) <= _SHOWN else f"{self.text[: _SHOWN - 1]}…"
        parts = [f"{text!r}", f"{len(self.text):,} characters"]
        parts += [f"{len(self.tool_calls)} tool calls"] if self.tool_calls else []
        parts += [f"finish_reason={self.finish_reason!r}", f"end={self.end!r}"]
        parts += ["cut"] if self.cut else []
        parts += [f"{self.usage.output_tokens} output tokens"] if self.usage and self.usage.output_tokens else []
        return f"<Collected {', '.join(parts)}>"
