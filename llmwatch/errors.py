"""Every error class of llmwatch.

::

    LLMWatchError                             .retryable .retry_after .recovery (.safe) .record .partial
    ├── WatchTimeout (also TimeoutError)      .limit .limit_seconds .phase .elapsed: a limit expired
    ├── ConnectFailed (also ConnectionError)  .cause: refused, reset, dns, dns_temporary, tls, proxy, unreachable,
    │                                         descriptors
    ├── StreamCut (also ConnectionError)      reset, incomplete read, TLS failure in mid-stream
    ├── StreamTruncated                       ended without a finish or end mark
    ├── EmptyStream                           ended without an answer
    ├── NotAStream                            a web page or a document in place of a stream
    ├── MalformedEvent                        an event that breaks the form of its dialect
    ├── EventTooLarge                         an event above the accepted size
    ├── BodyTooLarge                          a body above the accepted size
    ├── ProviderError                         .status .code .type .retry_after: HTTP status or in-stream error
    ├── CircuitOpen                           .retry_after: the origin is closed to calls, nothing was sent
    ├── TooManyOrphans                        too many workers could not be woken, nothing was sent
    ├── TooManyThreads                        no thread could be started, nothing was sent
    ├── RefreshFailed                         .limit .limit_seconds .phase .elapsed: a token could not be refreshed
    ├── Cancelled                             .by: user, lifecycle
    └── ConfigError (also ValueError)         .field .value: an invalid setting

``retryable`` says only whether a resend *could* work; ``recovery`` says whether a resend is *safe*. Every error can be
pickled and carries leaf data only: no socket, no response, no foreign exception. A mistake in the calling program (a
wrong type, say) is a plain ``TypeError`` outside this tree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmwatch.records.call import CallRecord
    from llmwatch.records.decision import Recovery

__all__ = [
    "BodyTooLarge",
    "Cancelled",
    "CircuitOpen",
    "ConfigError",
    "ConnectFailed",
    "EmptyStream",
    "EventTooLarge",
    "LLMWatchError",
    "MalformedEvent",
    "NotAStream",
    "ProviderError",
    "RefreshFailed",
    "StreamCut",
    "StreamTruncated",
    "TooManyOrphans",
    "TooManyThreads",
    "WatchTimeout",
]


def rebuilt(cls: type[LLMWatchError], message: str, state: dict[str, Any]) -> LLMWatchError:
    """An error of the class ``cls`` with ``message`` and the attributes in ``state``."""
    # OSError and ValueError, from which some classes derive too, unpickle by calling __init__ with wrong arguments.
    error = cls.__new__(cls, message)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class LLMWatchError(Exception):
    """The root of llmwatch's errors.

    ``retryable``: whether a resend could work. ``retry_after``: seconds until a resend could work, ``None`` where
    neither the provider nor another call to the same origin gave a time. ``recovery`` (safe, decision, reason,
    message, action): whether a resend is safe, ``None`` before a call began. ``record``: the
    :class:`~llmwatch.records.CallRecord` of the call, with attempts and decisions. ``partial``: the text of the answer
    that was delivered before the failure.
    """

    retryable: bool = False

    def __init__(self, message: str, *, retryable: bool | None = None) -> None:
        super().__init__(message)
        self.message = message
        if retryable is not None:
            self.retryable = retryable
        self.retry_after: float | None = None
        self.recovery: Recovery | None = None
        self.record: CallRecord | None = None
        self.partial: str = ""

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuilt, (type(self), self.message, dict(self.__dict__))


class WatchTimeout(LLMWatchError, TimeoutError):
    """A limit expired and the attempt was aborted.

    ``limit`` is the name of the limit (``"ttfb"``, ``"stale"``, ...) and ``phase`` the phase of the attempt, one of
    :data:`llmwatch.records.PHASES`. Three figures are in seconds: ``limit_seconds`` is the length of the limit,
    ``elapsed`` the time since the limit began to count, and ``paused`` the part of ``elapsed`` in which the limit stood
    still, because the caller kept the worker waiting or paused the limits. Retryable for every limit but ``deadline``,
    which covers the whole call.
    """

    retryable = True

    def __init__(
        self, message: str, *, limit: str, limit_seconds: float, phase: str, elapsed: float, paused: float = 0.0
    ) -> None:
        super().__init__(message, retryable=limit != "deadline")
        self.limit = limit
        self.limit_seconds = limit_seconds
        self.phase = phase
        self.elapsed = elapsed
        self.paused = paused


CONNECT_CAUSES = {
    "refused": True,
    "reset": True,
    "dns": False,
    "dns_temporary": True,
    "tls": False,
    "proxy": False,
    "unreachable": True,
    "descriptors": False,
}
"""Every ``cause`` of a :class:`ConnectFailed`, and the default of ``retryable`` for that cause."""


class ConnectFailed(LLMWatchError, ConnectionError):
    """No connection could be opened, and no request was sent.

    ``cause`` is ``refused``, ``reset``, ``dns`` (the host name does not exist), ``dns_temporary``, ``tls``, ``proxy``,
    ``unreachable`` or ``descriptors`` (the process or the machine has none left). Not retryable for ``dns``, ``tls``,
    ``proxy`` and ``descriptors``, unless another attempt may go otherwise. ``status`` is the HTTP status of a proxy's
    answer to CONNECT, ``None`` without such an answer.
    """

    def __init__(self, message: str, *, cause: str, retryable: bool | None = None, status: int | None = None) -> None:
        if retryable is None:
            retryable = CONNECT_CAUSES.get(cause, False)
        super().__init__(message, retryable=retryable)
        self.cause = cause
        self.status = status


class StreamCut(LLMWatchError, ConnectionError):
    """The connection broke after the request was sent: reset, incomplete body, unfinished compression.

    Not retryable where the server sent something other than HTTP: it has taken the request.
    """

    retryable = True


class StreamTruncated(LLMWatchError):
    """The body ended cleanly without the finish or end mark that its dialect requires."""

    retryable = True


class EmptyStream(LLMWatchError):
    """The body ended without an answer."""

    retryable = True


class NotAStream(LLMWatchError):
    """The provider answered 200 with a body that is not an event stream, such as a web page.

    A session passes such a body on to the caller and does not raise this error.
    """

    retryable = True


class MalformedEvent(LLMWatchError):
    """An event breaks the form of its dialect: broken JSON, or JSON of the wrong shape.

    Such an event is never skipped. A session passes the event on to the caller and does not raise this error.
    """

    retryable = True


class EventTooLarge(LLMWatchError):
    """An event is larger than ``max_event`` (64 MiB by default).

    A session passes the event on to the caller and does not raise this error.
    """


class BodyTooLarge(LLMWatchError):
    """The body of an answer is larger than ``max_body`` (1 GiB of decoded bytes by default).

    Reading stops; the part that was delivered before stays valid. Never raised for those requests of a session that are
    not model calls.
    """


class ProviderError(LLMWatchError):
    """The provider reported an error: by an HTTP status, or by an event inside the stream.

    ``status``: the HTTP status (200 for an in-stream error). The other fields are the provider's statements, ``None``
    where absent: ``type`` and ``code`` of the error, ``retry_after`` (the wait asked for, in seconds) and
    ``should_retry`` (explicit advice on a retry). ``loading``: whether the provider's model is still being loaded.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        type: str | None = None,
        retry_after: float | None = None,
        should_retry: bool | None = None,
        loading: bool = False,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message, retryable=retryable)
        self.status = status
        self.code = code
        self.type = type
        self.retry_after = retry_after
        self.should_retry = should_retry
        self.loading = loading


class CircuitOpen(LLMWatchError):
    """Nothing was sent: the origin is closed to calls, and this call may not wait that long.

    The circuit breaker closes an origin that answers no call, pacing one that told another call to wait.
    ``retry_after``: seconds until another try is allowed.
    """

    retryable = True
    retry_after: float

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TooManyOrphans(LLMWatchError):
    """Nothing was sent: too many workers of ended attempts cannot be woken (from a name look-up, say)."""

    retryable = True


class TooManyThreads(LLMWatchError):
    """Nothing was sent: the system could not start a thread (``can't start new thread``)."""

    retryable = True


class RefreshFailed(LLMWatchError):
    """A token could not be refreshed.

    Retryable when the refresh timed out, permanent when the token was rejected. ``limit`` (``"refresh"``),
    ``limit_seconds``, ``phase`` (of the refresh) and ``elapsed`` (seconds) have the meaning that :class:`WatchTimeout`
    gives them after a timeout, and are ``None`` otherwise.
    """

    def __init__(
        self,
        message: str,
        *,
        retryable: bool | None = None,
        limit: str | None = None,
        limit_seconds: float | None = None,
        phase: str | None = None,
        elapsed: float | None = None,
    ) -> None:
        super().__init__(message, retryable=retryable)
        self.limit = limit
        self.limit_seconds = limit_seconds
        self.phase = phase
        self.elapsed = elapsed


class Cancelled(LLMWatchError):
    """The call was cancelled. Cancellation is never a failure and never retried.

    ``by`` is ``"user"`` (a cancel token, ``stream.cancel()``) or ``"lifecycle"`` (the client was closed, the
    interpreter is exiting, the process was forked).
    """

    def __init__(self, message: str, *, by: str) -> None:
        super().__init__(message)
        self.by = by


class ConfigError(LLMWatchError, ValueError):
    """An invalid setting: ``field`` is the argument or environment variable, ``value`` its repr."""

    def __init__(self, message: str, *, field: str | None = None, value: object = None) -> None:
        super().__init__(message)
        self.field = field
        # Text, because an arbitrary object may not be picklable.
        self.value = None if value is None else repr(value)
