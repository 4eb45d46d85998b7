"""Which errors of urllib3 and ``urllib.request`` llmwatch's errors are."""

from __future__ import annotations

import http.client
import pickle
import socket
import ssl
import urllib.error
from typing import Any

import pytest
import urllib3
from urllib3 import exceptions

from llmwatch import errors
from llmwatch.hooks.urllib_errors import as_urllib, as_urllib3
from tests.rows import each

POOL = urllib3.HTTPConnectionPool("example.com")


def timeout(limit: str) -> errors.WatchTimeout:
    """The expiry of ``limit``."""
    return errors.WatchTimeout("slow", limit=limit, limit_seconds=1.0, phase="headers", elapsed=1.0)


# The error, urllib3's class without a wrapper and whether it is wrapped, the reason of a URLError or the class that
# stands in its place, and the class of an error in the body.
ROWS: dict[str, tuple[errors.LLMWatchError, type[Any], bool, type[Any], type[Any]]] = {
    "connect": (timeout("connect"), exceptions.ConnectTimeoutError, True, TimeoutError, TimeoutError),
    "ttfb": (timeout("ttfb"), exceptions.ReadTimeoutError, False, TimeoutError, TimeoutError),
    **{
        cause: (errors.ConnectFailed("no", cause=cause), library, True, reason, urllib.error.URLError)
        for cause, library, reason in (
            ("refused", exceptions.NewConnectionError, ConnectionRefusedError),
            ("dns", exceptions.NewConnectionError, socket.gaierror),
            ("tls", exceptions.SSLError, ssl.SSLError),
            ("proxy", exceptions.ProxyError, OSError),
        )
    },
    "circuit": (errors.CircuitOpen("shut", retry_after=1.0), exceptions.PoolError, True, OSError, OSError),
    "cut": (
        errors.StreamCut("cut"),
        exceptions.ProtocolError,
        False,
        http.client.RemoteDisconnected,
        http.client.HTTPException,
    ),
    "truncated": (
        errors.StreamTruncated("cut"),
        exceptions.ProtocolError,
        False,
        http.client.HTTPException,
        http.client.HTTPException,
    ),
}


@each("name", ROWS, ids=list(ROWS))
def test_urllib3_raises_what_its_programs_catch(name: str) -> None:
    """A failure before the request was sent is a ``MaxRetryError`` with a reason, unless retries are off."""
    error, library, wrapped, _, _ = ROWS[name]
    plain: Any = as_urllib3(error, POOL, "/v1", retries=False)
    assert isinstance(plain, (library, type(error)))
    assert isinstance(plain, library)
    retried: Any = as_urllib3(error, POOL, "/v1", retries=True)
    assert isinstance(retried, exceptions.MaxRetryError if wrapped else library)
    if wrapped:
        assert isinstance(retried.reason, library)
        assert error.message in str(retried.reason)
        assert (retried.pool, retried.url) == (POOL, "/v1")
    for made in (plain, retried):
        assert isinstance(made, type(error))
        assert str(made) == error.message
        assert isinstance(pickle.loads(pickle.dumps(made)), type(error))


@each("name", ROWS, ids=list(ROWS))
def test_urllib_raises_what_its_programs_catch(name: str) -> None:
    """A ``URLError`` has its reason; an error of the body is no ``URLError`` where a bare one is not."""
    error, _, _, before, in_body = ROWS[name]
    opened: Any = as_urllib(error, in_body=False)
    if isinstance(opened, urllib.error.URLError):
        assert isinstance(opened.reason, before)
    else:
        assert isinstance(opened, before)
    assert isinstance(as_urllib(error, in_body=True), in_body)
    assert str(opened) == error.message
    assert isinstance(pickle.loads(pickle.dumps(opened)), type(error))


@pytest.mark.parametrize("error", [errors.Cancelled("stop", by="user"), errors.ConfigError("wrong")])
def test_what_the_network_did_not_cause_is_unchanged(error: Any) -> None:
    """Programs that answer every error of the library with another try must not retry it."""
    assert as_urllib3(error, POOL, "/v1", retries=True) is error
    assert as_urllib(error, in_body=False) is error
