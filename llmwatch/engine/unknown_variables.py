"""A word in the log on each variable that looks like one of llmwatch's and is none, once in a process."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from llmwatch.interruption import is_interruption
from llmwatch.policy import environment

__all__ = ["log_unknown"]

_log = logging.getLogger("llmwatch")

_MOST_NAMES = 100
"""Names that are told at most: some programs make variables up as they go."""

# The names that were told. A dict's setdefault is one step of the interpreter: of many threads one tells a name, and
# there is no lock that a forked child could find held.
_told: dict[str, object] = {}


def log_unknown(environ: Mapping[str, str]) -> None:
    """Log a warning for each variable of ``environ`` that begins with ``LLMWATCH_``, is set and is not known, with the
    name that was probably meant. Each name is told once in a process; its value never is. Raises nothing.
    """
    # Whatever a handler of the log raises: a warning must not end a call.
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
