"""What ``llmwatch run`` does in the script's own process before the script begins. Loads neither typer nor rich."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress

from llmwatch import ConfigError
from llmwatch.cli.run_summary import Summary
from llmwatch.session import install

__all__ = ["start"]

_USAGE = 2


def start(*, quiet: bool) -> None:
    """Watch every requests session of this process from now on, and say in the end what came of it.

    The summary is written once the script and its threads are through and its own exit handlers have run, as long as
    the interpreter ends in good order: not after ``os._exit`` or a signal that kills. Invalid settings
    end the process with 2.
    """
    try:
        if quiet:
            install()
            return
        summary = Summary()
        # Before anything of the script's: handlers run in reverse order.
        atexit.register(summary.write)
        install(sinks=(summary,))
    except ConfigError as error:
        with suppress(OSError, ValueError):
            print(f"llmwatch: {error}", file=sys.__stderr__, flush=True)
        os._exit(_USAGE)
