"""The retry budget: while a provider is down for all calls, resends only add to its load.

Each client has a bucket of tokens for each origin. A resend takes one token. A success returns a tenth, a second
returns one, and each call adds three for as long as it lasts: a call that is sent three times never waits for another.
"""

from __future__ import annotations

__all__ = ["RetryBudget"]

_EACH_CALL = 3.0
_REFUND = 0.1
_EACH_SECOND = 1.0
# Ten times 0.1 is a little less than 1.
_LEAST = 1.0 - 1e-9


class RetryBudget:
    """A bucket of ``size`` tokens, full at first. A size of 0 sets no bound.

    ``now`` is in monotonic seconds. Not thread-safe: its owner has the lock.
    """

    def __init__(self, size: int = 10) -> None:
        self._size = size
        self.calls = 0
        """The number of calls in flight. Call :meth:`fit` after a change if tokens are ``spent``."""
        self.spent = 0.0
        self._at = 0.0  # the instant of `spent`

    def fit(self) -> None:
        """The number of calls has changed. A call's own three tokens, spent or not, leave with it."""
        self.spent = min(self.spent, self._capacity)

    def left(self, now: float) -> float:
        """Tokens in the bucket; infinity without a bound."""
        return self._capacity - self._spent_by(now) if self._size else float("inf")

    def ready_at(self, now: float, others: int = 0) -> float:
        """When there is a token for the next resend, behind ``others`` that wait.
        ``now`` if there is one already. A success makes it earlier.
        """
        missing = 1.0 + others - self.left(now)
        return now if missing <= 1e-9 else now + missing / _EACH_SECOND

    def take(self, now: float) -> bool:
        """Take the token for one resend; ``False`` if there is none."""
        if not self._size:
            return True
        if self.left(now) < _LEAST:
            return False
        self.spent, self._at = self._spent_by(now) + 1.0, now
        return True

    def success(self, now: float) -> None:
        """A call has succeeded: return a tenth of a token."""
        if self.spent:
            self.spent, self._at = max(0.0, self._spent_by(now) - _REFUND), now

    @property
    def _capacity(self) -> float:
        return self._size + _EACH_CALL * self.calls

    def _spent_by(self, now: float) -> float:
        return max(0.0, self.spent - _EACH_SECOND * max(0.0, now - self._at))
