"""The longest time to the error of a call whose provider accepts the request and then says nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llmwatch.payload import ToolExposure
from llmwatch.policy import FROM_SENT, EffectiveLimits, EffectiveRetry
from llmwatch.records import Decision
from llmwatch.recovery import Context, EntryPoint, Facts, Failure, FailureKind, Sent, backoff, decide

__all__ = ["WorstCase", "worst_case"]

_FACTS = Facts(sent=Sent.YES, terminal=False, tools=ToolExposure(), replayable=True)
_MOST_KEPT = 100
"""Attempts that are computed one by one; each later attempt lasts as long as the last of them."""
_MOST_SHOWN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstCase:
    """A call to a silent provider, attempt by attempt. All times are in seconds.

    ``seconds`` is the longest that the call can take, ``None`` if no limit ends it. ``number`` counts the attempts. Of
    the first 100 attempts, ``attempts`` are the limits and ``waits`` the longest back-offs between them. ``deadline``:
    the deadline of the call cuts it short.
    """

    seconds: float | None
    number: int
    attempts: tuple[float, ...]
    waits: tuple[float, ...]
    deadline: bool

    def __str__(self) -> str:
        if self.seconds is None:
            return "no limit ends the call"
        if self.deadline:
            return f"the error comes after {_shown(self.seconds)} at most, the deadline"
        if self.number == 1:
            return f"the error comes after {_shown(self.seconds)}, and nothing is sent again"
        waits = "" if not any(self.waits) else f", and back-offs of up to {_listed(self.waits, self.number - 1)}"
        return (
            f"the error comes after {_shown(self.seconds)} at most: {self.number} attempts of"
            f" {_listed(self.attempts, self.number)}{waits}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "seconds": self.seconds,
            "number": self.number,
            "attempts": list(self.attempts),
            "waits": list(self.waits),
            "deadline": self.deadline,
        }


def worst_case(limits: Callable[[int], EffectiveLimits], retry: EffectiveRetry, *, plain: bool = False) -> WorstCase:
    """The longest time of a model call whose provider accepts the connection and never says anything.

    ``limits(n)`` gives the limits of an attempt after ``n`` attempts that were killed before their first content.
    ``plain``: the call does not stream. Not included: connecting and sending, which have limits of their own in each
    attempt; ``on_retry``; and waits for breaker, budget and pacing (``max_wait`` in all), which other calls of the same
    client cause, and this call alone only with more attempts than the ``breaker`` counts.
    """
    deadline = limits(0).value("deadline")
    attempts: list[float] = []
    waits: list[float] = []
    number = 0
    while True:
        seconds = limits(number).seconds
        first = min(FROM_SENT, key=lambda name: _or_never(seconds[name]))
        number += 1
        attempts.append(_or_never(seconds[first]))
        if attempts[-1] == _NEVER or not _resent(first, number, retry, plain=plain):
            return _made(attempts, waits, number, deadline)
        if number == _MOST_KEPT:
            return _made(attempts, waits, retry.max_attempts, deadline)
        waits.append(backoff(number, base=retry.backoff, cap=retry.max_backoff, random=lambda: 1.0))


_NEVER = float("inf")


def _or_never(value: float | None) -> float:
    return _NEVER if value is None else value


def _resent(limit: str, attempt: int, retry: EffectiveRetry, *, plain: bool) -> bool:
    context = Context(
        entry_point=EntryPoint.REQUEST if plain else EntryPoint.STREAM,
        attempt=attempt,
        max_attempts=retry.max_attempts,
        slow_but_alive=retry.slow_but_alive,
        resend_with_tools=retry.resend_with_tools,
        plain=plain,
    )
    plan = decide(Failure(kind=FailureKind.WATCHDOG, limit=limit), _FACTS, context)
    return plan.recovery.decision is Decision.RETRY


def _made(attempts: list[float], waits: list[float], number: int, deadline: float | None) -> WorstCase:
    rest = number - len(attempts)
    total = sum(attempts) + sum(waits)
    if rest:
        total += rest * (attempts[-1] + waits[-1])
    cut = deadline is not None and deadline < total
    seconds = total if deadline is None else min(total, deadline)
    return WorstCase(
        seconds=None if seconds == _NEVER else seconds,
        number=number,
        attempts=tuple(duration for duration in attempts if duration != _NEVER),
        waits=tuple(waits),
        deadline=cut,
    )


def _listed(values: tuple[float, ...], number: int) -> str:
    """``120 s, 240 s and 480 s``; equal values once."""
    if len(set(values)) == 1:
        return f"{_shown(values[0])} each" if number > 1 else _shown(values[0])
    named = [_shown(value) for value in values[:_MOST_SHOWN]]
    if number > len(named):
        return f"{', '.join(named)}, ..."
    return f"{', '.join(named[:-1])} and {named[-1]}"


def _shown(value: float) -> str:
    return f"{value:,.3f}".rstrip("0").rstrip(".") + " s"
