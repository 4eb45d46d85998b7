"""The line of a call in the call log: compact JSON, from which a :class:`CallRecord` is read back.

A line names the fields as :meth:`CallRecord.to_dict` does, and times have microseconds. It leaves out fields that have
their default value, limits that are off, and everything that can hold a text of the program or of the provider: URLs,
messages, request ids, evidence, facts and tools. The model and the label have a strict form, and an error has the name
of its class.

The line is written piece by piece: ``json.dumps`` of the same values takes three times as long, and every call of a
process has a line.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Mapping
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from llmwatch.records.attempt import AttemptRecord
from llmwatch.records.call import CallRecord

__all__ = ["line_of"]

_CALL_TEXTS = ("label", "entry_point", "profile", "cause")
_CALL_COUNTS = ("process", "prompt_bytes", "max_attempts")
_ATTEMPT_TEXTS = ("model", "dialect", "phase", "limit", "cause", "error", "end")
_ATTEMPT_COUNTS = (
    "status",
    "request_bytes",
    "response_bytes",
    "content_bytes",
    "comments",
    "stray_lines",
    "contradictions",
    "late_events",
)
_ATTEMPT_SECONDS = (
    "elapsed",
    "longest_gap",
    "paused",
    "kill_lag",
    "limit_seconds",
    "socket_idle",
    "idle_since_previous",
)
_TIMINGS = (
    "queued",
    "connected",
    "sent",
    "headers",
    "first_byte",
    "first_event",
    "first_content",
    "last_byte",
    "end",
)
_call_texts, _call_counts = operator.attrgetter(*_CALL_TEXTS), operator.attrgetter(*_CALL_COUNTS)
_attempt_texts, _attempt_counts = operator.attrgetter(*_ATTEMPT_TEXTS), operator.attrgetter(*_ATTEMPT_COUNTS)
_attempt_seconds, _timings = operator.attrgetter(*_ATTEMPT_SECONDS), operator.attrgetter(*_TIMINGS)
_ALL_TIMINGS = ',"timings":{' + ",".join([f'"{name}":%.6f' for name in _TIMINGS]) + "}"
_INFINITY = float("inf")

# The limits of the last call and their text: most calls of a process have the same.
_last_limits: tuple[object, str] = (None, "")


def line_of(record: CallRecord) -> bytes:
    """``record`` as a line of the call log, with its line end. In ASCII."""
    parts = [
        f'{{"schema":{record.schema},"call_id":{quoted(record.call_id)},"started_at":{record.started_at:.6f},'
        f'"elapsed":{record.elapsed:.6f},"outcome":{quoted(record.outcome)},"method":{quoted(record.method)},'
        f'"origin":{quoted(record.origin)}'
    ]
    _add_texts(parts, _CALL_TEXTS, _call_texts(record))
    _add_counts(parts, _CALL_COUNTS, _call_counts(record))
    if record.delayed:
        parts.append(f',"delayed":{record.delayed:.6f}')
    if record.empty:
        parts.append(',"empty":true')
    between = ',"attempts":['
    for attempt in record.attempts:
        parts.append(between)
        _add_attempt(parts, attempt, record)
        between = ","
    if record.attempts:
        parts.append("]")
    if record.decisions:
        decisions = [decision.to_dict() for decision in record.decisions]
        parts.append(',"decisions":' + json.dumps(decisions, allow_nan=False, separators=(",", ":")))
    parts += (',"limits":', _limits(record.limits), "}\n")
    return "".join(parts).encode("ascii")


def _add_attempt(parts: list[str], attempt: AttemptRecord, record: CallRecord) -> None:
    parts.append(f'{{"schema":{attempt.schema},"number":{attempt.number},"started_at":{attempt.started_at:.6f}')
    if attempt.origin != record.origin:
        parts.append(f',"url":{quoted(attempt.origin)},"origin":{quoted(attempt.origin)}')
    if attempt.method != record.method:
        parts.append(f',"method":{quoted(attempt.method)}')
    if attempt.close_reason != "done":
        parts.append(f',"close_reason":{quoted(attempt.close_reason)}')
    if attempt.socket_reused is not None:
        parts.append(',"socket_reused":true' if attempt.socket_reused else ',"socket_reused":false')
    if attempt.orphaned:
        parts.append(',"orphaned":true')
    _add_texts(parts, _ATTEMPT_TEXTS, _attempt_texts(attempt))
    _add_counts(parts, _ATTEMPT_COUNTS, _attempt_counts(attempt))
    for name, value in zip(_ATTEMPT_SECONDS, _attempt_seconds(attempt), strict=True):
        # JSON has no infinity and no NaN.
        if value and -_INFINITY < value < _INFINITY:
            parts.append(f',"{name}":{value:.6f}')
    timings = _timings(attempt.timings)
    if None not in timings:
        # The common case: an answer has come.
        parts.append(_ALL_TIMINGS % timings)
    else:
        shown = ",".join([f'"{name}":{at:.6f}' for name, at in zip(_TIMINGS, timings, strict=True) if at is not None])
        parts.append(f',"timings":{{{shown}}}')
    for name, counts in (("events", attempt.events), ("usage", attempt.usage)):
        if counts:
            shown = ",".join([f"{quoted(kind)}:{count}" for kind, count in counts.items()])
            parts.append(f',"{name}":{{{shown}}}')
    parts.append("}")


def _add_texts(parts: list[str], names: Iterable[str], values: Iterable[str | None]) -> None:
    for name, value in zip(names, values, strict=True):
        if value:
            parts.append(f',"{name}":{quoted(value)}')


def _add_counts(parts: list[str], names: Iterable[str], values: Iterable[int | None]) -> None:
    for name, value in zip(names, values, strict=True):
        if value:
            parts.append(f',"{name}":{value}')


def _limits(limits: Mapping[str, Mapping[str, Any]]) -> str:
    global _last_limits
    known, text = _last_limits
    if known is not limits:
        in_force = {
            name: {"value": limit["value"], "source": limit.get("source", "")}
            for name, limit in limits.items()
            if limit.get("value") is not None
        }
        text = json.dumps(in_force, allow_nan=False, separators=(",", ":"))
        _last_limits = limits, text
    return text
