"""The summary of a script's calls in a few lines."""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from collections.abc import Container
from contextlib import suppress

from llmwatch import CallRecord, at_fork, stats
from llmwatch.policy import incident_log
from llmwatch.policy.effective import TIMEOUT_SOURCE
from llmwatch.policy.environment import INCIDENT_LOG_VARIABLE, OVERRIDE_VARIABLE
from llmwatch.policy.values import shown
from llmwatch.records.call import CALL_OUTCOMES
from llmwatch.watch import supervisor as supervisors

__all__ = ["Summary"]

_MOST_REASONS = 4
_PARTLY_WATCHED = ("httpx", "httpx2")
_UNWATCHED = ("aiohttp",)
"""An HTTP library of scripts that ``install()`` does not reach."""


class Summary:
    """A sink that counts calls. May be called from any thread.

    The summary is about the process that created it: a forked child starts at zero, and writes nothing. Calls through
    a mount or an install of the script's own go to the sinks that the script gives, and are not counted here.
    """

    def __init__(self) -> None:
        # Protects the counts; a leaf. Reentrant, because a signal handler of the same thread may make a call.
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._clear()
        at_fork.follow(self)

    def _clear(self) -> None:
        self._outcomes: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._incidents = 0
        self._resends = 0
        self._lowered: Counter[tuple[float, str]] = Counter()
        self._set_aside: Counter[float] = Counter()

    def after_fork(self) -> None:
        """Forget the parent's calls, in a forked child."""
        self._lock = threading.RLock()
        self._clear()

    def __call__(self, record: CallRecord) -> None:
        """Count one call that has ended."""
        with self._lock:
            self._outcomes[record.outcome] += 1
            self._incidents += record.incident
            self._resends += max(0, len(record.attempts) - 1)
            if record.outcome == "failed":
                self._reasons[_reason(record)] += 1
            lowered, set_aside = _timeouts(record)
            self._lowered.update(lowered)
            self._set_aside.update(set_aside)

    def write(self) -> None:
        """Write the lines to the process's original standard error. Does nothing in a forked child.

        Errors of writing are ignored.
        """
        stream = sys.__stderr__
        if stream is None or os.getpid() != self._process:
            return
        # A call that the script has just dropped may not be reported yet, and other exit handlers run later.
        supervisors.finish_dropped()
        now = stats()
        lines = self.lines(
            running=now["live_attempts"],
            orphans=now["unabortable"],
            log=incident_log(os.environ),
            lost=now["incidents_lost"],
            loaded=sys.modules,
        )
        with suppress(OSError, ValueError):
            stream.write("".join(f"llmwatch: {line}\n" for line in lines))
            stream.flush()

    def lines(self, *, running: int, orphans: int, log: str | None, loaded: Container[str], lost: int = 0) -> list[str]:
        """The lines of the summary; none for a script that made no call and loaded no other HTTP library.

        ``running`` calls have not ended. ``orphans`` workers could not be woken. ``log`` is the path of the incident
        log, and ``lost`` incidents could not be written to it. ``loaded`` holds the modules of the process.
        """
        with self._lock:
            watched = sum(self._outcomes.values()) + running
            if not watched:
                return _about_no_call(loaded)
            parts = [f"{self._outcomes[name]} {name}" for name in CALL_OUTCOMES if self._outcomes[name]]
            if self._reasons:
                failed = f"{self._outcomes['failed']} failed"
                parts[parts.index(failed)] = f"{failed} ({_listed(self._reasons)})"
            if running:
                parts.append(f"{running} still running")
            watched_calls, resends = _number(watched, "call"), _number(self._resends, "resend")
            return [
                f"{watched_calls} watched: {', '.join(parts)}; {resends}, {_number(orphans, 'orphan')}",
                *_about_incidents(self._incidents, log, lost),
                *_about_timeouts(self._lowered, self._set_aside),
            ]


def _about_no_call(loaded: Container[str]) -> list[str]:
    partly = " and ".join(name for name in _PARTLY_WATCHED if name in loaded)
    others = [f"{name}, which the script has loaded, is not watched" for name in _UNWATCHED if name in loaded]
    if partly:
        others.insert(0, f"of {partly}, which the script has loaded, only model calls of sync clients are watched")
    return [f"no call was watched; {'; '.join(others)}"] if others else []


def _about_incidents(number: int, log: str | None, lost: int) -> list[str]:
    if log is None:
        hint = f"{INCIDENT_LOG_VARIABLE}=FILE keeps the records"
        return [f"{_number(number, 'call')} lost an attempt; {hint}"] if number else []
    path = os.path.abspath(log)
    # A file's name may hold control characters.
    shown = path if path.isprintable() else repr(path)
    missing = f"; {_number(lost, 'incident')} could not be written there" if lost else ""
    return [f"{_number(number, 'call')} lost an attempt; the incident log is {shown}{missing}"]


def _timeouts(record: CallRecord) -> tuple[list[tuple[float, str]], set[float]]:
    """The time-outs of a call that lowered a limit, with the limit's name, and those that were set aside."""
    lowered: list[tuple[float, str]] = []
    set_aside: set[float] = set()
    for name, limit in record.limits.items():
        timeout, before = limit.get("timeout"), limit.get("instead_of")
        if not isinstance(timeout, float):
            continue
        if limit["source"] != TIMEOUT_SOURCE:
            set_aside.add(timeout)
        elif before is None or (isinstance(before, float) and timeout < before):
            lowered.append((timeout, name))
    return lowered, set_aside


def _about_timeouts(lowered: Counter[tuple[float, str]], set_aside: Counter[float]) -> list[str]:
    lines = []
    if lowered:
        common = lowered.most_common(_MOST_REASONS)
        named = ", ".join(
            f"{name} to {shown(seconds)} in {_number(calls, 'call')}" for (seconds, name), calls in common
        )
        more = f" and {len(lowered) - len(common)} more" if len(lowered) > len(common) else ""
        lines.append(f"timeout= of the script lowered {named}{more}; {OVERRIDE_VARIABLE}=1 sets it aside")
    if set_aside:
        common_seconds = set_aside.most_common(_MOST_REASONS)
        named = ", ".join(f"{shown(seconds)} in {_number(calls, 'call')}" for seconds, calls in common_seconds)
        more = f" and {len(set_aside) - len(common_seconds)} more" if len(set_aside) > len(common_seconds) else ""
        lines.append(f"timeout= of the script or its library was set aside: {named}{more}")
    return lines


def _number(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _reason(record: CallRecord) -> str:
    """The reason of a failed call: the limit that expired, the HTTP status, or else the cause."""
    last = next((attempt for attempt in reversed(record.attempts) if attempt.failed), None)
    if last is None:
        return record.cause or "unknown"
    if last.limit is not None:
        return last.limit
    if last.status is not None and last.status >= 400:
        return f"HTTP {last.status}"
    return last.cause or "unknown"


def _listed(reasons: Counter[str]) -> str:
    common = reasons.most_common(_MOST_REASONS)
    rest = sum(reasons.values()) - sum(number for _, number in common)
    shown = [name if len(reasons) == 1 else f"{name} {number}" for name, number in common]
    return ", ".join([*shown, f"others {rest}"] if rest else shown)
