"""The sinks that receive incidents by default: the logger, and the file that the environment names."""

from __future__ import annotations

import os
from collections.abc import Mapping

from llmwatch.errors import ConfigError
from llmwatch.interruption import is_interruption
from llmwatch.policy import incident_log
from llmwatch.records import Sink
from llmwatch.records.sinks import IncidentLog, log_incident
from llmwatch.watch.clock import SYSTEM

__all__ = ["incident_sinks"]

# The logs that were opened in this process, by absolute path and by the name given. The latter serves when the working
# directory is gone, or is another one in which no file can be made. No lock: if two threads open the same log at once,
# setdefault() keeps one of the two sinks.
_opened: dict[str, IncidentLog] = {}


def incident_sinks(environ: Mapping[str, str]) -> tuple[Sink, ...]:
    """The sinks of every call.

    Raises :class:`ConfigError` for an incident log that cannot be written and never could be in this process: the
    variable is wrong. A log that is lost later harms no call; :class:`IncidentLog` reports it. A relative name is
    looked up in each working directory. If it cannot be opened there, the file of an earlier directory stays the log.
    """
    path = incident_log(environ)
    if path is None:
        return (log_incident,)
    try:
        known = _absolute(path)
        sink = _opened.get(known)
        if sink is None:
            sink = _opened.setdefault(known, IncidentLog(path, now=SYSTEM.now))
        _opened[path] = sink
        return (log_incident, sink)
    except OSError as error:
        if is_interruption(error):
            raise
        before = _opened.get(path)
        if before is not None:
            return (log_incident, before)
        raise ConfigError(
            f"LLMWATCH_INCIDENT_LOG={path} is not usable: {error.strerror}. Name a file in a"
            " directory that exists and can be written, or unset it.",
            field="LLMWATCH_INCIDENT_LOG",
            value=path,
        ) from None


def _absolute(path: str) -> str:
    try:
        return os.path.abspath(path)
    except OSError:
        return path
