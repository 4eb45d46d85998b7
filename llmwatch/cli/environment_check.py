"""The check of the LLMWATCH_ variables before a command begins to serve or run."""

from __future__ import annotations

from collections.abc import Mapping

from llmwatch.engine.settings import environment_sinks
from llmwatch.policy import (
    resolve_keepalive,
    resolve_limits,
    resolve_max_body,
    resolve_max_event,
    resolve_override,
    resolve_retry,
)
from llmwatch.wire import MAX_EVENT

__all__ = ["checked_environment"]


def checked_environment(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The warnings about the variables. Raises :class:`~llmwatch.ConfigError` for invalid values."""
    resolve_retry(environ=environ)
    resolve_keepalive(None, environ)
    resolve_max_event(None, environ, default=MAX_EVENT)
    resolve_max_body(None, environ)
    resolve_override(False, environ)
    environment_sinks(environ)
    return resolve_limits(environ=environ).warnings
