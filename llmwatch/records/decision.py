"""What was decided after a failed attempt, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from llmwatch.records.json_text import JsonRecord
from llmwatch.records.reader import Reader

__all__ = ["OUTCOMES", "Decision", "DecisionRecord", "Recovery"]


class Decision(str, Enum):
    """What is to be done about a failed attempt.

    * ``RETRY``: it is sent again, or would have been had the wait not been cut short.
    * ``CONTINUE``: text or part of a tool call was delivered; a resend would repeat it, but the caller may go on from
      there.
    * ``CONFIRM``: a whole tool call was delivered, or something may have had a side effect; a person decides.
    * ``STOP``: nothing more is done.
    """

    RETRY = "retry"
    CONTINUE = "continue"
    CONFIRM = "confirm"
    STOP = "stop"

    def __str__(self) -> str:
        return str(self._value_)


OUTCOMES = ("recovered", "failed", "blocked", "stopped", "")
"""What became of a decision: the resend gave an answer; it took place and the call failed all the same; a resend could
have worked and was not safe; there was none for another reason; not known yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What an error's ``.recovery`` says: is a resend safe, and what to do.

    ``safe`` is whether the request may be sent again without repeating what was delivered, a side effect, or the
    provider's work; whether that could work is the error's ``retryable``. ``decision`` is the verdict and ``reason``
    the one word behind it (a value of :class:`~llmwatch.recovery.Reason`). ``message`` says why in a sentence and
    ``action`` what the user can do; both are fixed texts without any data of the call.
    """

    safe: bool
    decision: Decision
    reason: str
    message: str
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord(JsonRecord):
    """One decision as it is remembered (schema version 1).

    * ``attempt``: number of the attempt that it followed, from 1.
    * ``decision``, ``reason``: as in :class:`Recovery`.
    * ``could_work``: whether a resend could have worked; ``safe``: whether it would have been safe. Neither follows
      from the other.
    * ``budget_left``: attempts that the call had left at that moment.
    * ``wait``: seconds to the resend, ``None`` where none was planned.
    * ``carried_out``: whether the resend was sent. A planned ``RETRY`` whose wait was cut short stays here with
      ``False``.
    * ``outcome``: one of :data:`OUTCOMES`.
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
        """The record that :meth:`to_dict` gave. Raises :class:`ValueError` for anything else."""
        read = Reader(source, "DecisionRecord")
        outcome = read.text("outcome", "")
        if outcome not in OUTCOMES:
            raise ValueError("DecisionRecord.outcome is not one of " + ", ".join(OUTCOMES[:-1]))
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
