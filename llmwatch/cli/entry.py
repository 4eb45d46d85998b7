"""Where the console script begins. It works without typer and rich, to the extent of saying that they are missing."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

__all__ = ["main"]

_USAGE = 2
_INTERRUPTED = 130
# What the extra installs, by the names under which it is imported; what those need in turn counts as theirs.
_EXTRA = ("typer", "rich", "click", "shellingham", "pydantic", "annotated_doc", "markdown_it", "pygments", "mdurl")


def main() -> NoReturn:
    """Run the command in ``sys.argv`` and end the process with its exit code. Never prints a traceback for Ctrl-C."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        # Daemons and cron close what they do not need.
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (it lives as long as the process)
    try:
        code = _run(sys.argv[1:])
    except KeyboardInterrupt:
        # While the application was still being imported; it handles its own afterwards.
        code = _INTERRUPTED
    finally:
        # A second Ctrl-C, while the interpreter tidies up, ends the process without a word.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
    raise SystemExit(code)


def _run(arguments: list[str]) -> int:
    try:
        from llmwatch.cli.app import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        print('The llmwatch command needs typer and rich: pip install "llmwatch[cli]"', file=sys.stderr)
        return _USAGE
    return run(arguments)
