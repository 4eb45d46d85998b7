"""Every error that llmwatch raises on its own account.

::

    LLMWatchError                             .retryable .retry_after .recovery (.safe) .record .partial
    ├── WatchTimeout (also TimeoutError)      .limit .limit_seconds .phase .elapsed: a limit expired
    ├── ConnectFailed (also ConnectionError)  .cause: refused, reset, dns, dns_temporary, tls, proxy, unreachable,
    │                                         descriptors
    ├── StreamCut (also ConnectionError)      reset, incomplete read, TLS failure in mid-stream
    ├── StreamTruncated                       ended without a finish or end mark
    ├── EmptyStream                           ended, and no answer was in it
    ├── NotAStream                            a web page or a document where a stream was asked for
    ├── MalformedEvent                        an event that is not what its dialect says it is
    ├── EventTooLarge                         an event beyond the size that is accepted
    ├── BodyTooLarge                          a body beyond the size that is accepted
    ├── ProviderError                         .status .code .type .retry_after: HTTP status or in-stream error
    ├── CircuitOpen                           .retry_after: its origin is not to be asked yet, nothing was sent
    ├── TooManyOrphans                        too many workers could not be woken, nothing was sent
    ├── TooManyThreads                        no thread could be started, nothing was sent
    ├── RefreshFailed                         .limit .limit_seconds .phase .elapsed: a token could not be refreshed
    ├── Cancelled                             .by: user, lifecycle
    └── ConfigError (also ValueError)         .field .value: an invalid setting

``retryable`` answers only whether a resend *could* work; whether one is *safe* stands in ``recovery``. All of them
can be pickled, and carry leaf data only: no socket, no response, no foreign exception. A mistake in the calling
program (a wrong type, say) is a plain ``TypeError`` and not in this tree.
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
    """An error of the class ``cls`` with that message and those attributes."""
    # Several classes also derive from OSError or ValueError, whose own pickling would call __init__ with wrong
    # arguments.
    error = cls.__new__(cls, message)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class LLMWatchError(Exception):
    """The root of everything that llmwatch raises.

    ``retryable`` says whether a resend could work; ``retry_after`` in how many seconds, where that is known (the
    provider has named it, or calls to its origin wait for each other), else ``None``; ``recovery`` (safe, decision,
    reason, message, action) whether it is safe, ``None`` where nothing was sent yet; ``record`` is the
    :class:`~llmwatch.records.CallRecord` of the call, attempts and decisions included; ``partial`` is the answer text
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

    ``limit`` names the limit (``"ttfb"``, ``"stale"``, ...) and ``phase`` where the attempt stood, one of
    :data:`llmwatch.records.PHASES`. ``limit_seconds`` is the length of the limit and ``elapsed`` what had passed since
    it began to count, both in seconds, of which it stood still for ``paused``: the caller kept the worker
    waiting, or the limits were paused. Retryable for every limit but ``deadline``, which belongs to the call as a
    whole.
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
"""Every ``cause`` of a :class:`ConnectFailed`, and whether another try can help where no more is known than that."""


class ConnectFailed(LLMWatchError, ConnectionError):
    """No connection came about, so no request was sent.

    ``cause`` is one of :data:`CONNECT_CAUSES`: ``dns`` is a name that does not exist, ``descriptors`` that this
    process, or this machine, has none left to open a connection with. Retryable where another try can help: not for an
    unknown host or a certificate that does not verify. ``status`` is what a proxy answered to the CONNECT, ``None`` if
    it did not.
    """

    def __init__(self, message: str, *, cause: str, retryable: bool | None = None, status: int | None = None) -> None:
        if retryable is None:
            retryable = CONNECT_CAUSES.get(cause, False)
        super().__init__(message, retryable=retryable)
        self.cause = cause
        self.status = status


class StreamCut(LLMWatchError, ConnectionError):
    """The connection broke after the request was sent: a reset, broken framing, a compressed body without its end."""

    retryable = True


class StreamTruncated(LLMWatchError):
    """The body ended in good order but the answer in it did not: its dialect has marks for that, and none came."""

    retryable = True


class EmptyStream(LLMWatchError):
    """The body ended and no answer was in it."""

    retryable = True


class NotAStream(LLMWatchError):
    """The provider answered 200 with something that is no event stream, such as a web page. A session hands it on, and
    does not raise this.
    """

    retryable = True


class MalformedEvent(LLMWatchError):
    """An event was not what its dialect says: broken JSON, or JSON of the wrong shape. It is never skipped;
    a session hands it on, and does not raise this.
    """

    retryable = True


class EventTooLarge(LLMWatchError):
    """A single event grew beyond the size that is accepted (``max_event``, 64 MiB unless set). A session hands it
    on, and does not raise this.
    """


class BodyTooLarge(LLMWatchError):
    """The body of an answer grew beyond the size that is accepted, in decoded bytes (``max_body``, 1 GiB unless set).
    It is not read any further; what was delivered of it before stands. Never raised for a session's requests that are
    no model calls.
    """


class ProviderError(LLMWatchError):
    """The provider said no: an HTTP status, or an error event inside the stream.

    ``status`` is the HTTP status (200 for an in-stream error), ``type`` and ``code`` are the provider's own words where
    it gave them, ``retry_after`` the wait in seconds that it asked for, ``should_retry`` its explicit word on a retry,
    ``loading`` whether it said that its model is still being loaded.
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
    """Nothing was sent: the origin answers nobody, or has told another call to wait, and this call may not wait that
    long.

    ``retry_after`` seconds from now it is worth trying again.
    """

    retryable = True
    retry_after: float

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TooManyOrphans(LLMWatchError):
    """Too many workers of ended attempts are stuck where nothing can wake them (a name look-up, say). Nothing was
    sent.
    """

    retryable = True


class TooManyThreads(LLMWatchError):
    """The system had no thread left for the call (``RuntimeError: can't start new thread`` elsewhere). Nothing was
    sent.
    """

    retryable = True


class RefreshFailed(LLMWatchError):
    """A token could not be refreshed: retryable when the refresh timed out, permanent when the token was rejected.

    ``limit`` (``"refresh"``), ``limit_seconds``, ``phase`` (where the refresh stood, as in :class:`WatchTimeout`) and
    ``elapsed`` (seconds) are set where it timed out, and ``None`` otherwise.
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
    """The call was given up on purpose. Never a failure, never retried.

    ``by`` is ``"user"`` (a token, ``stream.cancel()``) or ``"lifecycle"`` (the client was closed, the interpreter is
    exiting, the process was forked).
    """

    def __init__(self, message: str, *, by: str) -> None:
        super().__init__(message)
        self.by = by


class ConfigError(LLMWatchError, ValueError):
    """An invalid setting. ``field`` names the argument or environment variable, ``value`` is what it
    held.
    """

    def __init__(self, message: str, *, field: str | None = None, value: object = None) -> None:
        super().__init__(message)
        self.field = field
        # Kept as text: an arbitrary object in a setting need not be picklable.
        self.value = None if value is None else repr(value)
