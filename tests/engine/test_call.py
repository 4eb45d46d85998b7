"""``llmwatch.engine.call``: when an attempt follows another, and the outcome if none does."""

from __future__ import annotations

import gc
import socket
import threading
import weakref

import pytest
import requests

from llmwatch import (
    Cancelled,
    CancelToken,
    ConnectFailed,
    Decision,
    EmptyStream,
    Limits,
    ProviderError,
    Retry,
    StreamCut,
    StreamTruncated,
    TooManyOrphans,
    TooManyThreads,
    WatchTimeout,
)
from llmwatch.engine.call import Call
from llmwatch.engine.call import _open as open_calls
from llmwatch.recovery import EntryPoint
from llmwatch.watch import attempt as attempts
from tests.end_to_end.calls import eventually, in_thread
from tests.end_to_end.times import PATIENCE
from tests.engine.fakes import BUSY, CHUNK, DONE, Answer, Studio, caught_by, chunk, whole


def test_a_whole_answer_takes_one_attempt(studio: Studio) -> None:
    """One request, its events in order, and a record that says so."""
    call, sender = studio.call(whole("Yes."))
    events = studio.drain(call)
    assert "".join(event.text for event in events) == "Yes."
    assert len(sender.asked) == 1
    assert studio.records == [call.record]
    assert call.record is not None
    assert (call.record.outcome, call.record.cause, call.record.empty) == ("done", None, False)
    assert call.record.decisions == ()
    assert sender.replies[0].closed
    assert sender.handles[0].released


@pytest.mark.parametrize("sinks", [False, True])
def test_a_record_is_made_if_it_is_asked_for(studio: Studio, monkeypatch: pytest.MonkeyPatch, sinks: bool) -> None:
    """One at its first attempt, without sinks: the record is made once, when it is asked for."""
    made, make = list[str](), Call._made_record
    monkeypatch.setattr(Call, "_made_record", lambda call, end: made.append(end.outcome) or make(call, end))
    call, _ = studio.call(whole("Yes."), settings=None if sinks else studio.settings(sinks=()))
    assert call.record is None
    studio.drain(call)
    assert made == ["done"] * sinks
    record = call.record
    assert record is not None
    assert record is call.record
    assert made == ["done"]
    (attempt,) = record.attempts
    assert (attempt.number, attempt.close_reason, attempt.end) == (1, "done", "terminal")
    assert (attempt.events, attempt.facts["delivered"]) == ({"text": 1, "lifecycle": 1, "terminal": 1}, True)
    assert attempt.timings.end == attempt.elapsed


def test_a_failure_makes_the_record_at_once(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a call carries the record, and so does the incident log, without other sinks."""
    made, make = list[str](), Call._made_record
    monkeypatch.setattr(Call, "_made_record", lambda call, end: made.append(end.outcome) or make(call, end))
    call, _ = studio.call(Answer(pieces=[CHUNK]), settings=studio.settings(sinks=()))
    error = caught_by(call, StreamTruncated)
    assert made == ["failed"]
    assert error.record is call.record


def test_two_threads_that_close_a_call_end_it_once(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is one record, whichever thread comes first, also while the other one is closing."""
    call, _ = studio.call(Answer(pieces=[CHUNK], silent=True))
    call.begin()
    observe, others = call._observe_cancelled, [call.close]

    def observe_cancelled() -> None:
        if others:
            in_thread(others.pop()).result(PATIENCE)
        observe()

    monkeypatch.setattr(call, "_observe_cancelled", observe_cancelled)
    call.close()
    assert [record.outcome for record in studio.records] == ["cancelled"]
    assert call.record is studio.records[0]


def test_a_dead_pooled_connection_costs_no_wait_attempt_or_budget(studio: Studio) -> None:
    """The free resend takes no wait, no attempt and no budget; the next failure is the first that counts."""
    dead = Answer(error=ConnectionResetError(104, "reset"), reused=True)
    retry = Retry(max_attempts=1, budget=1)
    call, sender = studio.call(dead, BUSY, retry=retry)
    error = caught_by(call, ProviderError)
    assert len(sender.asked) == 2
    first, second = error.record.decisions
    assert (first.reason, first.wait, first.budget_left) == ("dead_connection", 0.0, 1)
    assert second.reason == "attempts_exhausted"
    assert sender.opened_at[0] == sender.opened_at[1]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(pieces=[CHUNK]), StreamTruncated),
        (Answer(pieces=[CHUNK], cut=ConnectionResetError(104, "reset")), StreamCut),
    ],
)
def test_a_stream_that_has_delivered_is_not_resent(studio: Studio, answer: Answer, kind: type[Exception]) -> None:
    """The events before the failure are delivered, and ``.partial`` holds their text.

    There is one request.
    """
    call, sender = studio.call(answer)
    call.begin()
    batch = call.next_batch()
    assert [event.text for event in batch or ()] == ["one "]
    with pytest.raises(kind) as caught:
        call.next_batch()
    assert caught.value.recovery.decision is Decision.CONTINUE  # type: ignore[attr-defined]
    assert len(sender.asked) == 1
    assert call.next_batch() is None


def test_collect_resends_once_after_partial_output(studio: Studio) -> None:
    """``collect`` delivers nothing before the end, so it resends once after partial output.

    ``collect`` does not resend a second time.
    """
    retry = Retry(max_attempts=9, backoff=0)
    call, sender = studio.call(Answer(pieces=[CHUNK]), entry_point=EntryPoint.COLLECT, retry=retry)
    error = caught_by(call, StreamTruncated)
    assert error.recovery.reason == "partial_resend_used"
    assert len(sender.asked) == 2


def test_an_end_of_file_caused_by_a_kill_stays_a_kill(studio: Studio) -> None:
    """A shutdown that looks like a clean end of the body stays a kill."""
    answer = Answer(pieces=[b"data: one\n\n"], silent=True)
    settings = studio.settings(dialect="generic")
    call, _ = studio.call(answer, retry=Retry.none(), limits=Limits(stale=5), settings=settings)
    calling = in_thread(caught_by, call, WatchTimeout)
    eventually(lambda: [one for one in studio.time.attempts() if one.stats.events], "the event")
    studio.elapse(5.1)
    assert calling.result().limit == "stale"


def test_an_attempt_that_may_not_start_ends_the_call(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """``TooManyOrphans`` ends a call like any other error.

    The end is recorded, decided and told to the sinks, and no second look hangs.
    """
    monkeypatch.setattr(attempts, "MOST_ORPHANS", 0)
    token = CancelToken()
    call, sender = studio.call(whole(), cancel=token)
    error = caught_by(call, TooManyOrphans)
    assert error.recovery.decision is Decision.STOP
    assert studio.records == [error.record]
    assert error.record.attempts == ()
    assert call.next_batch() is None
    assert sender.asked == []
    token.cancel()


def test_a_token_does_not_keep_a_call_alive(studio: Studio) -> None:
    """A call that was dropped is freed while its token lives and its worker waits, by no collector.

    A later cancellation of the token does it no harm.
    """
    token = CancelToken()
    call, sender = studio.call(Answer(silent=True), cancel=token)
    call.begin()
    sender.wait_for(1)
    assert len(token._callbacks) == 1
    (attempt,) = studio.time.attempts()
    freed, number = weakref.ref(call), id(call)
    gc.disable()
    try:
        del call
        eventually(lambda: freed() is None, "the worker does not hold the call either")
    finally:
        gc.enable()
    token.cancel()
    assert attempt.verdict is None
    attempt.cancel("user")
    attempt.join(PATIENCE)
    # The stream around a call ends it when it is dropped; here there is none.
    del open_calls[number]


def test_a_thread_that_cannot_start_ends_the_call(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the system has no thread left, the call ends with an error that says so.

    The end is recorded and decided, and nothing was sent.
    """
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "llmwatch-worker":
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    call, sender = studio.call(whole())
    error = caught_by(call, TooManyThreads)
    assert "can't start new thread" in str(error)
    assert error.retryable
    assert (error.recovery.decision, error.recovery.reason) == (Decision.STOP, "too_many_threads")
    assert studio.records == [error.record]
    assert error.record.attempts == ()
    assert call.next_batch() is None
    assert sender.asked == []


def test_an_error_of_the_users_own_code_is_raised_as_it_is(studio: Studio) -> None:
    """An exception that is neither llmwatch's nor the network's is raised unchanged after one request.

    The record names its class.
    """
    call, sender = studio.call(Answer(unsent=ZeroDivisionError("s3cret")), retry=Retry(backoff=0))
    with pytest.raises(ZeroDivisionError):
        studio.drain(call)
    (record,) = studio.records
    assert (record.outcome, record.cause, record.attempts[0].error) == ("failed", "unknown", "ZeroDivisionError")
    assert "s3cret" not in str(record)
    assert len(sender.asked) == 1


def test_a_resend_is_not_carried_out_when_its_hook_outlasts_the_deadline(studio: Studio) -> None:
    """The resend is not sent, its decision says so, and the deadline is the end of the call."""
    retry = Retry(backoff=0, on_retry=lambda resend: studio.elapse(11))
    call, sender = studio.call(BUSY, retry=retry, limits=Limits(deadline=10))
    error = caught_by(call, WatchTimeout)
    assert (error.limit, error.recovery.decision, error.recovery.reason) == ("deadline", Decision.STOP, "deadline")
    planned, last = error.record.decisions
    assert (planned.decision, planned.carried_out, planned.outcome) == (Decision.RETRY, False, "stopped")
    assert (last.decision, last.reason, last.carried_out) == (Decision.STOP, "deadline", False)
    assert [one.facts["sent"] for one in error.record.attempts] == ["yes", "no"]
    assert len(sender.asked) == 1


def test_a_resend_is_not_carried_out_when_the_call_is_cancelled_in_its_hook(studio: Studio) -> None:
    """The resend is not sent, and its decision says so."""
    token = CancelToken()
    retry = Retry(backoff=0, on_retry=lambda resend: token.cancel())
    call, sender = studio.call(BUSY, retry=retry, cancel=token)
    error = caught_by(call, Cancelled)
    assert [(one.reason, one.carried_out) for one in error.record.decisions] == [
        ("http_status", False),
        ("cancelled_by_user", False),
    ]
    assert len(sender.asked) == 1


def test_a_resend_that_was_sent_counts_as_carried_out(studio: Studio) -> None:
    """A resend that the deadline ends after its request was sent counts as carried out."""
    call, sender = studio.call(BUSY, Answer(silent=True), retry=Retry(backoff=0), limits=Limits(deadline=10))
    calling = in_thread(caught_by, call, WatchTimeout)
    sender.wait_for(2)
    eventually(lambda: _counting(studio) == ("deadline", 10), "the deadline counts")
    studio.elapse(10.1)
    error = calling.result()
    assert error.limit == "deadline"
    assert [(one.carried_out, one.outcome) for one in error.record.decisions] == [(True, "failed"), (False, "stopped")]


def test_a_refused_connection_is_resent_as_not_sent(studio: Studio) -> None:
    """A connection that was refused is resent, and its facts say that nothing was sent."""
    refused = Answer(unsent=requests.exceptions.ConnectionError(OSError(111, "refused")))
    call, sender = studio.call(refused, retry=Retry(backoff=0, max_attempts=2))
    # A mocked refusal opened no socket and is final; this one says which errno it was.
    error = caught_by(call, ConnectFailed)
    assert (error.cause, error.retryable) == ("refused", True)
    assert len(sender.asked) == 2
    assert all(one.facts["sent"] == "no" for one in error.record.attempts)


def test_an_unknown_host_is_asked_for_once(studio: Studio) -> None:
    """A name that does not exist is not tried again."""
    unknown = Answer(unsent=requests.exceptions.ConnectionError(socket.gaierror(socket.EAI_NONAME, "unknown")))
    call, sender = studio.call(unknown, retry=Retry(backoff=0))
    assert caught_by(call, ConnectFailed).cause == "dns"
    assert len(sender.asked) == 1


def test_ttfb_doubles_after_a_kill_before_content_alone(studio: Studio) -> None:
    """The default ``ttfb`` doubles after a kill, and not after a status."""
    silent = Answer(silent=True)
    call, sender = studio.call(BUSY, silent, silent, retry=Retry(backoff=0, max_attempts=3))
    calling = in_thread(caught_by, call, WatchTimeout)
    for number, limit in ((2, 120), (3, 240)):
        sender.wait_for(number)
        eventually(lambda limit=limit: _counting(studio) == ("ttfb", limit), f"{limit} s count")
        studio.elapse(limit + 0.1)
    assert [one.limit_seconds for one in calling.result().record.attempts] == [None, 120, 240]


def _counting(studio: Studio) -> tuple[str, float] | None:
    live = studio.time.attempts()
    due = live[0].counting() if live else None
    return None if due is None else (due.limit, round(due.at - studio.time.clock.now()))


def test_the_environment_is_read_at_every_call(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is set between two calls counts for the second."""
    call, sender = studio.call(BUSY, retry=Retry(backoff=0))
    caught_by(call, ProviderError)
    assert len(sender.asked) == 3
    monkeypatch.setenv("LLMWATCH_MAX_ATTEMPTS", "1")
    call, sender = studio.call(BUSY, retry=Retry(backoff=0))
    caught_by(call, ProviderError)
    assert len(sender.asked) == 1


def test_a_stream_without_content_is_an_empty_success(studio: Studio) -> None:
    """A stream without content is done and empty; one without any event is an error."""
    call, _ = studio.call(Answer(pieces=[chunk(finish_reason="stop"), DONE]))
    studio.drain(call)
    assert call.record is not None
    assert (call.record.outcome, call.record.empty) == ("done", True)
    call, sender = studio.call(Answer(headers={"content-type": "text/event-stream"}), retry=Retry(backoff=0))
    assert caught_by(call, EmptyStream).retryable
    assert len(sender.asked) == 3


def test_closing_a_call_twice_is_one_record(studio: Studio) -> None:
    """A caller that leaves early is recorded once, as cancelled by itself."""
    call, sender = studio.call(Answer(pieces=[CHUNK], silent=True))
    call.begin()
    assert call.next_batch()
    call.close()
    call.close()
    call.cancel("lifecycle")
    (record,) = studio.records
    assert (record.outcome, record.cause) == ("cancelled", "user_cancel")
    assert call.next_batch() is None
    assert sender.handles[0].shut_down.wait(PATIENCE)


def test_a_plain_call_returns_the_last_response(studio: Studio) -> None:
    """A status that is not resent is the answer, and the call is over with it."""
    body = {"model": "m", "messages": []}
    call, sender = studio.call(BUSY, entry_point=EntryPoint.REQUEST, retry=Retry(backoff=0), json=body)
    call.begin()
    response = call.answer()[0].response
    assert response.status_code == 503
    assert response.json() == {"error": {"message": "busy"}}
    assert call.record is not None
    assert (call.record.outcome, len(sender.asked)) == ("failed", 3)


@pytest.mark.parametrize("status", [200, 404])
def test_a_status_is_returned_before_and_after_the_verdict(studio: Studio, status: int) -> None:
    """A caller that takes the response before its worker is through waits for the verdict.

    The call never fails for it.
    """
    call, sender = studio.call(Answer(status=status, slow_close=0.05), entry_point=EntryPoint.REQUEST)
    call.begin()
    assert call.answer()[0].response.status_code == status
    (record,) = studio.records
    assert record.attempts[0].status == status
    assert len(sender.asked) == 1


@pytest.mark.parametrize("how", ["kill", "cut"])
def test_closing_after_a_failure_is_no_cancellation(studio: Studio, how: str) -> None:
    """The earliest event is the cause.

    A caller that closes without having come to the error has not cancelled.
    """
    cut = ConnectionResetError(104, "reset") if how == "cut" else None
    call, sender = studio.call(Answer(pieces=[CHUNK], cut=cut, silent=how == "kill"), limits=Limits(stale=5))
    call.begin()
    assert call.next_batch()
    attempt = call._attempt
    assert attempt is not None
    if how == "kill":
        studio.elapse(5.1)
    eventually(lambda: attempt.verdict, "the failure")
    call.close()
    (record,) = studio.records
    cause = "watchdog_timeout" if how == "kill" else "transport_disconnect"
    assert (record.outcome, record.cause, record.attempts[0].cause) == ("failed", cause, cause)
    (decision,) = record.decisions
    assert (decision.decision, decision.carried_out) == (Decision.CONTINUE, False)
    assert len(sender.asked) == 1
