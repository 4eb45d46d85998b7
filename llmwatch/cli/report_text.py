"""The numbers of a report as tables in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from llmwatch.cli.incident_log import tame
from llmwatch.cli.incident_table import OUTCOME_STYLES, seconds, when
from llmwatch.cli.terminal import Terminal, table
from llmwatch.records.call import CALL_OUTCOMES
from llmwatch.report.advice import Variable
from llmwatch.report.lost import words_of
from llmwatch.report.totals import CLIENT_TIMEOUT, NAMED, Key, Totals

__all__ = ["show"]

_MOST_ROWS = 20
_MOST_CELL = 64
_NOTHING = "-"
_WORDS = {"done": "good", "recovered": "recovered", "failed": "failed", "cancelled": "cancelled"}


def show(terminal: Terminal, totals: Totals, variables: Sequence[Variable]) -> None:
    """Print the numbers: outcomes, lost attempts, recovery, the limits to set, and calls by name."""
    said = ", ".join(f"{totals.outcomes[name]:,} {_WORDS[name]}" for name in CALL_OUTCOMES)
    terminal.show(f"{totals.calls:,} calls from {when(totals.first)} to {when(totals.last)}: {said}.")
    terminal.show()
    _show_lost(terminal, totals)
    _show_recovery(terminal, totals)
    terminal.show("To set, from all calls (llmwatch tune says why):")
    for variable in variables:
        terminal.show(f"  {variable.line}")
    for name in NAMED:
        terminal.show()
        _show_named(terminal, totals, name)


def _show_lost(terminal: Terminal, totals: Totals) -> None:
    if not totals.lost:
        terminal.show("No attempt was lost.")
        return
    columns = ("model", "origin", "cause", "phase", "status", "lost", "calls", "recovered", "failed", "cost")
    rows = [_lost_row(key, totals) for key in totals.kinds[:_MOST_ROWS]]
    terminal.show(table((*columns, "first", "last"), rows))
    _show_rest(terminal, len(totals.lost))


def _lost_row(key: Key, totals: Totals) -> list[str]:
    origin, model, why, status = key
    one = totals.lost[key]
    return [
        _cell(model),
        _cell(origin),
        f"{_cell(why)}: {words_of(_cell(why))}",
        ", ".join(_cell(phase) for phase, _ in one.phases.most_common()),
        _cell(status),
        f"{one.attempts:,}",
        f"{one.calls:,}",
        f"{one.outcomes['recovered']:,}",
        f"{one.outcomes['failed']:,}",
        seconds(one.seconds),
        when(one.first),
        when(one.last),
    ]


def _show_recovery(terminal: Terminal, totals: Totals) -> None:
    terminal.show()
    terminal.show(
        f"{len(totals.waits):,} calls got their answer by a resend, after {seconds(sum(totals.waits))} in all."
    )
    hung = sum(one.attempts for one in totals.lost.values() if one.hang)
    if hung:
        terminal.show(
            f"Limits ended {hung:,} hanging attempts, which would have taken {seconds(totals.saved)} more until a"
            f" client's time-out of {CLIENT_TIMEOUT:g} s."
        )


def _show_named(terminal: Terminal, totals: Totals, name: str) -> None:
    found = totals.rows(name)
    rows: list[list[str | Text]] = [
        [_cell(value), f"{sum(counts):,}", *map(_counted, CALL_OUTCOMES, counts)]
        for value, counts in found[:_MOST_ROWS]
    ]
    terminal.show(table((name, "calls", *_WORDS.values()), rows))
    _show_rest(terminal, len(found))


def _counted(outcome: str, count: int) -> Text:
    return Text(f"{count:,}", style=OUTCOME_STYLES[outcome] if count else "dim")


def _show_rest(terminal: Terminal, number: int) -> None:
    if number > _MOST_ROWS:
        terminal.show(f"... and {number - _MOST_ROWS:,} more.")


def _cell(value: object) -> str:
    return _NOTHING if value is None or value == "" else tame(str(value), _MOST_CELL)
