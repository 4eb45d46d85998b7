"""The line of a call in the call log."""

from __future__ import annotations

import dataclasses
import json
import math

from hypothesis import HealthCheck, given, settings

from llmwatch.records import AttemptRecord, CallRecord, Timings
from llmwatch.records.call_line import line_of
from tests.records.making import ORIGIN, attempt, call, calls

PLANTED = "planted-in-a-text"


def near(number: float | None) -> float | None:
    """A number to microseconds."""
    return None if number is None else float(f"{number:.6f}")


def expected(record: CallRecord) -> CallRecord:
    """What can be read back of ``record``: times to microseconds, no texts, no limits that are off."""
    attempts = []
    for one in record.attempts:
        timings = {name: near(value) for name, value in one.timings.to_dict().items()}
        kept = {name: near(getattr(one, name)) for name in ("started_at", "elapsed", "paused")}
        maybe = ("longest_gap", "kill_lag", "limit_seconds", "socket_idle", "idle_since_previous")
        kept.update({name: near(getattr(one, name) or None) for name in maybe})
        counts = {name: getattr(one, name) or None for name in ("status", "request_bytes", "usage")}
        texts = {name: getattr(one, name) or None for name in ("dialect", "limit", "error", "end")}
        elsewhere = one.origin != record.origin
        attempts.append(
            dataclasses.replace(
                one,
                **kept,  # type: ignore[arg-type]
                **counts,
                **texts,
                timings=Timings(**timings),
                url=one.origin if elsewhere else record.origin,
                request_id=None,
                tool_exposure=None,
                facts={},
                message=None,
                evidence=None,
            )
        )
    return dataclasses.replace(
        record,
        started_at=near(record.started_at) or 0.0,
        elapsed=near(record.elapsed) or 0.0,
        delayed=near(record.delayed) or 0.0,
        url=record.origin,
        label=record.label or None,
        entry_point=record.entry_point or "stream",
        process=record.process or None,
        prompt_bytes=record.prompt_bytes or None,
        max_attempts=record.max_attempts or None,
        limits={name: limit for name, limit in record.limits.items() if limit["value"] is not None},
        attempts=tuple(attempts),
        diagnostics_complete=True,
    )


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(calls)
def test_a_line_is_read_back_as_the_call(record: CallRecord) -> None:
    """A line is one line of ASCII, from which the same call is read but for its texts."""
    line = line_of(record)
    assert line.isascii()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert CallRecord.from_json(line) == expected(record)


def test_a_good_call_has_a_short_line() -> None:
    """The fields have the names of the record, and defaults are left out."""
    good = attempt(cause=None, limit=None, limit_seconds=None, close_reason="done", error=None, message=None)
    shown = json.loads(line_of(call(outcome="done", attempts=(good,), decisions=(), label="job-7", process=17)))
    assert {name: shown[name] for name in ("outcome", "label", "process", "origin", "limits")} == {
        "outcome": "done",
        "label": "job-7",
        "process": 17,
        "origin": ORIGIN,
        "limits": {"ttfb": {"value": 45.0, "source": "argument of the call"}},
    }
    (one,) = shown["attempts"]
    assert one == {
        "schema": good.schema,
        "number": 1,
        "started_at": 1_700_000_000.25,
        "phase": "waiting",
        "elapsed": 45.02,
        "timings": {"queued": 0.0, "connected": 0.01, "sent": 0.02, "end": 45.02},
    }
    assert "decisions" not in shown


def test_the_limits_are_those_of_each_call() -> None:
    """The text of the limits is made once for calls that share them, and anew for others."""
    first, second = call(limits={"ttfb": {"value": 1.0, "source": "a"}}), call(limits={})
    for record in (first, second, first, first):
        assert CallRecord.from_json(line_of(record)).limits == record.limits


def test_no_text_of_a_program_or_provider_is_in_a_line() -> None:
    """A text planted wherever a record may hold one is in no line."""
    said = {
        "url": f"https://api.example.com/{PLANTED}?{PLANTED}={PLANTED}",
        "request_id": PLANTED,
        "message": PLANTED,
        "evidence": {"error_text": PLANTED, "provider_code": PLANTED, "causes": [PLANTED]},
        "facts": {PLANTED: PLANTED},
        "tool_exposure": {PLANTED: 1},
        "model": f"{PLANTED} in a sentence",
    }
    record = call(url=said["url"], attempts=(attempt(**said), attempt(number=2, **said)))
    assert PLANTED in record.to_json()
    assert PLANTED.encode() not in line_of(record)


def test_an_infinite_time_is_left_out() -> None:
    """JSON has no infinity."""
    shown = json.loads(line_of(call(attempts=(attempt(longest_gap=math.inf, paused=math.nan),))))
    assert not {"longest_gap", "paused"} & shown["attempts"][0].keys()


def test_an_attempt_elsewhere_has_its_own_address() -> None:
    """``on_retry`` may have sent an attempt to another origin."""
    record = call(attempts=(attempt(), attempt(number=2, origin="https://other.example", method="PUT")))
    first, second = CallRecord.from_json(line_of(record)).attempts
    assert (first.origin, first.method, first.url) == (ORIGIN, "POST", ORIGIN)
    assert (second.origin, second.method, second.url) == ("https://other.example", "PUT", "https://other.example")
    assert isinstance(second, AttemptRecord)
