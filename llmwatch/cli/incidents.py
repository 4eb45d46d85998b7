"""``llmwatch incidents``: an incident log as a table, as totals, or one call in full."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import typer

from llmwatch import CallRecord
from llmwatch.cli import incident_view, options
from llmwatch.cli.exit_codes import ExitCode, command
from llmwatch.cli.good_calls import GoodCalls
from llmwatch.cli.incident_log import IncidentLog, Skipped, opened, tame
from llmwatch.cli.incident_table import Listing, Totals, lost
from llmwatch.cli.terminal import Terminal
from llmwatch.policy import LIMITS
from llmwatch.records import CAUSES, PHASES
from llmwatch.records.call import CALL_OUTCOMES
from llmwatch.watch.clock import SYSTEM

__all__ = ["incidents"]

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_AGO = re.compile(r"(\d{1,9}(?:\.\d{1,3})?) ?([smhdw])")
_MOST_NOTES = 20
"""Maximum number of skipped lines that are reported singly; a file that is no log may have millions."""
_MOST_SKIPPED = 1000
"""Maximum number of skipped lines in the document; the total counts all."""
_MOST_IDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """The filters. A call passes ``phase``, ``limit`` and ``cause`` if one of its lost attempts does."""

    origin: str | None
    phase: str | None
    limit: str | None
    outcome: str | None
    cause: str | None
    since: float | None
    last: int | None

    def of(self, calls: Iterable[CallRecord]) -> Iterable[CallRecord]:
        """The calls that pass the filters; only the last of them if ``last`` is given."""
        wanted = (record for record in calls if self._holds(record))
        return wanted if self.last is None else deque(wanted, self.last)

    def _holds(self, record: CallRecord) -> bool:
        if self.since is not None and record.started_at < self.since:
            return False
        if self.outcome is not None and record.outcome != self.outcome:
            return False
        if self.origin is not None and self.origin.lower() not in record.origin.lower():
            return False
        attempts = lost(record)
        if self.cause is not None and self.cause not in (record.cause, *(attempt.cause for attempt in attempts)):
            return False
        if self.phase is None and self.limit is None:
            return True
        return any(self.phase in (None, attempt.phase) and self.limit in (None, attempt.limit) for attempt in attempts)


class _SkippedLines:
    """The skipped lines: reported on standard error and kept for the document, both up to a maximum."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self.number = 0
        self.kept: list[Skipped] = []

    def __call__(self, skipped: Skipped) -> None:
        self.number += 1
        if self.number <= _MOST_SKIPPED:
            self.kept.append(skipped)
        if self.number <= _MOST_NOTES:
            self._terminal.note(f"llmwatch: line {skipped.line} is skipped: {skipped.why}.")

    def close(self) -> None:
        """Report the number of further skipped lines."""
        if self.number > _MOST_NOTES:
            self._terminal.note(f"llmwatch: {self.number - _MOST_NOTES:,} more lines are skipped.")


def _choice(allowed: tuple[str, ...]) -> Any:
    return lambda value: None if value is None else options.one_of(value, allowed)


def _since(value: str | None) -> str | None:
    if value is not None:
        _moment(value)
    return value


File = Annotated[
    str, typer.Argument(metavar="FILE", help="The file that LLMWATCH_INCIDENT_LOG named; - reads standard input.")
]
Call = Annotated[
    str | None,
    typer.Option("--call", metavar="ID", help="This call in full; the beginning of its id is enough."),
]
Origin = Annotated[
    str | None, typer.Option("--origin", metavar="TEXT", help="Calls to an origin that contains this, such as a host.")
]
InPhase = Annotated[
    str | None,
    typer.Option(
        "--phase",
        metavar="NAME",
        callback=_choice(PHASES),
        help=f"Calls that lost an attempt in this phase: {', '.join(PHASES)}.",
    ),
]
Limit = Annotated[
    str | None,
    typer.Option(
        "--limit",
        metavar="NAME",
        callback=_choice(tuple(LIMITS)),
        help=f"Calls that lost an attempt to this limit: {', '.join(LIMITS)}.",
    ),
]
Outcome = Annotated[
    str | None,
    typer.Option(
        "--outcome",
        metavar="NAME",
        callback=_choice(CALL_OUTCOMES),
        help=f"Calls with this outcome: {', '.join(CALL_OUTCOMES)}.",
    ),
]
Cause = Annotated[
    str | None,
    typer.Option(
        "--cause",
        metavar="NAME",
        callback=_choice(CAUSES),
        help=f"Calls that failed, or lost an attempt, from this: {', '.join(CAUSES)}.",
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="WHEN",
        callback=_since,
        help="Calls that began then or later: 30m, 2h, 3d, 1w ago, or an ISO time, which is local without a zone.",
    ),
]
Last = Annotated[
    int | None,
    typer.Option("--last", metavar="N", min=1, max=1_000_000, help="The last N of them; no more are held in memory."),
]
Calls = Annotated[
    list[str] | None,
    typer.Option(
        "--call-log",
        metavar="FILE",
        help="Count the calls that went well here, and in its rotated files; if not given, where LLMWATCH_CALL_LOG"
        " says.",
    ),
]
OnlyTotals = Annotated[bool, typer.Option("--totals", help="Totals by phase, limit and outcome, without the calls.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="One JSON object: the calls' whole records, the totals, the lines skipped.")
]


@command
def incidents(
    file: File,
    call: Call = None,
    origin: Origin = None,
    phase: InPhase = None,
    limit: Limit = None,
    outcome: Outcome = None,
    cause: Cause = None,
    since: Since = None,
    last: Last = None,
    call_log: Calls = None,
    totals: OnlyTotals = False,
    as_json: AsJson = False,
) -> ExitCode:
    """Show the calls in an incident log, which llmwatch writes to the file in LLMWATCH_INCIDENT_LOG.

    The log has the calls that lost an attempt, whether or not a later attempt was answered. All filters hold together,
    and the totals count the calls that pass them. How many calls went well is counted in a call log (--call-log), by
    --since and --origin. A damaged line is reported on standard error, and skipped.
    """
    if call is not None and (totals or not call.strip()):
        raise typer.BadParameter("it takes an id, and cannot be combined with --totals.", param_hint="--call")
    wanted = _Wanted(
        origin=origin,
        phase=phase,
        limit=limit,
        outcome=outcome,
        cause=cause,
        since=None if since is None else _moment(since),
        last=last,
    )
    terminal = Terminal()
    with closing(_SkippedLines(terminal)) as skipped, opened(file, skipped) as log:
        calls = wanted.of(log.calls())
        if call is not None:
            calls = [_the_one(calls, call.strip(), log)]
        if as_json:
            _write_document(terminal, calls, _good(call_log, wanted), skipped)
        elif call is not None:
            for record in calls:
                incident_view.show(terminal, record)
        else:
            shown = _show(terminal, calls, log, only_totals=totals)
            good = _good(call_log, wanted)
            if shown or good.number is not None:
                terminal.show(str(good))
    return ExitCode.DONE


def _show(terminal: Terminal, calls: Iterable[CallRecord], log: IncidentLog, *, only_totals: bool) -> int:
    """Show the calls, and return their number."""
    listing, totals = Listing(), Totals()
    for record in calls:
        totals.add(record)
        if not only_totals:
            listing.add(record)
    if totals.number:
        if only_totals:
            totals.show(terminal)
        else:
            listing.show(terminal)
        terminal.show()
        terminal.show(str(totals))
    elif not log.lines:
        terminal.show(f"{log.name} is empty: there are no incidents.")
    elif not log.read:
        terminal.show(f"There is no call in {log.name}. Is it an incident log?")
    else:
        terminal.show(f"None of the {log.read:,} calls in {log.name} passes the filters.")
    return totals.number


def _good(names: list[str] | None, wanted: _Wanted) -> GoodCalls:
    return GoodCalls.among(names, origin=wanted.origin, since=wanted.since)


def _the_one(calls: Iterable[CallRecord], beginning: str, log: IncidentLog) -> CallRecord:
    """The call whose id begins with ``beginning``. Raises ``typer.BadParameter`` for no call or several."""
    named: dict[str, CallRecord] = {}
    for record in calls:
        if record.call_id.startswith(beginning) and (len(named) < _MOST_IDS or record.call_id in (*named, beginning)):
            named[record.call_id] = record
    if beginning in named:
        return named[beginning]
    if not named:
        raise typer.BadParameter(
            f"no call in {log.name} that passes the filters has an id with this beginning.", param_hint="--call"
        )
    if len(named) > 1:
        ids = ", ".join(tame(call_id) for call_id in named)
        raise typer.BadParameter(f"several ids have this beginning: {ids}. Give more of the id.", param_hint="--call")
    return next(iter(named.values()))


def _write_document(terminal: Terminal, calls: Iterable[CallRecord], good: GoodCalls, skipped: _SkippedLines) -> None:
    # Call by call, because a log may be too large for memory.
    totals = Totals()
    terminal.write('{"calls": [')
    for record in calls:
        terminal.write("\n" if totals.number == 0 else ",\n")
        terminal.write(_compact({**record.to_dict(), "model": record.model, "status": record.status}))
        totals.add(record)
    terminal.write('\n],\n"totals": ')
    terminal.write(_compact({**totals.to_dict(), "good": good.to_dict(), "skipped": skipped.number}))
    lines = ",\n".join(_compact(line.to_dict()) for line in skipped.kept)
    terminal.write(f',\n"skipped": [{lines}]}}\n')


def _compact(value: object) -> str:
    return json.dumps(value, allow_nan=False)


def _moment(text: str) -> float:
    """The time of ``--since`` in seconds since the Unix epoch. Raises ``typer.BadParameter``."""
    ago = _AGO.fullmatch(text.strip().lower())
    if ago is not None:
        return SYSTEM.wall() - float(ago[1]) * _UNITS[ago[2]]
    # Before Python 3.11, fromisoformat does not accept Z.
    iso = re.sub(r"[zZ]$", "+00:00", text.strip())
    try:
        return datetime.fromisoformat(iso).timestamp()
    except (ValueError, OverflowError, OSError):
        raise typer.BadParameter(
            f"{tame(text, 60)!r} is neither a time such as 2026-01-31T08:00, nor a while ago such as 2h or 3d.",
            param_hint="--since",
        ) from None
