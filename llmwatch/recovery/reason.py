"""The closed list of reasons: every answer and every decision has exactly one, each with its texts."""

from __future__ import annotations

from enum import Enum

from llmwatch.policy import LIMIT_VARIABLES, RETRY_VARIABLES

__all__ = ["BOUND", "Reason"]

BOUND = "{bound}"
"""In an action: the setting that bounds the call's wait, such as ``max_wait``."""

_TOOLS = f"resend_with_tools=True ({RETRY_VARIABLES['resend_with_tools']}=1)"
_SLOW = f"slow_but_alive=True ({RETRY_VARIABLES['slow_but_alive']}=1)"

_RESENT = "Nothing to do: the request is sent again."
_GO_ON = "Keep what was delivered and go on from there, or ask again knowing that it will be billed again."
_ASK = "Have a person decide: look whether it has taken place before anything is sent again."
_NOT_LLMWATCH = "Fix the cause; sending the same request again would end the same way."


class Reason(str, Enum):
    """The reasons in :class:`~llmwatch.Recovery` and :class:`~llmwatch.records.DecisionRecord`.

    ``message`` explains a reason, ``action`` says what the user can do. From ``SILENCE`` on a reason says why a resend
    could work, from ``DEADLINE`` on why it could not, from ``NOTHING_SENT`` on why it is safe or not, and from
    ``ATTEMPTS_EXHAUSTED`` on why a safe one is not sent. The texts hold no data of a call; ``{bound}`` in an action
    stands for the setting that bounds the call's wait, such as ``max_wait``. The list is closed.
    """

    message: str
    action: str

    def __new__(cls, word: str, message: str = "", action: str = "") -> Reason:
        """The member for ``word``, which is its value."""
        reason = str.__new__(cls, word)
        reason._value_ = word
        reason.message, reason.action = message, action
        return reason

    SILENCE = ("silence", "The provider was silent and nothing of an answer was delivered.", _RESENT)
    SLOW_BUT_ALIVE = (
        "slow_but_alive",
        "The provider was still at work when the limit expired; a resend would pay twice for the same answer.",
        f"Raise the limit that expired, or allow such resends with {_SLOW}.",
    )
    NOT_CONNECTED = ("not_connected", "No connection came about, so nothing was sent.", _RESENT)
    LOST_BEFORE_RESPONSE = ("lost_before_response", "The connection was lost before any response.", _RESENT)
    DEAD_CONNECTION = (
        "dead_connection",
        "The pooled connection was dead before the request was written to it; a fresh one is used, at once.",
        _RESENT,
    )
    STREAM_CUT = ("stream_cut", "The connection broke before any part of the answer was delivered.", _RESENT)
    TRUNCATED = ("truncated", "The stream ended before its answer did, and nothing of it was delivered.", _RESENT)
    EMPTY = ("empty", "The stream ended with nothing in it.", _RESENT)
    NOT_A_STREAM = ("not_a_stream", "Something that is no event stream came in place of the answer.", _RESENT)
    MALFORMED = ("malformed", "An event could not be read, and nothing of the answer was delivered.", _RESENT)
    HTTP_STATUS = ("http_status", "The provider refused with a status that may pass.", _RESENT)
    PROVIDER_ASKED = ("provider_asked", "The provider asked for the request to be sent again.", _RESENT)
    STREAM_ERROR = ("stream_error", "The provider reported an error of its own that may pass.", _RESENT)
    REFRESH_TRANSIENT = (
        "refresh_transient",
        "No new token could be had just now, so the request was not sent with one.",
        _RESENT,
    )

    DEADLINE = (
        "deadline",
        "The deadline of the whole call has passed, and another attempt would be outside it.",
        f"Raise deadline ({LIMIT_VARIABLES['deadline']}), or make a new call.",
    )
    UNKNOWN_HOST = ("unknown_host", "The host does not exist.", "Check the URL and this machine's resolver.")
    TLS_FAILED = (
        "tls_failed",
        "No trusted TLS connection came about.",
        "Check the certificate and the authority that verify= names.",
    )
    PROXY_FAILED = (
        "proxy_failed",
        "The proxy did not let the connection through.",
        "Check the proxy's address and credentials.",
    )
    CONNECT_FINAL = (
        "connect_final",
        "No connection came about, and trying again would not change that.",
        _NOT_LLMWATCH,
    )
    NO_DESCRIPTOR = (
        "no_descriptor",
        "There was no descriptor left to open a connection with, and a resend at once would find none either.",
        "Close what is done with (responses, streams, files), or raise the limit (ulimit -n).",
    )
    EMPTY_FINAL = (
        "empty_final",
        "The answer ended in good order with nothing in it.",
        "Change the request: the provider considers it answered.",
    )
    NOT_HTTP = (
        "not_http",
        "The server took the request and answered with something that is not HTTP.",
        "Check the URL, its port, and any proxy in between.",
    )
    NOT_A_STREAM_FINAL = (
        "not_a_stream_final",
        "The answer came as one document, and would come as one again, at the same price.",
        'Ask for a stream ("stream": true in the body), or make a plain call with request().',
    )
    HTTP_STATUS_FINAL = (
        "http_status_final",
        "The provider refused this request, and would refuse it again.",
        _NOT_LLMWATCH,
    )
    PROVIDER_FORBADE = ("provider_forbade", "The provider asked for the request not to be sent again.", _NOT_LLMWATCH)
    STREAM_ERROR_FINAL = (
        "stream_error_final",
        "The provider reported an error that a resend would not mend.",
        _NOT_LLMWATCH,
    )
    REDIRECTED = (
        "redirected",
        "The provider redirected a request that cannot be redirected.",
        "Use the final URL directly.",
    )
    EVENT_TOO_LARGE = (
        "event_too_large",
        "One event was larger than is accepted, and would be again.",
        "Ask for smaller events or a shorter answer.",
    )
    BODY_TOO_LARGE = (
        "body_too_large",
        "The body of the answer was larger than is accepted, and would be again.",
        "Ask for a shorter answer, or raise max_body (LLMWATCH_MAX_BODY_BYTES).",
    )
    SETUP_FAILED = (
        "setup_failed",
        "The request could not be set up; nothing was sent.",
        "Correct what the error names.",
    )
    REFRESH_REJECTED = (
        "refresh_rejected",
        "No token could be had, and asking again would not help.",
        "Correct what the error names; one may have to log in again.",
    )
    UNKNOWN_FAILURE = (
        "unknown_failure",
        "The error is none that llmwatch knows, so nothing can be said about a resend.",
        "Look at the error itself; handle it in a loop of your own if a resend makes sense.",
    )
    CANCELLED_BY_USER = ("cancelled_by_user", "The call was given up on purpose.", "Nothing to do.")
    CANCELLED_BY_LIFECYCLE = (
        "cancelled_by_lifecycle",
        "The call was ended because its client, or its process, came to an end.",
        "Make a new call, on an open client.",
    )

    NOTHING_SENT = ("nothing_sent", "Nothing was sent, so nothing can have happened.", _RESENT)
    NOTHING_DELIVERED = (
        "nothing_delivered",
        "Nothing was delivered, and no tool with a side effect was exposed.",
        _RESENT,
    )
    PARTIAL_DISCARDED = (
        "partial_discarded",
        "Part of an answer had come and none of it was delivered; it is discarded, once per call.",
        _RESENT,
    )
    SLOW_BUT_ALIVE_ALLOWED = (
        "slow_but_alive_allowed",
        "The provider was still at work when the limit expired; such resends were allowed, and are billed again.",
        _RESENT,
    )
    OUTPUT_DELIVERED = ("output_delivered", "Part of the answer was delivered; a resend would begin it anew.", _GO_ON)
    TOOL_INPUT_DELIVERED = (
        "tool_input_delivered",
        "Part of a tool call was delivered, but never the whole; do not execute it.",
        _GO_ON,
    )
    TOOL_CALL_DELIVERED = ("tool_call_delivered", "A whole tool call was delivered and may have been executed.", _ASK)
    PROVIDER_TOOLS = (
        "provider_tools",
        "By the request, or by what came of the answer, the provider has tools that may have side effects (MCP,"
        " computer use, a shell), and it may have used them.",
        f"{_ASK} If they only read, allow such resends with {_TOOLS}.",
    )
    UNKNOWN_TOOLS = (
        "unknown_tools",
        "The request exposes tools of a kind that llmwatch does not know, and they may have had side effects.",
        f"{_ASK} If they only read, allow such resends with {_TOOLS}.",
    )
    UNREADABLE_BODY = (
        "unreadable_body",
        "Which tools the request exposes cannot be read from its body (it is not JSON, or refers to something stored),"
        " or it is no call of a model and its method is not idempotent, so side effects cannot be ruled out.",
        "Pass the body as json=, have the URL known as a model's (register_model_url), or allow such resends with"
        f" {_TOOLS}.",
    )
    FUNCTION_HAS_BEATEN = (
        "function_has_beaten",
        "The wrapped function had begun its work (it has beaten, or handed over an item, or a request of it was"
        " answered), and what it has done is not known.",
        f"{_ASK} If it may run twice, allow that with {_TOOLS}; after the first item it is never run again.",
    )
    FUNCTION_MAY_RUN = (
        "function_may_run",
        "Nothing was found in the wrapped function that could be shut, no connection and no abort callback: what it has"
        " done is not known, and it may still be running.",
        f"Give it an abort callback (abort=, on_abort), or allow a second run beside it with {_TOOLS}.",
    )
    FACTS_UNKNOWN = (
        "facts_unknown",
        "It is not known how far the request came, so side effects cannot be ruled out.",
        _ASK,
    )
    ANSWER_COMPLETE = (
        "answer_complete",
        "The answer had come to its end before the failure; a resend would pay for it twice.",
        "Use what was delivered.",
    )
    PARTIAL_RESEND_USED = (
        "partial_resend_used",
        "Part of an answer was discarded once already in this call; each further time would be billed again.",
        "Make the call again if the cost is acceptable.",
    )

    ADAPTER_RETRIES = (
        "adapter_retries",
        "The request is no call of a model, and the max_retries of its adapter ask for another try.",
        _RESENT,
    )

    ATTEMPTS_EXHAUSTED = (
        "attempts_exhausted",
        "A resend would be safe, but every allowed attempt is used up.",
        f"Try again later, or raise max_attempts ({RETRY_VARIABLES['max_attempts']}).",
    )
    LEFT_TO_LIBRARY = (
        "left_to_library",
        "A resend would be safe, and is the calling library's to make: it signs each request anew.",
        "Try again later, or raise the attempts of the library (botocore: retries= of its Config).",
    )
    ADAPTER_RETRIES_EXHAUSTED = (
        "adapter_retries_exhausted",
        "The max_retries of the adapter asked for further tries, and all of them are used up.",
        "Try again later, or raise max_retries of the adapter.",
    )
    BODY_NOT_REPLAYABLE = (
        "body_not_replayable",
        "The body is an iterator or upload that can be read only once, or the credentials are a step of a handshake"
        " (NTLM, Negotiate) that belongs to one connection.",
        "Pass the body as bytes or json=, or make the call again.",
    )
    BUDGET_EMPTY = (
        "budget_empty",
        "Too many recent calls to this origin had to be sent again, so resends wait for each other, and this call may"
        " not wait that long.",
        f"Raise {BOUND} or budget ({RETRY_VARIABLES['budget']}), or try again later.",
    )
    CIRCUIT_OPEN = (
        "circuit_open",
        "Several attempts in a row to this origin were never answered, so one at a time goes out, and this call may not"
        " wait that long.",
        f"Raise {BOUND} or lower breaker_wait ({RETRY_VARIABLES['breaker_wait']}), or try again later.",
    )
    HELD_BACK = (
        "held_back",
        "The provider has told another call with this model and credential to wait, and this call may not wait that"
        " long.",
        f"Raise {BOUND}, set pace to False ({RETRY_VARIABLES['pace']}=0), or try again later.",
    )
    TOO_MANY_ORPHANS = (
        "too_many_orphans",
        "Too many earlier attempts are stuck where nothing can wake them.",
        "Look at llmwatch.stats() and at this machine's name resolution.",
    )
    TOO_MANY_THREADS = (
        "too_many_threads",
        "The system had no thread left for this call.",
        "Make fewer calls at once, or allow this process more threads (ulimit -u, the container's limits).",
    )
    RETRY_AFTER_TOO_LONG = (
        "retry_after_too_long",
        "The provider asks for a longer wait than is allowed.",
        f"Try again after .retry_after seconds, or raise max_retry_after ({RETRY_VARIABLES['max_retry_after']}).",
    )
    NO_TIME_LEFT = (
        "no_time_left",
        "A resend would be safe, but the wait before it would end after the deadline.",
        f"Raise deadline ({LIMIT_VARIABLES['deadline']}), or try again later.",
    )

    def __str__(self) -> str:
        return str(self._value_)
