"""Calls of a log with known times, for the tests of the report."""

from __future__ import annotations

from typing import Any

from llmwatch.records import AttemptRecord, CallRecord, Timings
from llmwatch.records.call_line import line_of

__all__ = ["ORIGIN", "START", "answered", "good", "hung", "killed", "refused", "written"]

ORIGIN = "http://api"
START = 1_700_000_000.0
"""Wall time at which the calls begin, in seconds."""

_KILLED = {
    "cause": "watchdog_timeout",
    "limit": "ttfb",
    "limit_seconds": 2.0,
    "phase": "waiting",
    "error": "WatchTimeout",
}


def _attempt(number: int, at: float, **fields: Any) -> AttemptRecord:
    named = {"method": "POST", "url": ORIGIN, "origin": ORIGIN, "model": "m", **fields}
    return AttemptRecord(number=number, started_at=START + at, **named)


def good(number: int, at: float, **fields: Any) -> AttemptRecord:
    """An attempt whose first byte came after 0.5 s, its content after 0.6 s, and its end after 1 s."""
    times = Timings(queued=0.0, connected=0.01, sent=0.1, first_byte=0.6, first_content=0.7, end=1.0)
    done = {"status": 200, "events": {"text": 3}, "longest_gap": 0.2, "elapsed": 1.0, "timings": times}
    return _attempt(number, at, **{**done, **fields})


def killed(number: int, at: float, **fields: Any) -> AttemptRecord:
    """An attempt that ttfb ended after 2 s of silence."""
    return _attempt(number, at, **{**_KILLED, "elapsed": 2.1, "timings": Timings(sent=0.1, end=2.1), **fields})


def _call(number: int, at: float, *attempts: AttemptRecord, **fields: Any) -> CallRecord:
    limits = {"ttfb": {"value": 2.0, "source": "s"}, "first_content": {"value": 4.0, "source": "s"}}
    given = {"method": "POST", "url": ORIGIN, "origin": ORIGIN, "limits": limits, "process": 7, **fields}
    return CallRecord(call_id=f"{number:032x}", started_at=START + at, attempts=attempts, **given)


def answered(number: int, at: float = 0.0, *, model: str = "m", **fields: Any) -> CallRecord:
    """A call that its first attempt answered."""
    return _call(number, at, good(1, at, model=model), **{"elapsed": 1.0, **fields})


def hung(number: int, at: float = 0.0, *, answers: bool = True, model: str = "m", **fields: Any) -> CallRecord:
    """A call whose first attempt was killed; the second, 0.4 s later, answered it or was killed as well."""
    second = good(2, at + 2.5, model=model) if answers else killed(2, at + 2.5, model=model)
    outcome = (
        {"outcome": "recovered", "elapsed": 3.5}
        if answers
        else {"outcome": "failed", "cause": "watchdog_timeout", "elapsed": 4.6}
    )
    return _call(number, at, killed(1, at, model=model), second, **{**outcome, **fields})


def refused(number: int, at: float = 0.0, *, status: int = 503, **fields: Any) -> CallRecord:
    """A call that failed with an error status after 0.3 s."""
    lost = {"cause": "provider_error", "status": status, "phase": "refused", "error": "ProviderError", "elapsed": 0.3}
    times = Timings(sent=0.1, headers=0.2, end=0.3)
    failed = {"outcome": "failed", "cause": "provider_error", "elapsed": 0.3}
    return _call(number, at, _attempt(1, at, timings=times, **lost), **{**failed, **fields})


def written(*records: CallRecord) -> bytes:
    """The lines of a call log."""
    return b"".join(map(line_of, records))
