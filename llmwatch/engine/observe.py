"""The facts, the error and the record of a finished attempt."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llmwatch.engine.request import CallRequest
from llmwatch.engine.scrub import scrubbed
from llmwatch.errors import Cancelled, LLMWatchError, ProviderError, WatchTimeout
from llmwatch.payload import ToolExposure, model_asked, secrets_in
from llmwatch.policy import EffectiveLimits
from llmwatch.records import AttemptRecord, Timings
from llmwatch.records.evidence import OMITTED
from llmwatch.recovery import Facts, Sent, failure_of, timeout_message
from llmwatch.redaction import Secrets, redact
from llmwatch.redaction.sent import may_repeat
from llmwatch.transport.errors import Summary
from llmwatch.watch.attempt import Attempt
from llmwatch.watch.machine import Machine, Phase, Seen, Verdict, VerdictKind
from llmwatch.watch.stats import AttemptStats
from llmwatch.wire import tokens_of

__all__ = ["Ended", "cancelled_error", "observe"]

# Characters of a header's value that are scrubbed; of a longer value only the beginning is shown anyway.
_MOST_VALUE = 1000
_OTHER_CONTENT = {"reasoning", "tool_input", "tool_call"}
_CONTENT = {"text", *_OTHER_CONTENT}
# The instants that a record keeps. The headers of a refused answer have come when the refusal is seen, at the latest.
_TIMED = {
    Seen.BEGUN: "queued",
    Seen.CONNECTED: "connected",
    Seen.SENT: "sent",
    Seen.HEADERS: "headers",
    Seen.BYTE: "first_byte",
    Seen.EVENT: "first_event",
    Seen.CONTENT: "first_content",
}
_CANCELLED = {
    "user": "The call was cancelled by the caller.",
    "lifecycle": "The call was ended: its client was closed, its process exits, or it belongs to a parent process.",
}


@dataclass(slots=True, kw_only=True)
class Ended:
    """A finished attempt: its verdict, and its error (``None`` if it succeeded).

    ``fault`` is what is wrong with an answer that was handed on as it came. ``end`` is what ended the answer, as in the
    record; ``has_content`` is whether any content came. Facts and record are made when they are first asked for:
    programs ask for neither if all goes well.
    """

    verdict: Verdict
    error: BaseException | None
    fault: LLMWatchError | None
    end: str | None
    has_content: bool
    make_facts: Callable[[], Facts]
    make_record: Callable[[Facts], AttemptRecord]
    _facts: Facts | None = None
    _record: AttemptRecord | None = None

    @property
    def facts(self) -> Facts:
        """What is known of the attempt, for decisions."""
        if self._facts is None:
            self._facts = self.make_facts()
        return self._facts

    @property
    def record(self) -> AttemptRecord:
        """What is remembered of the attempt."""
        if self._record is None:
            self._record = self.make_record(self.facts)
        return self._record


def cancelled_error(by: str) -> Cancelled:
    """The error of a call that ``user`` or ``lifecycle`` cancelled."""
    return Cancelled(_CANCELLED[by], by=by)


def observe(
    attempt: Attempt[Any],
    *,
    number: int,
    request: CallRequest,
    limits: EffectiveLimits,
    tools: ToolExposure,
    call_started_at: float,
    idle_since_previous: float | None,
    deliverable: bool,
    error: BaseException | None = None,
) -> Ended:
    """All about an attempt with a verdict. ``deliverable``: what it delivers reaches the user at once.

    ``error`` replaces the verdict's own error if the attempt succeeded and its answer did not (an HTTP status in a
    plain call). It is scrubbed here; the worker has scrubbed the verdict's.
    """
    verdict, stats = attempt.verdict, attempt.stats
    assert verdict is not None
    machine = attempt.machine
    # The statistics do not change any more.
    make_facts = functools.partial(
        _facts, attempt, machine, verdict, tools=tools, request=request, deliverable=deliverable
    )
    facts = None
    if isinstance(error, LLMWatchError):
        scrubbed(error, request, Secrets.of(stats.asked, secrets_in(request.body)))
    if error is None and verdict.kind is not VerdictKind.DONE:
        facts = make_facts()
        error = _error(attempt, verdict, facts, limits=limits, request=request, call_started_at=call_started_at)
    make_record = functools.partial(
        _record,
        attempt,
        machine,
        verdict,
        error,
        number=number,
        request=request,
        tools=tools,
        idle_since_previous=idle_since_previous,
        # These two may change.
        late_events=machine.late,
        orphaned=attempt.orphaned,
    )
    return Ended(
        verdict=verdict,
        error=error,
        fault=stats.fault,
        end=None if error is not None or stats.fault is not None else _end(attempt, verdict),
        has_content=stats.unread
        or not _CONTENT.isdisjoint(stats.events)
        or (Seen.CONTENT in machine.marks and bool(stats.events)),
        make_facts=make_facts,
        make_record=make_record,
        _facts=facts,
    )


def _facts(
    attempt: Attempt[Any],
    machine: Machine,
    verdict: Verdict,
    *,
    tools: ToolExposure,
    request: CallRequest,
    deliverable: bool,
) -> Facts:
    stats, marks = attempt.stats, machine.marks
    kinds = dict(stats.events)
    sent_at = marks.get(Seen.SENT)
    return Facts(
        # An answer proves that the request was sent, even if the connection could not tell.
        sent=Sent.YES if stats.sent == "no" and stats.status is not None else Sent(stats.sent),
        headers=stats.status is not None,
        first_byte=stats.response_bytes > 0 or stats.answering,
        first_event=Seen.EVENT in marks,
        text="text" in kinds
        or stats.unread
        or (bool(kinds) and Seen.CONTENT in marks and not kinds.keys() & _OTHER_CONTENT),
        reasoning="reasoning" in kinds,
        tool_input="tool_input" in kinds,
        tool_call="tool_call" in kinds,
        delivered=deliverable and attempt.opened,
        terminal=Seen.TERMINAL in marks,
        bytes=stats.response_bytes,
        events=sum(kinds.values()),
        socket_reused=stats.reused,
        socket_idle=stats.idle,
        since_sent=None if sent_at is None else verdict.at - sent_at,
        tools=tools,
        provider_acted=stats.provider_acted,
        beaten=stats.beaten,
        replayable=None if stats.opaque else request.replayable,
    )


def _error(
    attempt: Attempt[Any],
    verdict: Verdict,
    facts: Facts,
    *,
    limits: EffectiveLimits,
    request: CallRequest,
    call_started_at: float,
) -> BaseException | None:
    if verdict.kind is VerdictKind.FAILED:
        return verdict.error
    if verdict.kind is VerdictKind.CANCELLED:
        return cancelled_error(verdict.by or "user")
    limit = verdict.limit or "total"
    seconds = verdict.seconds or 0.0
    elapsed = verdict.elapsed if verdict.elapsed is not None else verdict.at - call_started_at
    function = attempt.stats.function
    message = timeout_message(
        limit,
        seconds,
        elapsed,
        paused=verdict.paused,
        facts=facts,
        host=request.host,
        function=function,
        stuck=function and attempt.orphaned and facts.sent is Sent.YES,
    )
    return WatchTimeout(
        message,
        limit=limit,
        limit_seconds=seconds,
        phase=verdict.phase.public,
        elapsed=elapsed,
        paused=verdict.paused,
    )


def _record(
    attempt: Attempt[Any],
    machine: Machine,
    verdict: Verdict,
    error: BaseException | None,
    facts: Facts,
    *,
    number: int,
    request: CallRequest,
    tools: ToolExposure,
    idle_since_previous: float | None,
    late_events: int,
    orphaned: bool,
) -> AttemptRecord:
    stats = attempt.stats
    if stats.fault is not None and (error is None or isinstance(error, Cancelled)):
        # The fault that the caller found, and perhaps the reason for leaving.
        error = stats.fault
    failure = None if error is None else failure_of(error)
    headers = _kept_headers(stats, request, failed=error is not None)
    return AttemptRecord(
        number=number,
        started_at=attempt.created_wall,
        timings=_timings(machine, attempt.created_at, verdict),
        method=request.method,
        url=request.url,
        origin=request.origin,
        model=_model(request),
        dialect=stats.dialect,
        status=stats.status,
        request_id=headers["request_id"],
        request_bytes=stats.request_bytes,
        response_bytes=stats.response_bytes,
        content_bytes=stats.content_bytes,
        usage=None if stats.usage is None else tokens_of(stats.usage) or None,
        events=dict(stats.events),
        comments=stats.comments,
        stray_lines=stats.stray_lines,
        contradictions=stats.contradictions,
        longest_gap=machine.longest_gap,
        phase=verdict.phase.public,
        limit=verdict.limit if verdict.kind is VerdictKind.KILLED else None,
        limit_seconds=verdict.seconds,
        elapsed=verdict.at - attempt.created_at,
        paused=attempt.paused,
        kill_lag=verdict.lag,
        socket_reused=stats.reused,
        socket_idle=stats.idle,
        idle_since_previous=idle_since_previous,
        tool_exposure=tools.to_dict(),
        facts=facts.to_dict(),
        cause=None if failure is None else failure.cause,
        close_reason="done" if failure is None else failure.close_reason,
        error=None if error is None else type(error).__name__,
        message=None if error is None else _message(error),
        orphaned=orphaned,
        late_events=late_events,
        end=None if error is not None else _end(attempt, verdict),
        evidence=None if error is None else _evidence(stats, headers, error),
    )


def _model(request: CallRequest) -> str | None:
    body = request.body
    # The common case costs no further function.
    named = body.get("model") if body.__class__ is dict else None
    return named if named.__class__ is str and named else model_asked(request.url, body)


def _end(attempt: Attempt[Any], verdict: Verdict) -> str | None:
    return "finish" if verdict.limit is not None and verdict.phase is Phase.FINISHING else attempt.stats.end


def _kept_headers(stats: AttemptStats, request: CallRequest, *, failed: bool) -> dict[str, str | None]:
    """The values kept of the answer's headers, without the request's secrets."""
    kept = {"request_id": stats.request_id}
    if failed:
        kept.update(content_type=stats.content_type, content_encoding=stats.content_encoding)
    elif stats.request_id is None or not may_repeat(stats.request_id, stats.asked):
        return kept
    if not any(kept.values()):
        return kept
    secrets = Secrets.of(stats.asked, secrets_in(request.body))
    return {name: value and secrets.masked(value[:_MOST_VALUE]) for name, value in kept.items()}


def _evidence(stats: AttemptStats, headers: dict[str, str | None], error: BaseException) -> dict[str, object] | None:
    cause = error.__cause__
    values: dict[str, object | None] = {
        "content_type": headers["content_type"],
        "content_encoding": headers["content_encoding"],
        "pending_bytes": stats.pending_bytes or None,
    }
    if isinstance(error, ProviderError):
        values.update(provider_type=error.type, provider_code=error.code)
    if isinstance(cause, Summary):
        values.update(error_type=cause.type, error_errno=cause.errno or None, error_text=cause.text)
    kept = {name: value for name, value in values.items() if value is not None}
    # A value that was cut earlier is incomplete too.
    cut = sum(isinstance(value, str) and redact.is_cut(value) for value in kept.values())
    return {**kept, OMITTED: cut} if cut else kept or None


def _message(error: BaseException) -> str:
    # A foreign exception's text may hold anything; its class is enough. The record scrubs llmwatch's own messages.
    return str(error) if isinstance(error, LLMWatchError) else f"{type(error).__name__} raised by the caller's code"


def _timings(machine: Machine, start: float, verdict: Verdict) -> Timings:
    times = {_TIMED[what]: at - start for what, at in machine.marks.items() if what in _TIMED}
    if Seen.REFUSED in machine.marks:
        times.setdefault("headers", machine.marks[Seen.REFUSED] - start)
    if machine.last_byte_at is not None:
        times["last_byte"] = machine.last_byte_at - start
    return Timings(**times, end=verdict.at - start)
