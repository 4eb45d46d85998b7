"""``llmwatch top``: the calls of a program while it runs, from its call log and its status files."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.live import Live

from llmwatch import ConfigError
from llmwatch.cli.exit_codes import ExitCode, command
from llmwatch.cli.incident_log import tame
from llmwatch.cli.incident_table import seconds
from llmwatch.cli.log_follower import LogFollower
from llmwatch.cli.terminal import Terminal
from llmwatch.cli.top_frame import Flight, Recent, drawn, summary
from llmwatch.policy.environment import CALL_LOG_VARIABLE, PROCESS_MARK, STATUS_FILE_VARIABLE
from llmwatch.watch.clock import SYSTEM, Waiter

__all__ = ["top"]

_STALE = 5.0
"""Seconds after which the process of a status file counts as silent: it writes once a second."""
_TAIL = 64 * 1024 * 1024
_LONGEST_STATUS = 4 * 1024 * 1024

Log = Annotated[
    str | None, typer.Option("--log", metavar="FILE", help="A call log; the file of LLMWATCH_CALL_LOG if none.")
]
Statuses = Annotated[
    list[str] | None,
    typer.Option(
        "--status",
        metavar="FILE",
        help="Status files, * and {pid} for any part of a name; those of LLMWATCH_STATUS_FILE if none.",
    ),
]
Window = Annotated[
    float,
    typer.Option("--window", metavar="SECONDS", min=0, help="Count the calls that ended in these; 0: the whole file."),
]
Every = Annotated[float, typer.Option("--every", metavar="SECONDS", min=0.1, max=3600, help="Look again after these.")]
Once = Annotated[bool, typer.Option("--once", help="Print one frame and end.")]


@command
def top(
    log: Log = None, status: Statuses = None, window: Window = 600.0, every: Every = 1.0, once: Once = False
) -> ExitCode:
    """Follow a call log: outcomes, rates, time to first byte, kills, resends, and what is in flight.

    LLMWATCH_CALL_LOG has each process write the log, LLMWATCH_STATUS_FILE what it has in flight, once a second. Without
    a terminal there is a line for each look. Ctrl-C ends it, with exit code 130.
    """
    path = log or os.environ.get(CALL_LOG_VARIABLE, "").strip()
    names = status or [name for name in [os.environ.get(STATUS_FILE_VARIABLE, "").strip()] if name]
    if not path and not names:
        raise typer.BadParameter(
            f"name a call log, or set {CALL_LOG_VARIABLE}; --status alone shows what is in flight.", param_hint="--log"
        )
    terminal = Terminal()
    seen = _Seen(path, names, window)
    try:
        if once:
            terminal.show(seen.frame())
        elif terminal.live:
            _redraw(terminal, seen, every)
        else:
            _print_lines(terminal, seen, every)
    finally:
        seen.close()
    return ExitCode.DONE


def _redraw(terminal: Terminal, seen: _Seen, every: float) -> None:
    live = Live(seen.frame(), console=terminal.out, screen=True, auto_refresh=False)
    try:
        # Not a with block: Ctrl-C while the first frame is drawn would leave the terminal on the other screen.
        live.start(refresh=True)
        while True:
            _pause(every)
            live.update(seen.frame(), refresh=True)
    finally:
        live.stop()


def _print_lines(terminal: Terminal, seen: _Seen, every: float) -> None:
    while True:
        terminal.write(seen.line() + "\n")
        _pause(every)


def _pause(duration: float) -> None:
    until = SYSTEM.now() + duration
    while SYSTEM.now() < until:
        SYSTEM.wait(Waiter(), until)


class _Seen:
    """The log and the status files, as they are at each look."""

    def __init__(self, path: str, statuses: Sequence[str], window: float) -> None:
        self._path = path
        self._follower = LogFollower(path, tail=_TAIL if window else None) if path else None
        self._statuses = [name.replace(PROCESS_MARK, "*") for name in statuses]
        self._recent = Recent(window)

    def frame(self) -> Any:
        """A frame of what is there now. Raises :class:`~llmwatch.ConfigError` if the log cannot be read."""
        now, flight, notes = self._look()
        within = f"calls that ended in the last {seconds(self._recent.window)}" if self._recent.window else "all calls"
        title = f"llmwatch top, {_time(now)}: {within}"
        if self._path:
            title += f" ({tame(os.path.basename(self._path), 30)})"
        return drawn(self._recent.at(now), flight, now, title=title, notes=notes)

    def line(self) -> str:
        """The same in a line."""
        now, flight, notes = self._look()
        return "; ".join([f"{_time(now)} {summary(self._recent.at(now), flight, now)}", *notes])

    def close(self) -> None:
        """Close the log."""
        if self._follower is not None:
            self._follower.close()

    def _look(self) -> tuple[float, Flight | None, list[str]]:
        notes = []
        if self._follower is not None:
            try:
                for record in self._follower.poll():
                    self._recent.add(record)
            except OSError as error:
                why = error.strerror or type(error).__name__
                raise ConfigError(f"The call log {tame(self._path)} cannot be read: {why}.", field="--log") from None
            if self._follower.missing:
                notes.append(f"there is no {tame(self._path)} yet")
            if self._follower.skipped:
                notes.append(f"{self._follower.skipped:,} lines are no calls")
        now = SYSTEM.wall()
        flight = _flight(self._statuses, now) if self._statuses else None
        if flight is not None and flight.silent:
            named = ", ".join(map(str, sorted(flight.silent)[:5]))
            more = "" if len(flight.silent) <= 5 else f" and {len(flight.silent) - 5} more"
            notes.append(f"silent for over {_STALE:g} s, killed perhaps: process {named}{more}")
        return now, flight, notes


def _flight(patterns: Sequence[str], now: float) -> Flight:
    flight = Flight()
    for path in sorted({path for pattern in patterns for path in glob.glob(pattern)}):
        document = _status(path)
        if document is None:
            continue
        process, written_at = document.get("process"), document.get("written_at")
        if not isinstance(process, int) or not isinstance(written_at, (int, float)):
            continue
        if now - written_at > _STALE:
            flight.silent.append(process)
            continue
        flight.processes += 1
        number, calls = document.get("in_flight"), document.get("calls")
        flight.in_flight += number if isinstance(number, int) else 0
        if isinstance(calls, list):
            flight.calls += [{**call, "process": process} for call in calls if isinstance(call, dict)]
    return flight


def _status(path: str) -> dict[str, Any] | None:
    """The document of a status file; ``None`` for any other file, and for one that is gone meanwhile."""
    try:
        with open(path, "rb") as file:
            document = json.loads(file.read(_LONGEST_STATUS))
    except (OSError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) and document.get("llmwatch") == "status" else None


def _time(now: float) -> str:
    return datetime.fromtimestamp(now).strftime("%H:%M:%S")
