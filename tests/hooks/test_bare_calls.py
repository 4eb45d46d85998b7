"""Untouched calls of urllib3 and of ``urllib.request`` under ``install()``."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
import requests
import urllib3
from urllib3.exceptions import ProtocolError, ReadTimeoutError

import llmwatch
from llmwatch import CallRecord, Limits, Retry
from llmwatch.faults import FaultServer, refused_port
from llmwatch.hooks.left_alone import OTHER, counts
from tests.hooks.bare_calls import CHAT, STREAM, WAYS, Way, posted
from tests.sdk.times import LONG, SOON

pytestmark = pytest.mark.usefixtures("nothing_left")

every_way = pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
delivering = pytest.mark.parametrize(
    "way", [way for way in WAYS.values() if way.delivers], ids=[name for name, way in WAYS.items() if way.delivers]
)

Install = Callable[..., list[CallRecord]]


@pytest.fixture
def install() -> Install:
    """Install with limits that end what must end, and return the records that come."""

    def made(*, slow_but_alive: bool = False, **limits: float) -> list[CallRecord]:
        records: list[CallRecord] = []
        given = Limits(**{"ttfb": LONG, "stale": LONG, **limits})
        retry = Retry(backoff=0.01, slow_but_alive=slow_but_alive)
        llmwatch.install(limits=given, retry=retry, sinks=[records.append])
        return records

    return made


def sent(server: FaultServer) -> list[Any]:
    """Each request as the server got it. The order of headers has no meaning."""
    return [
        (
            request.method,
            request.target,
            request.body,
            sorted((name.lower(), value) for name, value in request.headers if name.lower() != "host"),
        )
        for request in server.requests
    ]


@every_way
@pytest.mark.parametrize("body", [STREAM, CHAT], ids=["stream", "plain"])
def test_a_healthy_call_is_equal_to_a_bare_one(serve: Any, install: Install, way: Way, body: Any) -> None:
    """The answer and the one request are the same, header by header."""
    bare, watched = serve("healthy"), serve("healthy")
    expected = way.post(bare.chat_url, body)
    records = install()
    assert way.post(watched.chat_url, body) == expected
    assert sent(watched) == sent(bare)
    assert [(record.outcome, record.entry_point) for record in records] == [("done", way.recorded_as)]


@every_way
@pytest.mark.parametrize("script", ["silent", "headers-then-silent"])
@pytest.mark.parametrize("body", [STREAM, CHAT], ids=["stream", "plain"])
def test_silence_is_recovered_with_two_requests(serve: Any, install: Install, way: Way, script: str, body: Any) -> None:
    """The program sees the answer, and nothing of a silence before or after the headers."""
    bare, server = serve("healthy"), serve(script, "healthy")
    expected = way.post(bare.chat_url, body)
    # A plain call that has been sent is slow but alive, and is sent again only if the user says so.
    records = install(ttfb=SOON, slow_but_alive=body is CHAT)
    assert way.post(server.chat_url, body) == expected
    assert len(server.requests) == 2
    assert [record.outcome for record in records] == ["recovered"]


@delivering
def test_a_stall_in_mid_stream_ends_with_one_request(serve: Any, install: Install, way: Way) -> None:
    """The pieces that came before the stall stay, and nothing is resent."""
    server = serve("stall-after-content:tokens=3")
    records = install(stale=SOON)
    seen: list[bytes] = []
    with pytest.raises(llmwatch.WatchTimeout) as caught:
        way.post(server.chat_url, STREAM, seen)
    assert isinstance(caught.value, ReadTimeoutError) or way.recorded_as == "urllib"
    assert b"content" in b"".join(seen)
    assert len(server.requests) == 1
    assert [record.cause for record in records] == ["watchdog_timeout"]


def test_a_stall_in_a_body_that_is_loaded_whole_is_resent_once(serve: Any, install: Install) -> None:
    """Nothing was delivered before it, so the second request may give the whole answer."""
    server = serve("stall-after-content:tokens=3", "healthy")
    install(stale=SOON)
    status, body = WAYS["urllib3, whole"].post(server.chat_url, STREAM)
    assert (status, b"[DONE]" in body) == (200, True)
    assert len(server.requests) == 2


@delivering
@pytest.mark.parametrize("script", ["cut-chunk:tokens=3", "eof-without-terminal:tokens=3"])
def test_a_cut_stream_raises_after_its_pieces(serve: Any, install: Install, way: Way, script: str) -> None:
    """A stream that breaks off, or ends without its end mark, never reads like a whole one."""
    server = serve(script)
    install()
    seen: list[bytes] = []
    library = ProtocolError if way.recorded_as == "urllib3" else http.client.HTTPException
    with pytest.raises(library) as caught:
        way.post(server.chat_url, STREAM, seen)
    assert isinstance(caught.value, (llmwatch.StreamCut, llmwatch.StreamTruncated))
    assert b"content" in b"".join(seen)
    assert len(server.requests) == 1


@every_way
def test_a_tool_stream_comes_as_it_does_bare(serve: Any, install: Install, way: Way) -> None:
    """The arguments arrive whole, after a silence too."""
    expected = way.post(serve("tool-arguments-only").chat_url, STREAM)
    assert b"arguments" in expected[1]
    server = serve("silent", "tool-arguments-only")
    install(ttfb=SOON)
    assert way.post(server.chat_url, STREAM) == expected
    assert len(server.requests) == 2


@every_way
@pytest.mark.parametrize("status", [500, 429, 400])
def test_an_error_status_comes_as_it_does_bare(serve: Any, install: Install, way: Way, status: int) -> None:
    """The last response, after llmwatch's three requests, or after one where no resend helps."""
    expected = way.post(serve(f"status:status={status}").chat_url, STREAM)
    server = serve(f"status:status={status}")
    install()
    assert way.post(server.chat_url, STREAM) == expected
    assert expected[0] == status
    assert len(server.requests) == (1 if status == 400 else 3)


@delivering
def test_an_unread_answer_is_dropped_without_a_trace(serve: Any, install: Install, way: Way) -> None:
    """A program that reads the head alone leaves no thread and no connection."""
    server = serve("stall-after-content:tokens=3")
    install()
    opened: Any
    if way.recorded_as == "urllib":
        opened = urllib.request.urlopen(posted(server.chat_url, STREAM))
    else:
        opened = urllib3.PoolManager().request("POST", server.chat_url, json=STREAM, preload_content=False)
    assert opened.status == 200
    del opened
    server.wait_for_closed(1)


@every_way
def test_a_refused_connection_raises_the_librarys_error(install: Install, way: Way) -> None:
    """It has the ``reason`` that programs look for."""
    records = install()
    with refused_port() as port, pytest.raises((urllib3.exceptions.MaxRetryError, urllib.error.URLError)) as caught:
        way.post(f"http://127.0.0.1:{port}/v1/chat/completions", STREAM)
    error: Any = caught.value
    assert isinstance(error, llmwatch.ConnectFailed)
    assert isinstance(error.reason, (urllib3.exceptions.NewConnectionError, ConnectionRefusedError))
    assert [record.outcome for record in records] == ["failed"]


# -- what is left alone --------------------------------------------------------


def _everything_else(server: FaultServer) -> None:
    with urllib3.PoolManager(timeout=LONG) as manager:
        manager.request("GET", server.url + "/v1/models?limit=2", headers={"X-Own": "1"})
        manager.request("POST", server.url + "/login", fields={"user": "a"}, encode_multipart=False)
        manager.request("POST", server.url + "/orders", json={"model": "a-car", "count": 2})
        manager.request("PUT", server.url + "/object", body=iter([b"{", b"}"]))
        manager.request("POST", server.chat_url, body=(piece for piece in [b'{"model": "m", ', b'"messages": []}']))
    for data, method in ((None, "GET"), (b"user=a", "POST"), (b'{"model": "a-car", "count": 2}', "POST")):
        url = server.url + "/orders"
        with urllib.request.urlopen(urllib.request.Request(url, data=data, method=method), timeout=LONG) as response:
            response.read()
    with urllib.request.urlopen(server.chat_url, data=iter([b'{"model": "m", ', b'"messages": []}'])) as response:
        response.read()


def test_other_requests_go_byte_for_byte_as_before(
    serve: Any, install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    """Each comes with its headers in their order, and no record is made.

    They are counted, and a line names those that are model calls by their URL.
    """
    bare, server = serve("healthy"), serve("healthy")
    _everything_else(bare)
    records = install()
    _everything_else(server)

    def raw(one: FaultServer) -> list[Any]:
        return [
            (request.method, request.target, [pair for pair in request.headers if pair[0] != "Host"], request.body)
            for request in one.requests
        ]

    assert raw(server) == raw(bare)
    assert records == []
    assert counts() == {
        "urllib3": {OTHER: 3, "a body that is read once": 2},
        "urllib": {OTHER: 3, "a body that is read once": 1},
    }
    assert [record.getMessage() for record in caplog.records] == [
        f"llmwatch: a model call through {name} is not watched: a body that is read once."
        " Pass the body as bytes or text."
        for name in ("urllib3", "urllib")
    ]


def test_a_call_of_requests_is_watched_once(serve: Any, install: Install) -> None:
    """requests calls the pools of urllib3 itself, and so do botocore and llmwatch."""
    server = serve("healthy", "healthy")
    records = install()
    assert requests.post(server.chat_url, json=STREAM, timeout=LONG).ok
    assert [record.entry_point for record in records] == ["requests"]
    llmwatch.install(libraries=["urllib3"], sinks=[records.append])
    assert requests.post(server.chat_url, json=STREAM, timeout=LONG).ok
    assert (len(records), counts()) == (1, {})
