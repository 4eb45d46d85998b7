"""Calls beneath a wrapper that was around ``HTTPTransport.handle_request`` before ``install()``."""

from __future__ import annotations

import gc
import importlib
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import httpx
import httpx2
import pytest
import wrapt

import llmwatch
from llmwatch import CallRecord, Limits
from llmwatch.hooks.left_alone import counts
from tests.hooks.test_httpx_transports import CHAT, STREAM
from tests.sdk.times import LONG

pytestmark = pytest.mark.usefixtures("nothing_left")

libraries = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])

NOWHERE = "http://127.0.0.1:1/v1/chat/completions"
FOREIGN = "another package's handle_request"

Wrap = Callable[[Callable[..., Any]], list[CallRecord]]


@pytest.fixture
def wrap(library: Any, monkeypatch: pytest.MonkeyPatch) -> Wrap:
    """Put ``wrapper(original, transport, request)`` in place, then install; returns the records."""

    def put(wrapper: Callable[[Any, Any, Any], Any]) -> list[CallRecord]:
        original = vars(library.HTTPTransport)["handle_request"]
        monkeypatch.setattr(
            library.HTTPTransport, "handle_request", lambda transport, request: wrapper(original, transport, request)
        )
        records: list[CallRecord] = []
        llmwatch.install(limits=Limits(ttfb=LONG), sinks=[records.append])
        return records

    return put


def _foreign(library: Any) -> int:
    return counts().get(library.__name__, {}).get(FOREIGN, 0)


@libraries
def test_a_wrapper_that_passes_calls_on_is_called_once(serve: Any, wrap: Wrap, library: Any) -> None:
    """The wrapper gets the client's own transport and request, and the call is watched.

    ``uninstall`` leaves the wrapper and takes llmwatch's attribute off the pool.
    """
    seen: list[Any] = []

    def wrapper(original: Any, transport: Any, request: Any) -> Any:
        seen.append((transport, request))
        return original(transport, request)

    records, server = wrap(wrapper), serve("healthy")
    theirs = vars(library.HTTPTransport)["handle_request"].__wrapped__
    with library.Client(timeout=LONG) as client:
        request = client.build_request("POST", server.chat_url, json=STREAM)
        response = client.send(request)
        assert response.status_code == 200
        assert response.request is request
        assert response.extensions["llmwatch"].record is records[0]
        assert seen == [(client._transport, request)]
        llmwatch.uninstall()
        assert "handle_request" not in vars(client._transport._pool)
    assert vars(library.HTTPTransport)["handle_request"] is theirs
    assert (len(records), len(server.requests)) == (1, 1)


@libraries
def test_a_stand_in_answers_by_itself(wrap: Wrap, library: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A stand-in that sends nothing gets every call, and the calls are counted but not said."""
    records = wrap(lambda original, transport, request: library.Response(200, text="mocked"))
    before = _foreign(library)
    with library.Client() as client:
        assert client.post(NOWHERE, json=CHAT).text == "mocked"
        assert client.get(NOWHERE).text == "mocked"
    assert (_foreign(library) - before, records, caplog.records) == (1, [], [])


@libraries
@pytest.mark.parametrize("autospec", [True, False])
def test_a_mock_is_called_as_without_llmwatch(library: Any, autospec: bool) -> None:
    """A mock with the method's signature gets the transport too; a bare one is not bound, and does not."""
    with mock.patch.object(library.HTTPTransport, "handle_request", autospec=autospec or None) as made:
        made.return_value = library.Response(200)
        llmwatch.install()
        with library.Client() as client:
            request = client.build_request("POST", NOWHERE, json=CHAT)
            assert client.send(request).status_code == 200
            made.assert_called_once_with(*([client._transport] if autospec else []), request)
        llmwatch.uninstall()
        assert vars(library.HTTPTransport)["handle_request"] is made


@libraries
def test_headers_that_a_wrapper_adds_are_sent(serve: Any, wrap: Wrap, library: Any) -> None:
    """A wrapper may change the request's headers in place, or exchange them, as tracers do."""

    def wrapper(original: Any, transport: Any, request: Any) -> Any:
        request.headers["X-Added"] = "1"
        request.headers = library.Headers([*request.headers.raw, (b"X-Exchanged", b"2")])
        return original(transport, request)

    records, server = wrap(wrapper), serve("healthy")
    with library.Client(timeout=LONG) as client:
        client.post(server.chat_url, json=STREAM)
    headers = {name.lower(): value for name, value in server.requests[0].headers}
    assert (headers["x-added"], headers["x-exchanged"]) == ("1", "2")
    assert len(records) == 1


@libraries
def test_a_request_of_the_wrappers_own_goes_its_way(serve: Any, wrap: Wrap, library: Any) -> None:
    """A wrapper that sends another request than it got is not watched: its request arrives as it made it."""

    def wrapper(original: Any, transport: Any, request: Any) -> Any:
        own = library.Request("POST", request.url, headers={**request.headers, "X-Own": "1"}, stream=request.stream)
        return original(transport, own)

    records, server = wrap(wrapper), serve("healthy")
    before = _foreign(library)
    with library.Client(timeout=LONG) as client:
        assert client.post(server.chat_url, json=STREAM).status_code == 200
    assert dict(server.requests[0].headers)["X-Own"] == "1"
    assert (_foreign(library) - before, records) == (1, [])


@libraries
def test_a_wrapper_may_send_the_request_again(serve: Any, wrap: Wrap, library: Any) -> None:
    """Each sending is a call of its own, and a call that the wrapper makes meanwhile is another."""
    nested: list[Any] = []

    def wrapper(original: Any, transport: Any, request: Any) -> Any:
        if "X-Nested" in request.headers:
            return original(transport, request)
        original(transport, request).read()
        with library.Client(timeout=LONG) as client:
            nested.append(client.post(request.url, json=STREAM, headers={"X-Nested": "1"}).status_code)
        return original(transport, request)

    records, server = wrap(wrapper), serve("healthy")
    with library.Client(timeout=LONG) as client:
        assert client.post(server.chat_url, json=STREAM).status_code == 200
    assert nested == [200]
    assert (len(records), len(server.requests)) == (3, 3)


@libraries
def test_a_pool_that_is_replaced_later_gets_its_calls(serve: Any, wrap: Wrap, library: Any) -> None:
    """A test that replaces the pool's function in its class gets the calls of a client that was watched."""
    records, server = wrap(lambda original, transport, request: original(transport, request)), serve("healthy")
    core = __import__({"httpx": "httpcore", "httpx2": "httpcore2"}[library.__name__])
    with library.Client(timeout=LONG) as client:
        assert client.post(server.chat_url, json=STREAM).status_code == 200
        with mock.patch.object(core.ConnectionPool, "handle_request", return_value=core.Response(204)):
            assert client.post(server.chat_url, json=STREAM).status_code == 204
        assert client.post(server.chat_url, json=STREAM).status_code == 200
    assert (len(records), len(server.requests)) == (2, 2)


@libraries
def test_a_pool_with_a_function_of_its_own_keeps_it(wrap: Wrap, library: Any) -> None:
    """A test that replaces the function of one pool object gets its calls, and keeps its replacement."""
    records = wrap(lambda original, transport, request: original(transport, request))
    core = __import__({"httpx": "httpcore", "httpx2": "httpcore2"}[library.__name__])
    with library.Client(timeout=LONG) as client:
        pool = client._transport._pool
        pool.handle_request = own = lambda request: core.Response(204)
        assert client.post(NOWHERE, json=CHAT).status_code == 204
        llmwatch.uninstall()
        assert pool.handle_request is own
    assert records == []


@libraries
def test_a_tracers_proxy_in_the_core_is_no_stand_in(serve: Any, library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call is watched although a tracer wraps the core library's connections, as Elastic's does (6.26).

    The proxy, wrapt's, gets the calls that the library sends.
    """
    core = {"httpx": "httpcore", "httpx2": "httpcore2"}[library.__name__]
    connection = importlib.import_module(f"{core}._sync.connection").HTTPConnection
    seen: list[Any] = []

    def tracer(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        seen.append(instance)
        return wrapped(*args, **kwargs)

    original = vars(connection)["handle_request"]
    monkeypatch.setattr(connection, "handle_request", wrapt.FunctionWrapper(original, tracer))
    records: list[CallRecord] = []
    llmwatch.install(limits=Limits(ttfb=LONG), sinks=[records.append])
    server = serve("healthy")
    with library.Client(timeout=LONG) as client:
        assert client.post(server.chat_url, json=STREAM).status_code == 200
        assert (len(records), seen) == (1, [])
        assert client.get(server.url + "/v1/models").status_code == 200
        assert (len(records), len(seen)) == (1, 1)


@libraries
def test_threads_share_a_wrapped_client(serve: Any, wrap: Wrap, library: Any) -> None:
    """Calls of several threads through one client are each watched once."""
    records, server = wrap(lambda original, transport, request: original(transport, request)), serve("healthy")
    with library.Client(timeout=LONG) as client, ThreadPoolExecutor(4) as threads:
        statuses = list(threads.map(lambda _: client.post(server.chat_url, json=STREAM).status_code, range(16)))
    assert statuses == [200] * 16
    assert (len(records), len(server.requests)) == (16, 16)


@libraries
def test_a_wrapped_client_is_not_kept_alive(serve: Any, wrap: Wrap, library: Any) -> None:
    """What llmwatch keeps of a pool goes with it."""
    wrap(lambda original, transport, request: original(transport, request))
    server = serve("healthy")
    client = library.Client(timeout=LONG)
    assert client.post(server.chat_url, json=STREAM).status_code == 200
    pool = weakref.ref(client._transport._pool)
    del client
    gc.collect()
    assert pool() is None
    server.wait_for_closed(1)
