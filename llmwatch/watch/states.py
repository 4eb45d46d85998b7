"""The state machine as tables: the phases, what can be seen in each, and which limits that starts, resets and ends.

:data:`STEPS` is written by hand, one row a phase. An observation implies the earlier ones (a transport may swallow a
reset while writing, a mock opens no connection), so :data:`TABLE` is made of it: every phase times every observation,
the implied steps folded in, and nothing undefined.
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
    """Where an attempt stands: the last thing that was seen of it, or what it is at."""

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
        """Its name in errors, notices and records, one of :data:`llmwatch.records.PHASES`. That an end mark came
        without a finish mark is of no interest there.
        """


class Seen(str, Enum):
    """What a worker can observe.

    ``FINISH`` is a finish mark that is believed, or news after it; ``END`` an end mark without a finish mark;
    ``TERMINAL`` both, after which the answer is whole however its body ends.
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
    """What one observation does in one phase. ``replaces``: limits that end where ``finish`` is on."""

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
"""Those of an attempt, in the order in which a tie is settled: the more specific limit names the reason."""
# total runs on: content after a finish leads back to CONTENT, and nothing resets total.
_AT_FINISH = "headers ttfb first_event first_content error_body"
_AT_END = f"{_AT_FINISH} stale progress finish"
_FINISH = _cell(Phase.FINISHING, ends=_AT_FINISH, starts="finish", replaces="stale progress")
_END = _cell(Phase.ENDING, ends=_AT_END, starts="drain")
_TERMINAL = _cell(Phase.DRAINING, ends=" ".join(ATTEMPT_LIMITS), starts="drain")

# One row a phase: what can be seen next, and which limits that ends, starts or resets.
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
        # Nothing but the end of the body is waited for, and what comes does not lengthen the wait.
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

# What each observation presupposes.
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
    """The cell of ``seen`` in ``phase``, made of the implied steps where it skips some; ``None`` where it lies
    behind.
    """
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
"""Every phase times every observation: none is undefined."""

CONTENT_DRIVEN = tuple(name for name in EVENT_LIMITS if name != "finish")
"""Those that nothing can be said of where what comes is not read."""
EVENT_DRIVEN = frozenset(EVENT_LIMITS)
"""Those that no byte as such ends or resets: in a flood of keep-alives bytes always wait, and do not excuse them."""
READ_DRIVEN = frozenset(READ_LIMITS)
# Here it is known how the attempt ends, so whatever expires only drops the connection.
SETTLED = frozenset({Phase.FINISHING, Phase.ENDING, Phase.REFUSED, Phase.DRAINING})
