"""``llmwatch demo``: a call to a silent provider is killed at its limit, resent, and answered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.text import Text

from llmwatch import AttemptRecord
from llmwatch.cli import options
from llmwatch.cli.comparison import Comparison, compare
from llmwatch.cli.demo_script import Pace, Recovered, make_server, recover
from llmwatch.cli.exit_codes import ExitCode, command, describe
from llmwatch.cli.terminal import Terminal, table
from llmwatch.cli.timeline import LiveTimeline, NoTimeline, PlainTimeline, Timeline
from llmwatch.faults.catalogue import ANSWER
from llmwatch.policy.values import shown
from llmwatch.watch.clock import SYSTEM

__all__ = ["demo"]

_REQUESTS = 2
_SHORTEST, _LONGEST = 0.2, 60.0


@command
def demo(
    ttfb: Annotated[
        float | None,
        typer.Option(
            "--ttfb",
            metavar="SECONDS",
            min=_SHORTEST,
            max=_LONGEST,
            callback=options.limit,
            help="Limit until the first byte of the answer; 1.5 by default.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object at the end, and no timeline.")] = False,
    fast: Annotated[
        bool, typer.Option("--fast", help="The same with limits and pauses of a fraction of a second.")
    ] = False,
) -> ExitCode:
    """Show how a call to a silent provider is killed and recovered, on this machine alone.

    A provider in this process accepts the connection and sends nothing. The call is killed at its limit, resent on a
    fresh connection, and answered. Then plain requests makes the same calls, for comparison. Exit code 0 means that the
    whole answer was recovered with exactly two requests.
    """
    pace = Pace.of(ttfb, fast=fast)
    terminal = Terminal()
    began = SYSTEM.now()

    def now() -> float:
        return SYSTEM.now() - began

    timeline = _timeline(terminal, now, as_json=as_json)
    compared: tuple[Comparison, ...] = ()
    with make_server(pace) as server:
        try:
            timeline.section(
                f"A provider at {server.netloc} accepts the call and goes silent (limit ttfb {shown(pace.ttfb)})"
            )
            call = recover(server, pace, timeline, now)
            problems = list(_problems(call))
            if not problems:
                timeline.section("The same in plain requests, on the same server")
                compared = compare(server, pace, timeline, now)
                problems += _unended(compared)
        finally:
            timeline.close()
    if as_json:
        terminal.document(_document(call, compared, problems, now()))
    else:
        _summary(terminal, call, problems, now())
    for problem in problems:
        terminal.note(f"llmwatch: the demo went wrong: {problem}")
    return ExitCode.FAILED if problems else ExitCode.DONE


def _timeline(terminal: Terminal, now: Any, *, as_json: bool) -> Timeline:
    if as_json:
        return NoTimeline()
    return LiveTimeline(terminal, now) if terminal.live else PlainTimeline(terminal, now)


def _problems(call: Recovered) -> Iterator[str]:
    if call.error is not None:
        yield f"the call was not recovered: {call.error}"
    elif call.answer != ANSWER:
        yield f"the answer ({len(call.answer)} characters) is not the one that the provider gave ({len(ANSWER)})."
    if call.requests != _REQUESTS:
        yield f"{call.requests} requests reached the provider, and not {_REQUESTS}."
    if call.error is None and (call.record is None or call.record.outcome != "recovered"):
        yield "the record does not say that the call was recovered."


def _unended(compared: tuple[Comparison, ...]) -> list[str]:
    return [
        f"a call that only got pings was not ended at first_content: {one.result} after {one.seconds:.1f} s."
        for one in compared
        if one.entry_point == "llmwatch" and one.waiting
    ]


def _summary(terminal: Terminal, call: Recovered, problems: list[str], total: float) -> None:
    attempts = call.record.attempts if call.record is not None else ()
    terminal.show()
    rows = [_row(attempt) for attempt in attempts]
    terminal.show(table(("attempt", "what happened", "after", "kill lag", "connection"), rows))
    terminal.show()
    verdict = "not recovered" if problems else "recovered, equal to what the provider said"
    facts = (
        ("answer", Text(verdict, style="bold red" if problems else "bold green")),
        ("requests", f"{call.requests} reached the provider, on {call.connections} connections"),
        ("time", f"{call.elapsed:.2f} s for the call, {total:.1f} s in all"),
    )
    terminal.show(table(("", ""), facts, header=False))


def _row(attempt: AttemptRecord) -> tuple[str, str, str, str, str]:
    if attempt.limit is not None:
        what = f"killed at {attempt.limit} {shown(attempt.limit_seconds or 0.0)}"
    else:
        what = "answered" if attempt.error is None else f"failed: {attempt.error}"
    lag = "" if attempt.kill_lag is None else f"{attempt.kill_lag * 1000:.2f} ms"
    connection = {True: "reused", False: "fresh"}.get(bool(attempt.socket_reused), "")
    return str(attempt.number), what, f"{attempt.elapsed:.3f} s", lag, connection


def _document(call: Recovered, compared: tuple[Comparison, ...], problems: list[str], total: float) -> dict[str, Any]:
    return {
        "recovered": not problems,
        "answer": call.answer,
        "requests": call.requests,
        "connections": call.connections,
        "seconds": call.elapsed,
        "total_seconds": total,
        "comparison": [one.to_dict() for one in compared],
        "problems": problems,
        "error": None if call.error is None else describe(call.error),
        "record": None if call.record is None else call.record.to_dict(),
    }
