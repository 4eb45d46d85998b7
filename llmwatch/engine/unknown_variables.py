"""A warning in the log for each unknown variable that begins with ``LLMWATCH_``, once in a process."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from llmwatch.interruption import is_interruption
from llmwatch.policy import environment

__all__ = ["log_unknown"]

_log = logging.getLogger("llmwatch")

_MOST_NAMES = 100
"""The most names that are logged: some programs generate names of variables."""

# The names that were logged. A dict's setdefault is one step of the interpreter: one of many threads logs a name, and
# there is no lock that a forked child could find held.
_told: dict[str, object] = {}


def log_unknown(environ: Mapping[str, str]) -> None:
    """Log a warning for each unknown variable of ``environ`` that begins with ``LLMWATCH_``.

    The warning names the variable that was probably meant, and never shows a value. Raises nothing.
    """
    # A handler of the log may raise anything; a warning must not end a call.
    try:
        for name, text in environment.settings(environ).items():
            if name in environment.KNOWN_VARIABLES or name in _told or len(_told) >= _MOST_NAMES:
                continue
            this = object()
            if _told.setdefault(name, this) is this:
                for sentence in environment.unknown({name: text}):
                    _log.warning("llmwatch: %s", sentence)
    except Exception as error:
        if is_interruption(error):
            raise
