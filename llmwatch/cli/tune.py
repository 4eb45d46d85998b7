"""``llmwatch tune``: from a call log, the limits that fit, as lines that a shell can source."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated

import typer

from llmwatch import CallRecord, ConfigError
from llmwatch.cli.exit_codes import ExitCode, command
from llmwatch.cli.incident_log import Skipped, opened, tame
from llmwatch.cli.terminal import Terminal
from llmwatch.cli.tuning import (
    MEASURED,
    Group,
    Observation,
    Recommendation,
    groups,
    least_calls,
    merged,
    percentiles,
    recommend,
    replay,
)
from llmwatch.policy import LIMIT_VARIABLES
from llmwatch.policy.environment import CALL_LOG_VARIABLE

__all__ = ["tune"]

Files = Annotated[
    list[str] | None,
    typer.Argument(metavar="[FILE...]", help="Call logs, the rotated ones too; the file of LLMWATCH_CALL_LOG if none."),
]
WhatIf = Annotated[
    list[str] | None,
    typer.Option(
        "--what-if", metavar="LIMIT=SECONDS", help=f"Replay the log against this limit: {', '.join(MEASURED)}."
    ),
]


@command
def tune(files: Files = None, what_if: WhatIf = None) -> ExitCode:
    """Recommend ttfb, first_content and stale from what calls took, which LLMWATCH_CALL_LOG has recorded.

    The limits are the shortest that end at most 1 in 1,000 healthy calls, with 95 % confidence, by an exact order
    statistic of at least 2,995 calls. Smaller groups of calls are merged by model, or get no recommendation. A call
    that its limit ended counts as one that would have taken longer. All lines but the variables are comments, so that
    a shell can source the output.
    """
    asked = dict(map(_limit, what_if or ()))
    names = files or [name for name in [os.environ.get(CALL_LOG_VARIABLE, "").strip()] if name]
    if not names:
        raise typer.BadParameter(f"name a call log, or set {CALL_LOG_VARIABLE}.", param_hint="FILE")
    terminal = Terminal()
    found = groups(_read(names, terminal))
    if not found:
        raise ConfigError(f"There is no streamed call in {', '.join(map(tame, names))}.", field="FILE")
    for group in found:
        _show_group(terminal, group)
    if asked:
        _show_replay(terminal, found, asked)
    else:
        _show_limits(terminal, merged(found))
    return ExitCode.DONE


def _limit(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        seconds = float(number)
    except ValueError:
        seconds = 0.0
    if name not in MEASURED or not 0 < seconds < 1e9:
        raise typer.BadParameter(
            f"{text!r} is no limit and seconds, such as ttfb=30; the limits are {', '.join(MEASURED)}.",
            param_hint="--what-if",
        )
    return name, seconds


def _read(names: Sequence[str], terminal: Terminal) -> Iterator[CallRecord]:
    skipped: list[Skipped] = []
    for name in names:
        with opened(name, skipped.append, kind="call log") as log:
            yield from log.calls()
    if skipped:
        terminal.note(f"{len(skipped):,} lines were skipped; the first is line {skipped[0].line}: {skipped[0].why}")


def _say(terminal: Terminal, text: str = "") -> None:
    # Values of a file cannot leave the comment.
    indent = " " * (len(text) - len(text.lstrip(" ")))
    terminal.write(f"# {indent}{tame(text, 1000)}".rstrip() + "\n")


def _show_group(terminal: Terminal, group: Group) -> None:
    _say(terminal, f"{group.name}: {group.calls:,} attempts")
    for name, observations in group.seen.items():
        found = percentiles(observations)
        killed = [one for one in observations if one.killed_at is not None]
        times = "" if found is None else ", ".join(f"{mark} {seconds:.3f} s" for mark, seconds in found.items())
        cost = sum(one.cost for one in killed)
        ended = f"; the limit ended {len(killed):,}, after {cost / len(killed):.1f} s each" if killed else ""
        if times or ended:
            _say(terminal, f"  {name}: {times or 'no answer'}{ended}")


def _show_replay(terminal: Terminal, found: Sequence[Group], asked: dict[str, float]) -> None:
    for name, seconds in asked.items():
        _say(terminal)
        _say(terminal, f"with {name}={seconds:g}:")
        for group in found:
            told = replay(group.seen[name], seconds)
            _say(
                terminal,
                f"  {group.name}: ends {told.healthy:,} of {told.answered:,} healthy attempts;"
                f" {told.ended:,} without an answer end earlier, {told.saved:,.1f} s in all",
            )


def _show_limits(terminal: Terminal, found: Sequence[Group]) -> None:
    advice = [(group, {name: recommend(name, group.seen[name]) for name in MEASURED}) for group in found]
    for group, made in advice:
        _say(terminal)
        together = f" ({group.merged} small groups together)" if group.merged > 1 else ""
        _say(terminal, f"{group.name}{together}:")
        for one in made.values():
            _say(terminal, f"  {_described(one)}")
        arguments = ", ".join(f"{name}={one.seconds:g}" for name, one in made.items() if one.seconds is not None)
        if arguments:
            _say(terminal, f"  Limits({arguments})")
    _say(terminal)
    for name in MEASURED:
        _show_variable(terminal, name, [(group.seen[name], made[name]) for group, made in advice])


def _described(one: Recommendation) -> str:
    shown = "no recommendation" if one.seconds is None else f"{one.seconds:g} s"
    sure = ", so at most 1 in 1,000 healthy calls takes longer (95 % confidence)" if one.confident else ""
    since = ""
    if one.since is not None:
        moment = datetime.fromtimestamp(one.since).isoformat(" ", "seconds")
        since = f"; the times changed at {moment}, and only the calls since then count"
    return f"{one.limit}: {shown}: {one.reason}{sure}{since}"


def _show_variable(
    terminal: Terminal, name: str, found: Sequence[tuple[Sequence[Observation], Recommendation]]
) -> None:
    """Long enough for every group, and no shorter than now where a group is too small."""
    lengths: list[float] = []
    for observations, one in found:
        if one.seconds is not None:
            lengths.append(one.seconds)
            continue
        in_force = [observation.limit for observation in observations]
        lengths += [length for length in in_force if length is not None]
        if None in in_force:
            _say(terminal, f"{LIMIT_VARIABLES[name]} is left alone: a small group has no such limit")
            return
    if not any(one.seconds is not None for _, one in found):
        _say(terminal, f"{LIMIT_VARIABLES[name]} is left alone: a bound takes {least_calls():,} calls of one model")
        return
    terminal.write(f"{LIMIT_VARIABLES[name]}={max(lengths):g}\n")
