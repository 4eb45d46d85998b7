"""The state machine as tables: phases, observations, and the limits that they start, reset and end.

:data:`STEPS` is written by hand, one row a phase. An observation implies the earlier ones: a transport may swallow a
reset while it writes, and a mock opens no connection. :data:`TABLE` is computed from it: every phase times every
observation, with the implied steps folded in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from llmwatch.policy.limit_table import EVENT_LIMITS, LIMITS, READ_LIMITS

__all__ = [
    "ATTEMPT_LIMITS",
    "CONTENT_DRIVEN",
    "EVENT_DRIVEN",
    "READ_DRIVEN",
    "SETTLED",
    "STEPS",
    "TABLE",
    "Cell",
    "Phase",
    "Seen",
]


class Phase(str, Enum):
    """The phase of an attempt: its last observation, or its present step."""

    IDLE = "idle"
    CONNECTING = "connecting"
    SENDING = "sending"
    WAITING = "waiting"
    HEADERS = "headers"
    BODY = "body"
    EVENTS = "events"
    CONTENT = "content"
    FINISHING = "finishing"
    ENDING = "ending"
    REFUSED = "refused"
    DRAINING = "draining"

    def __init__(self, name: str) -> None:
        self.public = "finishing" if name == "ending" else name
        """The phase's name in errors, notices and records, one of :data:`llmwatch.records.PHASES`.
        These do not tell an end mark without a finish mark apart from a finish mark.
        """


class Seen(str, Enum):
    """An observation of a worker.
    ``FINISH``: a finish mark that is believed, or news after it. ``END``: an end mark without a finish mark.
    ``TERMINAL``: both, after which the answer is whole however its body ends.
    """

    BEGUN = "begun"
    CONNECTED = "connected"
    SENT = "sent"
    HEADERS = "headers"
    REFUSED = "refused"
    BYTE = "byte"
    EVENT = "event"
    CONTENT = "content"
    FINISH = "finish"
    END = "end"
    TERMINAL = "terminal"


@dataclass(frozen=True, slots=True)
class Cell:
    """The effect of one observation in one phase. ``replaces``: limits that end if ``finish`` is on."""

    next: Phase
    ends: frozenset[str] = frozenset()
    starts: frozenset[str] = frozenset()
    resets: frozenset[str] = frozenset()
    replaces: frozenset[str] = frozenset()

    def then(self, later: Cell) -> Cell:
        """Both steps as one, at the same instant."""
        return Cell(
            next=later.next,
            ends=self.ends | later.ends,
            starts=(self.starts - later.ends) | later.starts,
            resets=(self.resets | later.resets) - later.ends,
            replaces=self.replaces | later.replaces,
        )


def _cell(next: Phase, *, ends: str = "", starts: str = "", resets: str = "", replaces: str = "") -> Cell:
    return Cell(next, *(frozenset(limits.split()) for limits in (ends, starts, resets, replaces)))


ATTEMPT_LIMITS = tuple(name for name, row in LIMITS.items() if row.since != "call")
"""The limits of an attempt. The order settles a tie: the more specific limit comes first."""
# total runs on: content after a finish leads back to CONTENT, and nothing resets total.
_AT_FINISH = "headers ttfb first_event first_content error_body"
_AT_END = f"{_AT_FINISH} stale progress finish"
_FINISH = _cell(Phase.FINISHING, ends=_AT_FINISH, starts="finish", replaces="stale progress")
_END = _cell(Phase.ENDING, ends=_AT_END, starts="drain")
_TERMINAL = _cell(Phase.DRAINING, ends=" ".join(ATTEMPT_LIMITS), starts="drain")

# One row a phase: each next observation, and the limits that it ends, starts or resets.
STEPS: Mapping[Phase, Mapping[Seen, Cell]] = {
    Phase.IDLE: {
        Seen.BEGUN: _cell(Phase.CONNECTING, starts="connect"),
    },
    Phase.CONNECTING: {
        Seen.CONNECTED: _cell(Phase.SENDING, ends="connect", starts="send"),
    },
    Phase.SENDING: {
        Seen.SENT: _cell(Phase.WAITING, ends="send", starts="headers ttfb first_event first_content total"),
    },
    Phase.WAITING: {
        Seen.HEADERS: _cell(Phase.HEADERS, ends="headers"),
    },
    Phase.HEADERS: {
        Seen.REFUSED: _cell(Phase.REFUSED, ends="ttfb first_event first_content", starts="error_body"),
        Seen.BYTE: _cell(Phase.BODY, ends="ttfb", starts="stale"),
    },
    Phase.BODY: {
        Seen.REFUSED: _cell(Phase.REFUSED, ends="first_event first_content stale", starts="error_body"),
        Seen.BYTE: _cell(Phase.BODY, resets="stale"),
        Seen.EVENT: _cell(Phase.EVENTS, ends="first_event"),
    },
    Phase.EVENTS: {
        Seen.BYTE: _cell(Phase.EVENTS, resets="stale"),
        Seen.EVENT: _cell(Phase.EVENTS),
        Seen.CONTENT: _cell(Phase.CONTENT, ends="first_content", starts="progress"),
        Seen.FINISH: _FINISH,
        Seen.END: _END,
        Seen.TERMINAL: _TERMINAL,
    },
    Phase.CONTENT: {
        Seen.BYTE: _cell(Phase.CONTENT, resets="stale"),
        Seen.EVENT: _cell(Phase.CONTENT),
        Seen.CONTENT: _cell(Phase.CONTENT, resets="progress"),
        Seen.FINISH: _FINISH,
        Seen.END: _END,
        Seen.TERMINAL: _TERMINAL,
    },
    Phase.FINISHING: {
        # stale and progress run here only where finish is off.
        Seen.BYTE: _cell(Phase.FINISHING, resets="stale"),
        Seen.EVENT: _cell(Phase.FINISHING),
        Seen.CONTENT: _cell(Phase.CONTENT, ends="finish", starts="stale progress"),
        Seen.FINISH: _cell(Phase.FINISHING, resets="finish"),
        Seen.END: _END,
        Seen.TERMINAL: _TERMINAL,
    },
    Phase.ENDING: {
        # The worker waits only for the end of the body, and no data lengthens the wait.
        Seen.BYTE: _cell(Phase.ENDING),
        Seen.EVENT: _cell(Phase.ENDING),
        Seen.CONTENT: _cell(Phase.ENDING),
        Seen.FINISH: _cell(Phase.ENDING),
        Seen.END: _cell(Phase.ENDING),
        Seen.TERMINAL: _TERMINAL,
    },
    Phase.REFUSED: {
        Seen.BYTE: _cell(Phase.REFUSED),
    },
    Phase.DRAINING: {},
}

# The observation that each observation implies.
_BEFORE: Mapping[Seen, Seen | None] = {
    Seen.BEGUN: None,
    Seen.CONNECTED: Seen.BEGUN,
    Seen.SENT: Seen.CONNECTED,
    Seen.HEADERS: Seen.SENT,
    Seen.REFUSED: Seen.HEADERS,
    Seen.BYTE: Seen.HEADERS,
    Seen.EVENT: Seen.BYTE,
    Seen.CONTENT: Seen.EVENT,
    Seen.FINISH: Seen.EVENT,
    Seen.END: Seen.EVENT,
    Seen.TERMINAL: Seen.EVENT,
}


def _resolve(phase: Phase, seen: Seen) -> Cell | None:
    """The cell of ``seen`` in ``phase``, with the implied steps; ``None`` if it lies behind the phase."""
    step = STEPS[phase].get(seen)
    if step is not None:
        return step
    before = _BEFORE[seen]
    implied = None if before is None else _resolve(phase, before)
    if implied is None or implied.next is phase:
        return None
    last = STEPS[implied.next].get(seen)
    return None if last is None else implied.then(last)


def _complete() -> Mapping[Phase, Mapping[Seen, Cell]]:
    return {phase: {seen: _resolve(phase, seen) or Cell(phase) for seen in Seen} for phase in Phase}


TABLE = _complete()
"""A cell for every phase and every observation."""

CONTENT_DRIVEN = tuple(name for name in EVENT_LIMITS if name != "finish")
"""Limits that mean nothing if no dialect reads the body."""
EVENT_DRIVEN = frozenset(EVENT_LIMITS)
"""Limits that no byte as such ends or resets.
In a flood of keep-alives waiting bytes do not excuse them.
"""
READ_DRIVEN = frozenset(READ_LIMITS)
# The result of the attempt is known in these phases, so an expiry only drops the connection.
SETTLED = frozenset({Phase.FINISHING, Phase.ENDING, Phase.REFUSED, Phase.DRAINING})
