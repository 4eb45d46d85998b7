"""A whole answer at once."""

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
    """The answer of :meth:`Client.collect`, complete by what its provider sent of an end: see ``end``.

    ``tool_calls`` holds only calls whose block was closed and whose arguments parse as JSON. ``discarded_calls`` counts
    those that were begun and are not among them: it is above 0 only where the provider ended the answer before it was
    whole (a length limit, a filter), since anywhere else such a call is an error. ``events`` are those of
    the attempt that succeeded; of a discarded one nothing is left here, only in ``record``.

    ``usage`` is the provider's count of tokens, ``None`` where it gives none. ``finish_reason`` says why the answer
    ended: ``stop``, ``length``, ``tool_calls``, ``content_filter`` or ``other``, and ``provider_finish_reason`` is its
    own word for it; both are ``None`` where it gives none. ``cut`` is true where the provider ended the answer before
    it was whole. ``end`` says what the end was: ``terminal`` (an end mark), ``eof`` (a clean end of the body after a
    finish mark) or ``finish`` (a finish mark, after which the body stayed open).
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
        """What the end of the answer was."""
        return self.record.end

    def __repr__(self) -> str:
        text = self.text if len(self.text) <= _SHOWN else f"{self.text[: _SHOWN - 1]}…"
        parts = [f"{text!r}", f"{len(self.text):,} characters"]
        parts += [f"{len(self.tool_calls)} tool calls"] if self.tool_calls else []
        parts += [f"finish_reason={self.finish_reason!r}", f"end={self.end!r}"]
        parts += ["cut"] if self.cut else []
        parts += [f"{self.usage.output_tokens} output tokens"] if self.usage and self.usage.output_tokens else []
        return f"<Collected {', '.join(parts)}>"
