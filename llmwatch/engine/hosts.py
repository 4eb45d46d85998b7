"""What a client remembers of the hosts it talks to: the gates before them, and when the last call began."""

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
"""How many are remembered. A crawler sees more, and comes back to few of them."""


def _remember(known: dict[K, V], key: K, value: V) -> None:
    """Add what is not there, and forget what was not asked for the longest if that is one too many."""
    if len(known) >= MOST_HOSTS:
        del known[next(iter(known))]
    known[key] = value


class Hosts:
    """The origins of a client, or of a process whose every session is watched, as far as they were used of late. May
    be used from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # protects both dictionaries; a leaf
        self._known: dict[tuple[str, int, float, int], Gate] = {}
        self._starts: dict[str, float] = {}
        self.salt = os.urandom(16)
        """Mixed into what is remembered of credentials, so that nobody can try out a guess."""
        at_fork.follow(self)

    def after_fork(self) -> None:
        """In a forked child: the parent's experience is its own, and its locks may be held."""
        self._lock = threading.RLock()
        for gate in self._known.values():
            # Calls of the parent, which may be closed here, go on knowing it.
            gate.after_fork()
        self._known = {}
        self._starts = {}

    def get(self, origin: str, retry: EffectiveRetry, random: Callable[[], float]) -> Gate:
        """The gate before ``origin``. Calls with other breaker or budget settings do not share it."""
        key = (origin, retry.breaker, retry.breaker_wait, retry.budget)
        with self._lock:
            found = self._known.pop(key, None)
            if found is None:
                found = Gate(retry, random)
            _remember(self._known, key, found)
            return found

    def started(self, origin: str, now: float) -> float | None:
        """A call to ``origin`` begins: seconds since the previous one began, ``None`` for the first."""
        with self._lock:
            before = self._starts.pop(origin, None)
            _remember(self._starts, origin, now)
        return None if before is None else now - before
