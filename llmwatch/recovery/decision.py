"""The decision about a failed attempt, from retryability and safety.

The rules apply in this order: a cancelled call is over; anything that reached the caller decides; then whether a resend
could work, whether it is safe, and whether the call has one left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from llmwatch.records.decision import Decision, Recovery
from llmwatch.recovery.call_context import Context, EntryPoint
from llmwatch.recovery.facts import Facts, Sent
from llmwatch.recovery.failure import Failure, FailureKind
from llmwatch.recovery.messages import recovery
from llmwatch.recovery.reason import Reason
from llmwatch.recovery.retryability import could_work
from llmwatch.recovery.safety import handed_over, is_safe, is_slow

__all__ = ["FREE_RESEND_WITHIN", "Context", "EntryPoint", "Plan", "Reason", "could_work", "decide", "is_safe"]

FREE_RESEND_WITHIN = 5.0
"""Seconds from sent within which a reset of a reused connection means that it was dead before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The decision, with the answers about retryability and safety.

    ``free``: the resend follows a dead pooled connection, goes out at once and counts towards no budget. ``reason`` is
    ``recovery.reason`` as a member.
    """

    recovery: Recovery
    could_work: bool
    safe: bool
    free: bool
    reason: Reason

    def stopped(self, reason: Reason, bound: str = "max_wait") -> Plan:
        """The same answers without a resend, for ``reason``. ``bound``: the setting that ended the wait."""
        advice = recovery(Decision.STOP, reason, safe=self.safe, bound=bound)
        return replace(self, recovery=advice, free=False, reason=reason)

    def resent(self, reason: Reason) -> Plan:
        """The same answers with a resend, for ``reason``: the adapter's own retries decided on it."""
        return replace(self, recovery=recovery(Decision.RETRY, reason, safe=self.safe), free=False, reason=reason)


def decide(failure: Failure, facts: Facts | None, context: Context) -> Plan:
    """The plan for ``failure``.

    ``facts`` may be ``None`` if no attempt was made. They then count as unknown, except for a failure that comes before
    anything is sent.
    """
    if facts is None:
        facts = Facts(sent=Sent.NO, replayable=True) if failure.row.unsent else Facts()
    possible, why = could_work(failure, facts)
    safe, otherwise, hazard = is_safe(failure, facts, context)
    free = False
    cancelled = _cancelled(failure, context)
    if cancelled is not None:
        decision, reason = Decision.STOP, cancelled
    elif handed_over(facts, context):
        decision, reason = otherwise, hazard
    elif not possible or failure.row.refusal:
        decision, reason = Decision.STOP, why
    elif not safe:
        decision, reason = otherwise, hazard
    else:
        free = _is_dead_connection(failure, facts) and not context.free_resend_used
        stop = _nothing_left(facts, context, free=free)
        decision = Decision.RETRY if stop is None else Decision.STOP
        reason = stop or _why_resent(failure, facts, context, why, free=free)
        free = free and stop is None
    advice = recovery(decision, reason, safe=safe)
    return Plan(recovery=advice, could_work=possible, safe=safe, free=free, reason=reason)


def _cancelled(failure: Failure, context: Context) -> Reason | None:
    if failure.kind in (FailureKind.CANCELLED_USER, FailureKind.CANCELLED_LIFECYCLE):
        return failure.row.why_final
    if context.cancelled_by is None:
        return None
    return Reason.CANCELLED_BY_USER if context.cancelled_by == "user" else Reason.CANCELLED_BY_LIFECYCLE


def _is_dead_connection(failure: Failure, facts: Facts) -> bool:
    """Whether a reused connection was lost at once: it was dead before, which only a write can show."""
    if failure.kind not in (FailureKind.CUT, FailureKind.CONNECT_RESET):
        return False
    if facts.socket_reused is not True or facts.answered:
        return False
    if facts.sent is Sent.YES:
        return facts.since_sent is not None and facts.since_sent <= FREE_RESEND_WITHIN
    return facts.sent is not Sent.UNKNOWN


def _nothing_left(facts: Facts, context: Context, *, free: bool) -> Reason | None:
    if facts.replayable is False:
        return Reason.BODY_NOT_REPLAYABLE
    if context.library_resends:
        return Reason.LEFT_TO_LIBRARY
    if free:
        return None if context.time_ok else Reason.NO_TIME_LEFT
    loading = context.loading and context.max_attempts > 1
    checks = (
        (loading or context.attempt < context.max_attempts, Reason.ATTEMPTS_EXHAUSTED),
        (loading or context.breaker_ok, Reason.CIRCUIT_OPEN),
        (context.pace_ok, Reason.HELD_BACK),
        (context.budget_ok, Reason.BUDGET_EMPTY),
        (context.wait_ok, Reason.RETRY_AFTER_TOO_LONG),
        (context.time_ok, Reason.NO_TIME_LEFT),
    )
    return next((reason for fine, reason in checks if not fine), None)


def _why_resent(failure: Failure, facts: Facts, context: Context, why: Reason, *, free: bool) -> Reason:
    if free:
        return Reason.DEAD_CONNECTION
    if facts.content:
        return Reason.PARTIAL_DISCARDED
    return Reason.SLOW_BUT_ALIVE_ALLOWED if is_slow(failure, facts, context) else why
