"""What became of the calls of a script, in a few lines."""

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
_UNWATCHED = ("httpx", "httpx2", "aiohttp")
"""What scripts also make calls with; the first two can be given a transport of :mod:`llmwatch.sdk`."""


class Summary:
    """A sink that counts. May be called from any thread.

    It counts the calls of the process that made it: a forked child starts from nothing, and writes nothing. Calls of a
    script that installs or mounts llmwatch by itself go to the sinks that it gives, and are not counted here.
    """

    def __init__(self) -> None:
        # Protects the counts; a leaf. A signal handler of the same thread may make a call.
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
        """In a forked child: the parent's calls are its own."""
        self._lock = threading.RLock()
        self._clear()

    def __call__(self, record: CallRecord) -> None:
        """Count one call that is over."""
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
        """Write the lines to the standard error that the process was given. Does nothing in a forked child, or where
        nobody reads.
        """
        stream = sys.__stderr__
        if stream is None or os.getpid() != self._process:
            return
        # Calls that the script has dropped just now may still have to be told of; others' handlers come later.
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
        """What there is to say: nothing about a script that made no call.

        ``running`` calls have not ended, ``orphans`` workers could not be woken, ``log`` is where incidents go, which
        did not take ``lost`` of them.
        ``loaded`` are the modules of the process: no call at all is worth a word where the script has something else
        to make calls with.
        """
        with self._lock:
            watched = sum(self._outcomes.values()) + running
            if not watched:
                others = [name for name in _UNWATCHED if name in loaded]
                if not others:
                    return []
                named = " and ".join(others)
                return [f"no call was made through requests; {named}, which the script has loaded, is not watched"]
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


def _about_incidents(number: int, log: str | None, lost: int) -> list[str]:
    if log is None:
        hint = f"{INCIDENT_LOG_VARIABLE}=FILE keeps the records"
        return [f"{_number(number, 'call')} lost an attempt; {hint}"] if number else []
    path = os.path.abspath(log)
    # A file's name may hold what a terminal would obey.
    shown = path if path.isprintable() else repr(path)
    missing = f"; {_number(lost, 'incident')} could not be written there" if lost else ""
    return [f"{_number(number, 'call')} lost an attempt; the incident log is {shown}{missing}"]


def _timeouts(record: CallRecord) -> tuple[list[tuple[float, str]], set[float]]:
    """The time-outs of a call that lowered a limit, with its name, and those that did not count."""
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
        lines.append(f"timeout= of the script was set aside: {named}{more}")
    return lines


def _number(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _reason(record: CallRecord) -> str:
    """Why a call failed, in a word: the limit that expired, the HTTP status, or else the cause."""
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
