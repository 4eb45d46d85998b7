"""Why a refresh brought no token.

All callers that waited for a refresh share its failure. The failure is a value, and each caller gets an exception of
its own. A failure holds a status, a known error code, the class of an exception and its errno. It holds neither the
token, nor the request for it, nor text of the server or of a library: such text may quote both.
"""

from __future__ import annotations

import errno
import json
import os
from dataclasses import dataclass
from typing import Any

from requests import exceptions

from llmwatch.errors import (
    Cancelled,
    ConfigError,
    ConnectFailed,
    LLMWatchError,
    ProviderError,
    RefreshFailed,
    WatchTimeout,
)
from llmwatch.policy.environment import REFRESH_VARIABLE
from llmwatch.policy.values import shown
from llmwatch.recovery.retryability import RETRYABLE_STATUSES
from llmwatch.redaction import redact
from llmwatch.transport.errors import Summary, translate
from llmwatch.wrap.bounded import BoundExceeded

__all__ = ["LIMIT", "MOST_BODY", "Failure", "of_error", "of_status", "timed_out", "too_large", "unusable"]

LIMIT = "refresh"
"""The name of the limit on a refresh."""
MOST_BODY = 64 * 1024
"""Bytes that the body of an answer to a refresh may have; a token has a few thousand at most."""

_REJECTING_STATUSES = frozenset({400, 401, 403})
# RFC 6749, 5.2: these codes reject the credentials, whatever the status.
_REJECTING = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
    }
)
# RFC 6749, 4.1.2.1; RFC 8628, 3.5; internal_failure is Google's.
_TRANSIENT = frozenset(
    {"server_error", "temporarily_unavailable", "slow_down", "authorization_pending", "internal_failure"}
)
# Further codes that a message may name. Any other code might quote what was sent.
_NAMED = frozenset(
    {
        "access_denied",
        "bad_refresh_token",
        "consent_required",
        "expired_token",
        "insufficient_scope",
        "interaction_required",
        "invalid_token",
        "login_required",
    }
)
_AGAIN = "That may pass: a later call tries again."
_LOG_IN = (
    "It is not tried again with the same credentials: log in again, and then call reset() or make a new refreshing()."
)
_WORDS = {
    "refused": "the connection was refused",
    "reset": "the connection was reset",
    "dns": "the host does not exist",
    "dns_temporary": "the name of the host could not be looked up just now",
    "tls": "no trusted TLS connection came about",
    "proxy": "the proxy did not let the connection through",
}
# requests' exceptions about a connection or a setting. Its other exceptions concern the answer.
_OF_THE_NETWORK = (
    exceptions.ConnectionError,
    exceptions.Timeout,
    exceptions.ChunkedEncodingError,
    exceptions.ContentDecodingError,
    exceptions.RetryError,
    exceptions.InvalidURL,
    exceptions.InvalidSchema,
    exceptions.MissingSchema,
    exceptions.InvalidHeader,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A refresh that brought no token.

    ``rejected``: the server rejected the credentials, which are not tried again. ``limit_seconds``, ``phase`` (where
    the refresh stood) and ``elapsed`` (seconds) are set if its limit expired.
    """

    message: str
    retryable: bool
    rejected: bool = False
    limit_seconds: float | None = None
    phase: str | None = None
    elapsed: float | None = None
    cause: Exception | None = None

    def error(self) -> RefreshFailed:
        """A new exception for one of the callers that waited."""
        error = RefreshFailed(
            self.message,
            retryable=self.retryable,
            limit=None if self.limit_seconds is None else LIMIT,
            limit_seconds=self.limit_seconds,
            phase=self.phase,
            elapsed=self.elapsed,
        )
        error.__cause__ = self.cause
        return error


def timed_out(seconds: float, elapsed: float, phase: str) -> Failure:
    """The refresh took longer than ``seconds`` and then stood at ``phase``."""
    cause = WatchTimeout(
        f"The limit {LIMIT} of {shown(seconds)} expired: the refresh function had not returned after {elapsed:.3f} s.",
        limit=LIMIT,
        limit_seconds=seconds,
        phase=phase,
        elapsed=elapsed,
    )
    return Failure(
        message=(
            f"The token could not be refreshed within {shown(seconds)} (limit {LIMIT}, {elapsed:.3f} s passed): the"
            " refresh function was given up and its connections were shut down. If the server that it asks needs"
            f" longer, raise {REFRESH_VARIABLE}, or total in refreshing(limits=Limits(total=...)). {_AGAIN}"
        ),
        retryable=True,
        limit_seconds=seconds,
        phase=phase,
        elapsed=elapsed,
        cause=cause,
    )


def unusable(what: str) -> Failure:
    """The refresh returned something that holds no token which can be sent."""
    return Failure(message=f"The token could not be refreshed: {what}", retryable=False)


def too_large() -> Failure:
    """The body of the answer is larger than ``MOST_BODY`` and was not read to its end."""
    return unusable(f"the body of the answer is larger than {MOST_BODY:,} bytes, which is no answer with a token.")


def of_status(status: int | None, code: str | None, url: str | None = None) -> Failure:
    """The server refused: with an HTTP ``status``, with an OAuth error ``code``, or with both."""
    where = redact.origin(url or "").partition("://")[2] or "the server"
    answer = f" with HTTP {status}" if status is not None and not 200 <= status < 300 else ""
    if code is not None:
        known = code in _REJECTING | _TRANSIENT | _NAMED
        answer += f" (error {code})" if known else " (an error of its own)"
    passing = status is not None and (status in RETRYABLE_STATUSES or status >= 500)
    if code in _TRANSIENT or (passing and code not in _REJECTING):
        return Failure(message=f"The token could not be refreshed: {where} answered{answer}. {_AGAIN}", retryable=True)
    if code is not None or status in _REJECTING_STATUSES:
        return Failure(
            message=f"The token could not be refreshed: {where} rejected the credentials{answer}. {_LOG_IN}",
            retryable=False,
            rejected=True,
        )
    return unusable(f"{where} answered{answer}, which is no answer with a token. Check the URL of the refresh.")


def of_error(error: Exception) -> Failure | None:
    """The failure for an exception of the refresh function; ``None`` for a mistake in the function."""
    if isinstance(error, BoundExceeded):
        return too_large()
    if isinstance(error, LLMWatchError):
        return _ours(error)
    if isinstance(error, (json.JSONDecodeError, exceptions.JSONDecodeError)):
        return unusable("the body of the answer is not JSON.")
    response: Any = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if isinstance(status, int) and status >= 400:
        # From raise_for_status(), of requests or of another library.
        return of_status(status, None, str(getattr(response, "url", "")))
    if isinstance(error, exceptions.RequestException) and not isinstance(error, _OF_THE_NETWORK):
        return unusable(f"requests gave up with {type(error).__name__}.")
    return _of_the_network(error)


def _ours(error: LLMWatchError) -> Failure:
    if isinstance(error, ProviderError) and error.status is not None:
        return of_status(error.status, error.code)
    retryable = error.retryable or isinstance(error, Cancelled)
    return Failure(
        message=f"The token could not be refreshed: the refresh ended with {_name(error)}."
        + (f" {_AGAIN}" if retryable else ""),
        retryable=retryable,
        cause=Summary(_name(error), "", redact.text(error.message)),
    )


def _name(error: LLMWatchError) -> str:
    # The public class's name, not that of a class combined with a library's error.
    return next(cls.__name__ for cls in type(error).__mro__ if cls.__module__ == LLMWatchError.__module__)


def _of_the_network(error: Exception) -> Failure | None:
    # Whether the request was sent is unknown here. It changes only wording that is not used.
    ours = translate(error, host="", sent="no", sockets=1)
    summary = ours.__cause__
    if ours is error or not isinstance(ours, LLMWatchError) or not isinstance(summary, Summary):
        return None
    cause = Summary(summary.type, summary.errno, _text(summary.errno))
    request = getattr(error, "request", None)
    where = redact.origin(str(getattr(request, "url", None) or "")).partition("://")[2] or "the server"
    if isinstance(ours, ConfigError):
        what = f"a URL, header, proxy or TLS setting of its request cannot be used ({summary.type})."
        return Failure(message=f"The token could not be refreshed: {what}", retryable=False, cause=cause)
    words = _WORDS.get(ours.cause if isinstance(ours, ConnectFailed) else "", "no connection came about, or it broke")
    return Failure(
        message=f"The token could not be refreshed: asking {where}, {words} ({summary.errno or summary.type})."
        + (f" {_AGAIN}" if ours.retryable else ""),
        retryable=ours.retryable,
        cause=cause,
    )


def _text(name: str) -> str:
    number = getattr(errno, name, None) if name else None
    return os.strerror(number) if isinstance(number, int) else "(its text is not kept)"
