"""The state machine of one attempt: which limits run, and which have expired.

The machine is pure: ``now`` is an argument, and nothing blocks. It keeps these rules, which its property tests check:

* An observation moves the phase forward along :data:`~llmwatch.watch.states.TABLE`, never back, with one exception in
  the table: content after a ``finish`` returns to ``CONTENT``, since a finish mark is a hint. No first-something limit
  is ever started again.
* The ``finish`` limit replaces ``stale`` and ``progress``. Where ``finish`` is off they run on. Any limit that expires
  after a ``finish`` ends the attempt successfully.
* An observation implies the earlier ones. Headers without ``SENT`` are legal: a transport may swallow a reset while it
  writes, and a mock opens no connection. An observation behind the phase is ignored.
* Held time (the caller keeps the worker waiting, or the limits were paused) is subtracted from every limit but
  ``deadline``. Nothing else is subtracted: the time in which the worker processes a piece counts.
* A limit has expired when ``now`` is *after* its expiry. An observation at the very instant is in time.
* A limit on reading that expires gets one grace of :data:`GRACE` seconds per wait, if bytes waited in the kernel or the
  supervisor itself was late. An observation that reaches the machine before the supervisor looked proves the same, so
  it is accepted. On the other limits, and after the grace, only the time stamps decide.
* In a flood bytes always wait, and observations always come. Both therefore excuse ``finish`` or a limit on content
  only where nothing was read for a second before.
* There is one verdict. A later observation is counted in ``late`` and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from llmwatch.watch.states import ATTEMPT_LIMITS, EVENT_DRIVEN, READ_DRIVEN, SETTLED, TABLE, Cell, Phase, Seen
from llmwatch.watch.verdict import Action, Due, Verdict, VerdictKind

__all__ = ["GRACE", "Action", "Due", "Machine", "Phase", "Seen", "Verdict", "VerdictKind"]

# The code for each read uses these: an enum member costs as much as a call on Python 3.10 and 3.11.
_BYTE = Seen.BYTE
_DRAINING = Phase.DRAINING
_DONE = VerdictKind.DONE

GRACE = 1.0
"""Seconds: the grace of a limit on reading, and the supervisor's lateness that excuses such a limit."""

ERROR_BODY = 5.0
"""Seconds for the body of an HTTP error, which only adds detail to a known failure."""


class Machine:
    """One attempt's limits and verdict. Not thread-safe: the attempt's lock serialises it.
    ``limits`` maps limit names to seconds (``None``: off). ``deadline_at`` is the instant at which the whole call ends.
    """

    __slots__ = (
        "_anchors",
        "_graces",
        "_held_at",
        "_held_before",
        "_held_total",
        "_last_byte",
        "_limits",
        "_soonest_of_hold",
        "deadline_at",
        "last_byte_at",
        "late",
        "longest_gap",
        "marks",
        "phase",
        "soonest",
        "verdict",
    )

    def __init__(self, limits: Mapping[str, float | None], *, deadline_at: float | None = None) -> None:
        self._limits = {name: seconds or None for name, seconds in limits.items()}
        self._limits |= {"error_body": ERROR_BODY, "drain": limits.get("drain") or 0.0}
        self.deadline_at = deadline_at
        self.phase = Phase.IDLE
        self.verdict: Verdict | None = None
        self.late = 0
        self.marks: dict[Seen, float] = {}
        self.longest_gap: float | None = None
        self._anchors: dict[str, float] = {}
        self._graces: dict[str, float] = {}
        self._held_at: float | None = None
        self._held_total = 0.0
        # Held seconds before a limit began, where there were any.
        self._held_before: dict[str, float] = {}
        self._last_byte: float | None = None
        self.last_byte_at: float | None = None
        # No limit expires before this instant, which may be earlier than the next expiry: resets and holds only move
        # expiries later, so it need not follow them.
        self.soonest = _NEVER if deadline_at is None else deadline_at
        self._soonest_of_hold = False

    # -- time ---------------------------------------------------------------

    def _active(self, now: float) -> float:
        """``now`` on a clock that stands still while the attempt is held."""
        return (now if self._held_at is None else self._held_at) - self._held_total

    def held_until(self, now: float) -> float:
        """Seconds for which the limits stood still, up to ``now``."""
        return self._held_total + (0.0 if self._held_at is None else max(0.0, now - self._held_at))

    @property
    def held(self) -> bool:
        """Whether the limits stand still."""
        return self._held_at is not None

    def hold(self, now: float) -> None:
        """Stop every limit but the deadline; each keeps its remaining seconds."""
        if self._held_at is None:
            self._held_at = now

    def resume(self, now: float) -> None:
        """Let the limits run on."""
        if self._held_at is not None:
            self._held_total += max(0.0, now - self._held_at)
            self._held_at = None
            if self._soonest_of_hold:
                self.refresh()

    # -- observations -------------------------------------------------------

    def seen(self, what: Seen, now: float) -> bool:
        """Take in an observation; ``False`` if it came after the end of the attempt.
        A terminal event sets the verdict *done*. An observation after an expiry without an excuse sets *killed*.
        """
        if self.verdict is not None:
            if not (self.verdict.kind is _DONE and what is _BYTE):
                self.late += 1
            return False
        cell = TABLE[self.phase][what]
        overdue = self._overdue(now) if now > self.soonest else None
        if overdue is not None:
            self._conclude(overdue, now)
            self.late += 1
            return False
        # Inline, not in functions of their own: this runs several times for every event of every stream.
        active = (now if self._held_at is None else self._held_at) - self._held_total
        self.phase = cell.next
        anchors, graces = self._anchors, self._graces
        for limit in cell.ends:
            anchors.pop(limit, None)
            graces.pop(limit, None)
        for limit in cell.resets:
            if limit in anchors:
                anchors[limit] = active
                if graces:
                    graces.pop(limit, None)
        if cell.starts:
            for limit in cell.starts:
                if self._limits.get(limit) is not None:
                    anchors[limit] = active
                    graces.pop(limit, None)
            if cell.replaces and self._limits.get("finish") is not None:
                for limit in cell.replaces:
                    anchors.pop(limit, None)
                    graces.pop(limit, None)
            self.refresh()
        if self._held_total or self._held_at is not None:
            self._note_held(cell, now)
        if what is _BYTE:
            self.last_byte_at, before, self._last_byte = now, self._last_byte, active
            if before is not None and (self.longest_gap is None or active - before > self.longest_gap):
                self.longest_gap = active - before
        self.marks.setdefault(what, now)
        if cell.next is _DRAINING:
            self.verdict = Verdict(kind=_DONE, at=now, phase=self.phase)
        return True

    def _note_held(self, cell: Cell, now: float) -> None:
        held = self.held_until(now)
        for limit in (*cell.resets, *cell.starts):
            self._held_before[limit] = held

    def refresh(self) -> Due | None:
        """The next expiry, which is then the new ``soonest``."""
        first = self.next_expiry()
        self.soonest = _NEVER if first is None else first.at
        self._soonest_of_hold = self._held_at is not None
        return first

    def reset(self, limit: str, now: float) -> None:
        """Restart ``limit`` if it runs and has not expired."""
        if limit in self._anchors and (now <= self.soonest or self._overdue(now) is None):
            self._anchors[limit] = self._active(now)
            self._held_before[limit] = self.held_until(now)
            self._graces.pop(limit, None)

    def turn_off(self, limits: Iterable[str]) -> None:
        """End these limits for good: the body cannot be read, so they have nothing to go by."""
        if self.verdict is not None:
            return
        for limit in limits:
            self._limits[limit] = None
            self._anchors.pop(limit, None)
            self._graces.pop(limit, None)

    def _overdue(self, now: float) -> Due | None:
        """The limit that expired before this observation and has no excuse."""
        if self.phase is Phase.REFUSED:
            # The failure is known, so any end of the body stands; the supervisor drops the connection on expiry.
            return None
        for due in sorted(self._expiries(), key=_order):
            if now <= due.at:
                return None
            if due.limit in READ_DRIVEN and due.limit not in self._graces:
                # The supervisor has not looked yet, and this observation shows that bytes were waiting.
                if due.limit not in EVENT_DRIVEN:
                    continue
                if self._read_nothing(now):
                    # The worker has this time to find events in the bytes it just read.
                    self._graces[due.limit] = self._active(now) + GRACE
                    continue
            return due
        return None

    # -- expiry -------------------------------------------------------------

    def _expiries(self) -> list[Due]:
        expiries = []
        if self._held_at is None:
            for limit, anchor in self._anchors.items():
                at = self._graces.get(limit)
                if at is None:
                    seconds = self._limits[limit]
                    assert seconds is not None
                    at = anchor + seconds
                expiries.append(Due(limit, at + self._held_total))
        if self.deadline_at is not None and self.verdict is None:
            expiries.append(Due("deadline", self.deadline_at))
        return expiries

    def next_expiry(self) -> Due | None:
        """The limit that expires next, and when; ``None`` if no limit runs."""
        # The same as _expiries without an object for each limit: this runs with every step of an attempt.
        next_limit, soonest, graces = "", _NEVER, self._graces
        if self._held_at is None:
            for limit, anchor in self._anchors.items():
                at = graces.get(limit)
                if at is None:
                    seconds = self._limits[limit]
                    assert seconds is not None
                    at = anchor + seconds
                at += self._held_total
                if at < soonest or (at == soonest and _RANK[limit] < _RANK[next_limit]):
                    next_limit, soonest = limit, at
        if self.deadline_at is not None and self.verdict is None and self.deadline_at < soonest:
            next_limit, soonest = "deadline", self.deadline_at
        return Due(next_limit, soonest) if next_limit else None

    def left(self, limit: str, now: float) -> float | None:
        """Seconds left on ``limit``, never negative; ``None`` if it does not run."""
        anchor, seconds = self._anchors.get(limit), self._limits.get(limit)
        return None if anchor is None or seconds is None else max(0.0, anchor + seconds - self._active(now))

    def due(self, now: float) -> Due | None:
        """The limit that expired first; ``None`` while all are in time."""
        first = None if now <= self.soonest else self.next_expiry()
        return first if first is not None and now > first.at else None

    def _read_nothing(self, now: float) -> bool:
        """Whether no byte was read in the last second: then the worker had no chance to read."""
        return self.last_byte_at is None or now - self.last_byte_at >= GRACE

    def may_look(self, due: Due) -> bool:
        """Whether waiting bytes in the kernel could still excuse this limit."""
        return self.verdict is None and due.limit in READ_DRIVEN and due.limit not in self._graces

    def expire(self, now: float, *, waiting: bool = False) -> Action:
        """Judge the limits. ``waiting``: the kernel holds unread bytes or an end of file for this attempt.
        The caller carries out the action once every verdict of the moment is in.
        """
        due = self.due(now)
        if due is None:
            return Action.NOTHING
        if due.limit in EVENT_DRIVEN:
            waiting = waiting and self._read_nothing(now)
        if self.may_look(due) and (waiting or now - due.at > GRACE):
            self._graces[due.limit] = self._active(now) + GRACE
            return Action.NOTHING
        return self._conclude(due, now)

    def _conclude(self, due: Due, now: float) -> Action:
        limit = due.limit
        anchor = self._anchors.pop(limit, None)
        if self.phase in SETTLED:
            if self.verdict is None and self.phase in (Phase.FINISHING, Phase.ENDING):
                self.verdict = Verdict(kind=VerdictKind.DONE, at=now, phase=self.phase, limit=limit)
            self._stop_limits()
            return Action.HANG_UP
        seconds = self._limits.get(limit)
        paused = 0.0 if anchor is None else self.held_until(now) - self._held_before.get(limit, 0.0)
        self.verdict = Verdict(
            kind=VerdictKind.KILLED,
            at=now,
            phase=self.phase,
            limit=limit,
            seconds=seconds,
            elapsed=None if anchor is None else self._active(now) - anchor + paused,
            paused=paused,
            lag=now - due.at,
        )
        self._stop_limits()
        return Action.KILL

    # -- other ends ---------------------------------------------------------

    def finish(self, now: float) -> bool:
        """The worker read the body to its end, and the end was in order."""
        return self._end(Verdict(kind=VerdictKind.DONE, at=now, phase=self.phase), now)

    def fail(self, error: BaseException, now: float) -> bool:
        """The worker met ``error``."""
        return self._end(Verdict(kind=VerdictKind.FAILED, at=now, phase=self.phase, error=error), now)

    def cancel(self, by: str, now: float) -> bool:
        """The call was cancelled. ``by``: the source of the cancellation."""
        return self._end(Verdict(kind=VerdictKind.CANCELLED, at=now, phase=self.phase, by=by), now)

    def _end(self, verdict: Verdict, now: float) -> bool:
        """Set the verdict if there is none. An earlier expiry without an excuse takes precedence."""
        if self.verdict is not None:
            return False
        if verdict.kind is not VerdictKind.CANCELLED:
            overdue = self._overdue(now) if now > self.soonest else None
            if overdue is not None:
                self._conclude(overdue, now)
                return False
        self.verdict = verdict
        self._stop_limits()
        return True

    def _stop_limits(self) -> None:
        self._anchors.clear()
        self._graces.clear()
        if self.phase is Phase.REFUSED and self.verdict is None:
            # The connection is being dropped. The worker sets the verdict, and a deadline must not come before it.
            self.deadline_at = None
        self.soonest = _NEVER if self.deadline_at is None else self.deadline_at

    def detach_in_child(self, now: float) -> None:
        """In a forked child: cancelled, whatever the state in the parent."""
        self.verdict = Verdict(kind=VerdictKind.CANCELLED, at=now, phase=self.phase, by="lifecycle")
        self._stop_limits()


_NEVER = float("inf")
_RANK = {limit: rank for rank, limit in enumerate((*ATTEMPT_LIMITS, "deadline"))}


def _order(due: Due) -> tuple[float, int]:
    return due.at, _RANK[due.limit]
