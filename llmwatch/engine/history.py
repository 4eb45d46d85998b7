"""The past of one call: its attempts, its decisions, and what they used up. Used by the caller's thread only."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from llmwatch.engine.observe import Ended
from llmwatch.records import AttemptRecord, DecisionRecord
from llmwatch.recovery import Plan, Reason
from llmwatch.watch.machine import VerdictKind

__all__ = ["History"]


@dataclass(slots=True)
class History:
    """Earlier attempts of one call. Only the current attempt's facts decide; these count what was used up."""

    attempts: list[AttemptRecord] = field(default_factory=list)
    decisions: list[DecisionRecord] = field(default_factory=list)
    partial_resends: int = 0
    free_resends: int = 0
    loading: int = 0  # resends to a server that loads its model
    adapter_resends: int = 0  # resends that an adapter's own retries asked for
    patience: int = 0

    @property
    def number(self) -> int:
        """The number of the current or next attempt, from 1."""
        return len(self.attempts) + 1

    @property
    def counted(self) -> int:
        """The attempts that count towards ``max_attempts``.

        Not counted: the free resend, resends to a server that loads its model, and those that an adapter asked for.
        """
        return self.number - self.free_resends - self.loading - self.adapter_resends

    def resent(self, ended: Ended, plan: Plan) -> None:
        """Count what the resend after this attempt uses up."""
        facts = ended.facts
        content = bool(facts.text or facts.reasoning or facts.tool_input or facts.tool_call)
        self.partial_resends += content
        self.free_resends += plan.free
        self.adapter_resends += plan.reason is Reason.ADAPTER_RETRIES
        self.patience += ended.verdict.kind is VerdictKind.KILLED and not content

    def decided(self, plan: Plan, wait: float | None, *, most: int, carried_out: bool) -> None:
        """Record a decision. A planned resend that does not happen stays, marked as not carried out."""
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
        """Mark the resend that was decided on last as not carried out."""
        self.decisions[-1:] = [replace(one, carried_out=False) for one in self.decisions[-1:]]

    def settled(self, *, recovered: bool) -> tuple[DecisionRecord, ...]:
        """The decisions, each with its outcome."""
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
