"""What a call has behind it: its attempts, its decisions, and what they still allow. Used by the caller's thread
alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from llmwatch.engine.observe import Ended
from llmwatch.records import AttemptRecord, DecisionRecord
from llmwatch.recovery import Plan, Reason
from llmwatch.watch.machine import VerdictKind

__all__ = ["History"]


@dataclass(slots=True)
class History:
    """Earlier attempts of one call. They are history: only the current attempt's facts decide."""

    attempts: list[AttemptRecord] = field(default_factory=list)
    decisions: list[DecisionRecord] = field(default_factory=list)
    partial_resends: int = 0
    free_resends: int = 0
    loading: int = 0  # resends to a server that loads its model
    adapter_resends: int = 0  # those that an adapter's own retries have asked for
    patience: int = 0

    @property
    def number(self) -> int:
        """Which attempt comes next, or runs now, from 1."""
        return len(self.attempts) + 1

    @property
    def counted(self) -> int:
        """The same without the free resend, those to a server that loads its model, and those that an adapter has
        asked for: they are outside the number of attempts that are allowed.
        """
        return self.number - self.free_resends - self.loading - self.adapter_resends

    def resent(self, ended: Ended, plan: Plan) -> None:
        """The attempt will be followed by another: remember what that used up."""
        facts = ended.facts
        content = bool(facts.text or facts.reasoning or facts.tool_input or facts.tool_call)
        self.partial_resends += content
        self.free_resends += plan.free
        self.adapter_resends += plan.reason is Reason.ADAPTER_RETRIES
        self.patience += ended.verdict.kind is VerdictKind.KILLED and not content

    def decided(self, plan: Plan, wait: float | None, *, most: int, carried_out: bool) -> None:
        """Keep a decision. A planned resend that did not come about stays, as one that was not carried out."""
        outside = carried_out and (plan.free or plan.reason is Reason.ADAPTER_RETRIES)
        self.decisions.append(
            DecisionRecord(
                attempt=len(self.attempts),
                decision=plan.recovery.decision,
                reason=plan.recovery.reason,
                could_work=plan.could_work,
                safe=plan.safe,
                budget_left=max(0, most - (self.counted - 1 - outside)),
                wait=wait,
                carried_out=carried_out,
                outcome="",
            )
        )

    def not_carried_out(self) -> None:
        """The resend that was decided on last did not take place."""
        self.decisions[-1:] = [replace(one, carried_out=False) for one in self.decisions[-1:]]

    def settled(self, *, recovered: bool) -> tuple[DecisionRecord, ...]:
        """The decisions, now that it is known what came of them."""
        if not self.decisions:
            return ()
        last = len(self.decisions) - 1
        return tuple(
            replace(one, outcome=_outcome(one, recovered and at == last)) for at, one in enumerate(self.decisions)
        )


def _outcome(decision: DecisionRecord, recovered: bool) -> str:
    if decision.carried_out:
        return "recovered" if recovered else "failed"
    return "blocked" if decision.could_work and not decision.safe else "stopped"
