"""The second question: is a resend safe?

It is not safe once any part of the answer may have reached the caller, nor if the provider may have caused a side
effect, nor if that is unknown. Unknown facts never count in favour of a resend.

A connection that was lost after the request was sent, on a fresh socket or later than five seconds, does not show
whether the provider received the request. A resend is then safe only if the tool exposure shows that the request can
have produced nothing but text. That is the ordinary case of a model call, which is resent.

A wrapped function is a black box. Once it has beaten, or a request in it was answered, it has begun to act, in an
unknown way. If neither a socket nor an abort callback was found in it (``replayable`` is ``None``), what it did is
unknown too, and it may still be running. Neither is run again, unless ``resend_with_tools`` says that this is harmless.
A function that has handed over an item is never run again. That leaves a function that waited for its first answer, or
whose abort callback was called before it gave any sign.
"""

from __future__ import annotations

from llmwatch.policy import LIMITS
from llmwatch.records.decision import Decision
from llmwatch.recovery.call_context import Context, EntryPoint
from llmwatch.recovery.facts import Facts, Sent
from llmwatch.recovery.failure import Failure, FailureKind
from llmwatch.recovery.reason import Reason
from llmwatch.recovery.retryability import is_alive, known_limit

__all__ = ["handed_over", "is_safe", "is_slow"]

Answer = tuple[bool, Decision, Reason]


def is_safe(failure: Failure, facts: Facts, context: Context) -> Answer:
    """Whether the request may be sent again, the decision (``RETRY`` if it may), and the reason.

    Attempts, budgets, deadlines and retryability are not considered here.
    """
    return (
        _delivered(facts, context)
        or _side_effects(failure, facts, context)
        or _spent(failure, facts, context)
        or _safe(facts)
    )


def handed_over(facts: Facts, context: Context) -> bool:
    """Whether any part of the attempt may have reached the caller. It is then never resent silently.

    At an entry point that hands content over as it comes, content that has come counts: it is on its way to the caller.
    A beat of a wrapped function, or an answer that it got, counts as well, unless its user allows a second run.
    """
    wrapped = context.entry_point is EntryPoint.WRAP
    begun = facts.beaten or (wrapped and facts.headers)
    if begun and not (wrapped and context.resend_with_tools):
        return True
    return facts.delivered or (facts.content and context.entry_point.hands_over)


def is_slow(failure: Failure, facts: Facts, context: Context) -> bool:
    """Whether a killed attempt's provider was at work: bytes flowed, or it was a plain call after sent."""
    row = LIMITS.get(failure.limit or "")
    if failure.kind is not FailureKind.WATCHDOG or (row is not None and not row.after_sent):
        return False
    return is_alive(failure.limit, facts) or (context.plain and facts.sent is not Sent.NO)


def _delivered(facts: Facts, context: Context) -> Answer | None:
    if not handed_over(facts, context):
        return None
    if facts.beaten or context.entry_point is EntryPoint.WRAP:
        return False, Decision.CONFIRM, Reason.FUNCTION_HAS_BEATEN
    if facts.tool_call:
        return False, Decision.CONFIRM, Reason.TOOL_CALL_DELIVERED
    blocked = _tools(facts, context)
    if blocked is not None:
        return False, Decision.CONFIRM, blocked
    if facts.tool_input:
        return False, Decision.CONTINUE, Reason.TOOL_INPUT_DELIVERED
    if facts.content:
        return False, Decision.CONTINUE, Reason.OUTPUT_DELIVERED
    # Something was handed over, and it is unknown what.
    return False, Decision.CONFIRM, Reason.FACTS_UNKNOWN


def _side_effects(failure: Failure, facts: Facts, context: Context) -> Answer | None:
    unknown = failure.kind is FailureKind.WATCHDOG and not known_limit(failure.limit)
    if context.entry_point is EntryPoint.WRAP:
        if facts.sent is Sent.UNKNOWN or unknown:
            return False, Decision.CONFIRM, Reason.FACTS_UNKNOWN
        if facts.replayable is None and facts.sent is not Sent.NO and not context.resend_with_tools:
            return False, Decision.CONFIRM, Reason.FUNCTION_MAY_RUN
        return None
    if facts.replayable is None or unknown:
        return False, Decision.CONFIRM, Reason.FACTS_UNKNOWN
    if facts.sent is Sent.NO:
        return None
    if facts.sent is Sent.UNKNOWN or (facts.terminal is None and facts.first_event and not context.plain):
        return False, Decision.CONFIRM, Reason.FACTS_UNKNOWN
    blocked = _tools(facts, context)
    return None if blocked is None else (False, Decision.CONFIRM, blocked)


def _tools(facts: Facts, context: Context) -> Reason | None:
    if context.resend_with_tools:
        return None
    if facts.provider_acted:
        # Servers have tools of their own, and switch on what the request switched off.
        return Reason.PROVIDER_TOOLS
    tools = facts.tools
    if tools is None or not tools.complete:
        return Reason.UNREADABLE_BODY
    if tools.provider_other:
        return Reason.PROVIDER_TOOLS
    return Reason.UNKNOWN_TOOLS if tools.unknown else None


def _spent(failure: Failure, facts: Facts, context: Context) -> Answer | None:
    # An error status has a body that ends cleanly, which completes no answer. A clean answer is malformed if it asks
    # for a tool call that is not whole.
    if facts.terminal and failure.kind not in (FailureKind.HTTP_STATUS, FailureKind.MALFORMED):
        return False, Decision.STOP, Reason.ANSWER_COMPLETE
    if is_slow(failure, facts, context) and not context.slow_but_alive:
        return False, Decision.STOP, Reason.SLOW_BUT_ALIVE
    if facts.content and context.partial_resends_used:
        return False, Decision.STOP, Reason.PARTIAL_RESEND_USED
    return None


def _safe(facts: Facts) -> Answer:
    if facts.content:
        return True, Decision.RETRY, Reason.PARTIAL_DISCARDED
    return True, Decision.RETRY, Reason.NOTHING_SENT if facts.sent is Sent.NO else Reason.NOTHING_DELIVERED
