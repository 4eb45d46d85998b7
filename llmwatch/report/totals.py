"""The numbers of a log: calls by outcome, and by what names them; lost attempts by cause. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from llmwatch.records import CallRecord
from llmwatch.records.call import CALL_OUTCOMES
from llmwatch.report.lost import losses_of

__all__ = ["NAMED", "Key", "LostTotals", "Totals"]

Key = tuple[str, str | None, str, int | None]
"""Origin, model, why and status of lost attempts."""

NAMED: Mapping[str, Callable[[CallRecord], object]] = {
    "model": lambda record: record.model,
    "origin": lambda record: record.origin,
    "status": lambda record: record.status,
    "process": lambda record: record.process,
    "label": lambda record: record.label,
    "entry point": lambda record: record.entry_point,
}
"""By what calls are counted, each with the value of a call; ``None`` is unknown."""


@dataclass(slots=True)
class LostTotals:
    """Lost attempts of one kind.

    ``attempts`` lost, ``calls`` that lost them, by their outcome in ``outcomes``; ``seconds``: until the next attempt
    began or the call ended, in all; ``first`` and ``last``: wall times of starts; ``phases``: attempts by phase.
    """

    attempts: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    first: float = float("inf")
    last: float = float("-inf")
    phases: Counter[str] = field(default_factory=Counter)
    hang: bool = False

    @property
    def calls(self) -> int:
        """Number of calls."""
        return self.outcomes.total()


@dataclass(slots=True)
class Totals:
    """The totals of the calls.

    ``outcomes``: calls by outcome; ``by``: the same for each value of :data:`NAMED`; ``lost``: lost attempts by kind.
    ``waits``: of each recovered call, the seconds until its last attempt began. ``first`` and ``last``: wall times of
    the first start and the last end. ``saved``: seconds that hanging attempts would have taken until the client's own
    time-out of ``CLIENT_TIMEOUT`` seconds, less those that they took.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    by: dict[str, dict[object, Counter[str]]] = field(
        default_factory=lambda: {name: defaultdict(Counter) for name in NAMED}
    )
    lost: dict[Key, LostTotals] = field(default_factory=dict)
    waits: list[float] = field(default_factory=list)
    saved: float = 0.0
    first: float = float("inf")
    last: float = float("-inf")

    def add(self, record: CallRecord) -> None:
        """Count one call."""
        self.outcomes[record.outcome] += 1
        for name, value_of in NAMED.items():
            self.by[name][value_of(record)][record.outcome] += 1
        self.first = min(self.first, record.started_at)
        self.last = max(self.last, record.started_at + record.elapsed)
        if record.outcome == "recovered":
            self.waits.append(max(0.0, record.attempts[-1].started_at - record.started_at))
        counted: set[Key] = set()
        for loss in losses_of(record):
            key = loss.origin, loss.model, loss.why, loss.status
            one = self.lost.setdefault(key, LostTotals())
            one.attempts += 1
            one.seconds += loss.seconds
            one.phases[loss.phase] += 1
            one.hang = loss.hang
            one.first, one.last = min(one.first, loss.at), max(one.last, loss.at)
            if key not in counted:
                one.outcomes[record.outcome] += 1
            counted.add(key)
            if loss.hang and loss.number is not None:
                self.saved += max(0.0, CLIENT_TIMEOUT - record.attempts[loss.number].elapsed)

    @property
    def calls(self) -> int:
        """Number of calls."""
        return self.outcomes.total()

    @property
    def kinds(self) -> list[Key]:
        """The kinds of lost attempts, hangs first, then those with most attempts."""
        return sorted(self.lost, key=lambda key: (not self.lost[key].hang, -self.lost[key].attempts, *map(str, key)))

    def rows(self, name: str) -> list[tuple[object, tuple[int, ...]]]:
        """Each value of ``name``, with the calls of each outcome, those with most calls first."""
        found = [
            (value, tuple(counts[outcome] for outcome in CALL_OUTCOMES)) for value, counts in self.by[name].items()
        ]
        return sorted(found, key=lambda row: (-sum(row[1]), str(row[0])))


CLIENT_TIMEOUT = 600.0
"""Seconds that clients wait by default: ``DEFAULT_TIMEOUT`` of openai 3.57 and anthropic 2.14."""
