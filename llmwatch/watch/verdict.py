"""The end of an attempt, and the actions that its limits require."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from llmwatch.watch.states import Phase

__all__ = ["Action", "Due", "Verdict", "VerdictKind"]


class VerdictKind(str, Enum):
    """The kind of an attempt's end."""

    DONE = "done"
    FAILED = "failed"
    KILLED = "killed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The end of an attempt.

    ``limit``, ``seconds``, ``elapsed`` and ``lag`` (in seconds) are set for a kill.

    ``elapsed`` is the time since the limit began. ``paused`` is the part of it in which the limit stood still. A limit
    that expired on a finished answer sets ``limit`` alone.
    """

    kind: VerdictKind
    at: float
    phase: Phase
    limit: str | None = None
    seconds: float | None = None
    elapsed: float | None = None
    paused: float = 0.0
    lag: float | None = None
    error: BaseException | None = None
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """A limit and the instant at which it expires."""

    limit: str
    at: float


class Action(str, Enum):
    """The next action of the supervisor after it judged the limits."""

    NOTHING = "nothing"
    HANG_UP = "hang up"
    KILL = "kill"
