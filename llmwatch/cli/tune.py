"""``llmwatch tune``: from a call log, the limits that fit, as lines that a shell can source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from llmwatch import ConfigError
from llmwatch.cli.call_logs import Files, named, read
from llmwatch.cli.exit_codes import ExitCode, command
from llmwatch.cli.incident_log import tame
from llmwatch.cli.terminal import Terminal
from llmwatch.report.advice import advise, described, variables
from llmwatch.report.tuning import MEASURED, Group, groups, percentiles, replay

__all__ = ["tune"]

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
    names = named(files)
    terminal = Terminal()
    found = groups(read(names, terminal))
    if not found:
        raise ConfigError(f"There is no streamed call in {', '.join(map(tame, names))}.", field="FILE")
    for group in found:
        _show_group(terminal, group)
    if asked:
        _show_replay(terminal, found, asked)
    else:
        _show_limits(terminal, found)
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
    advised = advise(found)
    for one in advised:
        _say(terminal)
        together = f" ({one.group.merged} small groups together)" if one.group.merged > 1 else ""
        _say(terminal, f"{one.group.name}{together}:")
        for recommendation in one.made.values():
            _say(terminal, f"  {described(recommendation)}")
        if one.arguments:
            _say(terminal, f"  Limits({one.arguments})")
    _say(terminal)
    for variable in variables(advised):
        if variable.seconds is None:
            _say(terminal, variable.line)
        else:
            terminal.write(f"{variable.line}\n")
