"""The functions of the module, on one default client, and the two windows into what is going on."""

from __future__ import annotations

import os
import threading
from typing import Any

import requests

from llmwatch.at_fork import renew_in_child
from llmwatch.client.client import Client
from llmwatch.client.collected import Collected
from llmwatch.client.stream import Stream
from llmwatch.policy import EffectiveLimits, resolve_limits
from llmwatch.records.sinks import losses
from llmwatch.watch import supervisor as supervisors

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
    """What is alive in this process now.

    ``live_attempts`` run and have no verdict; ``workers`` are their threads and those that still drain; ``orphans``
    are workers that did not wake when their attempt ended; ``unabortable`` counts, since the start, attempts whose
    worker no shutdown could wake; ``late_events`` those that came after a verdict and were dropped;
    ``supervisor_lag`` is how late the last thousand wake-ups were, in seconds (``median``, ``max``). Since the start,
    ``missed_beats`` counts the wake-ups that came more than a second late, ``failed_turns`` what went wrong in the
    supervisor, and ``supervisors_replaced`` how often its thread had died and another took over;
    ``incidents_lost`` counts the incidents that the file of ``LLMWATCH_INCIDENT_LOG`` did not take, or had not taken
    after a second; ``sink_errors`` how often a sink raised, or could not be told of a dropped call since one blocked.
    None of these harms a call.
    """
    supervisor = supervisors.current()
    return {**supervisor.registry.counts(), **supervisor.counts(), **losses(), "supervisor_lag": supervisor.lag()}


def effective_limits(url: str | None = None, body_bytes: int = 0) -> EffectiveLimits:
    """The limits that a streaming call to ``url`` with a body of ``body_bytes`` bytes would get now, each with its
    source.

    Arguments of a client or call are not known here: this is the environment over the profile. Raises
    :class:`~llmwatch.ConfigError` for an invalid environment.
    """
    return resolve_limits(environ=os.environ, url=url, body_bytes=body_bytes)
