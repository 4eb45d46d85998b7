"""The outer retry loop: one call, with as many attempts as are needed and safe.

The loop runs in the caller's thread: it starts each attempt, takes what the attempt delivers, and judges it at its end.
The supervisor watches an attempt, and a worker reads it. ``_lock`` serialises cancellation against the start of an
attempt. It is taken before an attempt's lock, and nothing is waited for while it is held.
"""

from __future__ import annotations

import atexit
import contextvars
import functools
import gc
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar

from llmwatch.at_fork import in_child
from llmwatch.engine.hosts import Turn
from llmwatch.engine.notices import WITHOUT_CALLBACK, DelayNotice, Notifier, RetryNotice
from llmwatch.engine.observe import Ended, cancelled_error, observe
from llmwatch.engine.planner import History, Planner
from llmwatch.engine.request import CallRequest
from llmwatch.engine.resend import changed_request
from llmwatch.engine.settings import CallOptions, RequestKind, Settings, environment_sinks, log_unknown
from llmwatch.errors import Cancelled, EmptyStream, LLMWatchError, MalformedEvent, ProviderError
from llmwatch.payload import ToolExposure, model_asked, tool_exposure
from llmwatch.policy import (
    LABEL,
    EffectiveLimits,
    EffectiveRetry,
    overridden_limits,
    overrides,
    resolve_limits,
    resolve_retry,
)
from llmwatch.records import AttemptRecord, CallRecord, Decision
from llmwatch.records.attempt import BACKING_OFF
from llmwatch.records.call import CallOutcome
from llmwatch.records.log import log_kill, log_resend, say
from llmwatch.records.sinks import notify, untold
from llmwatch.recovery import EntryPoint, Facts, Plan, Sent, failure_of, in_seconds
from llmwatch.redaction import redact
from llmwatch.watch.attempt import Attempt, serving
from llmwatch.watch.channel import Bounds
from llmwatch.watch.clock import Clock, WaitList
from llmwatch.watch.dropped import CLOSING, TELLING
from llmwatch.watch.machine import VerdictKind
from llmwatch.watch.nested import ChildCallHandle
from llmwatch.watch.workers import Workers

T = TypeVar("T")
R = TypeVar("R")

__all__ = ["Call", "MakeWork", "Work"]


@dataclass(frozen=True, slots=True)
class Work:
    """The work of one attempt: its worker calls ``run(attempt)``.

    ``workers`` are threads that may do it. Without them it has a thread of its own, as it must if code of the user runs
    in the worker.
    """

    run: Callable[[Attempt[Any]], None]
    workers: Workers | None = None


MakeWork = Callable[[CallRequest, EffectiveLimits], Work]
"""Makes the work of each attempt from its request and its limits."""

_log = logging.getLogger("llmwatch")
# The convention for libraries: no output unless the program configures logging.
_log.addHandler(logging.NullHandler())


# Calls that have begun and are not over, by id. Each access is one step of the interpreter, so there is no lock.
_open: dict[int, weakref.ref[Call[Any]]] = {}

_MOST_HELD = 64 * 1024
"""The most bytes of a body that are held back while the bytes are handed on as they come."""


class _End(NamedTuple):
    """The end of a call. ``elapsed`` is in seconds.

    ``answered`` is the attempt that answered, if ``attempts`` does not hold its record: the only one, and in order.
    """

    outcome: CallOutcome
    cause: str | None
    elapsed: float
    label: str | None
    attempts: tuple[AttemptRecord, ...]
    answered: Ended | None


class Call(Generic[T]):
    """One call of the user. :meth:`next_batch` drives it; :meth:`cancel` ends it from any thread."""

    def __init__(self, make_work: MakeWork, settings: Settings, options: CallOptions) -> None:
        self._make_work = make_work
        self._settings = settings
        self._options = options
        self._request = options.request
        self._clock = settings.clock
        self._history = History()
        self._loop = loop = options.library_loop
        if loop is not None:
            loop.resume(settings.clock.now(), settings.clock.wall())
            self._history = History(loop.attempts, loop.decisions, patience=loop.patience)
            self._history.library_resends = len(loop.attempts)
        self.retry: EffectiveRetry = resolve_retry(call=options.retry, client=settings.retry, environ=os.environ)
        self._most_attempts = self.retry.max_attempts if loop is None else loop.most
        self.limits: EffectiveLimits = self._resolve_limits()
        if self.limits.warnings:
            log_unknown(os.environ)
        incidents, calls, self._status_file = environment_sinks(os.environ)
        self._sinks = (*settings.sinks, *calls)  # of every call
        self._incident_sinks = incidents
        self._planner = Planner(
            settings=settings,
            options=options,
            retry=self.retry,
            history=self._history,
            gate=settings.hosts.get(self._request.origin, self.retry, settings.random),
        )
        self._tools = self._exposed()
        self._tells = settings.on_notice is not None
        self._notifier = (
            Notifier(settings.on_notice, settings.notice_every, settings.clock) if self._tells else WITHOUT_CALLBACK
        )
        self._began_at = self._counted_from = 0.0  # of this call, and of its deadline
        self._began_wall = 0.0
        self._idle_since_previous: float | None = None
        self._subscription = 0
        self._release: Callable[[], object] | None = None  # takes this call from the attempt around it
        self._bounds = Bounds(held=_MOST_HELD if options.entry_point is EntryPoint.SESSION else None)
        self._handed_out = options.entry_point in (EntryPoint.STREAM, EntryPoint.WRAP)
        # A notice callback is the user's code and may keep the worker waiting.
        self._collected = options.decides_as in (EntryPoint.COLLECT, EntryPoint.REQUEST) and settings.on_notice is None
        self.partial: list[str] = []
        self.empty = False
        self.call_id = os.urandom(16).hex() if loop is None else loop.call_id
        self._record: CallRecord | None = None
        self._end: _End | None = None  # of the call, until the record is made
        self._answered: Ended | None = None
        # Protects _waiting, _attempt, _latest, cancelled_by, _finished and _record.
        self._lock = threading.RLock()
        self._waiting = WaitList()
        self._attempt: Attempt[T] | None = None
        self._latest: Attempt[T] | None = None  # kept after its end: a finalizer asks its supervisor
        self._context: contextvars.Context | None = None  # the caller's, for the sinks of a dropped call
        self._dropped = False
        self._told = False  # whether the sinks were called
        self._process = self._thread = 0
        self._inside = False  # whether a thread drives the call now
        self.cancelled_by: str | None = None
        self._finished = False

    # -- the caller's side --------------------------------------------------

    @property
    def number(self) -> int:
        """The number of the current attempt, from 1."""
        return self._history.number

    @property
    def ends_at(self) -> float | None:
        """The instant at which ``deadline`` ends the call, ``None`` without a deadline."""
        return self._planner.ends_at

    @property
    def record(self) -> CallRecord | None:
        """The call's record, made when it is first asked for; ``None`` until the call is over."""
        if self._record is None and self._end is not None:
            with self._lock:
                if self._end is not None:
                    self._record, self._end = self._made_record(self._end), None
        return self._record

    def begin(self) -> None:
        """Start the call's clock and its first attempt."""
        began = None if self._loop is None else self._loop.began
        self._began_at, self._began_wall = began or (self._clock.now(), self._clock.wall())
        self._counted_from = self._began_at
        self._context, self._process = contextvars.copy_context(), os.getpid()
        self._thread = threading.get_ident()
        _open[id(self)] = weakref.ref(self)
        if self._status_file is not None:
            from llmwatch.engine import status_file  # only a program with such a file needs it

            status_file.keep(self._status_file, _in_flight)
        token = self._options.cancel
        if token is not None:
            # Weakly: a cancel token may outlive a dropped call, and must not keep it alive.
            self._subscription = token.subscribe(
                functools.partial(_weakly_ended(weakref.WeakMethod(self.cancel)), "user")
            )
        if self._loop is not None and self._loop.attempts:
            # The library around the call has decided on a resend, and has waited.
            self._log_resend(self._loop.attempts[-1], self._loop.decisions[-1].wait or 0.0)
        self._guarded(self._begin_call)

    def next_batch(self) -> list[T] | None:
        """The next items, ``None`` at the end. Blocks. Resends if that is safe, else raises."""
        if self._finished:
            return None
        # As _guarded(), without one more call for every batch of a stream.
        self._inside = True
        try:
            return self._next_batch()
        except BaseException as error:
            self._break_off(error)
            raise
        finally:
            self._inside = False

    def cancel(self, by: str) -> None:
        """Cancel the call, from any thread. Does nothing to a call that is over."""
        if sys.is_finalizing():
            return
        with self._lock:
            if self._finished:
                return
            self.cancelled_by = self.cancelled_by or by
            attempt = self._attempt
            self._waiting.wake()
        if attempt is not None:
            attempt.cancel(by)

    def in_flight(self) -> dict[str, Any]:
        """Where the call stands, in plain JSON values, for a status file. Any thread may ask.

        Nothing of the prompt, the answer, a URL's path or a header is in it.
        """
        attempt, context, request = self._attempt, self._context, self._request
        model = model_asked(request.url, request.body)
        due = None if attempt is None else attempt.counting()
        now = self._clock.now()
        return {
            "call_id": self.call_id,
            "started_at": self._began_wall,
            "elapsed": now - self._began_at,
            "entry_point": self._options.recorded_as or self._options.entry_point.value,
            "origin": redact.origin(request.origin),
            "model": None if model is None else redact.model(model),
            "label": None if context is None else context.get(LABEL),
            "attempt": self.number,
            "max_attempts": self._most_attempts,
            "phase": BACKING_OFF if attempt is None else attempt.phase.public,
            "limit": None if due is None else due.limit,
            "expires_in": None if due is None else max(0.0, due.at - now),
        }

    def after_fork(self) -> None:
        """In a forked child: another thread of the parent may have held the lock."""
        self._lock = threading.RLock()

    def abandon(self) -> None:
        """For finalizers, when nothing refers to the call any more: close it and call its sinks.

        That is done from the supervisor's side (:mod:`llmwatch.watch.dropped`). Takes no lock, runs no user code.
        """
        attempt = self._latest
        if attempt is not None and not self._finished and not self._dropped and self._process == os.getpid():
            # A call inherited by a forked child is the parent's to report.
            self._dropped = True
            attempt.abandon(self.close)

    def leave_at_exit(self, threads: Container[int]) -> None:
        """At exit: close the call as a dropped one, unless one of the running ``threads`` may be reading it."""
        if self._inside or self._dropped or self._process != os.getpid() or self._thread in threads:
            return
        self._dropped = True
        CLOSING.put(functools.partial(self.close, "lifecycle"))

    def close(self, by: str = "user") -> None:
        """End the call: the caller reads no more. A complete answer continues to drain."""
        if self._finished or sys.is_finalizing():
            # The exit handlers have ended a stream that is still open, and a frozen thread may hold its lock.
            return
        attempt = self._attempt
        if attempt is not None and attempt.verdict is None and attempt.stats.end == "terminal":
            # With its end mark the answer is complete, even if the body is not over.
            attempt.accept()
        verdict = None if attempt is None else attempt.verdict
        if attempt is not None and verdict is not None and verdict.kind is VerdictKind.DONE and not self._options.plain:
            self._succeed(self._observe(attempt))
            return
        left = verdict is None or (self._dropped and verdict.kind is VerdictKind.CANCELLED and not self.cancelled_by)
        if attempt is not None and left and _is_failure(attempt.stats.fault):
            # The caller leaves because of what was read.
            attempt.cancel("user")
            self._succeed(self._observe(attempt))
            return
        if attempt is not None and verdict is not None and verdict.kind in (VerdictKind.KILLED, VerdictKind.FAILED):
            # The attempt failed before the caller left; the caller has not reached the error yet.
            self._left_failed(self._observe(attempt))
            return
        self.cancel(by)
        self._observe_cancelled()
        self._finish("cancelled", cancelled_error(self.cancelled_by or by))

    def give_up(self) -> None:
        """Close the call after an interruption of its caller, which reads nothing more."""
        attempt = self._latest
        self.close()
        if attempt is not None:
            # Late items may hold a connection, and the supervisor keeps the attempt for as long as its limits run.
            attempt.forgo()

    def _left_failed(self, ended: Ended) -> None:
        self._remember(ended)
        if isinstance(ended.error, LLMWatchError):
            plan = self._planner.stop(ended.error, ended.facts, None)
            self._history.decided(plan, None, most=self.retry.max_attempts, carried_out=False)
        self._finish("failed", ended.error)

    def raise_cancelled(self) -> NoReturn:
        """End the call as cancelled and raise."""
        error = cancelled_error(self.cancelled_by or "user")
        self._observe_cancelled()
        self._stop(error, None)

    def _guarded(self, step: Callable[[], R]) -> R:
        self._inside = True
        try:
            return step()
        except BaseException as error:
            self._break_off(error)
            raise
        finally:
            self._inside = False

    def _break_off(self, error: BaseException) -> None:
        """End the call after Ctrl-C or an exception of the user's code; llmwatch's own errors have ended it."""
        if isinstance(error, LLMWatchError):
            return
        if self._attempt is None:
            self._history.not_carried_out()
        self.give_up()

    # -- attempts -----------------------------------------------------------

    def _begin_call(self) -> None:
        outer = serving()
        if outer is not None:
            # Weakly: the attempt around a dropped call must not keep it alive.
            inner = ChildCallHandle(_weakly_ended(weakref.WeakMethod(self.cancel)))
            outer.adopt(inner)
            self._release = functools.partial(outer.disown, inner)
        self._idle_since_previous = self._settings.hosts.started(self._request.origin, self._began_at)
        deadline = self.limits.value("deadline")
        if deadline is not None:
            ends_at, earlier = self._began_at + deadline, self._options.ends_at
            if earlier is not None and earlier < ends_at:
                ends_at, self._counted_from = earlier, earlier - deadline
            self._planner.ends_at = ends_at
        self._planner.loading_time = self._loading_time()
        self._planner.enter(self._began_at)
        self._fail_over()
        self._pass_gate(None)
        self._begin_attempt()

    def _fail_over(self) -> None:
        """If the first attempt would have to wait, ask ``on_retry`` whether to send it elsewhere."""
        hook = self.retry.on_retry
        error = None
        if hook is not None:
            error = self._planner.first_delay(self._request, tuple(_around()), self._clock.now())
        if hook is None or error is None:
            return
        changed = changed_request(self._request, hook, self.number, error)
        if self._planner.differs(self._request, changed):
            self._request = changed
            self._tools, self.limits = self._exposed(), self._resolve_limits()

    def _begin_attempt(self) -> Attempt[T]:
        attempt: Attempt[T] = Attempt(self.limits.seconds, deadline_at=self._planner.ends_at, bounds=self._bounds)
        attempt.collected = self._collected
        with self._lock:
            if self.cancelled_by is None:
                self._attempt = self._latest = attempt
        if self._attempt is not attempt:
            self._history.not_carried_out()
            self.raise_cancelled()
        self._settings.started(attempt)
        turn = self._planner.turn
        if turn is not None:
            turn.attempt = attempt
            attempt.on_answer = functools.partial(_answered, turn, self._clock)
        try:
            work = self._make_work(self._request, self.limits)
            attempt.start(work.run, work.workers)
        except LLMWatchError as error:
            self._attempt = None
            self._history.not_carried_out()
            self._stop(error, Facts(sent=Sent.NO, replayable=self._request.replayable))
        return attempt

    def _resolve_limits(self) -> EffectiveLimits:
        limits = resolve_limits(
            call=self._options.limits,
            client=self._settings.limits,
            environ=os.environ,
            profile=self._settings.profile,
            url=self._request.url,
            body=self._request.body,
            body_bytes=self._request.size,
            plain=self._options.request_kind is not RequestKind.STREAM,
            passthrough=self._options.entry_point is EntryPoint.SESSION,
            patience=self._history.patience,
        )
        options = self._options
        if options.timeouts.seconds:
            limits = options.timeouts.on(limits)
        if options.caps:
            limits = limits.lowered(options.caps, options.caps_source)
        return overridden_limits(limits) if overrides.ACTIVE else limits

    def _loading_time(self) -> float:
        """Seconds for which a local server may load its model: its ``ttfb``; 0 for any other profile.

        Without waits it would be asked again without a pause for as long, so it gets no more attempts than others.
        """
        if not self.retry.waits:
            return 0.0
        ttfb = self.limits.value("ttfb")
        return 0.0 if self.limits.profile != "local" else float("inf") if ttfb is None else ttfb

    def _exposed(self) -> ToolExposure:
        request = self._request
        return tool_exposure(request.body, readable=request.readable and self._options.telling)

    def _next_batch(self) -> list[T] | None:
        while True:
            attempt = self._attempt or self._begin_attempt()
            batch = self._notifier.take(attempt, self.number) if self._tells else attempt.take()
            if batch is not None:
                return batch
            ended = self._observe(attempt)
            if ended.error is None:
                self._succeed(ended)
                return None
            self._fail(ended)

    # -- judgement ----------------------------------------------------------

    def _observe(self, attempt: Attempt[T], error: BaseException | None = None) -> Ended:
        return observe(
            attempt,
            number=self.number,
            request=self._request,
            limits=self.limits,
            tools=self._tools,
            call_started_at=self._counted_from,
            idle_since_previous=None if self._history.attempts else self._idle_since_previous,
            deliverable=self._handed_out,
            error=error,
        )

    def _observe_cancelled(self) -> None:
        attempt = self._attempt
        if attempt is not None and attempt.verdict is not None:
            ended = self._observe(attempt)
            self._note_unsent(ended)
            self._remember(ended, cancelled=True)

    def _remember(self, ended: Ended, *, cancelled: bool = False) -> None:
        """Record a finished attempt in the history."""
        self._planner.attempt_over(ended.error, cancelled=cancelled)
        self._history.attempts.append(ended.record)
        self._attempt = None
        if ended.record.limit is not None:
            log_kill(ended.record, **self._in_log())

    def _log_resend(self, failed: AttemptRecord, wait: float) -> None:
        log_resend(failed, number=self.number, wait=wait, **self._in_log())

    def _in_log(self) -> dict[str, Any]:
        """What names the call in a line of the logger."""
        return {
            "call_id": self.call_id,
            "label": None if self._context is None else self._context.get(LABEL),
            "entry_point": self._options.recorded_as or self._options.entry_point.value,
            "of": self._most_attempts,
        }

    def _note_unsent(self, ended: Ended) -> None:
        """If an attempt that was ended from outside had sent nothing, the resend did not take place."""
        if ended.facts.sent is Sent.NO:
            self._history.not_carried_out()

    def _succeed(self, ended: Ended) -> None:
        self.empty = self._options.request_kind is RequestKind.STREAM and not ended.has_content
        self._planner.attempt_over(None, cancelled=False)
        recovered = bool(self._history.attempts)
        if recovered or ended.fault is not None or self._loop is not None:
            self._history.attempts.append(ended.record)
        else:
            self._answered = ended
        if ended.fault is not None and _is_failure(ended.fault):
            # The faulty answer was handed on as it came; its reader judges it.
            self._finish("failed", ended.fault)
            return
        if ended.end == "finish":
            say(
                logging.INFO,
                "llmwatch: %s finished its answer, sent no end mark and left the body open; it was ended after %s",
                self._request.host,
                ended.verdict.limit,
            )
        self._finish("recovered" if recovered else "done", None)

    def _fail(self, ended: Ended) -> None:
        """Judge a failed attempt. Returns after the wait if another attempt follows, else raises."""
        error = ended.error
        assert error is not None
        if not isinstance(error, LLMWatchError):
            self._remember(ended)
            self._finish("failed", error)
            raise error
        if isinstance(error, Cancelled) or getattr(error, "limit", None) == "deadline":
            self._note_unsent(ended)
        self._planner.attempt_over(error, cancelled=isinstance(error, Cancelled))
        plan, wait = self._planner.plan(error, ended.facts, self._request, self.cancelled_by)
        if plan.recovery.decision is not Decision.RETRY:
            plan, wait = self._planner.asked_of_adapter(error, ended.facts, plan, self._request) or (plan, wait)
        self._carry_out(ended, error, plan, wait)

    def _carry_out(self, ended: Ended, error: LLMWatchError, plan: Plan, wait: float) -> None:
        """Returns after the wait if another attempt follows, else raises."""
        history, wait = self._history, wait if self.retry.waits else 0.0
        error.retryable, error.recovery = plan.could_work, plan.recovery
        self._remember(ended)
        if plan.recovery.decision is not Decision.RETRY:
            self._raise(error, plan)
        # Not raised: its traceback would keep the attempt alive, which keeps the error.
        error.__traceback__ = None
        history.decided(plan, wait, most=self.retry.max_attempts, carried_out=True)
        history.resent(ended, plan)
        self._log_resend(ended.record, wait)
        self._tell_retry(ended, error, wait)
        self._back_off(wait)
        self._prepare_resend(error)
        self._pass_gate(error)

    def _tell_retry(self, ended: Ended, error: LLMWatchError, wait: float) -> None:
        record = ended.record
        self._notifier.tell(
            RetryNotice(
                attempt=record.number,
                of=self.retry.max_attempts,
                phase=record.phase,
                limit=record.limit,
                wait=wait,
                cause=record.limit or record.cause or "unknown",
                message=str(error),
                record=record,
            )
        )

    def _back_off(self, wait: float) -> None:
        """Wait before a resend. Ctrl-C interrupts the wait; a cancellation ends the call."""
        self._wait(lambda: False, self._clock.now() + wait)

    def _prepare_resend(self, error: LLMWatchError) -> None:
        if self.retry.on_retry is not None:
            self._request = changed_request(self._request, self.retry.on_retry, self.number, error)
            self._tools = self._exposed()
        self._request.rewind()
        self.limits = self._resolve_limits()

    def _pass_gate(self, error: LLMWatchError | None) -> None:
        """Wait until the gate of the origin lets the next attempt out.

        If that takes too long the call ends, with ``error`` if an attempt was sent.
        """
        turn = self._planner.line_up(self._request, tuple(_around()), self._notify)
        before, _in_line.turns = _in_line.turns, (*_in_line.turns, turn)
        try:
            self._stand_in_line(turn, error)
        finally:
            _in_line.turns = before
        turn.is_out()

    def _stand_in_line(self, turn: Turn, error: LLMWatchError | None) -> None:
        planner, told, until, began = self._planner, None, 0.0, 0.0
        while True:
            now = self._clock.now()
            delay = turn.gate.ask(turn, now)
            if delay is None:
                return
            if until != delay.until:
                until, began = delay.until, now
            ends = planner.bears_until(delay, began, now)
            if ends is None and planner.goes_anyway(delay, now):
                turn.waits_no_longer()
                continue
            if ends is None:
                self._history.not_carried_out()
                self._stop(planner.refuse(delay, error, self._request, now, began), None)
            if told is not delay.barrier:
                told = delay.barrier
                message = planner.in_words(delay, self._request, now)
                self._notifier.tell(
                    DelayNotice(attempt=self.number, cause=told.value, wait=until - now, message=message)
                )
            self._wait_for(turn, min(ends, delay.look_at))

    def _wait_for(self, turn: Turn, until: float) -> None:
        """Wait until ``turn`` is let out or until ``until``. A cancellation ends the call."""
        began = self._clock.now()
        try:
            self._wait(lambda: turn.permit is not None or turn.stirred, until)
        finally:
            self._planner.waited += self._clock.now() - began

    def _wait(self, ready: Callable[[], bool], until: float) -> None:
        """Wait between attempts until ``ready()`` or ``until``, with notices. A cancellation ends the call."""

        def over() -> bool:
            return self.cancelled_by is not None or ready()

        began = self._clock.now()
        while not self._waiting.wait_for(over, self._lock, self._clock, self._notifier.until(until)):
            if self._clock.now() >= until:
                break
            self._notifier.backing_off(self.number, since=began, deadline_at=self._planner.ends_at)
        if self.cancelled_by is not None:
            self._history.not_carried_out()
            self.raise_cancelled()

    def _notify(self) -> None:
        with self._lock:
            self._waiting.wake()

    # -- the end ------------------------------------------------------------

    def empty_error(self, why: str | None) -> EmptyStream:
        """The error of a call that succeeds with an unwanted empty answer; ``why``: the provider's reason."""
        reason = "" if why is None else f" {why}"
        error = EmptyStream(
            f"The answer ended in good order and there was nothing in it: no text, no reasoning, no tool call.{reason}",
            retryable=False,
        )
        facts = Facts(sent=Sent.YES, terminal=True, tools=self._tools, replayable=self._request.replayable)
        error.recovery = self._planner.stop(error, facts, None).recovery
        error.record = self.record
        return error

    def _stop(self, error: LLMWatchError, facts: Facts | None) -> NoReturn:
        """End the call with an error that no attempt caused."""
        self._raise(error, self._planner.stop(error, facts, self.cancelled_by))

    def _raise(self, error: LLMWatchError, plan: Plan) -> NoReturn:
        self._history.decided(plan, None, most=self.retry.max_attempts, carried_out=False)
        self._finish("failed" if self.cancelled_by is None else "cancelled", error)
        error.retryable = plan.could_work
        error.recovery = plan.recovery
        if error.retry_after is not None and plan.could_work:
            error.recovery = in_seconds(plan.recovery, error.retry_after)
        error.record = self.record
        error.partial = "".join(self.partial)
        raise error

    def _finish(self, outcome: CallOutcome, error: BaseException | None) -> None:
        ends_here = False
        try:
            with self._lock:
                if self._finished:
                    # Another thread has closed the call meanwhile; it ends once.
                    return
                self._finished = ends_here = True
                # A raised error keeps this call alive by its frames, and the attempt keeps the error.
                self._latest = None
                _open.pop(id(self), None)
            self._settle(outcome, error)
        except BaseException:
            # Other calls wait for what this call gives back. Settling twice changes nothing.
            if ends_here:
                self._settle(outcome, error)
            raise

    def _settle(self, outcome: CallOutcome, error: BaseException | None) -> None:
        if self._options.cancel is not None:
            self._options.cancel.unsubscribe(self._subscription)
        if self._release is not None:
            self._release()
        self._planner.over(outcome)
        if self._end is None and self._record is None:
            cause = None if error is None else failure_of(error).cause
            elapsed = self._clock.now() - self._began_at
            context = self._context
            label = None if context is None else context.get(LABEL)
            self._end = _End(outcome, cause, elapsed, label, tuple(self._history.attempts), self._answered)
        self._tell()

    def _made_record(self, end: _End) -> CallRecord:
        return CallRecord(
            call_id=self.call_id,
            process=self._process or None,
            label=end.label,
            started_at=self._began_wall,
            method=self._request.method,
            url=self._request.url,
            origin=self._request.origin,
            entry_point=self._options.recorded_as or self._options.entry_point.value,
            profile=self.limits.profile,
            limits=self.limits.recorded,
            prompt_bytes=self._request.size or None,
            max_attempts=self._most_attempts,
            attempts=end.attempts if end.answered is None else (end.answered.record,),
            decisions=self._history.settled(recovered=end.outcome == "recovered"),
            elapsed=end.elapsed,
            delayed=self._planner.waited,
            outcome=end.outcome,
            cause=end.cause,
            empty=self.empty,
        )

    def _tell(self) -> None:
        if self._told:
            return
        self._told = True
        context, self._context = self._context, None
        answered, self._answered = self._answered, None
        if answered is not None and not self._sinks:
            # The call is no incident.
            return
        record = self.record
        assert record is not None
        sinks = (*self._sinks, *self._incident_sinks) if record.incident else self._sinks
        if not sinks:
            return
        now = self._clock.now()
        tell = functools.partial(notify, sinks, record, now=now)
        if self._loop is not None and record.outcome == "failed" and not self._handed_out:
            self._loop.failed(now, tell)
            return
        if not self._dropped or context is None:
            tell()
        elif not TELLING.put(functools.partial(context.run, tell)):
            untold(now=self._clock.now())


def _answered(turn: Turn, clock: Clock) -> None:
    turn.gate.answered(turn, clock.now())


class _InLine(threading.local):
    """The turns of this thread that wait before a gate while a notice callback makes calls of its own."""

    turns: tuple[Turn, ...] = ()


_in_line = _InLine()


def _around() -> Iterator[object]:
    """The turns and attempts that wait for what this thread does now."""
    yield from _in_line.turns
    outer: Attempt[Any] | None = serving()
    while outer is not None:
        yield outer
        outer = outer.outer


def _is_failure(fault: LLMWatchError | None) -> bool:
    """Whether an answer that was handed on failed. The caller may want a document in place of events."""
    return isinstance(fault, (ProviderError, MalformedEvent))


def _in_flight() -> Iterator[dict[str, Any]]:
    """Where each open call of this process stands."""
    for reference in list(_open.values()):
        call = reference()
        if call is not None:
            yield call.in_flight()


def _weakly_ended(method: weakref.WeakMethod[Callable[[str], None]]) -> Callable[[str], None]:
    def end(by: str) -> None:
        bound = method()
        if bound is not None:
            bound(by)

    return end


def _leave_open_calls() -> None:
    """At exit: end the open calls. The main thread runs this after the end of non-daemon threads."""
    if not _open:
        return
    threads = _threads() - {threading.get_ident()}
    for reference in list(_open.values()):
        call = reference()
        if call is not None:
            call.leave_at_exit(threads)


def _threads() -> set[int]:
    """The identifiers of all threads, those included that Python did not start.

    The garbage collector is off meanwhile: with it the look-up does not always return (CPython 3.11.7).
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return set(sys._current_frames())
    finally:
        if collects:
            gc.enable()


atexit.register(_leave_open_calls)


@in_child
def _leave_to_parent() -> None:
    """In a forked child: open calls belong to the parent. They may be closed here all the same."""
    for reference in list(_open.values()):
        call = reference()
        if call is not None:
            call.after_fork()
    _open.clear()
