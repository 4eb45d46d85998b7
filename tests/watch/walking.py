"""Walking a state machine along the life of an attempt, by hand and without threads."""

from __future__ import annotations

from llmwatch.watch.machine import Due, Machine
from llmwatch.watch.states import READ_DRIVEN, Phase, Seen

FIRST_LIMITS = ("connect", "send", "headers", "ttfb", "first_event", "first_content")
STRICT_LIMITS = ("connect", "send", "total")
RUNNING_LIMITS = (*FIRST_LIMITS, "stale", "progress", "total")
LIMIT = 100.0
"""Seconds; larger than every walk takes."""

# Every phase, and how an attempt gets there step by step, nothing implied.
PATHS: dict[Phase, tuple[Seen, ...]] = {
    Phase.IDLE: (),
    Phase.CONNECTING: (Seen.BEGUN,),
    Phase.SENDING: (Seen.BEGUN, Seen.CONNECTED),
    Phase.WAITING: (Seen.BEGUN, Seen.CONNECTED, Seen.SENT),
}
PATHS[Phase.HEADERS] = (*PATHS[Phase.WAITING], Seen.HEADERS)
PATHS[Phase.REFUSED] = (*PATHS[Phase.HEADERS], Seen.REFUSED)
PATHS[Phase.BODY] = (*PATHS[Phase.HEADERS], Seen.BYTE)
PATHS[Phase.EVENTS] = (*PATHS[Phase.BODY], Seen.EVENT)
PATHS[Phase.CONTENT] = (*PATHS[Phase.EVENTS], Seen.CONTENT)
PATHS[Phase.FINISHING] = (*PATHS[Phase.CONTENT], Seen.FINISH)
PATHS[Phase.ENDING] = (*PATHS[Phase.CONTENT], Seen.END)
PATHS[Phase.DRAINING] = (*PATHS[Phase.CONTENT], Seen.TERMINAL)

_FRONT = PATHS[Phase.EVENTS]
# Everything that an observation presupposes, itself included, where nothing was seen before.
IMPLIED: dict[Seen, tuple[Seen, ...]] = {
    **{what: _FRONT[: place + 1] for place, what in enumerate(_FRONT)},
    Seen.REFUSED: PATHS[Phase.REFUSED],
    **{what: (*_FRONT, what) for what in (Seen.CONTENT, Seen.FINISH, Seen.END, Seen.TERMINAL)},
}
assert set(IMPLIED) == set(Seen)

# The last observation that starts or resets a limit on reading, so that the limit runs after it.
RUNS_AFTER: dict[str, Phase] = {
    "headers": Phase.WAITING,
    "ttfb": Phase.HEADERS,
    "first_event": Phase.BODY,
    "first_content": Phase.EVENTS,
    "stale": Phase.CONTENT,
    "progress": Phase.CONTENT,
    "finish": Phase.FINISHING,
}
assert set(RUNS_AFTER) == READ_DRIVEN


def walk(machine: Machine, phase: Phase, now: float = 0.0) -> Machine:
    """Take ``machine`` to ``phase``, all at the instant ``now``."""
    for what in PATHS[phase]:
        machine.seen(what, now)
    assert machine.phase is phase
    return machine


def at(phase: Phase, now: float = 0.0, *, deadline_at: float | None = None, **limits: float | None) -> Machine:
    """A machine with ``limits`` in ``phase``; every other limit is off."""
    return walk(Machine(limits, deadline_at=deadline_at), phase, now)


def expiry(machine: Machine) -> tuple[str, float] | None:
    """The next expiry as a pair."""
    due: Due | None = machine.next_expiry()
    return None if due is None else (due.limit, due.at)
