"""Providers, or proxies in a loop, that send as fast as the library can read.

No limit stands still for the library's own work.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import requests

import llmwatch
from llmwatch import Client, Limits, Retry, WatchTimeout
from llmwatch.faults import FaultServer
from llmwatch.sdk import Transport
from tests.end_to_end.calls import SHAPES, asking, endpoint, in_thread
from tests.end_to_end.conftest import Serve
from tests.end_to_end.times import FLOOD, FREE, LONG

NOTHING = ("flood-comments", "flood-pings", "flood-empty", "flood-cr")
ONCE = Retry.none()


def _stream(server: FaultServer, limits: Limits, url: str) -> None:
    with Client(limits=limits, retry=ONCE) as client, client.stream("POST", url, json=asking()) as stream:
        for _ in stream:
            pass


def _collect(server: FaultServer, limits: Limits, url: str) -> None:
    with Client(limits=limits, retry=ONCE) as client:
        client.collect("POST", url, json=asking())


def _session(server: FaultServer, limits: Limits, url: str) -> None:
    with llmwatch.Session(limits=limits, retry=ONCE) as session:
        for _ in session.post(url, json=asking(), stream=True).iter_content(None):
            pass


def _content(server: FaultServer, limits: Limits, url: str) -> None:
    with llmwatch.Session(limits=limits, retry=ONCE) as session:
        session.post(url, json=asking())


def _transport(server: FaultServer, limits: Limits, url: str) -> None:
    transport = Transport(limits=limits, retry=ONCE)
    with (
        httpx.Client(transport=transport, timeout=None) as client,
        client.stream("POST", url, json=asking()) as response,
    ):
        for _ in response.iter_raw():
            pass


ENTRY_POINTS: dict[str, Callable[[FaultServer, Limits, str], None]] = {
    "stream": _stream,
    "collect": _collect,
    "Session, streamed": _session,
    "Session": _content,
    "Transport": _transport,
}


def _ended(entry_point: str, server: FaultServer, limits: Limits, url: str) -> WatchTimeout:
    began = time.monotonic()
    with pytest.raises((WatchTimeout, requests.RequestException)) as caught:
        ENTRY_POINTS[entry_point](server, limits, url)
    took = time.monotonic() - began
    error = caught.value
    assert isinstance(error, WatchTimeout)
    assert error.elapsed - error.paused > FLOOD
    assert error.elapsed <= took
    # It has not run on for long: what a busy machine adds is far less than what a limit that stands still would.
    assert took < FLOOD + FREE + error.paused
    return error


LOADED = pytest.mark.parametrize("entry_point", ["Session"])
"""The entry points that ``tests/matrix``, which plays the same scripts, does not have."""


@pytest.fixture(params=ENTRY_POINTS)
def entry_point(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@LOADED
@pytest.mark.parametrize("script", NOTHING)
def test_a_flood_without_content_ends_at_first_content(serve: Serve, entry_point: str, script: str) -> None:
    """A flood without content ends at ``first_content``, and its error has the true time."""
    server = serve(script)
    error = _ended(entry_point, server, Limits(first_content=FLOOD, stale=LONG), server.chat_url)
    assert (error.limit, error.limit_seconds) == ("first_content", FLOOD)
    assert len(server.requests) == 1
    # Of these nothing is handed over that its reader could be too slow for.
    assert error.paused == 0.0 or script in ("flood-pings", "flood-empty")


@LOADED
@pytest.mark.parametrize("script", NOTHING)
def test_a_flood_after_content_ends_at_progress(serve: Serve, entry_point: str, script: str) -> None:
    """A flood behind an answer that has begun ends at ``progress``, and its error has the true time."""
    server = serve(f"{script}:tokens=2")
    error = _ended(entry_point, server, Limits(progress=FLOOD, stale=LONG), server.chat_url)
    assert (error.limit, error.limit_seconds) == ("progress", FLOOD)


def test_a_flood_of_content_ends_at_total(serve: Serve, entry_point: str) -> None:
    """The error states the time in which the reader could not follow separately."""
    server = serve("flood-content")
    began = time.monotonic()
    with pytest.raises((WatchTimeout, requests.RequestException)) as caught:
        ENTRY_POINTS[entry_point](server, Limits(total=FLOOD), server.chat_url)
    error: Any = caught.value
    assert (error.limit, error.limit_seconds) == ("total", FLOOD)
    assert FLOOD < error.elapsed - error.paused < FLOOD + FREE
    assert error.elapsed <= time.monotonic() - began


@pytest.mark.parametrize("shape", SHAPES)
def test_a_flood_of_keep_alives_ends_in_every_dialect(serve: Serve, shape: str) -> None:
    """Keep-alives of the dialect, as fast as the client can read them, end at ``first_content``."""
    server = serve("flood-empty")
    error = _ended("collect", server, Limits(first_content=FLOOD), endpoint(server, shape))
    assert error.limit == "first_content"


def test_a_crowd_of_floods_ends_in_time(serve: Serve) -> None:
    """Twenty floods at once share the interpreter, and each limit counts that time as well.

    No call reports less time than has passed.
    """
    server = serve("flood-content")

    def call() -> tuple[float, WatchTimeout]:
        began = time.monotonic()
        with pytest.raises(WatchTimeout) as caught:
            _stream(server, Limits(total=5 * FLOOD), server.chat_url)
        return time.monotonic() - began, caught.value

    for running in [in_thread(call) for _ in range(20)]:
        took, error = running.result()
        assert error.elapsed - error.paused >= 5 * FLOOD
        assert error.elapsed <= took
