from __future__ import annotations

import dataclasses
import io
import os
import sys
from typing import Any

import pytest

from llmwatch import CallRecord
from llmwatch.cli.run_summary import Summary
from tests.cli.incident_calls import CANCELLED, FAILED, REFUSED, SEVERAL, UNSENT, attempt, call

DONE = call(attempts=(attempt(1, limit=None, cause=None, close_reason="done", error=None),), outcome="done")
REFUSED_404 = call(
    attempts=(attempt(1, status=404, limit=None, cause="provider_error", close_reason="failed"),),
    outcome="failed",
    cause="provider_error",
)


def lines(*records: CallRecord, **circumstances: Any) -> list[str]:
    summary = Summary()
    for record in records:
        summary(record)
    return summary.lines(**{"running": 0, "orphans": 0, "log": None, "loaded": (), **circumstances})


def test_without_a_call_there_is_no_summary() -> None:
    """A script without a call gets no summary, with any incident log."""
    assert lines() == []
    assert lines(log="/somewhere") == []


def test_an_unwatched_library_is_named_without_a_call() -> None:
    """The summary names a loaded library that is not watched."""
    (line,) = lines(loaded={"httpx", "aiohttp", "requests"})
    assert line == (
        "no call was watched; of httpx, which the script has loaded, only model calls of sync clients are watched;"
        " aiohttp, which the script has loaded, is not watched"
    )
    assert lines(DONE, loaded={"httpx"}) == ["1 call watched: 1 done; 0 resends, 0 orphans"]


def test_the_summary_counts_outcomes_limits_and_resends() -> None:
    """Calls are counted by how they ended, failed ones by the limit or else the reason.

    Resends are counted in all.
    """
    first, second = lines(*SEVERAL, DONE, DONE, FAILED, REFUSED_404, orphans=1, running=2)
    assert first == (
        "11 calls watched: 2 done, 1 recovered, 5 failed (stale 2, connect_failed 1, setup_failure 1, HTTP 404 1),"
        " 1 cancelled, 2 still running; 1 resend, 1 orphan"
    )
    assert second.startswith("7 calls lost an attempt; ")


def _timed(timeout: float, **limits: dict[str, Any]) -> CallRecord:
    return dataclasses.replace(
        DONE, limits={name: {"explicit": True, "timeout": timeout, **limit} for name, limit in limits.items()}
    )


def test_time_outs_that_count_and_that_do_not() -> None:
    """One line names the limits that the script's time-outs lowered, and the variable against it.

    Another names the time-outs that were set aside.
    """
    own = "timeout of the request"
    lowered = _timed(
        30.0,
        ttfb={"value": 30.0, "source": own, "instead_of": 120.0},
        stale={"value": 30.0, "source": own, "instead_of": None},
    )
    raised = _timed(600.0, ttfb={"value": 600.0, "source": own, "instead_of": 120.0})
    aside = _timed(600.0, ttfb={"value": 45.0, "source": "LLMWATCH_TTFB_TIMEOUT_SECONDS"})
    assert lines(raised)[1:] == []
    assert lines(lowered, lowered, raised, aside)[1:] == [
        "timeout= of the script lowered ttfb to 30 s in 2 calls, stale to 30 s in 2 calls;"
        " LLMWATCH_OVERRIDE_TIMEOUTS=1 sets it aside",
        "timeout= of the script or its library was set aside: 600 s in 1 call",
    ]
    many = [_timed(float(at), ttfb={"value": float(at), "source": own, "instead_of": 99.0}) for at in range(1, 7)]
    assert lines(*many)[1].count("ttfb") == 4
    assert " and 2 more; " in lines(*many)[1]


@pytest.mark.parametrize(
    ("record", "reason"),
    [(FAILED, "stale"), (REFUSED, "connect_failed"), (UNSENT, "setup_failure"), (REFUSED_404, "HTTP 404")],
)
def test_a_shared_reason_has_no_number(record: CallRecord, reason: str) -> None:
    """A reason that all failures share goes without a number."""
    assert lines(record)[0] == f"1 call watched: 1 failed ({reason}); 0 resends, 0 orphans"


def test_more_than_four_reasons_are_summed_up() -> None:
    """Beyond four reasons the rest is one number."""
    statuses = [400, 401, 403, 404, 404, 413, 422]
    failures = [
        call(attempts=(attempt(1, status=status, limit=None),), outcome="failed", cause="provider_error")
        for status in statuses
    ]
    assert "7 failed (HTTP 404 2, HTTP 400 1, HTTP 401 1, HTTP 403 1, others 2)" in lines(*failures)[0]


def test_an_open_call_is_counted_as_running() -> None:
    """A call that the script left open is watched, and has not ended."""
    assert lines(running=1) == ["1 call watched: 1 still running; 0 resends, 0 orphans"]


def test_the_summary_names_the_log_or_how_to_get_one() -> None:
    """The log is named where there is one; a way to get one where there are incidents and none is kept."""
    assert lines(DONE) == ["1 call watched: 1 done; 0 resends, 0 orphans"]
    assert lines(CANCELLED)[1:] == ["1 call lost an attempt; LLMWATCH_INCIDENT_LOG=FILE keeps the records"]
    assert lines(DONE, log="/a/log")[1:] == ["0 calls lost an attempt; the incident log is /a/log"]
    assert lines(FAILED, FAILED, log="/a/log")[1:] == ["2 calls lost an attempt; the incident log is /a/log"]
    assert lines(FAILED, log="/a/log", lost=1)[1].endswith("is /a/log; 1 incident could not be written there")
    assert lines(DONE, log="log")[1].endswith(os.path.abspath("log"))
    assert lines(DONE, log="/a/\x1b[2Jlog")[1].endswith(r"'/a/\x1b[2Jlog'")


@pytest.mark.parametrize("gone", ["none", "closed", "full"])
def test_a_closed_standard_error_costs_nothing(monkeypatch: pytest.MonkeyPatch, gone: str) -> None:
    """A standard error that is missing, closed, or takes no bytes raises nothing."""

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    stream = {"none": None, "closed": io.StringIO(), "full": Full()}[gone]
    if gone == "closed":
        assert stream is not None
        stream.close()
    monkeypatch.setattr(sys, "__stderr__", stream)
    summary = Summary()
    summary(DONE)
    summary.write()


def test_every_line_is_written_once_with_its_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line says whose it is, and goes to the error stream that the process was given."""
    given = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", given)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    summary = Summary()
    summary(call())
    summary.write()
    written = given.getvalue()
    assert written.count("\n") == written.count("llmwatch: ") == 2
    assert "1 recovered" in written


def test_a_forked_child_writes_no_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a fork the child has a free lock, no calls, and no summary."""
    given = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", given)
    summary = Summary()
    summary(DONE)
    summary._lock.acquire()
    summary.after_fork()
    assert summary._lock.acquire(blocking=False)
    summary._lock.release()
    assert summary.lines(running=0, orphans=0, log=None, loaded=()) == []
    summary(DONE)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    summary.write()
    assert given.getvalue() == ""
