"""Signs of life for a caller that waits: notices, sinks, and that neither can harm a call."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path
from typing import Any

import pytest

import llmwatch
from llmwatch import Limits, ProgressNotice, Retry, RetryNotice, WaitNotice
from llmwatch.faults.catalogue import ANSWER
from tests.end_to_end.calls import asking, collect, request, stream
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.scripts import gated, late
from tests.end_to_end.times import BEAT, LIMIT, LONG


def test_a_wait_is_told_with_the_limit_that_counts(serve: Serve, connect: Connect) -> None:
    """A notice of a wait has its seconds, the phase, and the limit that expires next with its time."""
    server, notices = serve("silent"), []
    limits = Limits(ttfb=3 * LIMIT, first_content=LONG)
    client = connect(limits=limits, retry=Retry.none(), on_notice=notices.append, notice_every=BEAT)
    stream(client, server.chat_url).failed(llmwatch.WatchTimeout)
    waits = [one for one in notices if isinstance(one, WaitNotice)]
    assert len(waits) >= 3
    last = waits[-1]
    assert (last.attempt, last.phase, last.limit) == (1, "waiting", "ttfb")
    assert [one.waited for one in waits] == sorted(one.waited for one in waits)
    assert all(one.waited >= BEAT * number for number, one in enumerate(waits, 1))
    assert all(0 <= one.expires_in <= 3 * LIMIT for one in waits)
    assert [one.expires_in for one in waits] == sorted((one.expires_in for one in waits), reverse=True)


def test_a_wait_before_a_resend_is_told_as_well(serve: Serve, connect: Connect) -> None:
    """A notice during a back-off names the deadline, the only limit that runs then."""
    script = f"retry-after:value={3 * LIMIT:.2f}"
    for limits, limit in ((Limits(), None), (Limits(deadline=LONG), "deadline")):
        server, notices = serve(script, "healthy"), []
        client = connect(limits=limits, on_notice=notices.append, notice_every=BEAT)
        stream(client, server.chat_url).done("recovered")
        waits = [one for one in notices if isinstance(one, WaitNotice) and one.phase == "backing_off"]
        assert len(waits) >= 3
        assert {(one.attempt, one.limit, one.expires_in is None) for one in waits} == {(2, limit, limit is None)}
        assert all(one.waited >= BEAT * number for number, one in enumerate(waits, 1))
        assert isinstance(notices[notices.index(waits[0]) - 1], RetryNotice)


def test_progress_takes_a_wait_notice_back(serve: Serve, connect: Connect) -> None:
    """Progress after a wait notice gives one notice that the wait is over."""
    server, notices = serve(late()), []

    def note(notice: Any) -> None:
        notices.append(notice)
        server.gate("rest").set()

    stream(connect(on_notice=note, notice_every=BEAT), server.chat_url).done()
    kinds = [type(one) for one in notices]
    assert kinds[0] is WaitNotice
    assert kinds.count(ProgressNotice) == 1
    assert kinds.index(ProgressNotice) > 0


def test_a_retry_is_told_before_its_wait(serve: Serve, connect: Connect) -> None:
    """A retry notice says which attempt failed, of how many, why, and what happened in it.

    It also says how long the wait will be.
    """
    server, notices = serve("silent", "status:status=503", "healthy"), []
    client = connect(limits=Limits(ttfb=LIMIT), retry=Retry(max_attempts=4, backoff=0.01), on_notice=notices.append)
    record = stream(client, server.chat_url).done("recovered")
    first, second = [one for one in notices if isinstance(one, RetryNotice)]
    assert (first.attempt, first.of, first.phase, first.limit, first.cause) == (1, 4, "waiting", "ttfb", "ttfb")
    assert (second.attempt, second.of, second.phase, second.limit) == (2, 4, "refused", None)
    assert second.cause == "provider_error"
    assert [first.wait, second.wait] == [one.wait for one in record.decisions]
    assert (first.record, second.record) == record.attempts[:2]
    assert "LLMWATCH_TTFB_TIMEOUT_SECONDS" in first.message
    assert "503" in second.message


def test_a_lively_stream_gives_no_notice(serve: Serve, connect: Connect) -> None:
    """A stream that never pauses for as long as ``notice_every`` gives no notice."""
    server, notices = serve(f"healthy:delay={BEAT / 4}"), []
    stream(connect(on_notice=notices.append, notice_every=50 * BEAT), server.chat_url).done()
    assert notices == []


def test_notices_come_in_the_callers_thread(serve: Serve, connect: Connect) -> None:
    """A notice comes in the thread that waits, so the callback may use objects of that thread."""
    server, threads = serve(late()), []

    def note(notice: Any) -> None:
        threads.append(threading.current_thread())
        server.gate("rest").set()

    stream(connect(on_notice=note, notice_every=BEAT), server.chat_url).done()
    assert set(threads) == {threading.current_thread()}


@pytest.mark.parametrize("entry_point", [stream, collect, request])
def test_a_callback_or_sink_that_raises_is_logged(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture, entry_point: Any
) -> None:
    """An exception of a notice callback or a sink is logged on ``llmwatch``, and the call continues."""
    server, told = serve("status:status=503", late()), []

    def breaks(what: Any) -> None:
        server.gate("rest").set()
        raise RuntimeError("s3cret of the callback")

    client = connect(on_notice=breaks, notice_every=BEAT, sinks=[breaks, told.append])
    with caplog.at_level(logging.ERROR, "llmwatch"):
        record = entry_point(client, server.chat_url).done("recovered")
    assert told == [record]
    assert len([one for one in caplog.records if one.levelno == logging.ERROR]) >= 2
    assert {one.name for one in caplog.records} == {"llmwatch"}
    assert len(server.requests) == 2


def test_a_keyboard_interrupt_in_a_callback_ends_the_call(serve: Serve, connect: Connect) -> None:
    """``KeyboardInterrupt`` of a callback is not logged: it ends the call and is raised."""
    server = serve("silent")

    def interrupt(notice: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stream(connect(on_notice=interrupt, notice_every=BEAT), server.chat_url)
    server.wait_for_closed(1)
    assert len(server.requests) == 1


@pytest.mark.parametrize("entry_point", [stream, collect, request])
def test_each_call_is_one_record_for_each_sink(serve: Serve, connect: Connect, entry_point: Any) -> None:
    """Every sink gets every call's record once, when the call is over.

    The record names the entry point that the call came through.
    """
    server, one, other = serve(), [], []
    client = connect(sinks=[one.append, other.append])
    records = [entry_point(client, server.chat_url).done() for _ in range(3)]
    assert one == other == records
    assert {record.entry_point for record in records} == {entry_point.__name__}
    assert len({record.call_id for record in records}) == 3
    assert not any(record.incident for record in records)
    assert all(record.started_at > 1_700_000_000 for record in records)


def test_the_timings_of_a_record_are_in_order(serve: Serve, connect: Connect) -> None:
    """No timing of a record is earlier than the one before it.

    The order is queued, connected, sent, headers, first byte, first event, first content, last byte, end.
    """
    server = serve(gated(0))
    server.gate("rest").set()
    (attempt,) = stream(connect(), server.messages_url).done().attempts
    timings = attempt.timings
    line = [
        timings.queued,
        timings.connected,
        timings.sent,
        timings.headers,
        timings.first_byte,
        timings.first_event,
        timings.first_content,
        timings.last_byte,
        timings.end,
    ]
    assert None not in line
    assert line == sorted(line)
    assert attempt.request_bytes > len(json.dumps(asking()))
    assert attempt.response_bytes > 0
    assert (attempt.status, attempt.dialect, attempt.method) == (200, "anthropic", "POST")
    assert attempt.request_id == "req_fault1"
    assert attempt.events["text"] > 5
    assert attempt.events["terminal"] == 1


def test_the_environment_names_an_incident_log(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """``LLMWATCH_INCIDENT_LOG`` gets a line for each call with a failed attempt, recovered or not.

    It gets a line for no other call.
    """
    log = tmp_path / "incidents.jsonl"
    monkeypatch.setenv("LLMWATCH_INCIDENT_LOG", str(log))
    server = serve("healthy", "silent", "healthy", "stall-after-content", "healthy")
    client = connect(limits=Limits(ttfb=LIMIT, stale=LIMIT))
    outcomes = [stream(client, server.chat_url) for _ in range(4)]
    assert [one.error is None for one in outcomes] == [True, True, False, True]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["outcome"], line["cause"]) for line in lines] == [
        ("recovered", None),
        ("failed", "watchdog_timeout"),
    ]
    assert [llmwatch.CallRecord.from_dict(line) for line in lines] == [outcomes[1].record, outcomes[2].record]


def test_a_slow_answer_is_whole_although_its_caller_is_told(serve: Serve, connect: Connect) -> None:
    """Notices do not disturb what is delivered."""
    server = serve(f"healthy:delay={BEAT}")
    outcome = stream(connect(on_notice=lambda one: None, notice_every=BEAT / 4), server.chat_url)
    outcome.done()
    assert outcome.text == ANSWER
