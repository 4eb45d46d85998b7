"""The start of ``llmwatch run`` in the script's process, before the script, without typer and rich."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress

from llmwatch import ConfigError
from llmwatch.cli.run_summary import Summary
from llmwatch.hooks import install
from llmwatch.hooks.async_calls import notice_async_calls
from llmwatch.hooks.left_alone import tell_with

__all__ = ["start"]

_USAGE = 2


def start(*, quiet: bool, json: str | None = None) -> None:
    """Install llmwatch in this process, and write a summary at the end.

    The summary has lines unless ``quiet``, and goes to the file ``json`` if there is one. What is not watched is said
    at its first use, unless ``quiet``. The summary follows the end of the script, its threads and its exit handlers, if
    the interpreter shuts down normally: not after ``os._exit`` or a signal that kills. Invalid settings end the process
    with exit code 2.
    """
    try:
        tell_with(_drop if quiet else _say)
        if quiet and json is None:
            install()
            return
        summary = Summary(lines=not quiet, file=json)
        # Registered before the script's handlers, because handlers run in reverse order.
        atexit.register(summary.write)
        install(sinks=(summary,))
        notice_async_calls()
    except ConfigError as error:
        _say(str(error))
        os._exit(_USAGE)


def _say(line: str) -> None:
    # The process's original standard error, whatever the script puts in its place.
    with suppress(AttributeError, OSError, ValueError):
        print(f"llmwatch: {line}", file=sys.__stderr__, flush=True)


def _drop(line: str) -> None:
    """Say nothing."""
