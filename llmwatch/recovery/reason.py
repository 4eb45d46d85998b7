"""The closed list of reasons: every answer and every decision has exactly one."""

from __future__ import annotations

from enum import Enum

__all__ = ["Reason"]


class Reason(str, Enum):
    """Why.

    The first group says why a resend could work, the second why it could not, the third why it is safe or not, the
    fourth why a resend that could work and would be safe is not sent. What each means stands in
    :mod:`llmwatch.recovery.messages`.
    """

    SILENCE = "silence"
    SLOW_BUT_ALIVE = "slow_but_alive"
    NOT_CONNECTED = "not_connected"
    LOST_BEFORE_RESPONSE = "lost_before_response"
    DEAD_CONNECTION = "dead_connection"
    STREAM_CUT = "stream_cut"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    NOT_A_STREAM = "not_a_stream"
    MALFORMED = "malformed"
    HTTP_STATUS = "http_status"
    PROVIDER_ASKED = "provider_asked"
    STREAM_ERROR = "stream_error"
    REFRESH_TRANSIENT = "refresh_transient"

    DEADLINE = "deadline"
    UNKNOWN_HOST = "unknown_host"
    TLS_FAILED = "tls_failed"
    PROXY_FAILED = "proxy_failed"
    CONNECT_FINAL = "connect_final"
    NO_DESCRIPTOR = "no_descriptor"
    EMPTY_FINAL = "empty_final"
    NOT_A_STREAM_FINAL = "not_a_stream_final"
    HTTP_STATUS_FINAL = "http_status_final"
    PROVIDER_FORBADE = "provider_forbade"
    STREAM_ERROR_FINAL = "stream_error_final"
    REDIRECTED = "redirected"
    EVENT_TOO_LARGE = "event_too_large"
    BODY_TOO_LARGE = "body_too_large"
    SETUP_FAILED = "setup_failed"
    REFRESH_REJECTED = "refresh_rejected"
    UNKNOWN_FAILURE = "unknown_failure"
    CANCELLED_BY_USER = "cancelled_by_user"
    CANCELLED_BY_LIFECYCLE = "cancelled_by_lifecycle"

    NOTHING_SENT = "nothing_sent"
    NOTHING_DELIVERED = "nothing_delivered"
    PARTIAL_DISCARDED = "partial_discarded"
    SLOW_BUT_ALIVE_ALLOWED = "slow_but_alive_allowed"
    OUTPUT_DELIVERED = "output_delivered"
    TOOL_INPUT_DELIVERED = "tool_input_delivered"
    TOOL_CALL_DELIVERED = "tool_call_delivered"
    PROVIDER_TOOLS = "provider_tools"
    UNKNOWN_TOOLS = "unknown_tools"
    UNREADABLE_BODY = "unreadable_body"
    FUNCTION_HAS_BEATEN = "function_has_beaten"
    FUNCTION_MAY_RUN = "function_may_run"
    FACTS_UNKNOWN = "facts_unknown"
    ANSWER_COMPLETE = "answer_complete"
    PARTIAL_RESEND_USED = "partial_resend_used"

    ADAPTER_RETRIES = "adapter_retries"

    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    ADAPTER_RETRIES_EXHAUSTED = "adapter_retries_exhausted"
    BODY_NOT_REPLAYABLE = "body_not_replayable"
    BUDGET_EMPTY = "budget_empty"
    CIRCUIT_OPEN = "circuit_open"
    HELD_BACK = "held_back"
    TOO_MANY_ORPHANS = "too_many_orphans"
    TOO_MANY_THREADS = "too_many_threads"
    RETRY_AFTER_TOO_LONG = "retry_after_too_long"
    NO_TIME_LEFT = "no_time_left"

    def __str__(self) -> str:
        return str(self._value_)
