"""The counts of a script's calls by library, as plain JSON and in a few lines."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmwatch import CallRecord
from llmwatch.policy.effective import TIMEOUT_SOURCE
from llmwatch.policy.environment import INCIDENT_LOG_VARIABLE, OVERRIDE_VARIABLE
from llmwatch.policy.values import shown
from llmwatch.records.call import CALL_OUTCOMES

__all__ = ["Counts", "LibraryCounts"]

_MOST_REASONS = 4


@dataclass(slots=True)
class LibraryCounts:
    """The calls of one library.

    ``outcomes``: watched calls that have ended, by outcome; ``failures``: the failed ones by reason; ``resends``;
    ``left_alone``: requests that were not watched, by reason.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    resends: int = 0
    left_alone: Counter[str] = field(default_factory=Counter)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "watched": self.outcomes.total(),
            **{name: self.outcomes[name] for name in CALL_OUTCOMES},
            "failures": dict(self.failures),
            "resends": self.resends,
            "left_alone": dict(self.left_alone),
        }

    @classmethod
    def from_dict(cls, source: Mapping[str, Any]) -> LibraryCounts:
        """The counts whose :meth:`to_dict` is ``source``. Raises an exception for anything else."""
        return cls(
            outcomes=Counter({name: source[name] for name in CALL_OUTCOMES if source[name]}),
            failures=Counter(source["failures"]),
            resends=source["resends"],
            left_alone=Counter(source["left_alone"]),
        )

    def line(self) -> str:
        """What happened to the calls, in one line."""
        watched, left = self.outcomes.total(), self.left_alone.total()
        said = f"{left} left alone ({_listed(self.left_alone)})" if left else ""
        if not watched:
            return f"no call watched; {said}"
        parts = [f"{self.outcomes[name]} {name}" for name in CALL_OUTCOMES if self.outcomes[name]]
        if self.failures:
            failed = f"{self.outcomes['failed']} failed"
            parts[parts.index(failed)] = f"{failed} ({_listed(self.failures)})"
        line = f"{_number(watched, 'call')} watched: {', '.join(parts)}; {_number(self.resends, 'resend')}"
        return f"{line}; {said}" if said else line


@dataclass(slots=True)
class Counts:
    """The counts of one process, or the sum of several.

    ``libraries``: by the name that records have as the entry point. ``incidents``: calls that lost an attempt; ``lost``
    of them could not be written to the incident log. ``running``: attempts that have not ended; ``orphans``: workers
    that could not be woken. ``lowered``: calls by a time-out of the script's, in seconds, and the limit that it
    lowered; ``set_aside``: calls by a time-out that did not count. ``processes``: how many are summed up; ``alive``:
    how many of them had not ended; ``unwatched``: Python processes that could not load llmwatch.
    """

    libraries: dict[str, LibraryCounts] = field(default_factory=dict)
    incidents: int = 0
    lost: int = 0
    running: int = 0
    orphans: int = 0
    lowered: Counter[tuple[float, str]] = field(default_factory=Counter)
    set_aside: Counter[float] = field(default_factory=Counter)
    processes: int = 1
    alive: int = 0
    unwatched: int = 0

    def add(self, record: CallRecord) -> None:
        """Count one call that has ended."""
        library = self._library(record.entry_point)
        library.outcomes[record.outcome] += 1
        library.resends += max(0, len(record.attempts) - 1)
        if record.outcome == "failed":
            library.failures[_reason(record)] += 1
        self.incidents += record.incident
        lowered, set_aside = _timeouts(record)
        self.lowered.update(lowered)
        self.set_aside.update(set_aside)

    def leave(self, counted: Mapping[str, Mapping[str, int]]) -> None:
        """Count what was left alone: numbers by reason, by library."""
        for name, reasons in counted.items():
            self._library(name).left_alone.update(reasons)

    def merge(self, other: Counts) -> None:
        """Add the counts of another process."""
        for name, theirs in other.libraries.items():
            ours = self._library(name)
            ours.outcomes.update(theirs.outcomes)
            ours.failures.update(theirs.failures)
            ours.left_alone.update(theirs.left_alone)
            ours.resends += theirs.resends
        for name in ("incidents", "lost", "running", "orphans", "processes", "alive", "unwatched"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.lowered.update(other.lowered)
        self.set_aside.update(other.set_aside)

    def _library(self, name: str) -> LibraryCounts:
        return self.libraries.setdefault(name, LibraryCounts())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "libraries": {name: self.libraries[name].to_dict() for name in sorted(self.libraries)},
            "running": self.running,
            "orphans": self.orphans,
            "incidents": self.incidents,
            "incidents_lost": self.lost,
            "timeouts_lowered": [
                {"limit": name, "seconds": seconds, "calls": calls}
                for (seconds, name), calls in self.lowered.most_common()
            ],
            "timeouts_set_aside": [
                {"seconds": seconds, "calls": calls} for seconds, calls in self.set_aside.most_common()
            ],
            "processes": self.processes,
            "processes_alive": self.alive,
            "processes_unwatched": self.unwatched,
        }

    @classmethod
    def from_dict(cls, source: Mapping[str, Any]) -> Counts:
        """The counts whose :meth:`to_dict` is ``source``. Raises an exception for anything else."""
        return cls(
            libraries={name: LibraryCounts.from_dict(library) for name, library in source["libraries"].items()},
            incidents=source["incidents"],
            lost=source["incidents_lost"],
            running=source["running"],
            orphans=source["orphans"],
            lowered=Counter({(row["seconds"], row["limit"]): row["calls"] for row in source["timeouts_lowered"]}),
            set_aside=Counter({row["seconds"]: row["calls"] for row in source["timeouts_set_aside"]}),
            processes=source["processes"],
            alive=source["processes_alive"],
            unwatched=source["processes_unwatched"],
        )

    def lines(self, log: str | None) -> list[str]:
        """The lines of the summary; none if there is nothing to say. ``log``: the path of the incident log."""
        lines = [f"{name}: {self.libraries[name].line()}" for name in sorted(self.libraries)]
        if self.running:
            lines.append(f"{_number(self.running, 'call')} still running at the end")
        if self.orphans:
            what = "a worker thread" if self.orphans == 1 else "worker threads"
            lines.append(f"{_number(self.orphans, 'orphan')}: {what} that could not be woken")
        if self.alive:
            runs = "1 process runs" if self.alive == 1 else f"{self.alive} processes run"
            lines.append(f"{runs} on; the calls that end later are not counted here")
        if self.unwatched:
            were = "1 Python process was" if self.unwatched == 1 else f"{self.unwatched} Python processes were"
            lines.append(f"{were} not watched: in another environment, or before Python 3.10")
        return [*lines, *self._about_incidents(log), *_about_timeouts(self.lowered, self.set_aside)]

    def _about_incidents(self, log: str | None) -> list[str]:
        lost_attempts = f"{_number(self.incidents, 'call')} lost an attempt"
        if log is None:
            return [f"{lost_attempts}; {INCIDENT_LOG_VARIABLE}=FILE keeps the records"] if self.incidents else []
        if not self.running and not any(library.outcomes for library in self.libraries.values()):
            return []
        path = os.path.abspath(log)
        # A file's name may hold control characters.
        shown_path = path if path.isprintable() else repr(path)
        missing = f"; {_number(self.lost, 'incident')} could not be written there" if self.lost else ""
        return [f"{lost_attempts}; the incident log is {shown_path}{missing}"]


def _timeouts(record: CallRecord) -> tuple[list[tuple[float, str]], set[float]]:
    """The time-outs of a call that lowered a limit, with the limit's name, and those that were set aside."""
    lowered: list[tuple[float, str]] = []
    set_aside: set[float] = set()
    for name, limit in record.limits.items():
        timeout, before = limit.get("timeout"), limit.get("instead_of")
        if not isinstance(timeout, float):
            continue
        if limit["source"] != TIMEOUT_SOURCE:
            set_aside.add(timeout)
        elif before is None or (isinstance(before, float) and timeout < before):
            lowered.append((timeout, name))
    return lowered, set_aside


def _about_timeouts(lowered: Counter[tuple[float, str]], set_aside: Counter[float]) -> list[str]:
    lines = []
    if lowered:
        common = lowered.most_common(_MOST_REASONS)
        named = ", ".join(
            f"{name} to {shown(seconds)} in {_number(calls, 'call')}" for (seconds, name), calls in common
        )
        more = f" and {len(lowered) - len(common)} more" if len(lowered) > len(common) else ""
        lines.append(f"timeout= of the script lowered {named}{more}; {OVERRIDE_VARIABLE}=1 sets it aside")
    if set_aside:
        common_seconds = set_aside.most_common(_MOST_REASONS)
        named = ", ".join(f"{shown(seconds)} in {_number(calls, 'call')}" for seconds, calls in common_seconds)
        more = f" and {len(set_aside) - len(common_seconds)} more" if len(set_aside) > len(common_seconds) else ""
        lines.append(f"timeout= of the script or its library was set aside: {named}{more}")
    return lines


def _number(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _reason(record: CallRecord) -> str:
    """The reason of a failed call: the limit that expired, the HTTP status, or else the cause."""
    last = next((attempt for attempt in reversed(record.attempts) if attempt.failed), None)
    if last is None:
        return record.cause or "unknown"
    if last.limit is not None:
        return last.limit
    if last.status is not None and last.status >= 400:
        return f"HTTP {last.status}"
    return last.cause or "unknown"


def _listed(reasons: Counter[str]) -> str:
    common = reasons.most_common(_MOST_REASONS)
    rest = sum(reasons.values()) - sum(number for _, number in common)
    shown = [name if len(reasons) == 1 else f"{name} {number}" for name, number in common]
    return ", ".join([*shown, f"others {rest}"] if rest else shown)
