"""What went wrong, reduced to what a decision needs, and the table of everything that follows from its kind alone.

An error is classified by its class and its attributes, never by its text, which providers and libraries change at will.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from llmwatch import errors
from llmwatch.records.attempt import Cause
from llmwatch.recovery.reason import Reason

__all__ = ["Failure", "FailureKind", "FailureRow", "Outcome", "failure_of"]


class Outcome(str, Enum):
    """What an attempt shows of its origin: ``LOST``, nobody is there; ``FAILED``, it is not known whether somebody is
    (a 500, say, or a reset before the first byte); ``REFUSED``, somebody is, and has named a wait;
    ``ANSWERED``, somebody is, though it may have answered with an error of the call's own; ``ABANDONED``, nothing: it
    was cancelled.
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
    """What follows from the kind of a failure.

    * ``error``: the class of its errors; ``told``: what tells the kinds of one class apart (:func:`failure_of`).
    * ``cause``, ``close_reason``: what an attempt's record says, with ``{limit}`` for the limit that expired.
    * ``works``, ``fails``: why a resend could work, and why it could not. The one that is given is the answer; of two,
      the error itself decides, or ``could_work`` where it does not say. Neither is given where the answer depends on a
      limit, a status or words (:mod:`llmwatch.recovery.retryability`).
    * ``shows``: what it shows of the origin, where no byte of an answer had come. Limits and statuses may say more
      (:func:`llmwatch.recovery.outcome_of`).
    * ``unsent``: it comes about before anything is sent. ``refusal``: llmwatch or the system refuses the call, which
      ends with it.
    * ``adapters_retry``: the kind is one about which urllib3 would ask its retries.
    """

    error: type[errors.LLMWatchError]
    told: str | bool | None = None
    cause: Cause
    close_reason: str = "failed"
    works: Reason | None = None
    fails: Reason | None = None
    could_work: bool = True
    shows: Outcome = Outcome.ABANDONED
    unsent: bool = False
    refusal: bool = False
    adapters_retry: bool = False


def _connect(
    told: str, fails: Reason, shows: Outcome = Outcome.ABANDONED, *, adapters_retry: bool = True
) -> FailureRow:
    return FailureRow(
        error=errors.ConnectFailed,
        told=told,
        cause="connect_failed",
        works=Reason.NOT_CONNECTED,
        fails=fails,
        could_work=errors.CONNECT_CAUSES[told],
        shows=shows,
        adapters_retry=adapters_retry,
    )


def _answer(
    error: type[errors.LLMWatchError],
    *,
    told: str | None = None,
    cause: Cause = "provider_error",
    works: Reason | None = None,
    fails: Reason | None = None,
) -> FailureRow:
    return FailureRow(error=error, told=told, cause=cause, works=works, fails=fails, shows=Outcome.ANSWERED)


def _unsent(
    error: type[errors.LLMWatchError],
    *,
    told: bool | None = None,
    works: Reason | None = None,
    fails: Reason | None = None,
    refusal: bool = False,
) -> FailureRow:
    return FailureRow(
        error=error, told=told, cause="setup_failure", works=works, fails=fails, unsent=True, refusal=refusal
    )


def _cancelled(by: str, cause: Cause, fails: Reason) -> FailureRow:
    return FailureRow(error=errors.Cancelled, told=by, cause=cause, close_reason=cause, fails=fails)


class FailureKind(Enum):
    """Every way in which an attempt can fail, each with its :class:`FailureRow`.

    ``CUT`` is a connection that was lost, or a body whose framing broke; the facts tell whether a response had come.
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
    CUT = FailureRow(error=errors.StreamCut, cause="transport_disconnect", shows=Outcome.FAILED, adapters_retry=True)
    TRUNCATED = _answer(errors.StreamTruncated, cause="truncated", works=Reason.TRUNCATED)
    EMPTY = _answer(errors.EmptyStream, cause="truncated", works=Reason.EMPTY, fails=Reason.EMPTY_FINAL)
    NOT_A_STREAM = _answer(errors.NotAStream, works=Reason.NOT_A_STREAM, fails=Reason.NOT_A_STREAM_FINAL)
    MALFORMED = _answer(errors.MalformedEvent, works=Reason.MALFORMED)
    TOO_LARGE = _answer(errors.EventTooLarge, fails=Reason.EVENT_TOO_LARGE)
    BODY_TOO_LARGE = _answer(errors.BodyTooLarge, fails=Reason.BODY_TOO_LARGE)
    HTTP_STATUS = _answer(errors.ProviderError, told="status")
    STREAM_ERROR = _answer(errors.ProviderError, told="stream")
    REDIRECT = _answer(errors.ProviderError, told="redirect", fails=Reason.REDIRECTED)
    CANCELLED_USER = _cancelled("user", "user_cancel", Reason.CANCELLED_BY_USER)
    CANCELLED_LIFECYCLE = _cancelled("lifecycle", "lifecycle_close", Reason.CANCELLED_BY_LIFECYCLE)
    SETUP = _unsent(errors.ConfigError, fails=Reason.SETUP_FAILED)
    CIRCUIT_OPEN = _unsent(errors.CircuitOpen, works=Reason.CIRCUIT_OPEN, refusal=True)
    ORPHANS = _unsent(errors.TooManyOrphans, works=Reason.TOO_MANY_ORPHANS, refusal=True)
    THREADS = _unsent(errors.TooManyThreads, works=Reason.TOO_MANY_THREADS, refusal=True)
    REFRESH_TRANSIENT = _unsent(errors.RefreshFailed, told=True, works=Reason.REFRESH_TRANSIENT)
    REFRESH_REJECTED = _unsent(errors.RefreshFailed, told=False, fails=Reason.REFRESH_REJECTED)
    UNKNOWN = FailureRow(error=errors.LLMWatchError, cause="unknown", fails=Reason.UNKNOWN_FAILURE)

    def __str__(self) -> str:
        return self.name.lower()


_KINDS = {(kind.value.error, kind.value.told): kind for kind in FailureKind}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failure. Fields that do not apply to its kind are ``None``.

    * ``limit``: which limit expired (``WATCHDOG``).
    * ``status``: the HTTP status; ``should_retry``: what ``x-should-retry`` said; ``retry_after``: seconds asked for.
    * ``error_type``, ``code``: the provider's own words for its error.
    * ``retryable``: what the error itself knows about a resend, ``None`` where there is only its kind.
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
        """What follows from its kind."""
        return self.kind.value

    @property
    def cause(self) -> Cause:
        """The cause that an attempt's record names, one of :data:`llmwatch.records.CAUSES`."""
        return self.row.cause

    @property
    def close_reason(self) -> str:
        """How an attempt ended: ``<limit>_kill``, ``user_cancel``, ``lifecycle_close`` or ``failed``."""
        return self.row.close_reason.format(limit=self.limit or "unknown")


def failure_of(error: BaseException) -> Failure:
    """``error`` as a :class:`Failure`. Anything that is no error of llmwatch is ``UNKNOWN``."""
    told = _told(error)
    kinds = (_KINDS.get((cls, told)) for cls in type(error).__mro__)
    kind = next((kind for kind in kinds if kind is not None), FailureKind.UNKNOWN)
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
        # The transport has seen errno and the handshake: what it found out goes before the table.
        return Failure(kind=kind, retry_after=error.retry_after, retryable=error.retryable)
    return Failure(kind=kind)


def _told(error: BaseException) -> str | bool | None:
    if isinstance(error, errors.ConnectFailed):
        return error.cause
    if isinstance(error, errors.Cancelled):
        return "user" if error.by == "user" else "lifecycle"
    if isinstance(error, errors.RefreshFailed):
        return error.retryable
    if isinstance(error, errors.ProviderError):
        status = error.status
        return "stream" if status is None or 200 <= status < 300 else "redirect" if 300 <= status < 400 else "status"
    return None
