"""Records for the tests, and strategies that make them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from llmwatch.records import CAUSES, AttemptRecord, CallRecord, Decision, DecisionRecord, Timings
from llmwatch.records.call import CALL_OUTCOMES
from llmwatch.records.decision import DECISION_OUTCOMES
from llmwatch.records.evidence import EVIDENCE_KEYS

URL = "https://api.example.com/v1/chat/completions"
ORIGIN = "https://api.example.com"


def attempt(**changed: Any) -> AttemptRecord:
    """An attempt that was killed at ttfb, or as ``changed``."""
    fields: dict[str, Any] = {
        "number": 1,
        "started_at": 1_700_000_000.25,
        "timings": Timings(queued=0.0, connected=0.01, sent=0.02, end=45.02),
        "method": "POST",
        "url": URL,
        "origin": ORIGIN,
        "phase": "waiting",
        "limit": "ttfb",
        "limit_seconds": 45.0,
        "elapsed": 45.02,
        "cause": "watchdog_timeout",
        "close_reason": "ttfb_kill",
        "error": "WatchTimeout",
        "message": "It went silent.",
    }
    return AttemptRecord(**{**fields, **changed})


def call(**changed: Any) -> CallRecord:
    """A call with one failed attempt and one that answered, or as ``changed``."""
    good = {"number": 2, "limit": None, "cause": None, "close_reason": "done", "error": None, "message": None}
    fields: dict[str, Any] = {
        "call_id": "0123456789abcdef0123456789abcdef",
        "started_at": 1_700_000_000.25,
        "method": "POST",
        "url": URL,
        "origin": ORIGIN,
        "entry_point": "stream",
        "profile": "hosted",
        "limits": {
            "ttfb": {"value": 45.0, "source": "argument of the call"},
            "total": {"value": None, "source": "off"},
        },
        "attempts": (attempt(), attempt(**good)),
        "decisions": (
            DecisionRecord(
                attempt=1,
                decision=Decision.RETRY,
                reason="silence",
                could_work=True,
                safe=True,
                budget_left=2,
                wait=0.3,
                carried_out=True,
                outcome="recovered",
            ),
        ),
        "elapsed": 47.5,
        "outcome": "recovered",
    }
    return CallRecord(**{**fields, **changed})


texts = st.text(max_size=60)
seconds = st.floats(min_value=0, max_value=1e6, allow_nan=False)
maybe_seconds = st.none() | seconds
counts = st.integers(min_value=0, max_value=2**53)
leaves = st.none() | st.booleans() | counts | st.floats() | texts
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))

timings = st.builds(Timings, **dict.fromkeys(Timings.__dataclass_fields__, maybe_seconds))
attempts = st.builds(
    AttemptRecord,
    number=counts,
    started_at=seconds,
    timings=timings,
    method=texts,
    url=texts,
    origin=texts,
    model=st.none() | texts,
    dialect=st.none() | texts,
    status=st.none() | counts,
    request_id=st.none() | texts,
    request_bytes=st.none() | counts,
    response_bytes=counts,
    content_bytes=counts,
    usage=st.none() | st.dictionaries(texts, counts, max_size=3),
    events=st.dictionaries(texts, counts, max_size=4),
    comments=counts,
    longest_gap=maybe_seconds,
    phase=texts,
    limit=st.none() | texts,
    limit_seconds=maybe_seconds,
    elapsed=seconds,
    paused=seconds,
    kill_lag=maybe_seconds,
    socket_reused=st.none() | st.booleans(),
    socket_idle=maybe_seconds,
    idle_since_previous=maybe_seconds,
    tool_exposure=st.none() | st.dictionaries(texts, counts | st.booleans(), max_size=4),
    facts=st.dictionaries(texts, leaves, max_size=4),
    cause=st.none() | st.sampled_from(CAUSES),
    close_reason=texts,
    error=st.none() | texts,
    message=st.none() | st.text(max_size=3000),
    orphaned=st.booleans(),
    late_events=counts,
    evidence=st.none() | st.dictionaries(st.sampled_from(sorted(EVIDENCE_KEYS)) | texts, values, max_size=5),
)
decisions = st.builds(
    DecisionRecord,
    attempt=counts,
    decision=st.sampled_from(Decision),
    reason=texts,
    could_work=st.booleans(),
    safe=st.booleans(),
    budget_left=counts,
    wait=maybe_seconds,
    carried_out=st.booleans(),
    outcome=st.sampled_from(DECISION_OUTCOMES),
)
calls = st.builds(
    CallRecord,
    call_id=texts,
    started_at=seconds,
    method=texts,
    url=texts,
    origin=texts,
    entry_point=texts,
    profile=texts,
    process=st.none() | counts,
    label=st.none() | texts,
    prompt_bytes=st.none() | counts,
    max_attempts=st.none() | counts,
    limits=st.dictionaries(texts, st.fixed_dictionaries({"value": maybe_seconds, "source": texts}), max_size=3),
    attempts=st.lists(attempts, max_size=2).map(tuple),
    decisions=st.lists(decisions, max_size=2).map(tuple),
    elapsed=seconds,
    delayed=seconds,
    outcome=st.sampled_from(CALL_OUTCOMES),
    cause=st.none() | st.sampled_from(CAUSES),
    empty=st.booleans(),
    diagnostics_complete=st.booleans(),
)
