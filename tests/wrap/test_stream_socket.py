"""The socket under an SDK's stream, found by its ``response``."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

import llmwatch
from llmwatch import Decision, Limits, Retry, WatchTimeout
from llmwatch.wrap import iterate
from llmwatch.wrap.stream_socket import socket_of
from tests.end_to_end.calls import asking, eventually
from tests.end_to_end.times import FREE, LIMIT, LONG
from tests.wrap.conftest import Serve
from tests.wrap.functions import QUICK, killed

httpx = pytest.importorskip("httpx")


class Stream:
    """A stream as the SDKs make it: iterable, a context manager, with the response at hand."""

    def __init__(self, client: Any, url: str, **options: Any) -> None:
        request = client.build_request("POST", url, json=asking(), **options)
        self.response = client.send(request, stream=True)
        self.closed = False

    def __iter__(self) -> Iterator[str]:
        return (line for line in self.response.iter_lines() if line)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *details: object) -> None:
        self.response.close()
        self.closed = True


class Manager:
    """One that makes its stream when it is entered."""

    def __init__(self, client: Any, url: str) -> None:
        self._make = lambda: Stream(client, url)

    def __enter__(self) -> Stream:
        self._stream = self._make()
        return self._stream

    def __exit__(self, *details: object) -> None:
        self._stream.__exit__()


@pytest.fixture
def client(bundle: str) -> Iterator[Any]:
    """An httpx client that would wait for ever."""
    import ssl

    with httpx.Client(timeout=None, verify=ssl.create_default_context(cafile=bundle), trust_env=False) as made:
        yield made


@pytest.mark.parametrize("make", [Stream, Manager])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_a_stall_of_an_sdk_stream_is_shut(serve: Serve, client: Any, server_tls: Any, make: Any, secure: bool) -> None:
    """The lines before it come out, then the time-out.

    The reading thread is gone, and the server sees the end.
    """
    server = serve("stall-after-content:tokens=3", tls=server_tls if secure else None)
    seen, before = [], llmwatch.stats()["unabortable"]
    with pytest.raises(WatchTimeout) as caught:
        for line in iterate(lambda: make(client, server.chat_url), limits=Limits(ttfb=LONG, stale=LIMIT)):
            seen.append(line)
    killed(caught, "stale", attempts=1, decision=Decision.CONFIRM, reason="function_has_beaten")
    assert len(seen) >= 3
    server.wait_for_closed(1)
    eventually(lambda: llmwatch.stats()["workers"] == 0, "the thread is gone", FREE)
    assert llmwatch.stats()["unabortable"] == before
    assert len(server.requests) == 1


@pytest.mark.parametrize("allowed", [False, True])
def test_an_sdk_stream_is_made_anew_only_where_allowed(serve: Serve, client: Any, allowed: bool) -> None:
    """A stream that shows its response was answered, so it is made anew only where that is allowed."""
    server = serve("headers-then-silent", "healthy")
    retry = Retry(backoff=0, resend_with_tools=allowed)
    items = iterate(lambda: Stream(client, server.chat_url), limits=Limits(ttfb=LIMIT), retry=retry)
    if allowed:
        assert len(list(items)) > 3
    else:
        with pytest.raises(WatchTimeout) as caught:
            next(items)
        killed(caught, "ttfb", attempts=1, decision=Decision.CONFIRM, reason="function_has_beaten")
    assert len(server.requests) == 1 + allowed


def test_a_healthy_stream_leaves_its_connection_usable(serve: Serve, client: Any) -> None:
    """The duplicate is gone before the connection is back in its pool, and the next stream goes over it."""
    server = serve()
    for _ in range(3):
        assert len(list(iterate(lambda: Stream(client, server.chat_url), retry=QUICK))) > 3
    assert (len(server.requests), server.connections) == (3, 1)


def test_a_stream_without_a_socket_is_iterated() -> None:
    """Without an open connection nothing is found, and nothing breaks.

    The rows are a stream without a response, a response without a network, and a network that is closed.
    """

    class Object:
        def __init__(self, **fields: Any) -> None:
            self.__dict__.update(fields)

    def broken(name: str) -> Any:
        raise OSError(name)

    closed = socket.socket()
    closed.close()
    for response in (
        None,
        Object(),
        Object(extensions=None),
        Object(extensions={}),
        Object(extensions={"network_stream": None}),
        Object(extensions={"network_stream": Object(get_extra_info=broken)}),
        Object(extensions={"network_stream": Object(get_extra_info=lambda name: None)}),
        Object(extensions={"network_stream": Object(get_extra_info=lambda name: closed)}),
    ):
        assert socket_of(Object(response=response)) is None
    assert socket_of(Object()) is None
    assert socket_of(iter([])) is None


def test_a_mocked_transport(client: Any) -> None:
    """A stand-in for the network is iterated like anything else."""
    with httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200, text="a\nb"))) as mocked:
        assert list(iterate(lambda: Stream(mocked, "http://provider.test/"))) == ["a", "b"]
