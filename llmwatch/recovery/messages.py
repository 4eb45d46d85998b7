"""Every text that is said about an expired limit or a decision, in one place, keyed.

Written for a user: what happened, in which phase, what to change. Fixed texts with numbers in them; nothing of a
request or an answer is quoted.
"""

from __future__ import annotations

from dataclasses import replace

from llmwatch.policy import LIMIT_VARIABLES, RETRY_VARIABLES
from llmwatch.records.decision import Decision, Recovery
from llmwatch.recovery.facts import Facts
from llmwatch.recovery.reason import Reason

__all__ = ["FUNCTION_TIMEOUTS", "RECOVERIES", "TIMEOUTS", "in_seconds", "recovery", "timeout_message"]

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

_TOOLS = f"resend_with_tools=True ({RETRY_VARIABLES['resend_with_tools']}=1)"
_BOUND = "{bound}"
"""The setting that bounds how long a call may wait: ``max_wait``, ``max_retry_after`` or ``deadline``."""
_BOUNDS = {**RETRY_VARIABLES, "deadline": LIMIT_VARIABLES["deadline"]}
_SLOW = f"slow_but_alive=True ({RETRY_VARIABLES['slow_but_alive']}=1)"

_RESENT = "Nothing to do: the request is sent again."
_GO_ON = "Keep what was delivered and go on from there, or ask again knowing that it will be billed again."
_ASK = "Have a person decide: look whether it has taken place before anything is sent again."
_NOT_LLMWATCH = "Fix the cause; sending the same request again would end the same way."

RECOVERIES: dict[Reason, tuple[str, str]] = {
    Reason.SILENCE: ("The provider was silent and nothing of an answer was delivered.", _RESENT),
    Reason.SLOW_BUT_ALIVE: (
        "The provider was still at work when the limit expired; a resend would pay twice for the same answer.",
        f"Raise the limit that expired, or allow such resends with {_SLOW}.",
    ),
    Reason.NOT_CONNECTED: ("No connection came about, so nothing was sent.", _RESENT),
    Reason.LOST_BEFORE_RESPONSE: ("The connection was lost before any response.", _RESENT),
    Reason.DEAD_CONNECTION: (
        "The pooled connection was dead before the request was written to it; a fresh one is used, at once.",
        _RESENT,
    ),
    Reason.STREAM_CUT: ("The connection broke before any part of the answer was delivered.", _RESENT),
    Reason.TRUNCATED: ("The stream ended before its answer did, and nothing of it was delivered.", _RESENT),
    Reason.EMPTY: ("The stream ended with nothing in it.", _RESENT),
    Reason.NOT_A_STREAM: ("Something that is no event stream came in place of the answer.", _RESENT),
    Reason.MALFORMED: ("An event could not be read, and nothing of the answer was delivered.", _RESENT),
    Reason.HTTP_STATUS: ("The provider refused with a status that may pass.", _RESENT),
    Reason.PROVIDER_ASKED: ("The provider asked for the request to be sent again.", _RESENT),
    Reason.STREAM_ERROR: ("The provider reported an error of its own that may pass.", _RESENT),
    Reason.REFRESH_TRANSIENT: ("No new token could be had just now, so the request was not sent with one.", _RESENT),
    Reason.DEADLINE: (
        "The deadline of the whole call has passed, and another attempt would be outside it.",
        f"Raise deadline ({LIMIT_VARIABLES['deadline']}), or make a new call.",
    ),
    Reason.UNKNOWN_HOST: ("The host does not exist.", "Check the URL and this machine's resolver."),
    Reason.TLS_FAILED: (
        "No trusted TLS connection came about.",
        "Check the certificate and the authority that verify= names.",
    ),
    Reason.PROXY_FAILED: (
        "The proxy did not let the connection through.",
        "Check the proxy's address and credentials.",
    ),
    Reason.CONNECT_FINAL: ("No connection came about, and trying again would not change that.", _NOT_LLMWATCH),
    Reason.NO_DESCRIPTOR: (
        "There was no descriptor left to open a connection with, and a resend at once would find none either.",
        "Close what is done with (responses, streams, files), or raise the limit (ulimit -n).",
    ),
    Reason.NOT_A_STREAM_FINAL: (
        "The answer came as one document, and would come as one again, at the same price.",
        'Ask for a stream ("stream": true in the body), or make a plain call with request().',
    ),
    Reason.EMPTY_FINAL: (
        "The answer ended in good order with nothing in it.",
        "Change the request: the provider considers it answered.",
    ),
    Reason.HTTP_STATUS_FINAL: ("The provider refused this request, and would refuse it again.", _NOT_LLMWATCH),
    Reason.PROVIDER_FORBADE: ("The provider asked for the request not to be sent again.", _NOT_LLMWATCH),
    Reason.STREAM_ERROR_FINAL: ("The provider reported an error that a resend would not mend.", _NOT_LLMWATCH),
    Reason.REDIRECTED: ("The provider redirected a request that cannot be redirected.", "Use the final URL directly."),
    Reason.EVENT_TOO_LARGE: (
        "One event was larger than is accepted, and would be again.",
        "Ask for smaller events or a shorter answer.",
    ),
    Reason.BODY_TOO_LARGE: (
        "The body of the answer was larger than is accepted, and would be again.",
        "Ask for a shorter answer, or raise max_body (LLMWATCH_MAX_BODY_BYTES).",
    ),
    Reason.SETUP_FAILED: ("The request could not be set up; nothing was sent.", "Correct what the error names."),
    Reason.REFRESH_REJECTED: (
        "No token could be had, and asking again would not help.",
        "Correct what the error names; one may have to log in again.",
    ),
    Reason.UNKNOWN_FAILURE: (
        "The error is none that llmwatch knows, so nothing can be said about a resend.",
        "Look at the error itself; handle it in a loop of your own if a resend makes sense.",
    ),
    Reason.CANCELLED_BY_USER: ("The call was given up on purpose.", "Nothing to do."),
    Reason.CANCELLED_BY_LIFECYCLE: (
        "The call was ended because its client, or its process, came to an end.",
        "Make a new call, on an open client.",
    ),
    Reason.NOTHING_SENT: ("Nothing was sent, so nothing can have happened.", _RESENT),
    Reason.NOTHING_DELIVERED: ("Nothing was delivered, and no tool with a side effect was exposed.", _RESENT),
    Reason.PARTIAL_DISCARDED: (
        "Part of an answer had come and none of it was delivered; it is discarded, once per call.",
        _RESENT,
    ),
    Reason.SLOW_BUT_ALIVE_ALLOWED: (
        "The provider was still at work when the limit expired; such resends were allowed, and are billed again.",
        _RESENT,
    ),
    Reason.OUTPUT_DELIVERED: ("Part of the answer was delivered; a resend would begin it anew.", _GO_ON),
    Reason.TOOL_INPUT_DELIVERED: (
        "Part of a tool call was delivered, but never the whole; do not execute it.",
        _GO_ON,
    ),
    Reason.TOOL_CALL_DELIVERED: ("A whole tool call was delivered and may have been executed.", _ASK),
    Reason.PROVIDER_TOOLS: (
        "By the request, or by what came of the answer, the provider has tools that may have side effects (MCP,"
        " computer use, a shell), and it may have used them.",
        f"{_ASK} If they only read, allow such resends with {_TOOLS}.",
    ),
    Reason.UNKNOWN_TOOLS: (
        "The request exposes tools of a kind that llmwatch does not know, and they may have had side effects.",
        f"{_ASK} If they only read, allow such resends with {_TOOLS}.",
    ),
    Reason.UNREADABLE_BODY: (
        "Which tools the request exposes cannot be read from its body (it is not JSON, or refers to something stored),"
        " or it is no call of a model and its method is not idempotent, so side effects cannot be ruled out.",
        "Pass the body as json=, have the URL known as a model's (register_model_url), or allow such resends with"
        f" {_TOOLS}.",
    ),
    Reason.FUNCTION_HAS_BEATEN: (
        "The wrapped function had begun its work (it has beaten, or handed over an item, or a request of it was"
        " answered), and what it has done is not known.",
        f"{_ASK} If it may run twice, allow that with {_TOOLS}; after the first item it is never run again.",
    ),
    Reason.FUNCTION_MAY_RUN: (
        "Nothing was found in the wrapped function that could be shut, no connection and no abort callback: what it has"
        " done is not known, and it may still be running.",
        f"Give it an abort callback (abort=, on_abort), or allow a second run beside it with {_TOOLS}.",
    ),
    Reason.FACTS_UNKNOWN: ("It is not known how far the request came, so side effects cannot be ruled out.", _ASK),
    Reason.ANSWER_COMPLETE: (
        "The answer had come to its end before the failure; a resend would pay for it twice.",
        "Use what was delivered.",
    ),
    Reason.PARTIAL_RESEND_USED: (
        "Part of an answer was discarded once already in this call; each further time would be billed again.",
        "Make the call again if the cost is acceptable.",
    ),
    Reason.ADAPTER_RETRIES: (
        "The request is no call of a model, and the max_retries of its adapter ask for another try.",
        _RESENT,
    ),
    Reason.ADAPTER_RETRIES_EXHAUSTED: (
        "The max_retries of the adapter asked for further tries, and all of them are used up.",
        "Try again later, or raise max_retries of the adapter.",
    ),
    Reason.ATTEMPTS_EXHAUSTED: (
        "A resend would be safe, but every allowed attempt is used up.",
        f"Try again later, or raise max_attempts ({RETRY_VARIABLES['max_attempts']}).",
    ),
    Reason.BODY_NOT_REPLAYABLE: (
        "The body is an iterator or upload that can be read only once, or the credentials are a step of a handshake"
        " (NTLM, Negotiate) that belongs to one connection.",
        "Pass the body as bytes or json=, or make the call again.",
    ),
    Reason.BUDGET_EMPTY: (
        "Too many recent calls to this origin had to be sent again, so resends wait for each other, and this call may"
        " not wait that long.",
        f"Raise {_BOUND} or budget ({RETRY_VARIABLES['budget']}), or try again later.",
    ),
    Reason.CIRCUIT_OPEN: (
        "Several attempts in a row to this origin were never answered, so one at a time goes out, and this call may not"
        " wait that long.",
        f"Raise {_BOUND} or lower breaker_wait ({RETRY_VARIABLES['breaker_wait']}), or try again later.",
    ),
    Reason.HELD_BACK: (
        "The provider has told another call with this model and credential to wait, and this call may not wait that"
        " long.",
        f"Raise {_BOUND}, set pace to False ({RETRY_VARIABLES['pace']}=0), or try again later.",
    ),
    Reason.TOO_MANY_ORPHANS: (
        "Too many earlier attempts are stuck where nothing can wake them.",
        "Look at llmwatch.stats() and at this machine's name resolution.",
    ),
    Reason.TOO_MANY_THREADS: (
        "The system had no thread left for this call.",
        "Make fewer calls at once, or allow this process more threads (ulimit -u, the container's limits).",
    ),
    Reason.RETRY_AFTER_TOO_LONG: (
        "The provider asks for a longer wait than is allowed.",
        f"Try again after .retry_after seconds, or raise max_retry_after ({RETRY_VARIABLES['max_retry_after']}).",
    ),
    Reason.NO_TIME_LEFT: (
        "A resend would be safe, but the wait before it would end after the deadline.",
        f"Raise deadline ({LIMIT_VARIABLES['deadline']}), or try again later.",
    ),
}
"""By reason: why, and what the user can do."""


def recovery(decision: Decision, reason: Reason, *, safe: bool, bound: str = "max_wait") -> Recovery:
    """What an error's ``.recovery`` says for a decision and its reason, where a resend is ``safe`` or not. ``bound`` is
    the setting that a call might not wait for longer than, where that is the reason.
    """
    message, action = RECOVERIES[reason]
    action = action.replace(_BOUND, f"{bound} ({_BOUNDS[bound]})")
    return Recovery(safe=safe, decision=decision, reason=reason.value, message=message, action=action)


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
