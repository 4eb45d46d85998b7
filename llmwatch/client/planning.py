"""What is done about a failed attempt, and after which wait: the pure decision, fed with what the call has left."""

from __future__ import annotations

from dataclasses import dataclass, replace

from llmwatch.client.history import History
from llmwatch.client.origins import Origin
from llmwatch.client.request import CallRequest
from llmwatch.client.settings import Settings, Start
from llmwatch.errors import CircuitOpen, LLMWatchError
from llmwatch.policy import EffectiveRetry
from llmwatch.records import Decision
from llmwatch.recovery import Context, Facts, Outcome, Permit, Plan, backoff, decide, failure_of, is_lost

__all__ = ["Planner"]


@dataclass(slots=True, kw_only=True)
class Planner:
    """Decides for one call. Used by the caller's thread alone.

    ``ends_at`` is the instant of the call's deadline, ``None`` if it has none.
    """

    settings: Settings
    start: Start
    retry: EffectiveRetry
    history: History
    origin: Origin
    ends_at: float | None = None
    permit: Permit | None = None

    def admit(self, now: float) -> CircuitOpen | None:
        """Ask the circuit breaker; its refusal, if it is one."""
        return self._admit(self.start.request, now)

    def follow(self, request: CallRequest, error: LLMWatchError, now: float) -> CircuitOpen | None:
        """The next attempt may go elsewhere: leave the old origin with what ``error`` says of it, and ask the new
        one.
        """
        origin = self.settings.origins.get(request.origin, self.retry)
        if origin is self.origin:
            return None
        self._settle(Outcome.LOST if is_lost(failure_of(error)) else Outcome.ANSWERED, now)
        self.origin = origin
        return self._admit(request, now)

    def _admit(self, request: CallRequest, now: float) -> CircuitOpen | None:
        self.permit = self.origin.breaker.admit(now)
        if self.permit.allowed:
            return None
        wait = self.permit.wait
        return CircuitOpen(
            f"Nothing was sent: {self.retry.breaker} calls in a row to {request.host} were never answered."
            f" In {wait:.1f} s one call may try again; raise breaker (LLMWATCH_BREAKER, 0 turns it off) if that is too"
            " strict.",
            retry_after=wait,
        )

    def settle(self, outcome: str, error: BaseException | None, now: float) -> None:
        """The call is over: tell the breaker, and the budget of a success."""
        if error is None and outcome in ("done", "recovered"):
            self.origin.budget.success()
        said = Outcome.ANSWERED
        if outcome == "cancelled":
            said = Outcome.ABANDONED
        elif error is not None and is_lost(failure_of(error)):
            said = Outcome.LOST
        self._settle(said, now)

    def _settle(self, said: Outcome, now: float) -> None:
        if self.permit is not None:
            self.origin.breaker.settle(self.permit, said, now)
            self.permit = None

    def stop(self, error: LLMWatchError, facts: Facts | None, cancelled_by: str | None) -> Plan:
        """The plan for an end that is not up to the attempts that are left."""
        return decide(failure_of(error), facts, self._context(cancelled_by))

    def plan(self, error: LLMWatchError, facts: Facts, cancelled_by: str | None) -> tuple[Plan, float]:
        """What follows a failed attempt, and after how many seconds. A resend takes its token from the budget."""
        failure, context = failure_of(error), self._context(cancelled_by)
        plan = decide(failure, facts, context)
        wait = self._wait(error, plan)
        if plan.recovery.decision is not Decision.RETRY:
            return plan, wait
        # Now that the wait is known.
        now, asked = self.settings.clock.now(), getattr(error, "retry_after", None) is not None
        probing = self.permit is not None and self.permit.probe
        context = replace(
            context,
            wait_ok=not asked or wait <= self.retry.max_retry_after,
            time_ok=self.ends_at is None or now + wait < self.ends_at,
            breaker_ok=probing or self.origin.breaker.left(now) <= wait,
        )
        if not plan.free and context.wait_ok and context.time_ok and context.breaker_ok:
            context = replace(context, budget_ok=self.origin.budget.take())
        return decide(failure, facts, context), wait

    def _context(self, cancelled_by: str | None) -> Context:
        history, retry = self.history, self.retry
        return Context(
            door=self.start.decides_as,
            attempt=history.counted,
            max_attempts=retry.max_attempts,
            slow_but_alive=retry.slow_but_alive,
            resend_with_tools=retry.resend_with_tools,
            plain=self.start.plain,
            partial_resends_used=history.partial_resends,
            free_resend_used=history.free_resends > 0,
            cancelled_by=cancelled_by,
        )

    def _wait(self, error: LLMWatchError, plan: Plan) -> float:
        """None for the free resend, what the provider asked for exactly, else a back-off."""
        if plan.free:
            return 0.0
        asked = getattr(error, "retry_after", None)
        if asked is not None:
            return float(asked)
        return backoff(
            self.history.counted, base=self.retry.backoff, cap=self.retry.max_backoff, random=self.settings.random
        )
