"""The decision after a failed attempt, and its outcome."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from llmwatch.records.json_text import JsonRecord
from llmwatch.records.reader import Reader

__all__ = ["DECISION_OUTCOMES", "Decision", "DecisionRecord", "Recovery"]


class Decision(str, Enum):
    """The decision after a failed attempt.

    * ``RETRY``: the request is sent again, unless the wait before the resend is cut short.
    * ``CONTINUE``: text or part of a tool call was delivered; a resend would repeat it, but the caller may continue
      from there.
    * ``CONFIRM``: a complete tool call was delivered, or a side effect is possible; a person decides.
    * ``STOP``: no further action.
    """

    RETRY = "retry"
    CONTINUE = "continue"
    CONFIRM = "confirm"
    STOP = "stop"

    def __str__(self) -> str:
        return str(self._value_)


DECISION_OUTCOMES = ("recovered", "failed", "blocked", "stopped", "")
"""Every outcome of a decision.

* ``recovered``: the resend gave an answer; ``failed``: the request was sent again, and the call failed all the same;
* ``blocked``: a resend could have worked and was not safe; ``stopped``: no resend for another reason;
* empty: not known yet.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """The ``.recovery`` of an error: whether a resend is safe, and what to do.

    ``safe``: whether a resend would repeat nothing: no delivered output, no side effect, no work of the provider. The
    error's ``retryable`` says whether a resend could work. ``decision`` is the verdict and ``reason`` its reason, a
    value of :class:`llmwatch.Reason`. ``message`` explains the verdict in a sentence and ``action`` says what the user
    can do; both are fixed texts without any data of the call.
    """

    safe: bool
    decision: Decision
    reason: str
    message: str
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord(JsonRecord):
    """The record of one decision (schema version 1).

    * ``attempt``: number of the failed attempt, from 1.
    * ``decision``, ``reason``: as in :class:`Recovery`.
    * ``could_work``: whether a resend could have worked; ``safe``: whether a resend would have been safe. The two are
      independent.
    * ``budget_left``: attempts that the call had left.
    * ``wait``: seconds to the resend, ``None`` without a planned resend.
    * ``carried_out``: whether the resend was sent; ``False`` for a planned ``RETRY`` whose wait was cut short.
    * ``outcome``: one of :data:`DECISION_OUTCOMES`.
    """

    attempt: int
    decision: Decision
    reason: str
    could_work: bool
    safe: bool
    budget_left: int = 0
    wait: float | None = None
    carried_out: bool = False
    outcome: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "attempt": self.attempt,
            "decision": self.decision.value,
            "reason": self.reason,
            "could_work": self.could_work,
            "safe": self.safe,
            "budget_left": self.budget_left,
            "wait": self.wait,
            "carried_out": self.carried_out,
            "outcome": self.outcome,
        }

    @classmethod
    def from_dict(cls, source: object) -> DecisionRecord:
        """The record whose :meth:`to_dict` is ``source``. Raises :class:`ValueError` for anything else."""
        read = Reader(source, "DecisionRecord")
        outcome = read.text("outcome", "")
        if outcome not in DECISION_OUTCOMES:
            raise ValueError("DecisionRecord.outcome is not one of " + ", ".join(DECISION_OUTCOMES[:-1]))
        return cls(
            attempt=read.whole("attempt"),
            decision=Decision(read.text("decision")),
            reason=read.text("reason"),
            could_work=read.flag("could_work"),
            safe=read.flag("safe"),
            budget_left=read.whole("budget_left", 0),
            wait=read.maybe_number("wait"),
            carried_out=read.flag("carried_out", False),
            outcome=outcome,
        )
