"""The retry budget: when a provider is down for everybody, resends only add to its load.

A bucket of tokens per client and origin. A resend takes one, a success puts a tenth back, and a call's first attempt is
always free, so in a lasting failure a client sends at most a tenth more than its users asked for.
"""

from __future__ import annotations

import threading

__all__ = ["RetryBudget"]

# Counted in tenths: ten times 0.1 is not 1.
_COST = 10
_REFUND = 1


class RetryBudget:
    """A bucket of ``size`` tokens, full at first. A size of 0 is no bound at all. May be used from any thread."""

    def __init__(self, size: int = 10) -> None:
        self._full = size * 10
        self._tenths = self._full
        # Protects the count above. A leaf: nothing is called and no other lock taken while it is held.
        self._tokens_lock = threading.RLock()

    @property
    def left(self) -> float:
        """Tokens in the bucket; infinity where there is no bound."""
        with self._tokens_lock:
            return self._tenths / 10 if self._full else float("inf")

    @property
    def ok(self) -> bool:
        """Whether :meth:`take` would give a token now. Another thread may be faster."""
        return self.left >= 1

    def take(self) -> bool:
        """Take the token for one resend; false if there is none, and then nothing may be resent."""
        with self._tokens_lock:
            if not self._full:
                return True
            if self._tenths < _COST:
                return False
            self._tenths -= _COST
            return True

    def success(self) -> None:
        """A call has succeeded: put a tenth of a token back."""
        with self._tokens_lock:
            self._tenths = min(self._full, self._tenths + _REFUND)
