"""Calls for an incident log, and the command that reads them from its standard input."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from llmwatch import CallRecord
from llmwatch.records import AttemptRecord, Decision, DecisionRecord, Timings
from tests.cli.running import Ended, invoke

__all__ = ["SEVERAL", "attempt", "call", "document", "incidents", "lines", "shown"]


def call(number: int = 1, **fields: Any) -> CallRecord:
    """A call that was recovered from a silent provider, with other fields where they are given."""
    decision = DecisionRecord(
        attempt=1,
        decision=Decision.RETRY,
        reason="silence",
        could_work=True,
        safe=True,
        budget_left=2,
        wait=0.5,
        carried_out=True,
        outcome="recovered",
    )
    given: dict[str, Any] = {
        "call_id": f"{number:08x}" + "f" * 24,
        "started_at": 1_750_000_000.0 + number,
        "method": "POST",
        "url": "http://one.example.com/v1/chat/completions",
        "origin": "http://one.example.com",
        "attempts": (attempt(1), attempt(2, limit=None, cause=None, close_reason="done", error=None)),
        "decisions": (decision,),
        "elapsed": 3.5,
        "outcome": "recovered",
    }
    return CallRecord(**{**given, **fields})


def attempt(number: int, **fields: Any) -> AttemptRecord:
    """A silent attempt that was killed, with other fields where they are given."""
    given: dict[str, Any] = {
        "number": number,
        "started_at": 1_750_000_001.0 + (number - 1) * 2,
        "timings": Timings(connected=0.1, sent=0.2, end=1.2),
        "method": "POST",
        "url": "http://one.example.com/v1/chat/completions",
        "origin": "http://one.example.com",
        "phase": "waiting",
        "limit": "ttfb",
        "limit_seconds": 1.0,
        "elapsed": 1.2,
        "kill_lag": 0.001,
        "cause": "watchdog_timeout",
        "close_reason": "ttfb_kill",
        "error": "WatchTimeout",
    }
    return AttemptRecord(**{**given, **fields})


FAILED = call(
    2,
    origin="https://two.example.com:8443",
    attempts=(attempt(1, phase="content", limit="stale"),),
    decisions=(),
    outcome="failed",
    cause="watchdog_timeout",
)
REFUSED = call(
    3,
    attempts=(attempt(1, phase="connecting", limit=None, cause="connect_failed", close_reason="failed"),),
    outcome="failed",
    cause="connect_failed",
)
CANCELLED = call(4, attempts=(attempt(1),), outcome="cancelled", cause="user_cancel")
UNSENT = call(5, attempts=(), decisions=(), outcome="failed", cause="setup_failure")
SEVERAL = (call(1), FAILED, REFUSED, CANCELLED, UNSENT)


def lines(*records: CallRecord) -> bytes:
    return b"".join(json.dumps(record.to_dict()).encode() + b"\n" for record in records)


def incidents(*arguments: str, log: bytes = b"", env: Mapping[str, str] | None = None) -> Ended:
    return invoke("incidents", "-", *arguments, stdin=log, env=env)


def document(*arguments: str, log: bytes) -> dict[str, Any]:
    done = incidents("--json", *arguments, log=log)
    assert done.code == 0
    found: dict[str, Any] = json.loads(done.out)
    return found


def shown(out: str) -> list[str]:
    """The numbers of the calls in a table, of which the ids begin with them."""
    return re.findall(r"^0000000(\d) ", out, re.MULTILINE)
