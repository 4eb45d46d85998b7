"""Errors that are ours and a library's at once."""

from __future__ import annotations

import pickle
from typing import Any

import httpx
import httpx2
import pytest

from llmwatch import errors
from llmwatch.sdk.libraries import Library
from llmwatch.sdk.library_errors import in_library
from llmwatch.transport.errors import Summary
from tests.rows import each

libraries = each("library", [httpx, httpx2], ids=["httpx", "httpx2"])


def timeout(limit: str) -> errors.WatchTimeout:
    return errors.WatchTimeout("late", limit=limit, limit_seconds=1.0, phase="waiting", elapsed=1.5)


def cut(errno: str, kind: str = "OSError") -> errors.StreamCut:
    error = errors.StreamCut("cut")
    error.__cause__ = Summary(kind, errno, "text")
    return error


def proxy(kind: str, errno: str) -> errors.ConnectFailed:
    error = errors.ConnectFailed("no", cause="proxy")
    error.__cause__ = Summary(kind, errno, "text")
    return error


CASES = [
    (timeout("connect"), "ConnectTimeout"),
    (timeout("send"), "WriteTimeout"),
    *(
        (timeout(one), "ReadTimeout")
        for one in ("headers", "ttfb", "first_event", "first_content", "stale", "progress")
    ),
    *((timeout(one), "ReadTimeout") for one in ("total", "deadline")),
    (errors.ConnectFailed("no", cause="refused"), "ConnectError"),
    (errors.ConnectFailed("no", cause="tls"), "ConnectError"),
    (errors.ConnectFailed("no", cause="proxy"), "ConnectError"),
    (errors.ConnectFailed("no", cause="proxy", status=407), "ProxyError"),
    (proxy("ConnectionRefusedError", "ECONNREFUSED"), "ConnectError"),
    (proxy("gaierror", ""), "ConnectError"),
    (proxy("ConnectionResetError", "ECONNRESET"), "ReadError"),
    (proxy("RemoteDisconnected", ""), "RemoteProtocolError"),
    (proxy("BadStatusLine", ""), "RemoteProtocolError"),
    (cut("ECONNRESET"), "ReadError"),
    (cut(""), "RemoteProtocolError"),
    (cut("", "SSLError"), "ReadError"),
    (cut("", "SSLEOFError"), "RemoteProtocolError"),
    (errors.StreamCut("cut"), "RemoteProtocolError"),
    (errors.StreamTruncated("short"), "RemoteProtocolError"),
    (errors.EmptyStream("empty"), "RemoteProtocolError"),
    (errors.NotAStream("page"), "RemoteProtocolError"),
    (errors.MalformedEvent("json"), "RemoteProtocolError"),
    (errors.EventTooLarge("large"), "RemoteProtocolError"),
    (errors.BodyTooLarge("large"), "RemoteProtocolError"),
    (errors.ProviderError("no", status=200, type="t", code="c"), "RemoteProtocolError"),
    (errors.CircuitOpen("open", retry_after=3.0), "ConnectError"),
    (errors.TooManyOrphans("many"), "ConnectError"),
    (errors.TooManyThreads("none"), "ConnectError"),
    (errors.RefreshFailed("stale"), "ConnectError"),
]


@libraries
@each(("error", "name"), CASES, ids=lambda one: one if isinstance(one, str) else type(one).__name__)
def test_each_error_is_llmwatchs_and_the_librarys(library: Any, error: errors.LLMWatchError, name: str) -> None:
    """Each error is of llmwatch's class and of the library's.

    It has all data of llmwatch's, and the request.
    """
    error.record, error.partial = None, "so far"
    request = library.Request("POST", "http://h/v1", headers={"Authorization": "Bearer secret"})
    found: Any = in_library(error, Library(library.__name__), request)
    assert isinstance(found, type(error))
    assert isinstance(found, getattr(library, name))
    assert (str(found), found.args, found.__cause__) == (str(error), error.args, error.__cause__)
    assert found.request is request
    assert {key: value for key, value in vars(found).items() if key != "_request"} == vars(error)
    assert type(found).__name__ == type(error).__name__
    assert type(in_library(error, Library(library.__name__), request)) is type(found)


@libraries
@each("error", [errors.Cancelled("stopped", by="user"), errors.ConfigError("what", field="f")])
def test_a_cancellation_or_a_mistake_is_no_library_error(library: Any, error: errors.LLMWatchError) -> None:
    """A cancellation and a mistake are none of the library's."""
    assert in_library(error, Library(library.__name__), None) is error


def test_every_error_class_is_decided() -> None:
    """No class of the tree is missing here."""
    decided = {type(error) for error, _ in CASES} | {errors.Cancelled, errors.ConfigError, errors.LLMWatchError}
    assert {getattr(errors, name) for name in errors.__all__} == decided


@libraries
@each(("error", "name"), CASES, ids=lambda one: one if isinstance(one, str) else type(one).__name__)
def test_each_combined_error_can_be_pickled(library: Any, error: errors.LLMWatchError, name: str) -> None:
    """The request holds credentials and is left out."""
    request = library.Request("POST", "http://h/v1", headers={"Authorization": "Bearer secret"})
    found: Any = in_library(error, Library(library.__name__), request)
    pickled = pickle.dumps(found)
    assert b"secret" not in pickled
    again: Any = pickle.loads(pickled)
    assert type(again) is type(found)
    assert str(again) == str(found)
    assert vars(again) == {**vars(found), "_request": None}
    with pytest.raises(RuntimeError, match="has not been set"):
        again.request  # noqa: B018
