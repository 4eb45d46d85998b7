"""Where incidents go without being asked: the logger, and the file that the environment names."""

from __future__ import annotations

from collections.abc import Mapping

from llmwatch.errors import ConfigError
from llmwatch.policy import incident_log
from llmwatch.records import JsonLinesSink, Sink, log_incident

__all__ = ["incident_sinks"]


def incident_sinks(environ: Mapping[str, str]) -> tuple[Sink, ...]:
    """The sinks of every call. Raises :class:`ConfigError` for an incident log that cannot be written."""
    path = incident_log(environ)
    if path is None:
        return (log_incident,)
    try:
        return (log_incident, JsonLinesSink(path))
    except OSError as error:
        raise ConfigError(
            f"LLMWATCH_INCIDENT_LOG={path} cannot be opened for appending: {error.strerror}. Name a file in a"
            " directory that exists and can be written, or unset it.",
            field="LLMWATCH_INCIDENT_LOG",
            value=path,
        ) from None
