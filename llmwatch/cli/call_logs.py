"""The call logs that a command reads: which files, and their calls one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from llmwatch import CallRecord
from llmwatch.cli.incident_log import Skipped, opened
from llmwatch.cli.terminal import Terminal
from llmwatch.policy.environment import CALL_LOG_VARIABLE

__all__ = ["Files", "named", "read"]

Files = Annotated[
    list[str] | None,
    typer.Argument(metavar="[FILE...]", help="Call logs, the rotated ones too; the file of LLMWATCH_CALL_LOG if none."),
]


def named(files: Sequence[str] | None) -> list[str]:
    """The given files, or that of ``LLMWATCH_CALL_LOG``.

    Raises ``typer.BadParameter`` without either.
    """
    names = list(files or ()) or [name for name in [os.environ.get(CALL_LOG_VARIABLE, "").strip()] if name]
    if not names:
        raise typer.BadParameter(f"name a call log, or set {CALL_LOG_VARIABLE}.", param_hint="FILE")
    return names


def read(names: Sequence[str], terminal: Terminal) -> Iterator[CallRecord]:
    """The calls of every file; skipped lines are counted on standard error.

    Raises :class:`~llmwatch.ConfigError` for a file that cannot be read.
    """
    skipped: list[Skipped] = []
    for name in names:
        with opened(name, skipped.append, kind="call log") as log:
            yield from log.calls()
    if skipped:
        terminal.note(f"{len(skipped):,} lines were skipped; the first is line {skipped[0].line}: {skipped[0].why}")
