"""The first question: could a resend work?

It concerns the failure, not the call: the answer holds after the last attempt too, and does not say whether a resend is
safe. Every limit but ``deadline`` is worth another try. A provider's refusal is if its status or its words say so.
"""

from __future__ import annotations

import re

from llmwatch.policy import LIMITS, Expiry
from llmwatch.recovery.facts import Facts
from llmwatch.recovery.failure import Failure, FailureKind
from llmwatch.recovery.reason import Reason

__all__ = ["FINAL_STATUSES", "RETRYABLE_STATUSES", "could_work", "is_alive", "is_known_word", "known_limit"]

RETRYABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, *range(520, 525), 527, 529})
"""Statuses that a resend could overcome. 409 is one only if ``x-should-retry`` says so."""

FINAL_STATUSES = frozenset({400, 401, 403, 404, 413, 422})
"""Statuses that the same request gets again, whatever ``x-should-retry`` says."""

# The words of OpenAI, Anthropic, Google (google.rpc.Code), Amazon and vLLM, without case, punctuation, and a final
# "error" or "exception".
_TRANSIENT_WORDS = (
    "server internalserver internal api overloaded engineoverloaded overload serviceunavailable unavailable"
    " temporarilyunavailable ratelimit ratelimitexceeded toomanyrequests resourceexhausted throttling throttled"
    " timeout requesttimeout modeltimeout vectorstoretimeout deadlineexceeded gatewaytimeout badgateway upstream"
    " modelnotready modelstream slowdown aborted"
)
_FINAL_WORDS = (
    "invalidrequest badrequest validation invalidargument invalidprompt failedprecondition outofrange"
    " unimplemented authentication unauthorized unauthenticated invalidapikey permission permissiondenied"
    " accessdenied forbidden notfound modelnotfound insufficientquota quotaexceeded billing"
    " billinghardlimitreached requesttoolarge contextlengthexceeded stringabovemaxlength contentfilter"
    " contentpolicyviolation"
)

_TRANSIENT, _FINAL = frozenset(_TRANSIENT_WORDS.split()), frozenset(_FINAL_WORDS.split())


def could_work(failure: Failure, facts: Facts) -> tuple[bool, Reason]:
    """Whether another attempt could succeed where this one failed, and why.

    The answer depends on the failure; the facts only sharpen the reason. Whether a resend is *safe* is the question of
    :func:`~llmwatch.recovery.is_safe`.
    """
    kind = failure.kind
    if kind is FailureKind.WATCHDOG:
        if failure.limit == "deadline":
            return False, Reason.DEADLINE
        return True, Reason.SLOW_BUT_ALIVE if is_alive(failure.limit, facts) else Reason.SILENCE
    if kind is FailureKind.CUT:
        return True, Reason.STREAM_CUT if facts.answered else Reason.LOST_BEFORE_RESPONSE
    if kind is FailureKind.HTTP_STATUS:
        return _by_status(failure)
    if kind is FailureKind.STREAM_ERROR:
        return _by_words(failure)
    row = failure.row
    if row.why_retryable is None or row.why_final is None:
        possible = row.why_final is None
    else:
        possible = row.retryable if failure.retryable is None else failure.retryable
    reason = row.why_retryable if possible else row.why_final
    assert reason is not None
    return possible, reason


def is_alive(limit: str | None, facts: Facts) -> bool:
    """Whether the provider was still sending when ``limit`` expired: it is at work, and bills the answer."""
    row = LIMITS.get(limit or "")
    if row is None or row.expiry is not Expiry.AT_WORK:
        return False
    return row.since != "sent" or facts.first_byte or facts.bytes > 0 or facts.beaten


def known_limit(limit: str | None) -> bool:
    """Whether the rules cover this limit."""
    row = LIMITS.get(limit or "")
    return row is not None and row.expiry is not Expiry.WHOLE


def _by_status(failure: Failure) -> tuple[bool, Reason]:
    if failure.status in FINAL_STATUSES:
        return False, Reason.HTTP_STATUS_FINAL
    if failure.should_retry is not None:
        return failure.should_retry, Reason.PROVIDER_ASKED if failure.should_retry else Reason.PROVIDER_FORBADE
    if failure.status in RETRYABLE_STATUSES:
        return True, Reason.HTTP_STATUS
    return False, Reason.HTTP_STATUS_FINAL


def _by_words(failure: Failure) -> tuple[bool, Reason]:
    if failure.should_retry is not None:
        return failure.should_retry, Reason.PROVIDER_ASKED if failure.should_retry else Reason.PROVIDER_FORBADE
    words = {_plain(word) for word in (failure.error_type, failure.code) if word}
    # "insufficient_quota" comes with a type or code that looks transient by itself: the final word wins.
    if words & _FINAL:
        return False, Reason.STREAM_ERROR_FINAL
    if words & _TRANSIENT:
        return True, Reason.STREAM_ERROR
    statuses = {int(word) for word in words if len(word) == 3 and word.isdigit()}
    possible = statuses <= RETRYABLE_STATUSES if statuses else bool(failure.retryable)
    return possible, Reason.STREAM_ERROR if possible else Reason.STREAM_ERROR_FINAL


def is_known_word(word: str) -> bool:
    """Whether the type or code of an error decides by itself whether a resend could work."""
    return _plain(word) in _FINAL | _TRANSIENT


def _plain(word: str) -> str:
    word = re.sub(r"[^a-z0-9]", "", word[:80].lower())
    for ending in ("exception", "error"):
        if len(word) > len(ending):
            word = word.removesuffix(ending)
    return word
