"""What a client remembers of the hosts it talks to: retry budgets, circuit breakers, when the last call began."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from llmwatch.policy import EffectiveRetry
from llmwatch.recovery import Breaker, RetryBudget
from llmwatch.watch import forks

__all__ = ["Origin", "Origins"]


@dataclass(slots=True)
class Origin:
    """One origin (scheme, host and port) under one set of retry settings."""

    breaker: Breaker
    budget: RetryBudget


class Origins:
    """All origins of a client. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # protects both dictionaries; a leaf
        self._known: dict[tuple[str, int, float, int], Origin] = {}
        self._starts: dict[str, float] = {}
        forks.follow(self)

    def after_fork(self) -> None:
        """In a forked child: the parent's experience is its own, and its locks may be held."""
        self._lock = threading.RLock()
        self._known = {}
        self._starts = {}

    def get(self, origin: str, retry: EffectiveRetry) -> Origin:
        """The state of ``origin``. Calls with other breaker or budget settings do not share it."""
        key = (origin, retry.breaker, retry.breaker_wait, retry.budget)
        with self._lock:
            found = self._known.get(key)
            if found is None:
                found = Origin(Breaker(retry.breaker, retry.breaker_wait), RetryBudget(retry.budget))
                self._known[key] = found
            return found

    def started(self, origin: str, now: float) -> float | None:
        """A call to ``origin`` begins: seconds since the previous one began, ``None`` for the first."""
        with self._lock:
            before = self._starts.get(origin)
            self._starts[origin] = now
        return None if before is None else now - before
