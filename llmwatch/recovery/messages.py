"""What is said about an expired limit, and about a decision for its :class:`Reason`.

Written for a user: what happened, in which phase, what to change. Fixed texts with numbers in them; nothing of a
request or an answer is quoted.
"""

from __future__ import annotations

from dataclasses import replace

from llmwatch.policy import LIMIT_VARIABLES, RETRY_VARIABLES
from llmwatch.records.decision import Decision, Recovery
from llmwatch.recovery.facts import Facts
from llmwatch.recovery.reason import BOUND, Reason

__all__ = ["FUNCTION_TIMEOUTS", "TIMEOUTS", "in_seconds", "recovery", "timeout_message"]

TIMEOUTS: dict[str, tuple[str, str]] = {
    "connect": (
        "No connection to {host} within {limit}: after {elapsed} the request could still not be sent (authentication,"
        " pool slot, name look-up, TCP, proxy and TLS count).",
        "Check the address and the proxy, or raise connect ({variable}).",
    ),
    "send": (
        "{host} stopped taking the request: its upload was not finished after {elapsed}, and the limit is {limit}.",
        "Send a smaller body, or raise send ({variable}).",
    ),
    "headers": (
        "{host} took the request and sent no response headers within {limit} ({elapsed} passed).",
        "Raise headers ({variable}), or switch it off with 0 and leave the wait to ttfb.",
    ),
    "ttfb": (
        "{host} took the request and went silent: not one byte of an answer within {limit} ({elapsed} passed;"
        " {received}).",
        "If this model needs longer to begin, raise ttfb ({variable}).",
    ),
    "first_event": (
        "{host} answered, but no event came within {limit} of the request ({elapsed} passed; {received}; comments are"
        " no events).",
        "Raise first_event ({variable}).",
    ),
    "first_content": (
        "{host} is connected and keeps the stream open, but no part of the answer came within {limit} of the request"
        " ({elapsed} passed; {received}; keep-alives are no answer).",
        "If this model thinks longer before it speaks, raise first_content ({variable}).",
    ),
    "stale": (
        "The stream from {host} went silent in the middle: no byte, not even a keep-alive, for {elapsed} (limit"
        " {limit}; {received} before that).",
        "If this provider pauses longer, raise stale ({variable}).",
    ),
    "progress": (
        "The answer from {host} stopped moving: only keep-alives or nothing for {elapsed} after the last part of it"
        " (limit {limit}; {received} so far).",
        "If this model pauses longer between parts, raise progress ({variable}).",
    ),
    "total": (
        "The attempt took longer than {limit} altogether ({elapsed} since the request was sent; {received}), although"
        " it was not silent for long enough to be cut.",
        "Ask for a shorter answer, or raise total ({variable}).",
    ),
    "finish": (
        "The answer from {host} was finished, and its body stayed open {elapsed} later without an end mark (limit"
        " {limit}).",
        "Nothing is lost; raise finish ({variable}) if more is to come after the finish mark.",
    ),
    "drain": (
        "The answer from {host} was complete, and its connection was still open {elapsed} later (limit {limit}).",
        "Nothing is lost; raise drain ({variable}) if connections should be kept for reuse.",
    ),
    "error_body": (
        "{host} answered with an error, and the text of that error did not end within {limit} ({elapsed} passed;"
        " {received}).",
        "There is no setting for this; the status says what is wrong.",
    ),
    "deadline": (
        "The call as a whole, its attempts and waits included, took longer than {limit} ({elapsed} passed; {received}"
        " in the last attempt).",
        "Raise deadline ({variable}), or lower the other limits so that a stalled attempt leaves room for the next.",
    ),
}
"""By limit: what happened, and what to change."""

FUNCTION_TIMEOUTS: dict[str, tuple[str, str]] = {
    "connect": (
        "The function {host} could not be started within {limit}: after {elapsed} its thread had not begun.",
        "This machine has too much to do; or raise connect ({variable}).",
    ),
    "headers": (
        "The function {host} was called, and gave no sign of life within {limit} ({elapsed} passed).",
        "Leave headers ({variable}) off for functions; ttfb is the limit on their first sign.",
    ),
    "ttfb": (
        "The function {host} went silent: within {limit} it has neither returned nor beaten ({elapsed} passed).",
        "If it needs longer, raise ttfb ({variable}), or call llmwatch.beat() in it as the work moves on.",
    ),
    "first_event": (
        "The function {host} is alive, but no event of it came within {limit} of its start ({elapsed} passed).",
        "Raise first_event ({variable}).",
    ),
    "first_content": (
        "The function {host} is alive, but its work had not moved on within {limit} of its start ({elapsed} passed;"
        " only beats of kind content and items count).",
        "If it takes longer to begin, raise first_content ({variable}).",
    ),
    "stale": (
        "The function {host} went silent in the middle: no beat and no item for {elapsed} (limit {limit}).",
        "If it pauses longer, raise stale ({variable}), or beat in between.",
    ),
    "progress": (
        "The work of the function {host} stopped moving: at most beats that are no content for {elapsed} (limit"
        " {limit}).",
        "If it pauses longer, raise progress ({variable}).",
    ),
    "total": (
        "The function {host} took longer than {limit} altogether ({elapsed} since it was called), although it was not"
        " silent for long enough to be cut.",
        "Raise total ({variable}).",
    ),
    "deadline": (
        "The call of the function {host} as a whole, its attempts and waits included, took longer than {limit}"
        " ({elapsed} passed).",
        "Raise deadline ({variable}), or lower the other limits so that a stalled attempt leaves room for the next.",
    ),
}
"""The same where the attempt ran a wrapped function."""

_STUCK = (
    " Nothing was found in it that could be shut, no connection and no abort callback, so it may still be running: it"
    " counts as an orphan in llmwatch.stats(). Give it abort= or on_abort()."
)

_BOUNDS = {**RETRY_VARIABLES, "deadline": LIMIT_VARIABLES["deadline"]}


def recovery(decision: Decision, reason: Reason, *, safe: bool, bound: str = "max_wait") -> Recovery:
    """What an error's ``.recovery`` says for a decision and its reason, where a resend is ``safe`` or not. ``bound`` is
    the setting that a call might not wait for longer than, where that is the reason.
    """
    action = reason.action.replace(BOUND, f"{bound} ({_BOUNDS[bound]})")
    return Recovery(safe=safe, decision=decision, reason=reason.value, message=reason.message, action=action)


def in_seconds(recovery: Recovery, seconds: float) -> Recovery:
    """The same advice, with the wait after which it is worth following."""
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
    """The text of a :class:`~llmwatch.WatchTimeout`: what happened, the figures, what had come, what to change.

    ``limit`` names it; ``seconds`` is its length, and ``paused`` are those of ``elapsed`` in which the clocks stood
    still. ``host`` goes into the text as it is.
    ``function``: the attempt ran the wrapped function of that name; ``stuck``: one that nothing could wake.
    """
    happened, change = (FUNCTION_TIMEOUTS if function else TIMEOUTS).get(limit, _OTHER)
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
