"""What surrounds an attempt: which entry point the call came through, what its user allows, and what the call has used
up.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["Context", "EntryPoint"]


class EntryPoint(str, Enum):
    """How a call was made. It decides what counts as delivered.

    ``STREAM``, ``SESSION`` and ``WRAP`` hand over what comes as it comes; ``COLLECT`` and ``REQUEST`` nothing before
    the end.
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

    * ``attempt``: which one it was, from 1, the free resend not counted; ``max_attempts``: how many are allowed.
    * ``slow_but_alive``, ``resend_with_tools``: what the user opted into.
    * ``plain``: the call does not stream, so it is silent until it is finished.
    * ``partial_resends_used``: resends of this call that discarded part of an answer; ``free_resend_used``: whether the
      one free resend is spent.
    * ``budget_ok``, ``breaker_ok``, ``pace_ok``: the wait for a token of the retry budget, for the circuit breaker or
      for the end of a hold is one that the call may still wait; ``wait_ok``: so is the one that the provider asks for;
      ``time_ok``: the wait ends before the deadline.
    * ``loading``: a local server says that it still loads its model, and its time for that is not over. Such an attempt
      is outside the number of attempts and the budget.
    * ``cancelled_by``: ``user`` or ``lifecycle`` once the call has been given up.
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
    cancelled_by: str | None = None
