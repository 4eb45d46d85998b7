"""Calls on a default client, the counters of this process, and the limits that a call would get."""

from __future__ import annotations

import os
import threading
from typing import Any

import requests

from llmwatch.at_fork import renew_in_child
from llmwatch.client.client import Client, Stream
from llmwatch.client.collected import Collected
from llmwatch.engine.counters import counters
from llmwatch.policy import EffectiveLimits, overridden_limits, resolve_limits

__all__ = ["collect", "effective_limits", "request", "stats", "stream"]

_lock = threading.RLock()  # protects _default; a leaf
renew_in_child(globals(), "_lock", threading.RLock)
_default: Client | None = None


def _client() -> Client:
    global _default
    with _lock:
        if _default is None:
            _default = Client()
        return _default


def stream(method: str, url: str, **kwargs: Any) -> Stream:
    """:meth:`Client.stream` on a default client that lives as long as the process."""
    return _client().stream(method, url, **kwargs)


def collect(method: str, url: str, **kwargs: Any) -> Collected:
    """:meth:`Client.collect` on a default client that lives as long as the process."""
    return _client().collect(method, url, **kwargs)


def request(method: str, url: str, **kwargs: Any) -> requests.Response:
    """:meth:`Client.request` on a default client that lives as long as the process."""
    return _client().request(method, url, **kwargs)


def stats() -> dict[str, Any]:
    """Counters of this process: what is alive, and what has failed. None of these failures harms a call.

    Now: ``live_attempts`` (without a verdict), ``workers`` (their threads, and those that still drain), ``orphans``
    (workers that did not wake when their attempt ended), and ``supervisor_lag`` (how late the last thousand wake-ups
    were, in seconds: ``median``, ``max``).

    Since the start: ``unabortable`` (attempts whose worker no shutdown could wake), ``late_events`` (events that came
    after a verdict and were dropped), ``missed_beats`` (wake-ups more than a second late), ``failed_turns`` (exceptions
    in the supervisor), ``supervisors_replaced`` (how often another thread took over from a dead one),
    ``incidents_lost`` (incidents that the file of ``LLMWATCH_INCIDENT_LOG`` did not take, or not within a second),
    ``calls_lost`` (calls that a call log could not write) and ``sink_errors`` (how often a sink raised, or was not
    called for a dropped call since an earlier one blocked).
    """
    return counters()


def effective_limits(url: str | None = None, body_bytes: int = 0) -> EffectiveLimits:
    """The limits of a streaming call to ``url`` with ``body_bytes`` bytes of body, each with its source.

    They come from the environment and the profile; arguments of a client or call are not known here. Raises
    :class:`~llmwatch.ConfigError` for an invalid environment.
    """
    return overridden_limits(resolve_limits(environ=os.environ, url=url, body_bytes=body_bytes))
