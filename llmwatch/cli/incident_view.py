"""One call in full: the fields of its record, and its timeline."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from rich.text import Text

from llmwatch import AttemptRecord, CallRecord
from llmwatch.cli.incident_log import tame
from llmwatch.cli.incident_table import OUTCOME_STYLES, seconds, when
from llmwatch.cli.terminal import Terminal, table
from llmwatch.records import DecisionRecord
from llmwatch.records.evidence import OMITTED

__all__ = ["show"]

_MOST = 900
"""Maximum length of a text in characters. A record keeps no more of a message."""
_LEAST_QUEUED = 0.05
"""Seconds that an attempt must have waited for a thread to be shown."""

_Rows = Iterator[tuple[str, Text]]


def show(terminal: Terminal, record: CallRecord) -> None:
    """Print the whole record of one call, for a person."""
    _table(terminal, "", _head(record))
    _table(terminal, "Timeline, in seconds from the beginning of the call", _timeline(record), to_the_right=True)
    for attempt in record.attempts:
        _table(terminal, f"Attempt {attempt.number}", _details(attempt))


def _table(terminal: Terminal, title: str, rows: _Rows, *, to_the_right: bool = False) -> None:
    if title:
        terminal.show()
        terminal.show(Text(title, style="bold"))
    made = table(("", ""), rows, header=False)
    # The names are never broken, so that a long value is broken in its own column.
    made.columns[0].no_wrap = True
    made.columns[0].style = "dim"
    if to_the_right:
        made.columns[0].justify = "right"
    terminal.show(made)


def _head(record: CallRecord) -> _Rows:
    yield "call", Text(tame(record.call_id), style="bold")
    yield "request", Text(tame(f"{record.method} {record.url}", _MOST))
    yield "began", Text(when(record.started_at, exact=True))
    outcome = Text(record.outcome, style=OUTCOME_STYLES.get(record.outcome, ""))
    if record.cause is not None:
        outcome.append(f" ({record.cause})")
    if record.empty:
        outcome.append(", and there was nothing in the answer")
    yield "outcome", outcome
    delayed = f", {_exactly(record.delayed)} s of it waiting for other calls" if record.delayed else ""
    yield "elapsed", Text(f"{_exactly(record.elapsed)} s, {len(record.attempts)} attempt(s){delayed}")
    yield "entry point", Text(tame(record.entry_point))
    yield "model", Text(tame(record.model or "not known"))
    yield "process", Text("not known" if record.process is None else str(record.process))
    if record.label is not None:
        yield "label", Text(tame(record.label))
    yield "status", Text("no answer" if record.status is None else f"HTTP {record.status}")
    yield "limits", Text(_limits(record))
    whole = "complete" if record.diagnostics_complete else "not complete: some of what was known was not kept"
    yield "diagnostics", Text(whole, style="" if record.diagnostics_complete else "yellow")


def _limits(record: CallRecord) -> str:
    parts = [f"profile {record.profile}"] if record.profile else []
    for name, limit in record.limits.items():
        value = limit.get("value")
        if isinstance(value, (int, float)):
            parts.append(f"{name} {_duration(value)} ({limit.get('source')})")
    return tame("; ".join(parts), _MOST) or "not known"


def _timeline(record: CallRecord) -> _Rows:
    yield _exactly(0.0), Text("the call begins")
    shown: list[DecisionRecord] = []
    for attempt in record.attempts:
        # Timings of an attempt are monotonic; only its start in wall time relates it to the call.
        began = attempt.started_at - record.started_at
        yield _exactly(began), Text(f"attempt {attempt.number}", style="bold")
        yield from _moments(attempt, began)
        ended = began + (attempt.timings.end if attempt.timings.end is not None else attempt.elapsed)
        yield _exactly(ended), Text("  ").append_text(_fate(attempt))
        after = [made for made in record.decisions if made.attempt == attempt.number and made not in shown]
        for number, decision in enumerate(after):
            # A second decision follows a wait without a resend. The record does not have its time.
            yield _exactly(ended) if number == 0 else "", Text(f"  {_decided(decision)}")
        shown += after
    for decision in record.decisions:
        if decision not in shown:
            yield "", Text(_decided(decision))
    outcome = record.outcome if record.cause is None else f"{record.outcome} ({record.cause})"
    yield _exactly(record.elapsed), Text(f"the call ends: {outcome}", style=OUTCOME_STYLES.get(record.outcome, ""))


def _moments(attempt: AttemptRecord, began: float) -> _Rows:
    at = attempt.timings
    connection = "on a pooled connection" if attempt.socket_reused else "on a fresh connection"
    if attempt.socket_reused and attempt.socket_idle is not None:
        connection += f", idle for {_duration(attempt.socket_idle)}"
    status = "" if attempt.status is None else f": HTTP {attempt.status}"
    sent = "" if attempt.request_bytes is None else f", {attempt.request_bytes:,} bytes of body"
    late = at.queued if at.queued is not None and at.queued >= _LEAST_QUEUED else None
    for moment, words in (
        (late, "taken up by a thread"),
        (at.connected, f"connected, {connection}"),
        (at.sent, f"request sent{sent}"),
        (at.headers, f"headers{status}"),
        (at.first_byte, "first byte"),
        (at.first_event, "first event"),
        (at.first_content, "first content"),
        (at.last_byte, f"last byte, {attempt.response_bytes:,} in all"),
    ):
        if moment is not None:
            yield _exactly(began + moment), Text(f"  {words}")


def _fate(attempt: AttemptRecord) -> Text:
    phase = f" in phase {tame(attempt.phase)}" if attempt.phase else ""
    if attempt.cause is None:
        return Text("done", style="green")
    if attempt.limit is not None:
        length = "" if attempt.limit_seconds is None else f" {_duration(attempt.limit_seconds)}"
        lag = "" if attempt.kill_lag is None else f", {attempt.kill_lag * 1000:.2f} ms after it expired"
        return Text(f"killed at {tame(attempt.limit)}{length}{phase}{lag}", style="red")
    if not attempt.failed:
        return Text(f"cancelled ({attempt.cause}){phase}", style="yellow")
    return Text(f"failed ({attempt.cause}){phase}: {tame(attempt.error or 'no error was noted')}", style="red")


def _decided(decision: DecisionRecord) -> str:
    text = f"decision: {decision.decision.value} ({tame(decision.reason)})"
    if decision.wait is not None:
        text += f", resend after {_exactly(decision.wait)} s, {'' if decision.carried_out else 'not '}carried out"
    elif decision.carried_out:
        text += ", carried out"
    could, safe = ("yes" if fact else "no" for fact in (decision.could_work, decision.safe))
    text += f"; could work: {could}, safe: {safe}, attempts left: {decision.budget_left}"
    return f"{text}; outcome: {decision.outcome or 'open'}"


def _details(attempt: AttemptRecord) -> _Rows:
    fields: Sequence[tuple[str, str | None]] = (
        ("request", f"{attempt.method} {attempt.url}"),
        ("model", attempt.model),
        ("status", None if attempt.status is None else str(attempt.status)),
        ("dialect", attempt.dialect),
        ("request id", attempt.request_id),
        ("events", _pairs(attempt.events)),
        ("comments", f"{attempt.comments:,}" if attempt.comments else None),
        ("stray lines", f"{attempt.stray_lines:,}" if attempt.stray_lines else None),
        ("contradictions", f"{attempt.contradictions:,}" if attempt.contradictions else None),
        ("longest gap", _maybe_duration(attempt.longest_gap)),
        ("paused", _maybe_duration(attempt.paused or None)),
        ("previous call", _before(attempt.idle_since_previous)),
        ("ended by", attempt.close_reason),
        ("error", attempt.error),
        ("message", attempt.message),
        ("tools", None if attempt.tool_exposure is None else _pairs(attempt.tool_exposure)),
        ("facts", _facts(attempt.facts)),
        ("orphaned", "its thread could not be woken at the end" if attempt.orphaned else None),
        ("late events", f"{attempt.late_events:,}, dropped" if attempt.late_events else None),
    )
    for name, told in fields:
        if told:
            yield name, Text(tame(told, _MOST))
    for key, value in (attempt.evidence or {}).items():
        if key == OMITTED:
            yield "evidence", Text(tame(f"{value} value(s) left out or cut short"), style="yellow")
        else:
            yield "evidence", Text(tame(f"{key}: {_plain(value)}", _MOST))


def _facts(facts: Mapping[str, object]) -> str:
    groups = {
        word: ", ".join(name for name, value in facts.items() if value is answer)
        for word, answer in (("yes", True), ("no", False), ("not known", None))
    }
    parts = [f"{word}: {names}" for word, names in groups.items() if names]
    parts += [f"{name} = {_plain(value)}" for name, value in facts.items() if not isinstance(value, (bool, type(None)))]
    return "; ".join(parts)


def _pairs(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {_plain(value)}" for name, value in values.items())


def _plain(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value, default=_thawed, ensure_ascii=False)


def _thawed(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)


def _before(idle: float | None) -> str | None:
    return None if idle is None else f"began {_duration(idle)} before"


def _maybe_duration(value: float | None) -> str | None:
    return None if value is None else _duration(value)


def _duration(value: float) -> str:
    if abs(value) < 10:
        return f"{value:.4g} s"
    return f"{value:,.0f} s" if value == round(value) and abs(value) < 1e9 else seconds(value)


def _exactly(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 1e9 else f"{value:.3g}"
