"""The call around an attempt: its entry point, what its user allows, and what the call has used up."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["Context", "EntryPoint"]


class EntryPoint(str, Enum):
    """The way in which a call was made. It decides what counts as delivered.

    ``STREAM``, ``SESSION`` and ``WRAP`` hand content over as it comes; ``COLLECT`` and ``REQUEST`` nothing before the
    end.
    """

    STREAM = "stream"
    COLLECT = "collect"
    REQUEST = "request"
    SESSION = "session"
    WRAP = "wrap"

    def __str__(self) -> str:
        return str(self._value_)

    @property
    def hands_over(self) -> bool:
        """Whether content reaches the caller as it comes."""
        return self not in (EntryPoint.COLLECT, EntryPoint.REQUEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The call around an attempt that has just failed.

    * ``attempt``: its number, from 1, without the free resend; ``max_attempts``: how many are allowed.
    * ``slow_but_alive``, ``resend_with_tools``: what the user opted into.
    * ``plain``: the call does not stream, so the provider is silent until its whole answer.
    * ``partial_resends_used``: resends of this call that discarded part of an answer; ``free_resend_used``: the one
      free resend is spent.
    * ``budget_ok``, ``breaker_ok``, ``pace_ok``: the call may still wait for a token of the retry budget, the circuit
      breaker, the end of a hold. ``wait_ok``: it may wait as long as the provider asks. ``time_ok``: the wait ends
      before the deadline.
    * ``loading``: a local server loads its model and still has time for that. Such an attempt does not count towards
      the number of attempts and the budget.
    * ``library_resends``: the library around the call makes every resend.
    * ``cancelled_by``: ``user`` or ``lifecycle`` once the call is cancelled.
    """

    entry_point: EntryPoint
    attempt: int = 1
    max_attempts: int = 3
    slow_but_alive: bool = False
    resend_with_tools: bool = False
    plain: bool = False
    partial_resends_used: int = 0
    free_resend_used: bool = False
    budget_ok: bool = True
    breaker_ok: bool = True
    pace_ok: bool = True
    wait_ok: bool = True
    time_ok: bool = True
    loading: bool = False
    library_resends: bool = False
    cancelled_by: str | None = None
