"""What went wrong, reduced to what a decision needs.

An error is classified by its class and its attributes, never by its text, which providers and libraries change at will.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from llmwatch import errors

__all__ = ["Failure", "FailureKind", "cause_of", "close_reason_of", "failure_of"]


class FailureKind(str, Enum):
    """Every way in which an attempt can fail.

    ``RESET`` is a connection that was lost before any response, ``CUT`` one that was lost later or a body whose framing
    broke; where only the error is known it is ``CUT``, and the facts tell the two apart. ``STREAM_ERROR`` is the
    provider's own error with a good status. ``CIRCUIT_OPEN`` and ``ORPHANS`` are refusals of llmwatch itself,
    ``THREADS`` one of the system.
    """

    WATCHDOG = "watchdog"
    CONNECT_REFUSED = "connect_refused"
    CONNECT_RESET = "connect_reset"
    CONNECT_UNREACHABLE = "connect_unreachable"
    DESCRIPTORS = "descriptors"
    DNS = "dns"
    DNS_TEMPORARY = "dns_temporary"
    TLS_CONNECT = "tls_connect"
    PROXY = "proxy"
    RESET = "reset"
    CUT = "cut"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    NOT_A_STREAM = "not_a_stream"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    BODY_TOO_LARGE = "body_too_large"
    HTTP_STATUS = "http_status"
    STREAM_ERROR = "stream_error"
    REDIRECT = "redirect"
    CANCELLED_USER = "cancelled_user"
    CANCELLED_LIFECYCLE = "cancelled_lifecycle"
    SETUP = "setup"
    CIRCUIT_OPEN = "circuit_open"
    ORPHANS = "orphans"
    THREADS = "threads"
    REFRESH_TRANSIENT = "refresh_transient"
    REFRESH_REJECTED = "refresh_rejected"
    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return str(self._value_)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failure. Fields that do not apply to its kind are ``None``.

    * ``limit``: which limit expired (``WATCHDOG``).
    * ``status``: the HTTP status; ``should_retry``: what ``x-should-retry`` said; ``retry_after``: seconds asked for.
    * ``error_type``, ``code``: the provider's own words for its error.
    * ``retryable``: what the error itself knows about a resend (``ConnectFailed``, ``EmptyStream``, ``ProviderError``),
      ``None`` where its kind says enough.
    """

    kind: FailureKind
    limit: str | None = None
    status: int | None = None
    should_retry: bool | None = None
    retry_after: float | None = None
    error_type: str | None = None
    code: str | None = None
    retryable: bool | None = None


_CONNECT = {
    "refused": FailureKind.CONNECT_REFUSED,
    "reset": FailureKind.CONNECT_RESET,
    "unreachable": FailureKind.CONNECT_UNREACHABLE,
    "descriptors": FailureKind.DESCRIPTORS,
    "dns": FailureKind.DNS,
    "dns_temporary": FailureKind.DNS_TEMPORARY,
    "tls": FailureKind.TLS_CONNECT,
    "proxy": FailureKind.PROXY,
}

_SIMPLE: tuple[tuple[type[BaseException], FailureKind], ...] = (
    (errors.StreamCut, FailureKind.CUT),
    (errors.StreamTruncated, FailureKind.TRUNCATED),
    (errors.MalformedEvent, FailureKind.MALFORMED),
    (errors.EventTooLarge, FailureKind.TOO_LARGE),
    (errors.BodyTooLarge, FailureKind.BODY_TOO_LARGE),
    (errors.TooManyOrphans, FailureKind.ORPHANS),
    (errors.TooManyThreads, FailureKind.THREADS),
    (errors.ConfigError, FailureKind.SETUP),
)


def failure_of(error: BaseException) -> Failure:
    """``error`` as a :class:`Failure`. Anything that is no error of llmwatch is ``UNKNOWN``."""
    if isinstance(error, errors.WatchTimeout):
        return Failure(kind=FailureKind.WATCHDOG, limit=error.limit)
    if isinstance(error, errors.ConnectFailed):
        # The transport has seen errno and the handshake: what it found out goes before the table.
        return Failure(kind=_CONNECT.get(error.cause, FailureKind.UNKNOWN), retryable=error.retryable)
    if isinstance(error, errors.ProviderError):
        return _provider(error)
    if isinstance(error, errors.Cancelled):
        user = error.by == "user"
        return Failure(kind=FailureKind.CANCELLED_USER if user else FailureKind.CANCELLED_LIFECYCLE)
    if isinstance(error, errors.EmptyStream):
        return Failure(kind=FailureKind.EMPTY, retryable=error.retryable)
    if isinstance(error, errors.NotAStream):
        return Failure(kind=FailureKind.NOT_A_STREAM, retryable=error.retryable)
    if isinstance(error, errors.CircuitOpen):
        return Failure(kind=FailureKind.CIRCUIT_OPEN, retry_after=error.retry_after)
    if isinstance(error, errors.RefreshFailed):
        return Failure(kind=FailureKind.REFRESH_TRANSIENT if error.retryable else FailureKind.REFRESH_REJECTED)
    for known, kind in _SIMPLE:
        if isinstance(error, known):
            return Failure(kind=kind)
    return Failure(kind=FailureKind.UNKNOWN)


def _provider(error: errors.ProviderError) -> Failure:
    status = error.status
    if status is None or 200 <= status < 300:
        kind = FailureKind.STREAM_ERROR
    elif 300 <= status < 400:
        kind = FailureKind.REDIRECT
    else:
        kind = FailureKind.HTTP_STATUS
    return Failure(
        kind=kind,
        status=status,
        should_retry=error.should_retry,
        retry_after=error.retry_after,
        error_type=error.type,
        code=error.code,
        retryable=error.retryable,
    )


_CAUSES = {
    FailureKind.WATCHDOG: "watchdog_timeout",
    FailureKind.CONNECT_REFUSED: "connect_failed",
    FailureKind.CONNECT_RESET: "connect_failed",
    FailureKind.CONNECT_UNREACHABLE: "connect_failed",
    FailureKind.DESCRIPTORS: "connect_failed",
    FailureKind.DNS: "connect_failed",
    FailureKind.DNS_TEMPORARY: "connect_failed",
    FailureKind.TLS_CONNECT: "connect_failed",
    FailureKind.PROXY: "connect_failed",
    FailureKind.RESET: "transport_disconnect",
    FailureKind.CUT: "transport_disconnect",
    FailureKind.TRUNCATED: "truncated",
    FailureKind.EMPTY: "truncated",
    FailureKind.NOT_A_STREAM: "provider_error",
    FailureKind.MALFORMED: "provider_error",
    FailureKind.TOO_LARGE: "provider_error",
    FailureKind.BODY_TOO_LARGE: "provider_error",
    FailureKind.HTTP_STATUS: "provider_error",
    FailureKind.STREAM_ERROR: "provider_error",
    FailureKind.REDIRECT: "provider_error",
    FailureKind.CANCELLED_USER: "user_cancel",
    FailureKind.CANCELLED_LIFECYCLE: "lifecycle_close",
    FailureKind.SETUP: "setup_failure",
    FailureKind.CIRCUIT_OPEN: "setup_failure",
    FailureKind.ORPHANS: "setup_failure",
    FailureKind.THREADS: "setup_failure",
    FailureKind.REFRESH_TRANSIENT: "setup_failure",
    FailureKind.REFRESH_REJECTED: "setup_failure",
    FailureKind.UNKNOWN: "unknown",
}


def cause_of(failure: Failure) -> str:
    """The cause that an attempt's record names, one of :data:`llmwatch.records.CAUSES`."""
    return _CAUSES[failure.kind]


def close_reason_of(failure: Failure | None) -> str:
    """How an attempt ended:

    ``<limit>_kill``, ``user_cancel``, ``lifecycle_close``, ``failed``; ``done`` for ``None``.
    """
    if failure is None:
        return "done"
    if failure.kind is FailureKind.WATCHDOG:
        return f"{failure.limit or 'unknown'}_kill"
    if failure.kind in (FailureKind.CANCELLED_USER, FailureKind.CANCELLED_LIFECYCLE):
        return _CAUSES[failure.kind]
    return "failed"
