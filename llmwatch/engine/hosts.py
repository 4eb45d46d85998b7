"""A client's memory of its hosts: their gates, and when the last call began."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TypeVar

from llmwatch import at_fork
from llmwatch.engine.gate import Gate
from llmwatch.policy import EffectiveRetry

__all__ = ["MOST_HOSTS", "Hosts"]

K = TypeVar("K")
V = TypeVar("V")

MOST_HOSTS = 1024
"""The most origins that are remembered. A crawler sees more and returns to few of them."""


def _remember(known: dict[K, V], key: K, value: V) -> None:
    """Add a missing entry; if there are too many, forget the one that was not used for the longest time."""
    if len(known) >= MOST_HOSTS:
        del known[next(iter(known))]
    known[key] = value


class Hosts:
    """The recently used origins of a client, or of a process whose every session is watched. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # protects both dictionaries; a leaf
        self._known: dict[tuple[str, int, float, int], Gate] = {}
        self._starts: dict[str, float] = {}
        self.salt = os.urandom(16)
        """Mixed into the hashes of credentials, so that a guess cannot be tested against them."""
        at_fork.follow(self)

    def after_fork(self) -> None:
        """In a forked child: forget the parent's gates, whose locks may be held."""
        self._lock = threading.RLock()
        for gate in self._known.values():
            # Calls of the parent, which may be closed in this process, still refer to the gate.
            gate.after_fork()
        self._known = {}
        self._starts = {}

    def get(self, origin: str, retry: EffectiveRetry, random: Callable[[], float]) -> Gate:
        """The gate of ``origin``. Calls with other breaker or budget settings have another one."""
        key = (origin, retry.breaker, retry.breaker_wait, retry.budget)
        with self._lock:
            found = self._known.pop(key, None)
            if found is None:
                found = Gate(retry, random)
            _remember(self._known, key, found)
            return found

    def started(self, origin: str, now: float) -> float | None:
        """Note that a call to ``origin`` begins. Seconds since the previous one began, ``None`` for the first."""
        with self._lock:
            before = self._starts.pop(origin, None)
            _remember(self._starts, origin, now)
        return None if before is None else now - before
