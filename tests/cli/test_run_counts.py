from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

import pytest

from llmwatch import CallRecord
from llmwatch.cli.run_counts import Counts
from tests.cli.incident_calls import CANCELLED, FAILED, REFUSED, SEVERAL, UNSENT, attempt, call

DONE = call(attempts=(attempt(1, limit=None, cause=None, close_reason="done", error=None),), outcome="done")
REFUSED_404 = call(
    attempts=(attempt(1, status=404, limit=None, cause="provider_error", close_reason="failed"),),
    outcome="failed",
    cause="provider_error",
)


HTTPX = dataclasses.replace(DONE, entry_point="httpx")


def counted(*records: CallRecord, **numbers: int) -> Counts:
    counts = Counts(**numbers)
    for record in records:
        counts.add(record)
    return counts


def lines(*records: CallRecord, log: str | None = None, **numbers: int) -> list[str]:
    return counted(*records, **numbers).lines(log)


def test_without_a_call_there_is_no_summary() -> None:
    """A script without a call gets no summary, with any incident log."""
    assert lines() == []
    assert lines(log="/somewhere") == []


def test_each_library_has_a_line() -> None:
    """Watched calls and those that were left alone stand in one line for each library."""
    counts = counted(HTTPX, DONE, HTTPX)
    counts.leave({"httpx": {"HTTP/2": 2}, "aiohttp": {"an async client": 1, "not a model call": 3}})
    assert counts.lines(None) == [
        "aiohttp: no call watched; 4 left alone (not a model call 3, an async client 1)",
        "httpx: 2 calls watched: 2 done; 0 resends; 2 left alone (HTTP/2)",
        "stream: 1 call watched: 1 done; 0 resends",
    ]


def test_counts_as_json() -> None:
    """The document has every number of the lines."""
    counts = counted(FAILED, HTTPX, *SEVERAL, running=1, orphans=2, lost=3)
    counts.leave({"httpx": {"HTTP/2": 2}})
    document = json.loads(json.dumps(counts.to_dict()))
    libraries = document.pop("libraries")
    assert sorted(libraries) == ["httpx", "stream"]
    assert libraries["httpx"] == {
        "watched": 1,
        "done": 1,
        "recovered": 0,
        "failed": 0,
        "cancelled": 0,
        "failures": {},
        "resends": 0,
        "left_alone": {"HTTP/2": 2},
    }
    ended = {name: libraries["stream"][name] for name in ("watched", "recovered", "failed", "cancelled", "resends")}
    assert ended == {"watched": 6, "recovered": 1, "failed": 4, "cancelled": 1, "resends": 1}
    assert sum(libraries["stream"]["failures"].values()) == 4
    assert document == {
        "running": 1,
        "orphans": 2,
        "incidents": 6,
        "incidents_lost": 3,
        "timeouts_lowered": [],
        "timeouts_set_aside": [],
        "processes": 1,
        "processes_alive": 0,
        "processes_unwatched": 0,
    }


def test_the_summary_counts_outcomes_limits_and_resends() -> None:
    """Calls are counted by how they ended, failed ones by the limit or else the reason.

    Resends are counted in all.
    """
    first, *others, last = lines(*SEVERAL, DONE, DONE, FAILED, REFUSED_404, orphans=1, running=2)
    assert first == (
        "stream: 9 calls watched: 2 done, 1 recovered, 5 failed (stale 2, connect_failed 1, setup_failure 1,"
        " HTTP 404 1), 1 cancelled; 1 resend"
    )
    assert others == ["2 calls still running at the end", "1 orphan: a worker thread that could not be woken"]
    assert last.startswith("7 calls lost an attempt; ")


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
    assert lines(record)[0] == f"stream: 1 call watched: 1 failed ({reason}); 0 resends"


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
    assert lines(running=1) == ["1 call still running at the end"]


def test_the_summary_names_the_log_or_how_to_get_one() -> None:
    """The log is named where there is one; a way to get one where there are incidents and none is kept."""
    assert lines(DONE) == ["stream: 1 call watched: 1 done; 0 resends"]
    assert lines(CANCELLED)[1:] == ["1 call lost an attempt; LLMWATCH_INCIDENT_LOG=FILE keeps the records"]
    assert lines(DONE, log="/a/log")[1:] == ["0 calls lost an attempt; the incident log is /a/log"]
    assert lines(FAILED, FAILED, log="/a/log")[1:] == ["2 calls lost an attempt; the incident log is /a/log"]
    assert lines(FAILED, log="/a/log", lost=1)[1].endswith("is /a/log; 1 incident could not be written there")
    assert lines(DONE, log="log")[1].endswith(os.path.abspath("log"))
    assert lines(DONE, log="/a/\x1b[2Jlog")[1].endswith(r"'/a/\x1b[2Jlog'")


def test_the_counts_of_processes_add_up() -> None:
    """The sum of two processes' counts, read back from JSON, is that of one process with all the calls."""
    one, other = counted(*SEVERAL, HTTPX, running=1, orphans=2), counted(FAILED, HTTPX, REFUSED_404, lost=3, alive=1)
    timed = _timed(30.0, ttfb={"value": 30.0, "source": "timeout of the request", "instead_of": 120.0})
    other.add(timed)
    for counts in (one, other):
        counts.leave({"httpx": {"HTTP/2": 2}, "aiohttp": {"an async client": 1}})
    together = counted(*SEVERAL, HTTPX, FAILED, HTTPX, REFUSED_404, timed, running=1, orphans=2, lost=3, alive=1)
    for _ in range(2):
        together.leave({"httpx": {"HTTP/2": 2}, "aiohttp": {"an async client": 1}})
    together.processes = 2
    read = Counts.from_dict(json.loads(json.dumps(one.to_dict())))
    assert read.to_dict() == one.to_dict()
    read.merge(Counts.from_dict(json.loads(json.dumps(other.to_dict()))))
    assert read.to_dict() == together.to_dict()


def test_processes_that_run_on_or_were_not_watched_are_said() -> None:
    """Each has a line, without any call."""
    assert lines(alive=1, unwatched=1) == [
        "1 process runs on; the calls that end later are not counted here",
        "1 Python process was not watched: in another environment, or before Python 3.10",
    ]
    assert [line.partition(";")[0].partition(":")[0] for line in lines(alive=2, unwatched=2)] == [
        "2 processes run on",
        "2 Python processes were not watched",
    ]
