"""The start of ``llmwatch run`` in the script's process, before the script, without typer and rich."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress

from llmwatch import ConfigError
from llmwatch.cli.run_summary import Summary
from llmwatch.hooks import install

__all__ = ["start"]

_USAGE = 2


def start(*, quiet: bool) -> None:
    """Install llmwatch in this process, and write a summary at the end unless ``quiet``.

    The summary follows the end of the script, its threads and its exit handlers, if the interpreter shuts down
    normally: not after ``os._exit`` or a signal that kills. Invalid settings end the process with exit code 2.
    """
    try:
        if quiet:
            install()
            return
        summary = Summary()
        # Registered before the script's handlers, because handlers run in reverse order.
        atexit.register(summary.write)
        install(sinks=(summary,))
    except ConfigError as error:
        with suppress(OSError, ValueError):
            print(f"llmwatch: {error}", file=sys.__stderr__, flush=True)
        os._exit(_USAGE)
