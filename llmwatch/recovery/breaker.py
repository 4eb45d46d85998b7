"""The circuit breaker: an origin that answers no call is tried by one call at a time.

Attempts in a row that are lost before an answer open it. It then lets single attempts through as probes, after 1, 2,
4, ... seconds. The first byte of any answer ends the outage: the waiting attempts go out 1, 2, 4, ... at a time, one
more for each that is answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from llmwatch.errors import ProviderError
from llmwatch.policy import LIMITS
from llmwatch.recovery.failure import Failure, FailureKind, Outcome
from llmwatch.recovery.retryability import RETRYABLE_STATUSES

__all__ = ["DOUBT", "NEWS", "Breaker", "BreakerState", "Outcome", "Permit", "outcome_of"]

_FIRST_PROBE = 1.0
"""Seconds from the start of an outage to its first probe."""
NEWS = 1.0
"""Seconds that the last attempt of a call waits for news of others while attempts are being lost."""
DOUBT = 8.0
"""``NEWS`` after as many failures in a row, of any kind, as open the breaker: the longest back-off."""
_LOST_STATUSES = frozenset({502, 503, 504, 529})


class BreakerState(str, Enum):
    """The states: ``CLOSED`` lets attempts out, ``OPEN`` none. In ``HALF_OPEN`` one probe is under way.

    In ``RECOVERING`` the origin has answered, and the attempts that waited go out in growing numbers.
    """

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    RECOVERING = "recovering"

    def __str__(self) -> str:
        return str(self._value_)


def outcome_of(failure: Failure, error: BaseException | None = None) -> Outcome:
    """The outcome for the origin of an attempt that failed before any byte of an answer.

    Lost are ``connect``, ``headers`` and ``ttfb``, a refused or impossible connection, and the statuses 502, 503, 504
    and 529 (Anthropic's "overloaded"), unless a local server says that it loads its model.
    """
    if failure.kind is FailureKind.WATCHDOG:
        row = LIMITS.get(failure.limit or "")
        if row is not None and row.lost:
            return Outcome.LOST
        return Outcome.FAILED if failure.limit == "send" else Outcome.ABANDONED
    if failure.kind is FailureKind.HTTP_STATUS and failure.status in _LOST_STATUSES:
        return Outcome.ANSWERED if isinstance(error, ProviderError) and error.loading else Outcome.LOST
    if failure.kind is FailureKind.HTTP_STATUS and failure.status in RETRYABLE_STATUSES:
        return Outcome.FAILED if failure.retry_after is None else Outcome.REFUSED
    return failure.row.outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """Leave for one attempt, given at the instant ``at``. ``serial`` numbers the breaker's state then."""

    serial: int
    at: float = 0.0


class Breaker:
    """Opens after ``threshold`` lost attempts in a row; 0 never opens.

    Probes are at most ``wait`` seconds apart. Times are on a monotonic clock. An attempt without news for ``wait``
    seconds no longer holds back the next. Not thread-safe: its owner has the lock.
    """

    def __init__(self, threshold: int = 5, wait: float = 30.0) -> None:
        self._threshold = threshold
        self._wait = wait
        self.state = BreakerState.CLOSED
        self._serial = 0
        self._lost = 0  # in a row
        self._since = 0.0  # when the first of them was sent
        self._failed = 0  # in a row, by any failure
        self._failed_since = 0.0  # when the first of those was sent
        self._step = min(_FIRST_PROBE, wait)  # between the last probe and the next
        self._until = 0.0  # when the next attempt may go out, if time decides
        self._out = 0  # attempts sent while recovering and not answered yet
        self._room = 1  # the most of those at a time

    @property
    def doubtful(self) -> bool:
        """Whether attempts have failed and none sent since is answered, in a closed breaker."""
        return self.state is BreakerState.CLOSED and self._failed > 0

    @property
    def patience(self) -> float:
        """Seconds that the last attempt of a call waits for news in doubt."""
        return DOUBT if self._failed >= self._threshold else NEWS

    def ready_at(self, now: float) -> float:
        """When the next attempt may go out: ``now`` or earlier if it may at once."""
        if self.state is BreakerState.CLOSED or (self.state is BreakerState.RECOVERING and self._out < self._room):
            return now
        return self._until

    def admit(self, now: float) -> Permit:
        """Let out an attempt whose time has come."""
        if self.state is BreakerState.OPEN or self.state is BreakerState.HALF_OPEN:
            self.state = BreakerState.HALF_OPEN
            self._serial += 1
            self._until = now + self._wait
        elif self.state is BreakerState.RECOVERING:
            self._out += 1
            self._until = now + self._wait
        return Permit(serial=self._serial, at=now)

    def settle(self, permit: Permit, outcome: Outcome, now: float) -> None:
        """Report the outcome of an attempt: once it is answered, else once it is over.

        The answer to an attempt that was sent before the first lost one does not end the outage. A loss counts only in
        the state of the breaker in which its attempt was sent. ``FAILED`` and ``ABANDONED`` neither end a row of losses
        nor add to it, and do not answer a probe. ``REFUSED`` is an answer unless the breaker is closed.
        """
        current = permit.serial == self._serial
        if outcome is Outcome.REFUSED and self.state is not BreakerState.CLOSED:
            outcome = Outcome.ANSWERED
        if outcome is Outcome.ANSWERED:
            if permit.at >= self._failed_since:
                self._failed = 0
            if permit.at >= self._since or not self._lost:
                self._answered(current)
            return
        if not current or not self._threshold:
            return
        if outcome is not Outcome.ABANDONED:
            self._failed_since = min(self._failed_since, permit.at) if self._failed else permit.at
            self._failed += 1
        if self.state is BreakerState.HALF_OPEN:
            # An abandoned probe shows nothing: the next goes out at once.
            self._open(now, 0.0 if outcome is Outcome.ABANDONED else self._step * 2)
        else:
            self._out -= self.state is BreakerState.RECOVERING
            if outcome is Outcome.LOST and self.state is not BreakerState.OPEN:
                self._since = min(self._since, permit.at) if self._lost else permit.at
                self._lost += 1
                if self._lost >= self._threshold:
                    self._open(now, _FIRST_PROBE)

    def calm(self) -> None:
        """No attempt waits: the recovery is over."""
        if self.state is BreakerState.RECOVERING:
            self.state = BreakerState.CLOSED

    def _answered(self, current: bool) -> None:
        self._lost = 0
        if self.state is BreakerState.RECOVERING and current:
            self._out -= 1
            self._room += 1
        elif self.state in (BreakerState.OPEN, BreakerState.HALF_OPEN):
            self.state = BreakerState.RECOVERING
            self._serial += 1
            self._out, self._room = 0, 1

    def _open(self, now: float, step: float) -> None:
        if step:
            self._step = min(step, self._wait)
        self.state = BreakerState.OPEN
        self._until = now + (self._step if step else 0.0)
        self._serial += 1
