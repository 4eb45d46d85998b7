"""``llmwatch report``: what happened in call logs, as one page or as text."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from llmwatch import ConfigError
from llmwatch.cli.call_logs import Files, named, read
from llmwatch.cli.exit_codes import ExitCode, command
from llmwatch.cli.incident_log import tame
from llmwatch.cli.terminal import Terminal
from llmwatch.report.advice import advise, variables
from llmwatch.report.tuning import Grouping

__all__ = ["report"]

Output = Annotated[
    str | None, typer.Option("--output", "-o", metavar="PAGE", help="Write the page to this file, report.html say.")
]
AsText = Annotated[bool, typer.Option("--text", help="Print the numbers; no page is written.")]


@command
def report(files: Files = None, output: Output = None, text: AsText = False) -> ExitCode:
    """Show what happened in call logs: which model hung, when, and which limits fit.

    How often each hung, what that cost, what recovery saved, how long answers took, and the slowest calls are in it.
    -o writes one HTML page that stands alone: it asks the network for nothing, in light and dark, on a telephone too.
    It needs the extra "report". --text prints the same numbers: calls by outcome, model, status, process and label, and
    lost attempts by cause. Neither holds a prompt, an answer, a key or the text of an error.
    """
    if text == (output is not None):
        raise typer.BadParameter(
            "give either the file of the page, such as -o report.html, or --text.", param_hint="-o"
        )
    names = named(files)
    terminal = Terminal()
    if output is None:
        _print(terminal, names)
    else:
        _write(terminal, names, output)
    return ExitCode.DONE


def _print(terminal: Terminal, names: list[str]) -> None:
    from llmwatch.cli.report_text import show
    from llmwatch.report.totals import Totals

    totals, grouping = Totals(), Grouping()
    for record in read(names, terminal):
        totals.add(record)
        grouping.add(record)
    if not totals.calls:
        raise _no_call(names)
    show(terminal, totals, variables(advise(grouping.groups())))


def _write(terminal: Terminal, names: list[str], output: str) -> None:
    try:
        from llmwatch.report.page import page
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("llmwatch"):
            raise
        raise ConfigError(
            'The page needs Bokeh: pip install "llmwatch[cli,report]", or print the numbers with --text.', field="-o"
        ) from None
    from llmwatch.report.columns import Columns

    columns, grouping = Columns(), Grouping()
    for record in read(names, terminal):
        columns.add(record)
        grouping.add(record)
    if not len(columns):
        raise _no_call(names)
    advised = advise(grouping.groups())
    _save(output, page(columns, advised, variables(advised)))
    terminal.note(f"{tame(output)} shows {len(columns):,} calls.")


def _save(output: str, text: str) -> None:
    try:
        # The log may be its owner's alone, and so is what it says.
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ConfigError(f"The page {tame(output)} cannot be written: {why}.", field="-o") from None


def _no_call(names: list[str]) -> ConfigError:
    return ConfigError(f"There is no call in {', '.join(map(tame, names))}.", field="FILE")
