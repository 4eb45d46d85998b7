"""What is done about a failed attempt, and after which wait: the pure decision, fed with what the call has left."""

from __future__ import annotations

from dataclasses import dataclass, replace

import requests

from llmwatch.client.history import History
from llmwatch.client.origins import Origin
from llmwatch.client.request import CallRequest
from llmwatch.client.settings import Nature, Settings, Start
from llmwatch.errors import CircuitOpen, LLMWatchError, ProviderError
from llmwatch.policy import EffectiveRetry
from llmwatch.records import Decision
from llmwatch.recovery import (
    Context,
    Door,
    Facts,
    FailureKind,
    Outcome,
    Permit,
    Plan,
    Reason,
    Sent,
    backoff,
    decide,
    failure_of,
    is_lost,
)

__all__ = ["Planner"]

_OF_ADAPTERS = frozenset(
    {
        FailureKind.WATCHDOG,
        FailureKind.CONNECT_REFUSED,
        FailureKind.CONNECT_RESET,
        FailureKind.CONNECT_UNREACHABLE,
        FailureKind.DNS,
        FailureKind.DNS_TEMPORARY,
        FailureKind.TLS_CONNECT,
        FailureKind.PROXY,
        FailureKind.RESET,
        FailureKind.CUT,
    }
)
"""What urllib3 would ask its retries about."""


@dataclass(slots=True, kw_only=True)
class Planner:
    """Decides for one call. Used by the caller's thread alone.

    The origin that a request goes to pays for it and earns by it. Where ``on_retry`` may change the origin, it is not
    known before :meth:`follow` which one that is: a resend is then planned without a token, and may end there.

    ``loading_time`` is for how many seconds a server that loads its model is asked again, ``loading_since`` when it
    said so first. ``ends_at`` is the instant of the call's deadline, ``None`` if it has none; ``unpaid`` the resend
    that was planned without a token, ``refused`` what has become of it.
    """

    settings: Settings
    start: Start
    retry: EffectiveRetry
    history: History
    origin: Origin
    ends_at: float | None = None
    loading_time: float = 0.0
    loading_since: float | None = None
    permit: Permit | None = None
    unpaid: Plan | None = None
    refused: Plan | None = None

    def admit(self, now: float) -> CircuitOpen | None:
        """Ask the circuit breaker; its refusal, if it is one."""
        return self._admit(self.start.request, now)

    def follow(self, request: CallRequest, error: LLMWatchError, now: float) -> LLMWatchError | None:
        """The next attempt may go elsewhere: leave the old origin with what ``error`` says of it, and ask the breaker
        and the budget of the new one. What to end the call with, if either says no: ``error``, for want of a token.
        """
        origin = self.settings.origins.get(request.origin, self.retry)
        elsewhere = origin is not self.origin
        if elsewhere:
            self._settle(Outcome.LOST if is_lost(failure_of(error)) else Outcome.ANSWERED, now)
            self.origin = origin
            refusal = self._admit(request, now)
            if refusal is not None:
                return refusal
        if self.unpaid is None or origin.budget.take():
            return None
        if elsewhere:
            # Nothing is sent there, and the error says nothing of it.
            self._settle(Outcome.ABANDONED, now)
        self.refused = self.unpaid.stopped(Reason.BUDGET_EMPTY)
        return error

    def _admit(self, request: CallRequest, now: float) -> CircuitOpen | None:
        if self.start.nature is Nature.OTHER:
            # Scripts wait for servers to come up by asking again and again.
            return None
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
        if self.refused is not None and cancelled_by is None:
            return self.refused
        return decide(failure_of(error), facts, self._context(cancelled_by))

    def plan(self, error: LLMWatchError, facts: Facts, cancelled_by: str | None) -> tuple[Plan, float]:
        """What follows a failed attempt, and after how many seconds. A resend takes its token from the budget, unless
        it may go to another origin.
        """
        self.unpaid = None
        failure, context = failure_of(error), self._context(cancelled_by)
        loading = self._is_loading(error)
        context = replace(context, loading=loading)
        if self._says_loading(error):
            # Once its time is over, what was asked in it counts: there are no further attempts behind it.
            context = replace(context, attempt=context.attempt + self.history.loading)
        plan = decide(failure, facts, context)
        wait = self._wait(error, plan, loading=loading)
        if plan.recovery.decision is not Decision.RETRY:
            return plan, wait
        # Now that the wait is known.
        now, asked = self.settings.clock.now(), getattr(error, "retry_after", None) is not None
        probing = self.permit is None or self.permit.probe
        context = replace(
            context,
            wait_ok=not asked or wait <= self.retry.max_retry_after,
            time_ok=self.ends_at is None or now + wait < self.ends_at,
            breaker_ok=probing or self.origin.breaker.left(now) <= wait,
            loading=loading,
        )
        costs = not plan.free and not loading and context.wait_ok and context.time_ok and context.breaker_ok
        if costs and self.retry.on_retry is None:
            context = replace(context, budget_ok=self.origin.budget.take())
        plan = decide(failure, facts, context)
        self.unpaid = plan if costs and self.retry.on_retry is not None else None
        if loading and plan.recovery.decision is Decision.RETRY:
            self.history.loading += 1
        return plan, wait

    def asked_of_adapter(
        self, error: LLMWatchError, facts: Facts, plan: Plan, request: CallRequest
    ) -> tuple[Plan, float] | None:
        """What the adapter's own retries make of a failure that is never sent again here: not by this method, not for
        this cause, or not at all. ``None`` if they leave it at ``plan``.
        """
        retries, failure = self.start.adapter_retries, failure_of(error)
        ours = plan.could_work and plan.safe and self.retry.max_attempts > 1
        if retries is None or ours or facts.headers or facts.replayable is not True or failure.kind not in _OF_ADAPTERS:
            return None
        if failure.limit == "deadline" or plan.reason in (Reason.CANCELLED_BY_USER, Reason.CANCELLED_BY_LIFECYCLE):
            return None
        wait = retries.after_failure(
            request.method, request.url, sent=facts.sent is not Sent.NO, tls=failure.kind is FailureKind.TLS_CONNECT
        )
        return None if wait is None or not self._bearable(wait) else (plan.resent(Reason.ADAPTER_RETRIES), wait)

    def after_status(
        self, error: LLMWatchError, facts: Facts, request: CallRequest, response: requests.Response
    ) -> tuple[Plan, float] | None:
        """What the adapter's own retries make of a response: another try after so many seconds, or its error, if all
        of them are used up and it is to be raised. ``None``: it is the answer.
        """
        retries = self.start.adapter_retries
        assert retries is not None
        plan = self.stop(error, facts, None)
        wait = retries.after_status(request.method, request.url, response)
        if wait is not None and facts.replayable is True and self._bearable(wait):
            return plan.resent(Reason.ADAPTER_RETRIES), wait
        return (plan.stopped(Reason.ADAPTER_RETRIES_EXHAUSTED), 0.0) if retries.exhausted else None

    def _bearable(self, wait: float) -> bool:
        in_time = self.ends_at is None or self.settings.clock.now() + wait < self.ends_at
        return wait <= self.retry.max_retry_after and in_time

    def _context(self, cancelled_by: str | None) -> Context:
        history, retry = self.history, self.retry
        return Context(
            door=self.start.decides_as,
            attempt=history.counted,
            max_attempts=retry.max_attempts,
            slow_but_alive=retry.slow_but_alive,
            # What is neither a model call nor a function has no tools; its method alone says whether it may be sent
            # twice.
            resend_with_tools=retry.resend_with_tools
            and (self.start.nature is not Nature.OTHER or self.start.door is Door.WRAP),
            plain=self.start.plain,
            partial_resends_used=history.partial_resends,
            free_resend_used=history.free_resends > 0,
            cancelled_by=cancelled_by,
        )

    def _is_loading(self, error: LLMWatchError) -> bool:
        """Whether a local server loads its model, and has time left for that: as long as it might have been silent."""
        if not self._says_loading(error):
            return False
        now = self.settings.clock.now()
        self.loading_since = now if self.loading_since is None else self.loading_since
        return now < self.loading_since + self.loading_time

    def _says_loading(self, error: LLMWatchError) -> bool:
        loading = isinstance(error, ProviderError) and error.loading and error.retry_after is None
        return loading and self.loading_time > 0

    def _wait(self, error: LLMWatchError, plan: Plan, *, loading: bool) -> float:
        """None for the free resend, what the provider asked for exactly, else a back-off. While a model is loaded it
        ends with the time for that.
        """
        if plan.free:
            return 0.0
        asked = getattr(error, "retry_after", None)
        if asked is not None:
            return float(asked)
        wait = self._backoff(self.history.loading + 1 if loading else self.history.counted)
        if loading and self.loading_since is not None:
            wait = max(0.0, min(wait, self.loading_since + self.loading_time - self.settings.clock.now()))
        return wait

    def _backoff(self, attempt: int) -> float:
        return backoff(
            attempt,
            base=self.retry.backoff,
            cap=self.retry.max_backoff,
            random=self.settings.random,
        )
