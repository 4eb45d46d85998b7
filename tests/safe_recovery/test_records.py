"""The records of real calls: history, cause, form, sinks, log, notices."""

from __future__ import annotations

import dataclasses
import inspect
import json
import logging
import pickle
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import llmwatch
from llmwatch import CallRecord, CancelToken, Limits, ProgressNotice, Retry, RetryNotice, WaitNotice
from llmwatch.faults import refused_port
from llmwatch.records import AttemptRecord, DecisionRecord, Timings
from llmwatch.records.attempt import ATTEMPT_SCHEMA, CAUSES
from llmwatch.records.call import CALL_SCHEMA
from llmwatch.recovery import Facts
from tests.end_to_end.calls import asking, collect, request, run_stream, stream
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.scripts import late
from tests.end_to_end.times import BEAT, LIMIT, PATIENCE

ENTRY_POINTS = [stream, collect, request]


def _all(serve: Serve, connect: Connect) -> list[CallRecord]:
    """Records of calls that went well, recovered, failed and were given up."""
    records: list[CallRecord] = []
    # The healthy answer of a busy machine begins within the first limit too.
    client = connect(limits=Limits(ttfb=5 * LIMIT, stale=LIMIT), sinks=[records.append])
    for scripts in (["healthy"], ["silent", "status:status=503", "healthy"], ["stall-after-content"], ["bad-request"]):
        stream(client, serve(*scripts).messages_url)
    token = CancelToken()
    token.cancel()
    stream(client, serve().messages_url, cancel=token)
    assert [one.outcome for one in records] == ["done", "recovered", "failed", "failed", "cancelled"]
    return records


def test_records_of_real_calls_round_trip(serve: Serve, connect: Connect) -> None:
    """Through JSON text and through pickle every record of every kind of end comes back equal."""
    for record in _all(serve, connect):
        text = json.dumps(record.to_dict(), allow_nan=False)
        assert CallRecord.from_dict(json.loads(text)) == record
        assert json.dumps(CallRecord.from_dict(json.loads(text)).to_dict()) == text
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            assert pickle.loads(pickle.dumps(record, protocol)) == record
        assert record.schema == CALL_SCHEMA
        assert {one.schema for one in record.attempts} <= {ATTEMPT_SCHEMA}


def test_records_are_frozen_through_and_through(serve: Serve, connect: Connect) -> None:
    """Neither a field nor an entry of a mapping in it can be set, and there is no dictionary behind it."""
    for record in _all(serve, connect):
        frozen: list[Any] = [record, *record.attempts, *record.decisions, *(one.timings for one in record.attempts)]
        for one in frozen:
            assert not hasattr(one, "__dict__")
            for field in dataclasses.fields(one):
                with pytest.raises(AttributeError):
                    setattr(one, field.name, None)
        mappings = [record.limits, *record.limits.values()]
        mappings += [mapping for one in record.attempts for mapping in (one.events, one.facts, one.tool_exposure)]
        for mapping in mappings:
            with pytest.raises(TypeError):
                mapping["new"] = 1  # type: ignore[index]


@pytest.mark.parametrize("kind", [CallRecord, AttemptRecord, Timings, DecisionRecord, Facts])
def test_each_field_is_documented(kind: type) -> None:
    """The docstring of a record names every field and the version of its schema.

    The docstring names no field that the record has not.
    """
    said = inspect.getdoc(kind)
    assert said is not None
    named = set(re.findall(r"``([a-z_]+)``(?=[^`]*)", said))
    fields = {one.name for one in dataclasses.fields(kind)}
    assert fields <= named, sorted(fields - named)
    listed = {name for line in said.splitlines() if line.startswith("* ") for name in _leading(line)}
    assert listed <= fields, sorted(listed - fields)
    schema = {CallRecord: CALL_SCHEMA, AttemptRecord: ATTEMPT_SCHEMA, DecisionRecord: 1}.get(kind)
    assert schema is None or f"schema version {schema}" in said


def _leading(line: str) -> list[str]:
    return re.findall(r"``([a-z_]+)``", line.partition(":")[0])


def test_a_schema_of_the_future_is_told(serve: Serve, connect: Connect) -> None:
    """A record of another version is refused rather than misread.

    A field that is not known is passed over.
    """
    record = stream(connect(), serve().chat_url).done()
    plain = record.to_dict()
    assert CallRecord.from_dict({**plain, "invented": 1}) == record
    with pytest.raises(ValueError, match="schema"):
        CallRecord.from_dict({**plain, "schema": CALL_SCHEMA + 1})


def test_the_earliest_initiating_event_is_the_cause(serve: Serve, connect: Connect) -> None:
    """A kill stays the cause although the connection breaks because of it.

    The kill also stays the cause although the client closes after it.
    """
    records: list[CallRecord] = []
    server = serve("stall-after-content:tokens=4")
    client = connect(limits=Limits(stale=LIMIT), sinks=[records.append])
    error = stream(client, server.chat_url).failed(llmwatch.WatchTimeout)
    server.wait_for_closed(1)
    client.close()
    (record,) = records
    assert record == error.record
    (attempt,) = record.attempts
    assert (record.cause, attempt.cause, attempt.close_reason) == ("watchdog_timeout",) * 2 + ("stale_kill",)
    assert attempt.error == "WatchTimeout"


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ("silent", "watchdog_timeout"),
        ("reset-before-response", "transport_disconnect"),
        ("eof-without-terminal", "truncated"),
        ("status:status=500", "provider_error"),
        ("html-instead", "provider_error"),
    ],
)
def test_a_cause_is_one_of_a_closed_list(serve: Serve, connect: Connect, script: str, cause: str) -> None:
    """The call's cause is that of the attempt that ended it, recovered causes are not."""
    server = serve("status:status=503", script)
    client = connect(limits=Limits(ttfb=LIMIT), retry=Retry(max_attempts=2, backoff=0), keepalive=0)
    record = stream(client, server.chat_url).record
    assert record is not None
    assert record.cause == record.attempts[-1].cause == cause
    assert cause in CAUSES
    assert record.attempts[0].cause == "provider_error"


def test_a_recovered_attempt_is_history(serve: Serve, connect: Connect) -> None:
    """A call that was recovered has no cause, and its failed attempt keeps its own."""
    record = stream(connect(), serve("reset-before-response", "healthy").chat_url).done("recovered")
    assert (record.cause, record.incident, record.diagnostics_complete) == (None, True, True)
    assert [one.cause for one in record.attempts] == ["transport_disconnect", None]
    assert [one.close_reason for one in record.attempts] == ["failed", "done"]
    assert [one.failed for one in record.attempts] == [True, False]


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_sinks_are_called_once_a_call_in_order(serve: Serve, connect: Connect, entry_point: Any) -> None:
    """The sinks get the very record one after the other, in the caller's thread.

    The sinks get the record once the call is over, however the call ends.
    """
    calls: list[tuple[str, CallRecord, threading.Thread]] = []

    def named(name: str) -> Any:
        return lambda record: calls.append((name, record, threading.current_thread()))

    client = connect(sinks=[named("first"), named("second"), named("third")], limits=Limits(ttfb=LIMIT))
    for scripts in (["healthy"], ["status:status=503", "healthy"], ["bad-request"], ["silent"]):
        calls.clear()
        outcome = entry_point(client, serve(*scripts).chat_url)
        assert [name for name, _, _ in calls] == ["first", "second", "third"]
        assert all(record is outcome.record for _, record, _ in calls)
        assert {thread for _, _, thread in calls} == {threading.current_thread()}


def test_a_stream_that_is_left_early_is_told_once(serve: Serve, connect: Connect) -> None:
    """Leaving the block, closing again and dropping the stream are one end."""
    records: list[CallRecord] = []
    client = connect(sinks=[records.append])
    made = client.stream("POST", serve("stall-after-content:tokens=2").chat_url, json=asking())
    with made:
        next(iter(made))
    made.close()
    made.cancel()
    del made
    (record,) = records
    assert (record.outcome, record.cause) == ("cancelled", "user_cancel")
    assert not record.incident


def test_the_logger_has_structured_fields(serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """A kill, a resend and a failure are a line each, with the same fields.

    The fields are plain JSON values that a formatter can take from the record of the log.
    """
    client = connect(limits=Limits(ttfb=LIMIT))
    with caplog.at_level(logging.DEBUG, "llmwatch"):
        recovered = stream(client, serve("silent", "healthy").chat_url).done("recovered")
        failed = stream(client, serve("bad-request").chat_url).record
        stream(client, serve("healthy").chat_url).done()
    assert failed is not None
    kill, resend, failure = [one.llmwatch for one in caplog.records]  # type: ignore[attr-defined]
    assert set(kill) == set(resend) == set(failure)
    assert json.loads(json.dumps([kill, resend, failure])) == [kill, resend, failure]
    assert [one.name for one in caplog.records] == ["llmwatch"] * 3
    assert [one.levelname for one in caplog.records] == ["WARNING", "INFO", "WARNING"]
    for said, record in ((kill, recovered), (resend, recovered), (failure, failed)):
        assert said["call_id"] == record.call_id
        assert (said["origin"], said["entry_point"]) == (record.origin, "stream")
    assert (kill["phase"], kill["limit"], kill["limit_seconds"], kill["error"]) == (
        "waiting",
        "ttfb",
        LIMIT,
        "WatchTimeout",
    )
    assert (failure["outcome"], failure["elapsed"]) == ("failed", failed.elapsed)
    assert (failure["cause"], failure["decision"], failure["reason"]) == (
        "provider_error",
        "stop",
        "http_status_final",
    )


def test_progress_takes_wait_and_retry_notices_back(serve: Serve, connect: Connect) -> None:
    """A retry notice holds until something comes of the next attempt.

    Then one progress notice clears the screen.
    """
    server, notices = serve("status:status=503", late()), []

    def note(notice: Any) -> None:
        notices.append(notice)
        if isinstance(notice, WaitNotice):
            server.gate("rest").set()

    stream(connect(on_notice=note, notice_every=BEAT), server.chat_url).done("recovered")
    kinds = [type(one) for one in notices]
    retry, progress = kinds.index(RetryNotice), kinds.index(ProgressNotice)
    assert retry < progress
    assert (kinds.count(RetryNotice), kinds.count(ProgressNotice)) == (1, 1)
    assert notices[progress].attempt == 2
    assert (notices[retry].attempt, notices[retry].of, notices[retry].cause) == (1, 3, "provider_error")
    assert WaitNotice in kinds[retry:progress]


def test_a_retry_notice_alone_is_taken_back(serve: Serve, connect: Connect) -> None:
    """If the second attempt answers without a wait, the retry notice is cleared all the same."""
    server, notices = serve("status:status=503", "healthy"), []
    stream(connect(on_notice=notices.append, notice_every=PATIENCE), server.chat_url).done("recovered")
    assert [type(one) for one in notices] == [RetryNotice, ProgressNotice]


WRITER = """
import dataclasses, os, sys, threading
import llmwatch
from llmwatch.engine.settings import environment_sinks

process, threads, each, url = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
ready, failed = threading.Barrier(threads), []
client = llmwatch.Client(retry=llmwatch.Retry(max_attempts=2, backoff=0, budget=0, breaker=0))

def write(thread):
    try:
        try:
            client.collect("POST", url, json={"stream": True})
        except llmwatch.ConnectFailed as error:
            record = error.record
        sinks = environment_sinks(os.environ)[0]
        ready.wait()
        for number in range(each - 1):
            one = dataclasses.replace(record, call_id=f"{process}-{thread}-{number}")
            for sink in sinks:
                sink(one)
    except BaseException as error:
        failed.append(error)

running = [threading.Thread(target=write, args=(number,)) for number in range(threads)]
for one in running: one.start()
for one in running: one.join()
client.close()
sys.exit(repr(failed) if failed else 0)
"""


def test_two_processes_of_eight_threads_share_the_log_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """800 incidents of real calls are 800 lines, and every one of them is a record.

    ``LLMWATCH_INCIDENT_LOG`` is set in two processes of eight threads each.
    """
    log, each = tmp_path / "incidents.jsonl", 800 // 16
    monkeypatch.setenv("LLMWATCH_INCIDENT_LOG", str(log))
    with refused_port() as port:
        more = ["8", str(each), f"http://127.0.0.1:{port}/v1/messages"]
        running = [
            subprocess.Popen([sys.executable, "-c", WRITER, str(process), *more], stderr=subprocess.PIPE)
            for process in range(2)
        ]
        for one in running:
            _, said = one.communicate()
            assert one.returncode == 0, said.decode()
    records = [json.loads(line) for line in log.read_bytes().splitlines()]
    assert len(records) == 800
    ids = {record["call_id"] for record in records}
    assert len(ids) == 800
    assert {f"{p}-{t}-{n}" for p in range(2) for t in range(8) for n in range(each - 1)} < ids
    for record in records[::17]:
        whole = CallRecord.from_dict(record)
        assert (whole.cause, len(whole.attempts)) == ("connect_failed", 2)


def test_the_record_is_on_every_error_and_every_finished_stream(serve: Serve, connect: Connect) -> None:
    """A stream has no record until it is over; then it has one, and its error has the same."""
    client = connect(limits=Limits(stale=LIMIT))
    made = client.stream("POST", serve().chat_url, json=asking())
    assert made.record is None
    with made:
        assert made.record is None
        outcome = run_stream(made)
    assert made.record is not None
    assert made.record is outcome.record
    made = client.stream("POST", serve("stall-after-content").chat_url, json=asking())
    outcome = run_stream(made)
    assert outcome.error is not None
    assert made.record is outcome.error.record  # type: ignore[attr-defined]
