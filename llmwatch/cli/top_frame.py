"""What ``llmwatch top`` shows: the calls of the last minutes, by model, and what is in flight."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from llmwatch import CallRecord
from llmwatch.cli.incident_log import tame
from llmwatch.cli.incident_table import OUTCOME_STYLES, counted, seconds
from llmwatch.cli.terminal import table
from llmwatch.records.call import CALL_OUTCOMES

__all__ = ["Flight", "Recent", "drawn", "first_byte_of", "summary"]

_MOST_HELD = 200_000
"""Calls that are held; of more, the oldest are forgotten."""
_MOST_MODELS = 12
_MOST_IN_FLIGHT = 12
_RATE = 60.0
_NAMES = {"done": "good"}


@dataclass(frozen=True, slots=True)
class _Call:
    """What is kept of a call."""

    ended_at: float
    model: str
    outcome: str
    first_byte: float | None
    kills: tuple[str, ...]
    resends: tuple[str, ...]


def first_byte_of(record: CallRecord) -> float | None:
    """Seconds from the request to the first byte of the answer's body; ``None`` without an answer."""
    for attempt in reversed(record.attempts):
        sent, first = attempt.timings.sent, attempt.timings.first_byte
        if attempt.cause is None and sent is not None and first is not None:
            return max(0.0, first - sent)
    return None


@dataclass(slots=True)
class Recent:
    """The calls that ended in the last ``window`` seconds, 0 for all."""

    window: float
    _calls: deque[_Call] = field(default_factory=lambda: deque(maxlen=_MOST_HELD))

    def add(self, record: CallRecord) -> None:
        """Take one call."""
        self._calls.append(
            _Call(
                record.started_at + record.elapsed,
                record.model or "unknown",
                record.outcome,
                first_byte_of(record),
                tuple(attempt.limit for attempt in record.attempts if attempt.limit),
                # An attempt that another one follows was the reason for it.
                tuple(attempt.limit or attempt.cause or "unknown" for attempt in record.attempts[:-1]),
            )
        )

    def at(self, now: float) -> Sequence[_Call]:
        """The calls of the window that ends ``now``."""
        return [call for call in self._calls if not self.window or call.ended_at > now - self.window]


@dataclass(slots=True)
class Flight:
    """What the status files say.

    ``processes`` counts the files that are fresh, ``silent`` names the processes of the others; ``calls`` are those of
    the fresh files.
    """

    processes: int = 0
    in_flight: int = 0
    silent: list[int] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)


def summary(recent: Sequence[_Call], flight: Flight | None, now: float) -> str:
    """One line: the calls by outcome, their rate, kills, resends, and what is in flight."""
    outcomes = Counter(call.outcome for call in recent)
    ended = ", ".join(f"{outcomes[name]:,} {_NAMES.get(name, name)}" for name in CALL_OUTCOMES)
    rate = sum(call.ended_at > now - _RATE for call in recent)
    kills = sum(len(call.kills) for call in recent)
    resends = sum(len(call.resends) for call in recent)
    line = f"{counted(len(recent), 'call')}, {rate:,} in the last minute: {ended}; {counted(kills, 'kill')}"
    line += f", {counted(resends, 'resend')}"
    if flight is not None:
        line += (
            f"; {flight.in_flight:,} in flight in {flight.processes:,} process{'' if flight.processes == 1 else 'es'}"
        )
    return line


def drawn(
    recent: Sequence[_Call], flight: Flight | None, now: float, *, title: str, notes: Iterable[str] = ()
) -> RenderableType:
    """One frame."""
    parts: list[RenderableType] = [Text(title, style="dim"), Text(summary(recent, flight, now))]
    if recent:
        parts += [Text(), _models(recent)]
    for name, reasons in (
        ("kills by limit", Counter(limit for call in recent for limit in call.kills)),
        ("resends by cause", Counter(cause for call in recent for cause in call.resends)),
    ):
        if reasons:
            parts.append(Text(f"{name}: " + ", ".join(f"{tame(why, 40)} {n:,}" for why, n in reasons.most_common())))
    if flight is not None and flight.calls:
        parts += [Text(), _flight(flight)]
    parts += [Text(note, style="yellow") for note in notes]
    return Group(*parts)


def _models(recent: Sequence[_Call]) -> RenderableType:
    by_model: dict[str, list[_Call]] = {}
    for call in recent:
        by_model.setdefault(call.model, []).append(call)
    rows: list[tuple[str | Text, ...]] = []
    most = sorted(by_model.items(), key=lambda item: -len(item[1]))
    if len(most) > _MOST_MODELS:
        others = [call for _, calls in most[_MOST_MODELS - 1 :] for call in calls]
        most = [*most[: _MOST_MODELS - 1], (f"{len(most) - _MOST_MODELS + 1} others", others)]
    for model, calls in most:
        outcomes = Counter(call.outcome for call in calls)
        times = sorted(call.first_byte for call in calls if call.first_byte is not None)
        rows.append(
            (
                tame(model, 30),
                f"{len(calls):,}",
                *(_styled(f"{outcomes[name]:,}", name, outcomes[name]) for name in CALL_OUTCOMES),
                *(_quantile(times, part) for part in (0.5, 0.95)),
                f"{sum(len(call.kills) for call in calls):,}",
            )
        )
    names = ("model", "calls", "good", "recov.", "failed", "canc.", "1st byte p50", "p95", "kills")
    return _laid_out(table(names, rows), numbers=range(1, len(names)), names=(0,))


def _flight(flight: Flight) -> RenderableType:
    oldest = sorted(flight.calls, key=lambda call: -_number(call, "elapsed"))
    rows = [
        (
            str(call.get("process", "-")),
            tame(str(call.get("model") or "unknown"), 24),
            tame(str(call.get("label") or "-"), 16),
            f"{call.get('attempt', '-')}/{call.get('max_attempts', '-')}",
            tame(str(call.get("phase", "-")), 12),
            seconds(_number(call, "elapsed")),
            "-"
            if call.get("limit") is None
            else f"{tame(str(call['limit']), 14)} {seconds(_number(call, 'expires_in'))}",
        )
        for call in oldest[:_MOST_IN_FLIGHT]
    ]
    names = ("process", "model", "label", "try", "phase", "for", "next limit")
    made = _laid_out(table(names, rows), numbers=(0, 3, 5), names=(1, 2))
    more = flight.in_flight - len(rows)
    return made if more <= 0 else Group(made, Text(f"and {more:,} more", style="dim"))


def _laid_out(made: Table, *, numbers: Iterable[int], names: Iterable[int]) -> Table:
    """``numbers`` stand to the right; where there is no room, only ``names`` are shortened."""
    for number, column in enumerate(made.columns):
        column.no_wrap = number not in names
        column.overflow = "ellipsis"
    for number in numbers:
        made.columns[number].justify = "right"
    return made


def _number(values: dict[str, Any], name: str) -> float:
    value = values.get(name)
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else 0.0


def _styled(text: str, outcome: str, number: int) -> Text:
    return Text(text, style=OUTCOME_STYLES[outcome] if number else "dim")


def _quantile(times: Sequence[float], part: float) -> str:
    return "-" if not times else seconds(times[math.ceil(part * len(times)) - 1])
