"""The start of ``llmwatch run`` in a script's process, before the script, without typer and rich."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from llmwatch import ConfigError
from llmwatch.cli.run_summary import Summary, standard_error
from llmwatch.hooks import install
from llmwatch.hooks.async_calls import notice_async_calls
from llmwatch.hooks.left_alone import tell_with
from llmwatch.hooks.own_connections import notice_own_connections

__all__ = ["start"]

_USAGE = 2


def start(message: Mapping[str, Any], *, child: bool) -> None:
    """Install llmwatch in this process, as ``message`` of the command says, and see to the summary.

    In the script's own process the summary follows the end of the script, its threads and its exit handlers, if the
    interpreter shuts down normally: not after ``os._exit`` or a signal that kills. Invalid settings end the process
    with exit code 2. A ``child`` adds its counts to the summary and writes none; invalid settings raise
    :class:`~llmwatch.ConfigError`. What is not watched is said at its first use, unless that is to be quiet, or the
    child's standard error is another file.
    """
    said = not message["quiet"] and (not child or message["errors"] == standard_error())
    try:
        tell_with(_say if said else _drop)
        if message["quiet"] and message["json"] is None:
            install()
            return
        main = None if child else message["process"]
        summary = Summary(lines=not message["quiet"], file=message["json"], folder=message["folder"], main=main)
        # Registered before the script's handlers, because handlers run in reverse order.
        atexit.register(summary.write)
        install(sinks=(summary,))
        notice_async_calls()
        notice_own_connections()
    except ConfigError as error:
        if child:
            raise
        _say(str(error))
        if message["folder"] is not None:
            with suppress(OSError):
                os.rmdir(message["folder"])
        os._exit(_USAGE)


def _say(line: str) -> None:
    # The process's original standard error, whatever the script puts in its place.
    with suppress(AttributeError, OSError, ValueError):
        print(f"llmwatch: {line}", file=sys.__stderr__, flush=True)


def _drop(line: str) -> None:
    """Say nothing."""
