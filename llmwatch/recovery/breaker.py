"""The circuit breaker: an origin that answers nobody is left alone for a while.

Several calls in a row that are lost to ``connect`` or ``ttfb`` open it. It then refuses calls until its wait is over,
lets a single one through as a probe, and goes by what becomes of that one. A refused connection does not count: it
fails at once, and costs nobody a wait.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import Enum

from llmwatch.recovery.failure import Failure, FailureKind

__all__ = ["Breaker", "BreakerState", "Outcome", "Permit", "is_lost"]


class BreakerState(str, Enum):
    """``CLOSED``: calls go through; ``OPEN``: none does; ``HALF_OPEN``: one probe is out and the others wait for it."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"

    def __str__(self) -> str:
        return str(self._value_)


class Outcome(str, Enum):
    """What became of a call.

    ``LOST`` to silence; ``ANSWERED``, for which an error counts, since somebody is there; or ``ABANDONED`` before
    either could be told (cancelled, say).
    """

    LOST = "lost"
    ANSWERED = "answered"
    ABANDONED = "abandoned"

    def __str__(self) -> str:
        return str(self._value_)


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """The breaker's answer to one call. Hand it back to :meth:`Breaker.settle` when an allowed call is over.

    ``wait``: seconds until it is worth asking again, 0 where it is allowed. ``serial`` tells one opening of the circuit
    from the next.
    """

    allowed: bool
    probe: bool
    wait: float
    serial: int


def is_lost(failure: Failure) -> bool:
    """Whether a call that ended like this counts as lost to silence."""
    return failure.kind is FailureKind.WATCHDOG and failure.limit in ("connect", "ttfb")


class Breaker:
    """Opens after ``threshold`` lost calls in a row, for ``wait`` seconds. A threshold of 0 never opens.

    ``now`` is monotonic seconds, always the same clock's. May be used from any thread. A probe of which nothing is
    heard for another ``wait`` seconds is given up, and the next call is one.
    """

    def __init__(self, threshold: int = 5, wait: float = 30.0) -> None:
        self._threshold = threshold
        self._wait = wait
        self._lost = 0
        self._state = BreakerState.CLOSED
        self._until = 0.0
        self._serial = 0
        # Protects the four fields above. A leaf: nothing is called and no other lock taken while it is held.
        self._state_lock = threading.RLock()

    @property
    def state(self) -> BreakerState:
        """Where it stands. An open breaker stays ``OPEN`` until a call asks."""
        with self._state_lock:
            return self._state

    def left(self, now: float) -> float:
        """Seconds until a call may ask with success, 0 if it may now. Takes no probe."""
        with self._state_lock:
            return 0.0 if self._state is BreakerState.CLOSED else max(0.0, self._until - now)

    def admit(self, now: float) -> Permit:
        """Ask whether a call may go out."""
        with self._state_lock:
            if self._state is BreakerState.CLOSED:
                return Permit(allowed=True, probe=False, wait=0.0, serial=self._serial)
            if now < self._until:
                return Permit(allowed=False, probe=False, wait=self._until - now, serial=self._serial)
            self._state = BreakerState.HALF_OPEN
            self._until = now + self._wait
            self._serial += 1
            return Permit(allowed=True, probe=True, wait=0.0, serial=self._serial)

    def settle(self, permit: Permit, outcome: Outcome, now: float) -> None:
        """Say what became of a call.

        A permit from before the circuit opened, or of a probe that was given up, changes nothing.
        """
        with self._state_lock:
            if not permit.allowed or permit.serial != self._serial or not self._threshold:
                return
            if outcome is Outcome.ANSWERED:
                self._state, self._lost = BreakerState.CLOSED, 0
            elif permit.probe:
                # An abandoned probe has shown nothing: the next call is one, at once.
                self._open(now if outcome is Outcome.ABANDONED else now + self._wait)
            elif outcome is Outcome.LOST:
                self._lost += 1
                if self._lost >= self._threshold:
                    self._open(now + self._wait)

    def _open(self, until: float) -> None:
        self._state, self._lost, self._until = BreakerState.OPEN, 0, until
        self._serial += 1
