"""The history of a call's attempts and decisions, and the planner, which decides after a failure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import requests

from llmwatch.engine.hosts import Barrier, Delay, Gate, Turn
from llmwatch.engine.observe import Ended
from llmwatch.engine.request import CallRequest
from llmwatch.engine.settings import CallOptions, RequestKind, Settings
from llmwatch.errors import CircuitOpen, LLMWatchError, ProviderError
from llmwatch.policy import EffectiveRetry
from llmwatch.records import AttemptRecord, Decision, DecisionRecord
from llmwatch.records.call import CallOutcome
from llmwatch.recovery import (
    NEWS,
    Context,
    EntryPoint,
    Facts,
    FailureKind,
    Outcome,
    Plan,
    Reason,
    Sent,
    backoff,
    decide,
    failure_of,
    outcome_of,
)
from llmwatch.recovery.retryability import RETRYABLE_STATUSES
from llmwatch.watch.machine import VerdictKind

__all__ = ["History", "Planner"]


@dataclass(slots=True)
class History:
    """Earlier attempts of a call. Only the current attempt's facts decide; these count what was used up."""

    attempts: list[AttemptRecord] = field(default_factory=list)
    decisions: list[DecisionRecord] = field(default_factory=list)
    partial_resends: int = 0
    free_resends: int = 0
    loading: int = 0  # resends to a server that loads its model
    adapter_resends: int = 0  # resends that an adapter's own retries asked for
    library_resends: int = 0  # resends that the library around the call made
    patience: int = 0

    @property
    def number(self) -> int:
        """The number of the current or next attempt, from 1."""
        return len(self.attempts) + 1

    @property
    def counted(self) -> int:
        """The attempts that count towards ``max_attempts``.

        Not counted: the free resend, resends to a server that loads its model, and those that an adapter asked for or a
        library made.
        """
        return self.number - self.free_resends - self.loading - self.adapter_resends - self.library_resends

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
        self.decisions[-1:] = [replace(last, carried_out=False) for last in self.decisions[-1:]]

    def settled(self, *, recovered: bool) -> tuple[DecisionRecord, ...]:
        """The decisions, each with its outcome."""
        if not self.decisions:
            return ()
        last = len(self.decisions) - 1
        return tuple(
            replace(made, outcome=_outcome(made, recovered and at == last)) for at, made in enumerate(self.decisions)
        )


def _outcome(decision: DecisionRecord, recovered: bool) -> str:
    if decision.carried_out:
        return "recovered" if recovered else "failed"
    return "blocked" if decision.could_work and not decision.safe else "stopped"


_REASONS = {Barrier.PACE: Reason.HELD_BACK, Barrier.BREAKER: Reason.CIRCUIT_OPEN, Barrier.BUDGET: Reason.BUDGET_EMPTY}


@dataclass(slots=True, kw_only=True)
class Planner:
    """Decides for one call, and takes its attempts through the gate of their origin.

    ``ends_at`` is the instant of the call's deadline, ``None`` without one. ``loading_time`` is the seconds for which a
    server that loads its model is asked again, ``loading_since`` when it first said so. ``waited`` is the seconds that
    the call has waited for gates so far, ``refused`` why it may not wait longer. Only the caller's thread uses it.
    """

    settings: Settings
    options: CallOptions
    retry: EffectiveRetry
    history: History
    gate: Gate
    ends_at: float | None = None
    loading_time: float = 0.0
    loading_since: float | None = None
    waited: float = 0.0
    turn: Turn | None = None
    refused: Plan | None = None
    _call: object = field(default_factory=object, init=False)  # identifies the call to its gate
    _told_at: float | None = field(default=None, init=False)  # when the provider told this call to wait
    _paced_wait: float | None = field(default=None, init=False)  # how long the call waits for that
    _failed: bool = field(default=False, init=False)  # the last attempt failed in a way that others may share
    _costs: bool = field(default=False, init=False)  # the planned resend takes a token
    _plan: Plan | None = field(default=None, init=False)

    # -- the gate ---------------------------------------------------------------

    def enter(self, now: float) -> None:
        """Announce the call to its gate."""
        self.gate.enter(self._call, now)

    def line_up(self, request: CallRequest, outer: Sequence[object], wake: Callable[[], None]) -> Turn:
        """The turn of the next attempt at the gate of ``request``; ``on_retry`` may have changed its origin."""
        gate = self.settings.hosts.get(request.origin, self.retry, self.settings.random)
        if gate is not self.gate:
            self.gate.leave(self._call)
            self.gate, self._told_at = gate, None
            gate.enter(self._call, self.settings.clock.now())
        self.turn = self._turn(request, costs=self._costs, told_at=self._told_at, outer=outer, wake=wake)
        return self.turn

    def _turn(self, request: CallRequest, *, costs: bool, told_at: float | None, **more: Any) -> Turn:
        heeded = self.options.request_kind is not RequestKind.OTHER
        attempts_left = self.retry.max_attempts - self.history.counted + 1
        refused = told_at is not None and self.retry.pace
        return Turn(
            self.gate,
            attempts_left=attempts_left,
            cautious=heeded and (self._failed or refused) and attempts_left == 1,
            costs=costs,
            account=request.account(self.settings.hosts.salt) if heeded and self.retry.pace else None,
            told_at=told_at,
            # Scripts poll a server that is not up yet; the breaker must not stop them.
            heeds_breaker=heeded,
            **more,
        )

    def bears_until(self, delay: Delay, began: float, now: float) -> float | None:
        """The instant until which the call may wait, ``None`` if it may not. The wait began at ``began``.

        A delay beyond that instant is waited for only if it can end earlier.
        """
        ends = min(began + self.retry.max_retry_after + delay.spread, now + self.retry.max_wait - self.waited)
        if delay.until <= ends and (self.ends_at is None or delay.until < self.ends_at):
            return delay.until
        if self.ends_at is not None:
            ends = min(ends, self.ends_at)
        return ends if delay.at_latest and ends > now else None

    def goes_anyway(self, delay: Delay, now: float) -> bool:
        """Whether an attempt that may wait no longer is sent: a mere guess holds it, before the deadline."""
        return delay.optional and (self.ends_at is None or now < self.ends_at)

    def refuse(
        self, delay: Delay, error: LLMWatchError | None, request: CallRequest, now: float, began: float
    ) -> LLMWatchError:
        """The error of a call that may wait for ``delay`` no longer; its wait began at ``began``.

        ``error`` itself if an attempt was sent, else a :class:`CircuitOpen`.
        """
        wait, why = delay.until - now, self.in_words(delay, request, now)
        if delay.at_latest:
            # The delay may end at any moment.
            wait = min(wait, NEWS)
        setting = self._bound(now, began)
        if self.ends_at is not None and setting == "deadline":
            bound = f"The deadline of this call is in {max(0.0, self.ends_at - now):.1f} s."
        else:
            bound = (
                f"This call may wait {self.retry.max_retry_after:g} s at once (max_retry_after) and"
                f" {self.retry.max_wait:g} s in all (max_wait), of which it has waited {self.waited:.1f} s."
            )
        if error is None:
            error = CircuitOpen(f"Nothing was sent: {why} {bound}", retry_after=wait)
        else:
            error.message += f" It was not sent again: {why} {bound}"
            error.retry_after = wait
        if self._plan is not None:
            self.refused = self._plan.stopped(_REASONS[delay.barrier], setting)
        else:
            plan = decide(failure_of(error), None, self._context(None))
            self.refused = plan.stopped(_REASONS[delay.barrier], setting)
        return error

    def _bound(self, now: float, began: float) -> str:
        """The setting that bounds the call's wait the most from ``now`` on."""
        left = {
            "max_wait": self.retry.max_wait - self.waited,
            "max_retry_after": began + self.retry.max_retry_after - now,
            "deadline": float("inf") if self.ends_at is None else self.ends_at - now,
        }
        return min(left, key=lambda setting: left[setting])

    def first_delay(self, request: CallRequest, outer: Sequence[object], now: float) -> CircuitOpen | None:
        """The delay of the call's first attempt at ``now``, as an error for ``on_retry``, which may avoid it."""
        turn = self._turn(request, costs=False, told_at=None, outer=outer)
        delay = self.gate.outlook(turn, now)
        if delay is None or delay.optional:
            return None
        return CircuitOpen(f"Nothing was sent: {self.in_words(delay, request, now)}", retry_after=delay.until - now)

    def differs(self, request: CallRequest, other: CallRequest) -> bool:
        """Whether what holds one of the requests back may leave the other alone: another origin or account."""
        salt = self.settings.hosts.salt
        return request.origin != other.origin or request.account(salt) != other.account(salt)

    def in_words(self, delay: Delay, request: CallRequest, now: float) -> str:
        """The reason of the call's wait, as text for a person."""
        host, wait = request.host, max(0.0, delay.until - now)
        if delay.rate is not None:
            return (
                f"{host} refuses calls with this model and credential that come too fast, so that they go out one after"
                f" the other, {delay.rate:.2g} a second for now; it is the turn of this one in about {wait:.1f} s."
            )
        if delay.optional:
            return (
                f"the latest attempts at {host} have failed, so that this one, the last of its call or one of many,"
                f" lets others find out first, for {wait:.1f} s."
            )
        if delay.barrier is Barrier.PACE:
            return (
                f"{host} has told another call with this model and credential to wait, which holds this one back for"
                f" {wait:.1f} s."
            )
        if delay.barrier is Barrier.BUDGET:
            return (
                f"too many calls to {host} had to be sent again, and the retry budget is empty; the next token for this"
                f" call comes in {wait:.1f} s."
            )
        when = "once the one that is out is answered, in" if delay.at_latest else "in"
        return (
            f"{self.retry.breaker} attempts in a row to {host} were never answered, so the circuit breaker lets one"
            f" through at a time, the next {when} {wait:.1f} s at the {'latest' if delay.at_latest else 'earliest'}."
        )

    def attempt_over(self, error: BaseException | None, *, cancelled: bool) -> None:
        """An attempt is over: tell its gate the outcome, and any wait that the provider named for the others."""
        turn, now = self.turn, self.settings.clock.now()
        if turn is None:
            return
        self._told_at, self._paced_wait = None, None
        if error is not None and not cancelled:
            failure = failure_of(error)
            wait = failure.retry_after
            if failure.status in RETRYABLE_STATUSES and wait is not None:
                self._told_at = now
                if self.retry.pace and wait <= self.retry.max_retry_after:
                    self._paced_wait = turn.gate.hold(turn, wait, now)
            outcome = outcome_of(failure, error)
            self._failed = outcome not in (Outcome.ANSWERED, Outcome.ABANDONED)
            turn.gate.settle(turn, outcome, now)
        elif error is None and turn.permit is not None:
            turn.gate.note_answer(turn, now)
        turn.gate.withdraw(turn, now)
        self.turn = None

    def over(self, outcome: CallOutcome) -> None:
        """The call is over. May be called again."""
        now, turn = self.settings.clock.now(), self.turn
        if turn is not None:
            turn.gate.withdraw(turn, now)
            self.turn = None
        if outcome in ("done", "recovered"):
            self.gate.succeeded(now)
        self.gate.leave(self._call)

    # -- decisions ----------------------------------------------------------------

    def stop(self, error: LLMWatchError, facts: Facts | None, cancelled_by: str | None) -> Plan:
        """The plan for an end to which the attempts left do not matter."""
        if self.refused is not None and cancelled_by is None:
            return self.refused
        return decide(failure_of(error), facts, self._context(cancelled_by))

    def plan(
        self, error: LLMWatchError, facts: Facts, request: CallRequest, cancelled_by: str | None
    ) -> tuple[Plan, float]:
        """The plan after a failed attempt, and the seconds to wait. ``on_retry`` may still avoid the gate."""
        failure, context = failure_of(error), self._context(cancelled_by)
        loading = self._is_loading(error)
        context = replace(context, loading=loading)
        if self._says_loading(error):
            # Once the time for loading is over, the attempts within it count.
            context = replace(context, attempt=context.attempt + self.history.loading)
        plan = decide(failure, facts, context)
        wait = self._wait(error, plan, loading=loading)
        if plan.recovery.decision is not Decision.RETRY:
            return plan, wait
        # Decided again, now that the wait is known.
        now, asked = self.settings.clock.now(), error.retry_after is not None
        self._costs = not plan.free and not loading and not asked
        context = replace(
            context,
            wait_ok=error.retry_after is None or error.retry_after <= self.retry.max_retry_after,
            time_ok=self.ends_at is None or now + wait < self.ends_at,
        )
        delay = self._outlook(request, now + wait)
        if delay is not None and context.wait_ok and context.time_ok:
            context = replace(
                context,
                breaker_ok=delay.barrier is not Barrier.BREAKER,
                budget_ok=delay.barrier is not Barrier.BUDGET,
                pace_ok=delay.barrier is not Barrier.PACE,
            )
        plan = decide(failure, facts, context)
        self._plan = plan
        if delay is not None and plan.reason in _REASONS.values():
            self.refuse(delay, error, request, now, now)
            plan = self.refused or plan
        if loading and plan.recovery.decision is Decision.RETRY:
            self.history.loading += 1
        return plan, wait

    def _outlook(self, request: CallRequest, then: float) -> Delay | None:
        """The delay of a resend at ``then``, if it is longer than the call may wait."""
        if self.retry.on_retry is not None:
            return None
        turn = self._turn(request, costs=self._costs, told_at=self._told_at)
        # The attempt that fails now is counted only then.
        delay = self.gate.outlook(turn, then)
        if delay is None or delay.optional or self.bears_until(delay, then, then) is not None:
            return None
        return delay

    def asked_of_adapter(
        self, error: LLMWatchError, facts: Facts, plan: Plan, request: CallRequest
    ) -> tuple[Plan, float] | None:
        """The plan of the adapter's own retries for a failure not resent here; ``None`` keeps ``plan``."""
        retries, failure = self.options.adapter_retries, failure_of(error)
        resent = plan.could_work and plan.safe and self.retry.max_attempts > 1
        if retries is None or resent or facts.headers or facts.replayable is not True or not failure.row.adapters_retry:
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
        """The plan of the adapter's own retries for a response; ``None``: the response is the answer.
        A plan is another attempt after so many seconds, or its error if they are used up and set to raise.
        """
        retries = self.options.adapter_retries
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
            entry_point=self.options.decides_as,
            attempt=history.counted,
            max_attempts=retry.max_attempts,
            slow_but_alive=retry.slow_but_alive,
            # A request that is neither a model call nor a function has no tools; its method alone says whether it may
            # be sent twice.
            resend_with_tools=retry.resend_with_tools
            and (self.options.request_kind is not RequestKind.OTHER or self.options.entry_point is EntryPoint.WRAP),
            plain=self.options.plain,
            partial_resends_used=history.partial_resends,
            free_resend_used=history.free_resends > 0,
            library_resends=self.options.library_loop is not None,
            cancelled_by=cancelled_by,
        )

    def _is_loading(self, error: LLMWatchError) -> bool:
        """Whether a local server loads its model and its time for that, as long as its ``ttfb``, is not over."""
        if not self._says_loading(error):
            return False
        now = self.settings.clock.now()
        self.loading_since = now if self.loading_since is None else self.loading_since
        return now < self.loading_since + self.loading_time

    def _says_loading(self, error: LLMWatchError) -> bool:
        loading = isinstance(error, ProviderError) and error.loading and error.retry_after is None
        return loading and self.loading_time > 0

    def _wait(self, error: LLMWatchError, plan: Plan, *, loading: bool) -> float:
        """No wait for the free resend, the provider's wait if it named one, else a back-off.

        While a model is loaded, the back-off ends with the time for that. A test run may set every wait aside.
        """
        if plan.free or not self.retry.waits:
            return 0.0
        if error.retry_after is not None:
            return float(error.retry_after) if self._paced_wait is None else self._paced_wait
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
