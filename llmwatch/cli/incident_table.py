"""The table of calls, with a row for each, and the totals by place and by outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from llmwatch import AttemptRecord, CallRecord
from llmwatch.cli.incident_log import tame
from llmwatch.cli.terminal import Terminal, table
from llmwatch.records.call import CALL_OUTCOMES

__all__ = ["OUTCOME_STYLES", "Listing", "Place", "Totals", "counted", "lost", "place_of", "seconds", "when"]

OUTCOME_STYLES = {"done": "dim", "recovered": "green", "failed": "red", "cancelled": "yellow"}
"""The colour of each outcome on a terminal."""

_COLUMNS = (
    "call",
    "when",
    "origin",
    "entry point",
    "model",
    "process",
    "label",
    "phase",
    "limit or cause",
    "status",
    "elapsed",
    "attempts",
    "decision",
    "outcome",
)
_TO_THE_RIGHT = ("process", "status", "elapsed", "attempts")
_GAP = 2
_ID_SHOWN = 8
"""Characters shown of a call's id, which is random: enough to name it among thousands."""
_MOST_CELL = 80
_MOST_PLACES = 6
"""Maximum number of places that the closing line names; the others are counted."""
_NOTHING = "-"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where an attempt was lost: the phase, and the limit that expired or else the cause."""

    phase: str
    limit: str
    cause: str

    def __str__(self) -> str:
        return f"{self.phase or 'before any attempt'}: {self.why}"

    @property
    def why(self) -> str:
        """The limit, or the cause."""
        return self.limit or self.cause or "unknown"


_Row = tuple[str, ...]


class Listing:
    """The table of calls. Rows are kept until :meth:`show`, because the widest cells decide the layout."""

    def __init__(self) -> None:
        self._rows: list[_Row] = []
        self._widths = [len(name) for name in _COLUMNS]

    def add(self, record: CallRecord) -> None:
        """Add the row of one call."""
        row = _row(record)
        self._widths = [max(width, cell_len(cell)) for width, cell in zip(self._widths, row, strict=True)]
        self._rows.append(row)

    def show(self, terminal: Terminal) -> None:
        """Print a line for each call, or a paragraph for each if the terminal is too narrow for the lines."""
        # A table of rich measures every cell several times, which takes seconds for some thousand calls.
        if sum(self._widths) + _GAP * (len(_COLUMNS) - 1) > terminal.out.width:
            for row in self._rows:
                _print(terminal, _stacked(row))
            return
        _print(terminal, [Text(self._line(_COLUMNS), style="dim")])
        for row in self._rows:
            line = Text(self._line(row))
            line.stylize(OUTCOME_STYLES.get(row[-1], ""), len(line) - len(row[-1]))
            _print(terminal, [line])

    def _line(self, cells: Sequence[str]) -> str:
        padded = []
        for name, cell, width in zip(_COLUMNS, cells, self._widths, strict=True):
            blanks = " " * (width - cell_len(cell))
            padded.append(blanks + cell if name in _TO_THE_RIGHT else cell + blanks)
        return (" " * _GAP).join(padded).rstrip()


def _row(record: CallRecord) -> _Row:
    places = [place_of(attempt) for attempt in lost(record)]
    decision = record.decisions[-1].decision.value if record.decisions else _NOTHING
    return (
        tame(record.call_id, _ID_SHOWN * 2)[:_ID_SHOWN] or _NOTHING,
        when(record.started_at),
        tame(record.origin, _MOST_CELL) or _NOTHING,
        tame(record.entry_point, _MOST_CELL) or _NOTHING,
        tame(record.model or "", _MOST_CELL) or _NOTHING,
        _NOTHING if record.process is None else str(record.process),
        tame(record.label or "", _MOST_CELL) or _NOTHING,
        _joined([place.phase for place in places]),
        _joined([place.why for place in places]) if places else record.cause or _NOTHING,
        _NOTHING if record.status is None else str(record.status),
        seconds(record.elapsed),
        str(len(record.attempts)),
        decision,
        record.outcome,
    )


def _joined(names: Sequence[str]) -> str:
    return tame(", ".join(dict.fromkeys(name for name in names if name)), _MOST_CELL) or _NOTHING


def _stacked(row: _Row) -> Iterator[Text]:
    call, began, origin, entry_point, model, process, label, *rest, outcome = row
    phase, why, status, elapsed, attempts, decision = rest
    first = Text(f"{call}  {began}  ").append(outcome, style=OUTCOME_STYLES.get(outcome, ""))
    yield first.append(f"  process {process}" + ("" if label == _NOTHING else f"  {label}"))
    yield Text(f"  model {model} at {origin}, {entry_point}", style="dim")
    yield Text(f"  {phase}: {why}; status {status}, {elapsed}, {counted(int(attempts), 'attempt')}, {decision}")


def _print(terminal: Terminal, lines: Sequence[Text] | Iterator[Text]) -> None:
    for line in lines:
        if terminal.live:
            terminal.show(line)
        else:
            terminal.write(f"{line.plain}\n")


@dataclass(slots=True)
class Totals:
    """The totals of the calls.

    ``outcomes``: calls by outcome; ``attempts``: lost attempts by place; ``calls``: calls that lost an attempt, by
    place; ``recovered``: those of them that got an answer. A call that lost attempts in two places counts in both.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    attempts: Counter[Place] = field(default_factory=Counter)
    calls: Counter[Place] = field(default_factory=Counter)
    recovered: Counter[Place] = field(default_factory=Counter)

    def add(self, record: CallRecord) -> None:
        """Count one call."""
        self.outcomes[record.outcome] += 1
        places = [place_of(attempt) for attempt in lost(record)]
        self.attempts.update(places)
        if not places and record.cause is not None:
            places = [Place("", "", record.cause)]
        self.calls.update(set(places))
        if record.outcome == "recovered":
            self.recovered.update(set(places))

    @property
    def number(self) -> int:
        """The number of counted calls."""
        return self.outcomes.total()

    @property
    def places(self) -> list[Place]:
        """Every place, those with most calls first."""
        return sorted(self.calls, key=lambda place: (-self.calls[place], place))

    def show(self, terminal: Terminal) -> None:
        """Print a table by phase and limit, and one by outcome."""
        rows = [
            (
                tame(place.phase, _MOST_CELL) or _NOTHING,
                tame(place.why, _MOST_CELL),
                *(str(counts[place]) for counts in (self.attempts, self.calls, self.recovered)),
            )
            for place in self.places
        ]
        terminal.show(table(("phase", "limit or cause", "attempts lost", "calls", "recovered"), rows))
        terminal.show()
        terminal.show(
            table(
                ("outcome", "calls"),
                [(Text(name, style=OUTCOME_STYLES[name]), str(self.outcomes[name])) for name in self._outcomes()],
            )
        )

    def __str__(self) -> str:
        ended = ", ".join(f"{self.outcomes[name]} {name}" for name in self._outcomes())
        most, rest = self.places[:_MOST_PLACES], len(self.places) - _MOST_PLACES
        told = ", ".join(f"{tame(str(place), _MOST_CELL)} ({self.calls[place]})" for place in most)
        more = f" and {rest} more" if rest > 0 else ""
        return f"{counted(self.number, 'call')}: {ended}." + (f" By phase and limit: {told}{more}." if told else "")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "calls": self.number,
            "recovered": self.outcomes["recovered"],
            "by_outcome": {name: self.outcomes[name] for name in CALL_OUTCOMES},
            "by_phase_and_limit": [
                {
                    "phase": place.phase or None,
                    "limit": place.limit or None,
                    "cause": place.cause or None,
                    "attempts": self.attempts[place],
                    "calls": self.calls[place],
                    "recovered": self.recovered[place],
                }
                for place in self.places
            ],
        }

    def _outcomes(self) -> list[str]:
        # An incident log has calls with the outcome "done" only if its writer was configured to log every call.
        return [name for name in CALL_OUTCOMES if self.outcomes[name] or name != "done"]


def lost(record: CallRecord) -> list[AttemptRecord]:
    """The attempts that have a cause: they failed or were cancelled."""
    return [attempt for attempt in record.attempts if attempt.cause is not None]


def place_of(attempt: AttemptRecord) -> Place:
    """The place of a lost attempt."""
    return Place(attempt.phase, attempt.limit or "", attempt.cause or "")


def when(moment: float, *, exact: bool = False) -> str:
    """Wall time in the local zone; with the fraction and the zone if ``exact``."""
    try:
        local = datetime.fromtimestamp(moment).astimezone()
    except (ValueError, OverflowError, OSError):
        return "no date"
    return local.isoformat(sep=" ", timespec="milliseconds") if exact else local.strftime("%Y-%m-%d %H:%M:%S")


def seconds(value: float) -> str:
    """A duration, short enough for a table."""
    if abs(value) >= 1e9:
        return f"{value:.3g} s"
    return f"{value:.2f} s" if abs(value) < 10 else f"{value:.1f} s" if abs(value) < 100 else f"{value:,.0f} s"


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural where there are several."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
