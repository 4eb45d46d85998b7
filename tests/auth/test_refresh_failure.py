"""The failure that an exception of a refresh function means, and the facts that it keeps."""

from __future__ import annotations

import errno
import json
import socket
import ssl
from typing import Any

import pytest
import requests

from llmwatch import (
    Cancelled,
    ConfigError,
    ConnectFailed,
    ProviderError,
    RefreshFailed,
    StreamCut,
    TooManyOrphans,
    TooManyThreads,
    WatchTimeout,
)
from llmwatch.auth.refresh_failure import Failure, of_error, of_status, timed_out
from llmwatch.session.requests_errors import as_requests
from llmwatch.transport.errors import Summary
from llmwatch.wrap.bounded import BoundExceeded
from tests.rows import each

SECRET = "Zx81kQpLw93mTfVb27NcRy60"
URL = f"https://auth.provider.test/token?code={SECRET}"


def asked() -> requests.PreparedRequest:
    return requests.Request("POST", URL, data={"refresh_token": SECRET}).prepare()


def by_status(status: int) -> requests.HTTPError:
    response = requests.Response()
    response.status_code, response.url = status, URL
    return requests.HTTPError(f"{status} for {URL}", response=response, request=asked())


def judged(error: Exception) -> Failure:
    found = of_error(error)
    assert found is not None
    return found


def lost(number: int) -> requests.ConnectionError:
    error = requests.ConnectionError(f"Max retries exceeded with url: {URL}", request=asked())
    error.__cause__ = OSError(number, SECRET)
    return error


@each(
    "error",
    [
        lost(errno.ECONNREFUSED),
        lost(errno.ECONNRESET),
        lost(errno.ENETUNREACH),
        requests.ConnectTimeout(URL, request=asked()),
        requests.ReadTimeout(URL, request=asked()),
        requests.exceptions.ChunkedEncodingError(URL),
        requests.exceptions.ContentDecodingError(URL),
        requests.exceptions.RetryError(URL),
        ConnectionResetError(errno.ECONNRESET, SECRET),
        TimeoutError(SECRET),
        socket.gaierror(socket.EAI_AGAIN, SECRET),
        by_status(408),
        by_status(429),
        by_status(503),
        ConnectFailed(SECRET, cause="refused"),
        StreamCut(SECRET),
        WatchTimeout(SECRET, limit="ttfb", limit_seconds=1.0, phase="waiting", elapsed=1.0),
        TooManyOrphans("many"),
        TooManyThreads("none"),
        ProviderError("no", status=502),
        Cancelled("given up", by="user"),
        RefreshFailed("inner", retryable=True),
    ],
    ids=lambda error: type(error).__name__,
)
def test_network_and_server_failures_are_retryable(error: Exception) -> None:
    """A failure of the network or the server is retryable, and the exception's text is not kept."""
    found = judged(error)
    assert (found.retryable, found.rejected) == (True, False)
    assert "a later call tries again" in found.message
    assert SECRET not in found.message
    if not isinstance(error, (ConnectFailed, StreamCut, WatchTimeout)):
        assert SECRET not in str(found.cause)


@pytest.mark.parametrize("error", [by_status(400), by_status(401), by_status(403), ProviderError("no", status=401)])
def test_raise_for_status_of_400_401_or_403_is_a_rejection(error: Exception) -> None:
    """``raise_for_status`` on 400, 401 or 403 says that the credentials are no good."""
    found = judged(error)
    assert (found.retryable, found.rejected, found.cause) == (False, True, None)
    assert SECRET not in found.message


def test_the_status_in_another_librarys_exception_counts() -> None:
    """Exceptions of other HTTP libraries carry their response in the same place."""

    class StatusError(Exception):
        def __init__(self, status: int) -> None:
            super().__init__(SECRET)
            self.response: Any = type("Answer", (), {"status_code": status, "url": URL})()

    assert judged(StatusError(401)).rejected
    assert judged(StatusError(503)).retryable


@each(
    ("error", "words"),
    [
        (BoundExceeded(SECRET), "larger than 65,536 bytes"),
        (json.JSONDecodeError(SECRET, SECRET, 0), "not JSON"),
        (requests.exceptions.JSONDecodeError(SECRET, SECRET, 0), "not JSON"),
        (requests.TooManyRedirects(URL), "TooManyRedirects"),
        (requests.exceptions.MissingSchema(URL), "MissingSchema"),
        (requests.exceptions.InvalidHeader(SECRET), "InvalidHeader"),
        (requests.exceptions.InvalidProxyURL(SECRET), "InvalidProxyURL"),
        (by_status(404), "HTTP 404"),
        (requests.exceptions.SSLError(ssl.SSLError(1, SECRET)), "no trusted TLS connection"),
        (requests.ConnectionError(socket.gaierror(socket.EAI_NONAME, SECRET)), "the host does not exist"),
        (ConfigError(SECRET), "ended with ConfigError"),
        (RefreshFailed("inner"), "ended with RefreshFailed"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_permanent_failure_is_final_and_no_rejection(error: Exception, words: str) -> None:
    """A failure that a resend would meet again is final, and is no rejection of the credentials."""
    found = judged(error)
    assert words in found.message
    assert (found.retryable, found.rejected) == (False, False)
    assert SECRET not in found.message


@pytest.mark.parametrize(
    "error", [KeyError("access_token"), ValueError("x"), FileNotFoundError(2, "no file"), RuntimeError("x")]
)
def test_a_programming_error_of_the_function_comes_out_unchanged(error: Exception) -> None:
    """An exception that has nothing to do with the network or the answer is the caller's own."""
    assert of_error(error) is None


def test_an_exception_raised_from_a_lost_connection_counts_as_one() -> None:
    """The exception that a function makes of a lost connection counts as one."""
    error = RuntimeError("my own")
    error.__cause__ = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
    assert judged(error).retryable


def test_a_lost_connection_keeps_host_kind_and_errno() -> None:
    """The host, the kind of trouble and its errno; neither the query nor the text of any exception."""
    found = judged(lost(errno.ECONNREFUSED))
    assert "asking auth.provider.test, the connection was refused (ECONNREFUSED)" in found.message
    assert isinstance(found.cause, Summary)
    assert (found.cause.type, found.cause.errno) == ("ConnectionRefusedError", "ECONNREFUSED")
    assert SECRET not in str(found.cause)


def test_the_name_of_an_error_is_that_of_the_tree() -> None:
    """An error of a session is called what it is to llmwatch.

    It is not called after the class that also is one of requests'.
    """
    combined = as_requests(StreamCut("cut"), asked(), None)
    assert "ended with StreamCut" in judged(combined).message


def test_the_message_of_an_expired_refresh_names_its_limit() -> None:
    """The message names the limit, its length, what passed and what to change.

    The cause is the time-out itself.
    """
    found = timed_out(30.0, 30.0021, "waiting")
    assert found.retryable
    for word in ("limit refresh", "30 s", "30.002 s", "LLMWATCH_REFRESH_TIMEOUT_SECONDS", "Limits(total=...)"):
        assert word in found.message
    error = found.error()
    assert type(error) is RefreshFailed
    assert (error.limit, error.limit_seconds, error.elapsed, error.retryable) == ("refresh", 30.0, 30.0021, True)
    cause = error.__cause__
    assert isinstance(cause, WatchTimeout)
    assert (error.phase, cause.phase) == ("waiting", "waiting")
    assert (cause.limit, cause.limit_seconds, cause.elapsed, cause.retryable) == ("refresh", 30.0, 30.0021, True)


def test_every_waiting_call_gets_its_own_error() -> None:
    """Errors are filled in by the call that they end, so no two calls get the same one."""
    failure = of_status(401, "invalid_grant", URL)
    one, other = failure.error(), failure.error()
    assert one is not other
    assert str(one) == str(other)
    assert (one.phase, one.limit, one.limit_seconds, one.elapsed, one.__cause__) == (None,) * 5
