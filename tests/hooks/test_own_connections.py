"""Model calls over connections of a program's own are counted and named, and go out unchanged."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import httpx2
import pytest
import requests
import urllib3

import llmwatch
from llmwatch import Limits
from llmwatch.faults import FaultServer
from llmwatch.hooks.left_alone import counts, tell_with
from llmwatch.hooks.own_connections import notice_own_connections
from tests.hooks.bare_calls import CHAT, HEADERS
from tests.sdk.times import LONG

libraries = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])

PLACES = [
    ("httpx", "Client", "_send_single_request"),
    ("httpx2", "Client", "_send_single_request"),
    ("urllib3.connectionpool", "HTTPConnectionPool", "urlopen"),
]
TRANSPORT, POOL = "a custom transport", "a pool without a manager"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is said, as under ``llmwatch run``; the classes are as before afterwards."""
    for module, owner, name in PLACES:
        held = getattr(importlib.import_module(module), owner)
        monkeypatch.setattr(held, name, vars(held)[name])
    said: list[str] = []
    tell_with(said.append)
    llmwatch.install(limits=Limits.single(LONG))
    notice_own_connections()
    yield said
    tell_with(None)


def _sending(library: Any) -> Any:
    """A transport of another kind, which sends over a pool of urllib3."""

    class Sending(library.BaseTransport):  # type: ignore[misc, name-defined]
        def handle_request(self, request: Any) -> Any:
            made = urllib3.HTTPConnectionPool(request.url.host, request.url.port)
            sent = made.urlopen("GET", "/v1/models")
            return library.Response(sent.status, content=sent.data)

    return Sending()


def _holding(library: Any) -> Any:
    """A transport that hands its requests on to the library's."""

    class Holding(library.BaseTransport):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.inner = library.HTTPTransport()

        def handle_request(self, request: Any) -> Any:
            return self.inner.handle_request(request)

        def close(self) -> None:
            self.inner.close()

    return Holding()


@libraries
def test_a_custom_transport_is_named_once_and_counted(serve: Any, lines: list[str], library: Any) -> None:
    """Each model call counts, and no other request is called one."""
    server: FaultServer = serve("healthy")
    with library.Client(transport=_sending(library), timeout=LONG) as client:
        for _ in range(2):
            assert client.post(server.chat_url, json=CHAT).status_code == 200
        client.get(server.url + "/v1/models")
    assert counts()[library.__name__][TRANSPORT] == 2
    assert [line for line in lines if TRANSPORT in line] == [
        f"a model call through {library.__name__} is not watched: a custom transport."
        " transport=llmwatch.sdk.Transport() in its client watches it."
    ]


@libraries
def test_a_transport_around_the_librarys_is_watched(serve: Any, lines: list[str], library: Any) -> None:
    """Its calls come to the library's transport, so nothing is said; so it is with llmwatch's own."""
    server: FaultServer = serve("healthy")
    for transport in (_holding(library), llmwatch.sdk.Transport(), None):
        with library.Client(transport=transport, timeout=LONG) as client:
            answer = client.post(server.chat_url, json=CHAT)
        assert "llmwatch" in answer.extensions
    assert lines == []
    assert TRANSPORT not in counts().get(library.__name__, {})


@libraries
def test_a_mock_is_counted_and_not_named(lines: list[str], library: Any) -> None:
    """A test wants its mock."""
    mock = library.MockTransport(lambda request: library.Response(200, json={}))
    with library.Client(transport=mock) as client:
        assert client.post("http://mock.example/v1/chat/completions", json=CHAT).status_code == 200
    assert lines == []
    assert counts()[library.__name__] == {TRANSPORT: 1}


def test_a_pool_without_a_manager_is_named_once_and_counted(serve: Any, lines: list[str]) -> None:
    """By ``request`` and by ``urlopen``, with a body of text or bytes."""
    server: FaultServer = serve("healthy")
    with urllib3.HTTPConnectionPool("127.0.0.1", server.port, timeout=LONG) as pool:
        path = "/v1/chat/completions"
        assert pool.request("POST", path, json=CHAT, headers=HEADERS).status == 200
        assert pool.urlopen("POST", path, json.dumps(CHAT), HEADERS).status == 200
        assert pool.urlopen("POST", path, body=json.dumps(CHAT).encode(), headers=HEADERS).status == 200
        assert pool.request("POST", "/orders", json={"car": "a"}).status == 200
        assert pool.request("GET", "/v1/models").status == 200
    assert counts()["urllib3"][POOL] == 3
    assert lines == [
        "a model call through urllib3 is not watched: a pool without a manager."
        " A urllib3.PoolManager in its place is watched."
    ]


def test_the_pools_of_watched_libraries_are_not_counted(serve: Any, lines: list[str]) -> None:
    """requests and managers have pools too, watched or left alone."""
    server: FaultServer = serve("healthy")
    assert requests.post(server.chat_url, json=CHAT, timeout=LONG).status_code == 200
    with urllib3.PoolManager(timeout=LONG) as manager:
        assert manager.request("POST", server.chat_url, json=CHAT).status == 200
        llmwatch.uninstall()
        assert manager.request("POST", server.chat_url, json=CHAT).status == 200
    assert requests.post(server.chat_url, json=CHAT, timeout=LONG).status_code == 200
    assert lines == []
    assert POOL not in counts().get("urllib3", {})
