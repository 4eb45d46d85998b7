"""The logger ``llmwatch``, and its lines of calls: one a kill, one a resend, one a failed call.

=========  =======  ========================================================================
event      level    when
=========  =======  ========================================================================
kill       WARNING  a limit has ended an attempt; whether a resend follows is another line
resend     INFO     an attempt has failed, and the next one follows
failure    WARNING  the call has failed; its caller gets the error
=========  =======  ========================================================================

Other lines of the logger are about llmwatch itself: WARNING for a setting without effect, ERROR for a sink, a callback
or a log file that fails, INFO for an answer without an end mark.

A line names the attempt (``2 of 3``), the limit or else the cause, the id of the call and its label. The log record's
attribute ``llmwatch`` holds the same and more as a dict of plain JSON values, for a formatter that writes JSON. No
prompt, answer, URL, header or text of an error is in either. Nothing but a ``NullHandler`` is set up: the program
configures handlers and levels. Calls that a handler itself makes have no lines.

Logging never fails a call: the user may attach any handler, whose exceptions are dropped. A repeated failure of
llmwatch's own is logged once a minute.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from llmwatch.at_fork import renew_in_child
from llmwatch.interruption import is_interruption
from llmwatch.records.attempt import AttemptRecord
from llmwatch.records.call import CallRecord

__all__ = ["EVERY", "LogLimit", "LogLimits", "log_failure", "log_kill", "log_resend", "say", "say_seldom"]

EVERY = 60.0
"""Seconds between two lines of the same kind."""

_MOST_KEYS = 256

_log = logging.getLogger("llmwatch")

_lock = threading.RLock()  # protects the fields of every limit below; a leaf, re-entrant for signal handlers
renew_in_child(globals(), "_lock", threading.RLock)


def say(level: int, message: str, *values: object, extra: dict[str, object] | None = None) -> None:
    """Log ``message % values``. Exceptions of log handlers are dropped, those of signal handlers not."""
    try:
        _log.log(level, message, *values, extra=extra, stacklevel=2)
    except Exception as error:
        if is_interruption(error):
            raise


class LogLimit:
    """Admits one line in :data:`EVERY` seconds and counts the lines held back. Thread-safe."""

    __slots__ = ("_at", "_held")

    def __init__(self) -> None:
        self._at: float | None = None
        self._held = 0

    def admit(self, now: float) -> int | None:
        """Occurrences since the last line, this one included; ``None`` if that line is too recent.

        ``now`` is in seconds of a monotonic clock.
        """
        with _lock:
            self._held += 1
            if self._at is not None and self._at <= now < self._at + EVERY:
                return None
            count, self._held, self._at = self._held, 0, now
            return count


class LogLimits:
    """A :class:`LogLimit` for each kind of line. Keeps the 256 kinds that were used last."""

    def __init__(self) -> None:
        self._limits: OrderedDict[Hashable, LogLimit] = OrderedDict()

    def admit(self, kind: Hashable, now: float) -> int | None:
        """:meth:`LogLimit.admit` for ``kind``."""
        with _lock:
            limit = self._limits.pop(kind, None) or LogLimit()
            self._limits[kind] = limit
            if len(self._limits) > _MOST_KEYS:
                self._limits.popitem(last=False)
        return limit.admit(now)


_troubles = LogLimits()


def say_seldom(kind: Hashable, now: float, level: int, message: str, *values: object) -> None:
    """:func:`say`, at most once in :data:`EVERY` seconds for each ``kind``.

    The line has the number of occurrences since the last line. ``now`` is in seconds of a monotonic clock.
    """
    count = _troubles.admit(kind, now)
    if count == 1:
        say(level, message, *values)
    elif count is not None:
        say(level, message + " (%d times since the last line about it)", *values, count)


def log_kill(attempt: AttemptRecord, *, call_id: str, label: str | None, entry_point: str, of: int) -> None:
    """Say that a limit has ended ``attempt``; ``of``: the number of attempts that the settings allow."""
    fields = _fields("kill", attempt, call_id, label, entry_point, attempt.number, of)
    _say(
        logging.WARNING,
        fields,
        "llmwatch: kill: attempt %s at %s: %s of %g s expired in phase %s, after %.3f s (%s)",
        fields["attempt"],
        attempt.origin,
        attempt.limit,
        attempt.limit_seconds or 0.0,
        attempt.phase,
        attempt.elapsed,
        _call(call_id, label),
    )


def log_resend(
    failed: AttemptRecord, *, call_id: str, label: str | None, entry_point: str, of: int, number: int, wait: float
) -> None:
    """Say that attempt ``number`` follows the ``failed`` one after ``wait`` seconds."""
    fields = {**_fields("resend", failed, call_id, label, entry_point, number, of), "wait": wait}
    _say(
        logging.INFO,
        fields,
        "llmwatch: resend: attempt %s at %s in %.3f s, after %s (%s)",
        fields["attempt"],
        failed.origin,
        wait,
        _why(failed),
        _call(call_id, label),
    )


def log_failure(record: CallRecord) -> None:
    """A sink: say that the call has failed. Does nothing for a call that was answered or cancelled."""
    if record.outcome != "failed":
        return
    number = len(record.attempts)
    last = next((attempt for attempt in reversed(record.attempts) if attempt.failed), None)
    decision = record.decisions[-1] if record.decisions else None
    shown = _fields(
        "failure", last, record.call_id, record.label, record.entry_point, number, record.max_attempts or number
    )
    shown.update(
        origin=record.origin,
        model=record.model,
        status=record.status,
        cause=record.cause or (last.cause if last else None),
        outcome=record.outcome,
        elapsed=record.elapsed,
        decision=decision.decision.value if decision else None,
        reason=decision.reason if decision else None,
    )
    _say(
        logging.WARNING,
        shown,
        "llmwatch: failure: %s %s after attempt %s, in %.3f s: %s (%s)",
        record.method,
        record.origin,
        shown["attempt"],
        record.elapsed,
        _why(last) if last else shown["cause"] or "unknown",
        _call(record.call_id, record.label),
    )


class _Saying(threading.local):
    """Whether a handler of this thread has a line in hand."""

    busy = False


_saying = _Saying()


def _say(level: int, fields: dict[str, Any], message: str, *values: object) -> None:
    # A handler that makes a call, to post the line, would start an endless chain where that call fails too.
    if _saying.busy:
        return
    _saying.busy = True
    try:
        say(level, message, *values, extra={"llmwatch": fields})
    finally:
        _saying.busy = False


def _fields(
    event: str,
    attempt: AttemptRecord | None,
    call_id: str,
    label: str | None,
    entry_point: str,
    number: int,
    of: int,
) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "event": event,
        "call_id": call_id,
        "label": label,
        # A resend that does not count may go beyond what is allowed.
        "attempt": f"{number} of {max(number, of)}",
        "entry_point": entry_point,
    }
    names = ("origin", "model", "status", "phase", "limit", "limit_seconds", "cause", "elapsed", "error")
    fields.update({name: None if attempt is None else getattr(attempt, name) for name in names})
    # Each line has the same fields, for programs that make columns of them.
    fields.update(wait=None, outcome=None, decision=None, reason=None)
    return fields


def _why(attempt: AttemptRecord) -> str:
    status = "" if attempt.status is None or attempt.limit else f", status {attempt.status}"
    return (attempt.limit or attempt.cause or "unknown") + status


def _call(call_id: str, label: str | None) -> str:
    return f"call {call_id}" + ("" if label is None else f", {label}")
