"""The texts about an expired limit, and about a decision with its :class:`Reason`.

They are written for a user: what happened, in which phase, what to change. They are fixed but for figures, and quote
nothing of a request or an answer.
"""

from __future__ import annotations

from dataclasses import replace

from llmwatch.policy import LIMIT_VARIABLES, LIMITS, RETRY_VARIABLES
from llmwatch.records.decision import Decision, Recovery
from llmwatch.recovery.facts import Facts
from llmwatch.recovery.reason import BOUND, Reason

__all__ = ["in_seconds", "recovery", "timeout_message"]

_STUCK = (
    " Nothing was found in it that could be shut, no connection and no abort callback, so it may still be running: it"
    " counts as an orphan in llmwatch.stats(). Give it abort= or on_abort()."
)

_BOUNDS = {**RETRY_VARIABLES, "deadline": LIMIT_VARIABLES["deadline"]}


def recovery(decision: Decision, reason: Reason, *, safe: bool, bound: str = "max_wait") -> Recovery:
    """An error's ``.recovery``. ``bound``: the setting that bounds the call's wait."""
    action = reason.action.replace(BOUND, f"{bound} ({_BOUNDS[bound]})")
    return Recovery(safe=safe, decision=decision, reason=reason.value, message=reason.message, action=action)


def in_seconds(recovery: Recovery, seconds: float) -> Recovery:
    """The same advice, with the seconds after which it is worth following."""
    return replace(recovery, action=f"Come back in {_seconds(seconds)}. {recovery.action}")


def timeout_message(
    limit: str,
    seconds: float,
    elapsed: float,
    *,
    paused: float = 0.0,
    facts: Facts | None = None,
    host: str = "",
    function: bool = False,
    stuck: bool = False,
) -> str:
    """The text of a :class:`~llmwatch.WatchTimeout`: what happened, what had come, what to change.

    ``limit`` is the name of the limit, ``seconds`` its length; ``paused`` seconds of ``elapsed`` did not count.
    ``host`` is inserted as it is. ``function``: the attempt ran the wrapped function of that name; ``stuck``: nothing
    could wake it.
    """
    row = LIMITS.get(limit)
    happened, change = _OTHER if row is None else (row.expired, row.advice)
    if function and row is not None and row.function_expired:
        happened, change = row.function_expired, row.function_advice
    return f"{happened}{_STUCK if stuck else ''} {change}".format(
        name=limit,
        host=host or "The provider",
        limit=_seconds(seconds),
        elapsed=f"{_seconds(elapsed)}, {_seconds(paused)} of it paused,"
        if paused >= _LEAST_TOLD
        else _seconds(elapsed),
        received=_received(facts or Facts()),
        variable=LIMIT_VARIABLES.get(limit, ""),
    )


_LEAST_TOLD = 0.001

_OTHER = ("The limit {name} of {limit} expired after {elapsed} ({received}).", "Raise {name}.")


def _seconds(value: float) -> str:
    return f"{value:,.3f}".rstrip("0").rstrip(".") + " s"


def _received(facts: Facts) -> str:
    if not facts.bytes:
        return "response headers had come and nothing else" if facts.headers else "no response headers had come"
    events = f"{facts.events:,} event{'' if facts.events == 1 else 's'}"
    return f"{facts.bytes:,} byte{'' if facts.bytes == 1 else 's'} and {events} had come"
