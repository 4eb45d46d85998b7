"""The counters of this process, for :func:`llmwatch.stats` and the status file."""

from __future__ import annotations

from typing import Any

from llmwatch.records.sinks import losses
from llmwatch.watch import supervisor as supervisors

__all__ = ["counters"]


def counters() -> dict[str, Any]:
    """Counters of this process, which :func:`llmwatch.stats` explains."""
    supervisor = supervisors.current()
    return {**supervisor.registry.counts(), **supervisor.counts(), **losses(), "supervisor_lag": supervisor.lag()}
