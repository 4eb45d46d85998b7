"""A failure, reduced to what a decision needs, and the table of what follows from its kind alone.

An error is classified by its class and its attributes, never by its text, which providers and libraries change at will.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import partial

from llmwatch import errors
from llmwatch.records.attempt import Cause
from llmwatch.recovery.reason import Reason

__all__ = ["Failure", "FailureKind", "FailureRow", "Outcome", "failure_of"]


class Outcome(str, Enum):
    """The state of an origin as an attempt shows it.

    ``LOST``: the origin answers no call. ``FAILED``: the origin may answer or not (a 500, or a reset before the first
    byte). ``REFUSED``: the origin answers, and has named a wait. ``ANSWERED``: the origin answers, perhaps with an
    error of the call's own. ``ABANDONED``: nothing, since the attempt was cancelled.
    """

    LOST = "lost"
    FAILED = "failed"
    REFUSED = "refused"
    ANSWERED = "answered"
    ABANDONED = "abandoned"

    def __str__(self) -> str:
        return str(self._value_)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRow:
    """The consequences of the kind of a failure.

    * ``error``: the class of its errors; ``variant``: what tells the kinds of one class apart (:func:`failure_of`).
    * ``cause``, ``close_reason``: what an attempt's record says, with ``{limit}`` for the limit that expired.
    * ``why_retryable``, ``why_final``: why a resend could work, and why it could not. The one that is given is the
      answer. Where both are, the error decides, or ``retryable`` without an error. Neither is given where a limit, a
      status or words decide (:mod:`llmwatch.recovery.retryability`).
    * ``outcome``: what the failure shows of the origin, where no byte of an answer had come. A limit or a status may
      show more (:func:`llmwatch.recovery.outcome_of`).
    * ``unsent``: the failure comes before anything is sent. ``refusal``: llmwatch or the system refuses the call, which
      ends with it.
    * ``adapters_retry``: urllib3 asks its retries about failures of this kind.
    """

    error: type[errors.LLMWatchError]
    variant: str | bool | None = None
    cause: Cause
    close_reason: str = "failed"
    why_retryable: Reason | None = None
    why_final: Reason | None = None
    retryable: bool = True
    outcome: Outcome = Outcome.ABANDONED
    unsent: bool = False
    refusal: bool = False
    adapters_retry: bool = False


def _connect(
    variant: str, why_final: Reason, outcome: Outcome = Outcome.ABANDONED, *, adapters_retry: bool = True
) -> FailureRow:
    return FailureRow(
        error=errors.ConnectFailed,
        variant=variant,
        cause="connect_failed",
        why_retryable=Reason.NOT_CONNECTED,
        why_final=why_final,
        retryable=errors.CONNECT_CAUSES[variant],
        outcome=outcome,
        adapters_retry=adapters_retry,
    )


_answer = partial(FailureRow, cause="provider_error", outcome=Outcome.ANSWERED)
_unsent = partial(FailureRow, cause="setup_failure", unsent=True)


def _cancelled(by: str, cause: Cause, why_final: Reason) -> FailureRow:
    return FailureRow(error=errors.Cancelled, variant=by, cause=cause, close_reason=cause, why_final=why_final)


class FailureKind(Enum):
    """Every way in which an attempt can fail, each with its :class:`FailureRow`.

    ``CUT`` is a connection that was lost; the facts tell whether a response had come. ``NOT_HTTP`` is an answer that
    cannot be read as HTTP.
    ``STREAM_ERROR`` is the provider's own error with a good status.
    """

    WATCHDOG = FailureRow(
        error=errors.WatchTimeout, cause="watchdog_timeout", close_reason="{limit}_kill", adapters_retry=True
    )
    CONNECT_REFUSED = _connect("refused", Reason.CONNECT_FINAL, Outcome.LOST)
    CONNECT_RESET = _connect("reset", Reason.CONNECT_FINAL, Outcome.LOST)
    CONNECT_UNREACHABLE = _connect("unreachable", Reason.CONNECT_FINAL, Outcome.LOST)
    DESCRIPTORS = _connect("descriptors", Reason.NO_DESCRIPTOR, adapters_retry=False)
    DNS = _connect("dns", Reason.UNKNOWN_HOST)
    DNS_TEMPORARY = _connect("dns_temporary", Reason.CONNECT_FINAL, Outcome.FAILED)
    TLS_CONNECT = _connect("tls", Reason.TLS_FAILED)
    PROXY = _connect("proxy", Reason.PROXY_FAILED)
    CUT = FailureRow(
        error=errors.StreamCut,
        variant=True,
        cause="transport_disconnect",
        outcome=Outcome.FAILED,
        adapters_retry=True,
    )
    NOT_HTTP = _answer(error=errors.StreamCut, variant=False, why_final=Reason.NOT_HTTP, adapters_retry=True)
    TRUNCATED = _answer(error=errors.StreamTruncated, cause="truncated", why_retryable=Reason.TRUNCATED)
    EMPTY = _answer(
        error=errors.EmptyStream, cause="truncated", why_retryable=Reason.EMPTY, why_final=Reason.EMPTY_FINAL
    )
    NOT_A_STREAM = _answer(
        error=errors.NotAStream, why_retryable=Reason.NOT_A_STREAM, why_final=Reason.NOT_A_STREAM_FINAL
    )
    MALFORMED = _answer(error=errors.MalformedEvent, why_retryable=Reason.MALFORMED)
    TOO_LARGE = _answer(error=errors.EventTooLarge, why_final=Reason.EVENT_TOO_LARGE)
    BODY_TOO_LARGE = _answer(error=errors.BodyTooLarge, why_final=Reason.BODY_TOO_LARGE)
    HTTP_STATUS = _answer(error=errors.ProviderError, variant="status")
    STREAM_ERROR = _answer(error=errors.ProviderError, variant="stream")
    REDIRECT = _answer(error=errors.ProviderError, variant="redirect", why_final=Reason.REDIRECTED)
    CANCELLED_USER = _cancelled("user", "user_cancel", Reason.CANCELLED_BY_USER)
    CANCELLED_LIFECYCLE = _cancelled("lifecycle", "lifecycle_close", Reason.CANCELLED_BY_LIFECYCLE)
    SETUP = _unsent(error=errors.ConfigError, why_final=Reason.SETUP_FAILED)
    CIRCUIT_OPEN = _unsent(error=errors.CircuitOpen, why_retryable=Reason.CIRCUIT_OPEN, refusal=True)
    ORPHANS = _unsent(error=errors.TooManyOrphans, why_retryable=Reason.TOO_MANY_ORPHANS, refusal=True)
    THREADS = _unsent(error=errors.TooManyThreads, why_retryable=Reason.TOO_MANY_THREADS, refusal=True)
    REFRESH_TRANSIENT = _unsent(error=errors.RefreshFailed, variant=True, why_retryable=Reason.REFRESH_TRANSIENT)
    REFRESH_REJECTED = _unsent(error=errors.RefreshFailed, variant=False, why_final=Reason.REFRESH_REJECTED)
    UNKNOWN = FailureRow(error=errors.LLMWatchError, cause="unknown", why_final=Reason.UNKNOWN_FAILURE)

    def __str__(self) -> str:
        return self.name.lower()


_KINDS: dict[tuple[type[BaseException], str | bool | None], FailureKind] = {
    (kind.value.error, kind.value.variant): kind for kind in FailureKind
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failure. Fields that do not apply to its kind are ``None``.

    * ``limit``: the limit that expired (``WATCHDOG``).
    * ``status``: the HTTP status; ``should_retry``: the value of ``x-should-retry``; ``retry_after``: seconds to wait.
    * ``error_type``, ``code``: the provider's own words for its error.
    * ``retryable``: what the error itself knows about a resend, ``None`` if only its kind is known.
    """

    kind: FailureKind
    limit: str | None = None
    status: int | None = None
    should_retry: bool | None = None
    retry_after: float | None = None
    error_type: str | None = None
    code: str | None = None
    retryable: bool | None = None

    @property
    def row(self) -> FailureRow:
        """The row of the table for this kind."""
        return self.kind.value

    @property
    def cause(self) -> Cause:
        """The cause that an attempt's record names, one of :data:`llmwatch.records.CAUSES`."""
        return self.row.cause

    @property
    def close_reason(self) -> str:
        """The reason of the end: ``<limit>_kill``, ``user_cancel``, ``lifecycle_close`` or ``failed``."""
        return self.row.close_reason.format(limit=self.limit or "unknown")


def failure_of(error: BaseException) -> Failure:
    """``error`` as a :class:`Failure`; ``UNKNOWN`` for an error that is not llmwatch's."""
    variant = _variant(error)
    kind = _KINDS.get((type(error), variant)) or _inherited(type(error), variant)
    if isinstance(error, errors.WatchTimeout):
        return Failure(kind=kind, limit=error.limit)
    if isinstance(error, errors.ProviderError):
        return Failure(
            kind=kind,
            status=error.status,
            should_retry=error.should_retry,
            retry_after=error.retry_after,
            error_type=error.type,
            code=error.code,
            retryable=error.retryable,
        )
    if isinstance(error, errors.LLMWatchError):
        # The transport has seen errno and the handshake: its answer goes before the table.
        return Failure(kind=kind, retry_after=error.retry_after, retryable=error.retryable)
    return Failure(kind=kind)


def _inherited(error: type[BaseException], variant: str | bool | None) -> FailureKind:
    kinds = (_KINDS.get((cls, variant)) for cls in error.__mro__)
    return next((kind for kind in kinds if kind is not None), FailureKind.UNKNOWN)


def _variant(error: BaseException) -> str | bool | None:
    if isinstance(error, errors.ConnectFailed):
        return error.cause
    if isinstance(error, errors.Cancelled):
        return "user" if error.by == "user" else "lifecycle"
    if isinstance(error, (errors.RefreshFailed, errors.StreamCut)):
        return error.retryable
    if isinstance(error, errors.ProviderError):
        status = error.status
        return "stream" if status is None or 200 <= status < 300 else "redirect" if 300 <= status < 400 else "status"
    return None
