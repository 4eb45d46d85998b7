"""``llmwatch.engine.observe``: the facts, the error and the record of an attempt."""

from __future__ import annotations

from typing import Any

import pytest

from llmwatch import Cancelled, Event, Kind, StreamCut, WatchTimeout
from llmwatch.engine.observe import Ended, cancelled_error, observe
from llmwatch.engine.request import CallRequest
from llmwatch.payload import tool_exposure
from llmwatch.policy import resolve_limits
from llmwatch.recovery import Sent
from llmwatch.watch.attempt import Attempt, BatchMeaning
from tests.end_to_end.calls import eventually
from tests.end_to_end.times import PATIENCE
from tests.engine.fakes import URL, Studio

BODY = {"stream": True, "tools": [{"type": "function", "function": {"name": "secret_tool"}}]}
SECRET_URL = URL.replace("https://", "https://user:pass@") + "?key=AIzaSyD-9tSrke72PouQMnMX"


def event(kind: Kind) -> Event:
    return Event("message", "", kind=kind, text="x" if kind is Kind.TEXT else "")


def seen(studio: Studio, work: Any, *, deliverable: bool = True, error: BaseException | None = None) -> Ended:
    """The observations of an attempt that ``work`` serves."""
    attempt: Attempt[Event] = Attempt({"ttfb": 10.0, "stale": 5.0, "drain": 1.0})
    attempt.start(lambda observer: work(observer, studio))
    if error is None:
        while attempt.take() is not None:
            pass
    eventually(lambda: attempt.verdict is not None, "the verdict")
    assert attempt.join(PATIENCE)
    return _observed(attempt, deliverable=deliverable, error=error)


def _observed(attempt: Attempt[Event], *, deliverable: bool = True, error: BaseException | None = None) -> Ended:
    request = CallRequest.build("POST", SECRET_URL, {"json": BODY})
    return observe(
        attempt,
        number=2,
        request=request,
        limits=resolve_limits(environ={}, url=URL),
        tools=tool_exposure(BODY),
        call_started_at=attempt.created_at - 100,
        idle_since_previous=3.5,
        deliverable=deliverable,
        error=error,
    )


def _begin(observer: Attempt[Event], studio: Studio) -> None:
    for step, wait in (
        (observer.connected, 1),
        (lambda: observer.sending(50), 0),
        (observer.sent, 2),
        (lambda: observer.headers(200, refused=False, request_id="req_7"), 3),
    ):
        studio.time.clock.advance(wait)
        step()


def _whole(observer: Attempt[Event], studio: Studio) -> None:
    _begin(observer, studio)
    for kind, wait in ((Kind.LIFECYCLE, 4), (Kind.TEXT, 2), (Kind.TERMINAL, 1)):
        studio.time.clock.advance(wait)
        observer._received(10)
        observer.deliver(
            [event(kind)],
            10,
            BatchMeaning(content=kind.is_content, terminal=kind is Kind.TERMINAL),
            kinds=(kind.value,),
        )


def test_the_record_of_a_good_attempt_is_complete(studio: Studio) -> None:
    """The record has the times since the attempt began, bytes, events by kind and the longest gap.

    The record has no error, no cause and no limit.
    """
    ended = seen(studio, _whole)
    record = ended.record
    assert ended.error is None
    timings = record.timings
    reached = (timings.queued, timings.connected, timings.sent, timings.headers, timings.first_byte)
    assert reached == (0.0, 1.0, 3.0, 6.0, 10.0)
    assert (timings.first_event, timings.first_content, timings.last_byte, timings.end) == (10.0, 12.0, 13.0, 13.0)
    assert (record.number, record.method, record.status, record.request_id) == (2, "POST", 200, "req_7")
    assert (record.request_bytes, record.response_bytes) == (50, 30)
    assert record.events == {"lifecycle": 1, "text": 1, "terminal": 1}
    assert (record.longest_gap, record.elapsed, record.phase) == (2.0, 13.0, "draining")
    assert (record.close_reason, record.cause, record.limit, record.error) == ("done", None, None, None)
    assert record.idle_since_previous == 3.5
    assert (ended.facts.terminal, ended.facts.text, ended.facts.delivered, ended.facts.sent) == (
        True,
        True,
        True,
        Sent.YES,
    )


def test_nothing_secret_is_in_a_record(studio: Studio) -> None:
    """The record has neither user info nor query values nor the names of tools."""
    text = str(seen(studio, _whole).record.to_dict())
    for secret in ("pass", "AIza", "secret_tool"):
        assert secret not in text


def test_a_kill_is_a_time_out_of_its_limit(studio: Studio) -> None:
    """The error and the record have the phase, the limit's seconds, the elapsed time, and the lag."""

    def silent(observer: Attempt[Event], studio: Studio) -> None:
        _begin(observer, studio)
        studio.time.advance(7.5)
        observer.check()

    ended = seen(studio, silent)
    assert isinstance(ended.error, WatchTimeout)
    # The limit started with sent, three seconds before the headers.
    assert (ended.error.limit, ended.error.limit_seconds, ended.error.elapsed) == ("ttfb", 10.0, pytest.approx(10.5))
    record = ended.record
    assert (record.limit, record.limit_seconds, record.close_reason, record.cause) == (
        "ttfb",
        10.0,
        "ttfb_kill",
        "watchdog_timeout",
    )
    assert record.kill_lag == pytest.approx(0.5)
    assert record.error == "WatchTimeout"
    assert record.message == str(ended.error)


def test_a_failure_keeps_its_error(studio: Studio) -> None:
    """The worker's error is the attempt's, with what had come before it in the facts."""
    failure = StreamCut("cut")

    def cut(observer: Attempt[Event], studio: Studio) -> None:
        _begin(observer, studio)
        observer._received(10)
        observer.deliver([event(Kind.REASONING)], 10, BatchMeaning(content=True), kinds=("reasoning",))
        raise failure

    ended = seen(studio, cut)
    assert ended.error is failure
    assert (ended.record.cause, ended.record.close_reason) == ("transport_disconnect", "failed")
    facts = ended.facts
    assert (facts.reasoning, facts.text, facts.delivered, facts.terminal, facts.events) == (
        True,
        False,
        True,
        False,
        1,
    )


def test_items_that_an_entry_point_keeps_are_not_delivered(studio: Studio) -> None:
    """If nothing reaches the user before the end, nothing counts as delivered."""

    def cut(observer: Attempt[Event], studio: Studio) -> None:
        _begin(observer, studio)
        observer._received(10)
        observer.deliver([event(Kind.TEXT)], 10, BatchMeaning(content=True), kinds=("text",))
        raise StreamCut("cut")

    ended = seen(studio, cut, deliverable=False)
    assert (ended.facts.text, ended.facts.delivered) == (True, False)


def test_lifecycle_events_alone_are_not_delivered(studio: Studio) -> None:
    """Events that were held back when an attempt failed were not delivered."""

    def cut(observer: Attempt[Event], studio: Studio) -> None:
        _begin(observer, studio)
        observer._received(10)
        observer.deliver([event(Kind.LIFECYCLE)], 10, BatchMeaning(content=False), kinds=("lifecycle",))
        raise StreamCut("cut")

    ended = seen(studio, cut)
    assert (ended.facts.first_event, ended.facts.delivered, ended.facts.content) == (True, False, False)


def test_an_attempt_that_never_connected_has_no_times_beyond_the_first(studio: Studio) -> None:
    """The attempt sent and received nothing."""

    def refused(observer: Attempt[Event], studio: Studio) -> None:
        raise StreamCut("refused")

    ended = seen(studio, refused)
    assert (ended.facts.sent, ended.facts.headers, ended.facts.first_byte) == (Sent.NO, False, False)
    assert ended.facts.since_sent is None
    assert (ended.record.timings.connected, ended.record.timings.sent, ended.record.status) == (None, None, None)
    assert (ended.record.phase, ended.record.request_bytes) == ("connecting", 0)


def test_a_broken_upload_was_partly_sent(studio: Studio) -> None:
    """Bytes that left without the whole request are neither nothing nor all of it."""

    def broken(observer: Attempt[Event], studio: Studio) -> None:
        observer.connected()
        observer.sending(1000)
        raise StreamCut("broken")

    ended = seen(studio, broken)
    assert (ended.facts.sent, ended.record.request_bytes, ended.record.phase) == (Sent.PARTLY, 1000, "sending")


@pytest.mark.parametrize(("by", "cause"), [("user", "user_cancel"), ("lifecycle", "lifecycle_close")])
def test_a_cancelled_attempt_names_its_canceller_and_no_limit(studio: Studio, by: str, cause: str) -> None:
    """The error says which side cancelled; cause and close reason are one word."""

    def give_up(observer: Attempt[Event], studio: Studio) -> None:
        _begin(observer, studio)
        observer.cancel(by)

    ended = seen(studio, give_up)
    assert isinstance(ended.error, Cancelled)
    assert (ended.error.by, str(ended.error)) == (by, str(cancelled_error(by)))
    assert (ended.record.cause, ended.record.close_reason, ended.record.limit) == (cause, cause, None)


def test_a_foreign_exceptions_text_is_not_recorded(studio: Studio) -> None:
    """Of an exception of the user's code only the class is recorded."""

    def breaks(observer: Attempt[Event], studio: Studio) -> None:
        raise ZeroDivisionError("s3cret")

    ended = seen(studio, breaks)
    assert isinstance(ended.error, ZeroDivisionError)
    assert (ended.record.error, ended.record.cause) == ("ZeroDivisionError", "unknown")
    assert "s3cret" not in str(ended.record.to_dict())


def test_a_refusal_that_was_read_whole_is_recorded_as_failure(studio: Studio) -> None:
    """A plain call whose response is a refusal is recorded as that failure.

    Its body was read to the end all the same.
    """
    refusal = StreamCut("refused")
    ended = seen(studio, _whole, error=refusal)
    assert ended.error is refusal
    assert (ended.record.close_reason, ended.record.error) == ("failed", "StreamCut")
