"""The errors of llmwatch that legacy code catches as those of requests.

Each is both: the class that llmwatch raises elsewhere, with all that it knows, and the class that requests raises for
the same trouble, with ``.request`` and ``.response`` set. A call that was cancelled is none of requests' failures:
code that answers every ``RequestException`` with another try must not answer that one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests
from requests import exceptions

from llmwatch import errors
from llmwatch.recovery import Reason

__all__ = ["as_requests"]


class _Requested(errors.LLMWatchError):
    """What the combined classes have in common. ``request`` and ``response`` stay behind when one is pickled: they
    hold headers, and an open connection.
    """

    if TYPE_CHECKING:
        request: Any
        response: Any

    def __reduce__(self) -> tuple[Any, ...]:
        rebuild, (cls, message, state) = super().__reduce__()
        return rebuild, (cls, message, {**state, "request": None, "response": None})


class ConnectTimeout(_Requested, errors.WatchTimeout, exceptions.ConnectTimeout):
    """The limit ``connect`` expired."""


class ReadTimeout(_Requested, errors.WatchTimeout, exceptions.ReadTimeout):
    """Any other limit expired before the response was handed out."""


class BodyTimeout(_Requested, errors.WatchTimeout, exceptions.ReadTimeout, exceptions.ConnectionError):
    """A limit expired while the body was read; requests raises a ``ConnectionError`` there."""


class ConnectFailed(_Requested, errors.ConnectFailed, exceptions.ConnectionError):
    """No connection came about."""


class TlsFailed(_Requested, errors.ConnectFailed, exceptions.SSLError):
    """No connection came about, because of its TLS."""


class ProxyFailed(_Requested, errors.ConnectFailed, exceptions.ProxyError):
    """No connection came about, because of the proxy."""


class ConnectionCut(_Requested, errors.StreamCut, exceptions.ConnectionError):
    """The connection broke before the response was handed out."""


class BodyCut(_Requested, errors.StreamCut, exceptions.ChunkedEncodingError, exceptions.ConnectionError):
    """The connection broke while the body was read."""


class StreamTruncated(_Requested, errors.StreamTruncated, exceptions.ChunkedEncodingError):
    """The body ended, and the answer in it did not."""


class EmptyStream(_Requested, errors.EmptyStream, exceptions.ChunkedEncodingError):
    """The body ended, and nothing was in it."""


class NotAStream(_Requested, errors.NotAStream, exceptions.ContentDecodingError):
    """A page or document where a stream was asked for."""


class MalformedEvent(_Requested, errors.MalformedEvent, exceptions.ContentDecodingError):
    """An event that is not what its dialect says."""


class EventTooLarge(_Requested, errors.EventTooLarge, exceptions.ContentDecodingError):
    """An event beyond the size that is accepted."""


class BodyTooLarge(_Requested, errors.BodyTooLarge, exceptions.ContentDecodingError):
    """A body beyond the size that is accepted."""


class ProviderError(_Requested, errors.ProviderError, exceptions.ChunkedEncodingError):
    """An error event in the stream. (An HTTP status is no exception here.)"""


class RetriesExhausted(_Requested, errors.ProviderError, exceptions.RetryError):
    """A status for which the adapter's own ``max_retries`` had no further try left; no other is an exception."""


class CircuitOpen(_Requested, errors.CircuitOpen, exceptions.ConnectionError):
    """Nothing was sent: the origin failed too often."""


class TooManyOrphans(_Requested, errors.TooManyOrphans, exceptions.ConnectionError):
    """Nothing was sent: too many workers are stuck."""


class TooManyThreads(_Requested, errors.TooManyThreads, exceptions.ConnectionError):
    """Nothing was sent: the system has no thread left."""


class RefreshFailed(_Requested, errors.RefreshFailed, exceptions.RequestException):
    """A token could not be refreshed."""


class ConfigError(_Requested, errors.ConfigError, exceptions.InvalidURL):
    """A setting that cannot be meant."""


_SIMPLE: tuple[tuple[type[errors.LLMWatchError], type[_Requested]], ...] = (
    (errors.StreamTruncated, StreamTruncated),
    (errors.EmptyStream, EmptyStream),
    (errors.NotAStream, NotAStream),
    (errors.MalformedEvent, MalformedEvent),
    (errors.EventTooLarge, EventTooLarge),
    (errors.BodyTooLarge, BodyTooLarge),
    (errors.ProviderError, ProviderError),
    (errors.CircuitOpen, CircuitOpen),
    (errors.TooManyOrphans, TooManyOrphans),
    (errors.TooManyThreads, TooManyThreads),
    (errors.RefreshFailed, RefreshFailed),
    (errors.ConfigError, ConfigError),
)


def as_requests(
    error: errors.LLMWatchError, request: requests.PreparedRequest, response: requests.Response | None
) -> errors.LLMWatchError:
    """``error`` as one that legacy code catches too, with all that it carries.

    ``response`` is the one whose body was being read, ``None`` if it had not been handed out: then the error's record
    says whether headers had come, for requests reads a body itself where none is handed out. Comes back unchanged where
    requests has nothing of the kind (:class:`~llmwatch.Cancelled`).
    """
    attempts = () if error.record is None else error.record.attempts
    had_headers = bool(attempts) and attempts[-1].status is not None
    cls = _class_for(error, in_body=response is not None or had_headers)
    if cls is None or isinstance(error, _Requested):
        return error
    combined = cls.__new__(cls, error.message)
    Exception.__init__(combined, error.message)
    combined.__dict__.update(error.__dict__)
    combined.request, combined.response = request, response
    combined.__cause__ = error.__cause__
    combined.__suppress_context__ = True
    return combined


def _class_for(error: errors.LLMWatchError, *, in_body: bool) -> type[_Requested] | None:
    if isinstance(error, errors.WatchTimeout):
        if in_body:
            return BodyTimeout
        return ConnectTimeout if error.limit == "connect" else ReadTimeout
    if isinstance(error, errors.ConnectFailed):
        kinds: dict[str, type[_Requested]] = {"tls": TlsFailed, "proxy": ProxyFailed}
        return kinds.get(error.cause, ConnectFailed)
    if isinstance(error, errors.StreamCut):
        return BodyCut if in_body else ConnectionCut
    if error.recovery is not None and error.recovery.reason == Reason.ADAPTER_RETRIES_EXHAUSTED:
        return RetriesExhausted
    return next((ours for known, ours in _SIMPLE if isinstance(error, known)), None)
