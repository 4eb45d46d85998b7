"""The console script. Without typer and rich it says what to install."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

__all__ = ["main"]

_USAGE = 2
_INTERRUPTED = 130
# The packages of the extra and their dependencies, by the names under which they are imported.
_EXTRA = ("typer", "rich", "click", "shellingham", "pydantic", "annotated_doc", "markdown_it", "pygments", "mdurl")


def main() -> NoReturn:
    """Run the command in ``sys.argv`` and exit with its code. Ctrl-C never prints a traceback."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        # A daemon or cron may start a program with closed streams.
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (it lives as long as the process)
    try:
        code = _run(sys.argv[1:])
    except KeyboardInterrupt:
        # During the import of the application, which handles later interrupts itself.
        code = _INTERRUPTED
    finally:
        # A second Ctrl-C, while the interpreter shuts down, ends the process without a message.
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
