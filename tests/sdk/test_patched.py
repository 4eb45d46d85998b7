"""Threads that are patched after the start: every entry point says so, and sends nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import requests

import llmwatch
from llmwatch import Client, ConfigError
from llmwatch.faults import FaultServer
from llmwatch.sdk import Transport
from llmwatch.watch import launch
from tests.end_to_end.calls import asking
from tests.rows import each
from tests.session.entry_points import caught

BODY = asking()


def _exchange(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """What a patch of ``package`` makes of threading, as far as it is looked at."""
    plain = threading.Lock

    def lock() -> Any:
        return plain()

    lock.__module__ = f"{package}.thread"
    monkeypatch.setattr(threading, "Lock", lock)


def _client(url: str) -> object:
    with Client() as client:
        return client.collect("POST", url, json=BODY)


def _request(url: str) -> object:
    with Client() as client:
        return client.request("GET", url)


def _session(url: str) -> object:
    with llmwatch.Session() as session:
        return session.post(url, json=BODY)


def _install(url: str) -> object:
    llmwatch.install()
    try:
        return requests.get(url)
    finally:
        llmwatch.uninstall()


def _transport(url: str) -> object:
    with httpx.Client(transport=Transport(), timeout=None) as client:
        return client.post(url, json=BODY)


def _call(url: str) -> object:
    return llmwatch.call(requests.get, url)


def _iterate(url: str) -> object:
    return list(llmwatch.iterate(lambda: iter([requests.get(url)])))


def _watched(url: str) -> object:
    return llmwatch.watched()(requests.get)(url)


ENTRY_POINTS = [_client, _request, _session, _install, _transport, _call, _iterate, _watched]


@each(
    ("entry_point", "package"),
    [(entry_point, package) for entry_point in ENTRY_POINTS for package in ("gevent", "eventlet")],
)
def test_a_patch_of_threads_after_the_first_call_is_a_config_error(
    entry_point: Callable[[str], object],
    package: str,
    serve: Callable[..., FaultServer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A patch after the first call is a ConfigError that says what to call first.

    Nothing hangs, nothing is sent. Once threads are what they were, calls go on.
    """
    server = serve("healthy")
    with monkeypatch.context() as patch:
        _exchange(patch, package)
        error = caught(ConfigError, entry_point, server.chat_url)
    assert error.field == package
    assert package in str(error)
    assert "before llmwatch and requests are imported" in str(error)
    assert server.requests == []
    entry_point(server.chat_url)


@each("package", ["ddtrace", "wrapt", "tests", "_thread"])
def test_a_replaced_lock_is_no_patch_of_threads(
    package: str, serve: Callable[..., FaultServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A profiler that replaces locks changes nothing."""
    with monkeypatch.context() as patch:
        _exchange(patch, package)
        _client(serve("healthy").chat_url)


def test_a_patch_of_threads_before_the_first_call_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of llmwatch runs in the patched threads."""
    monkeypatch.setattr(launch, "_at_import", "gevent")
    _exchange(monkeypatch, "gevent")
    launch.check_threads()
