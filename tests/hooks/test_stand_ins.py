"""respx, a stand-in for the network, beside ``install()`` in both orders."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import respx

import llmwatch
from llmwatch import CallRecord, Limits
from tests.hooks.test_httpx_transports import CHAT, STREAM
from tests.sdk.times import LONG

pytestmark = pytest.mark.usefixtures("nothing_left")

URL = "https://provider.test/v1/chat/completions"

in_each_way = pytest.mark.parametrize("using", ["httpx", "httpcore"])
in_both_orders = pytest.mark.parametrize("first", ["theirs", "ours"])


def _installed() -> list[CallRecord]:
    records: list[CallRecord] = []
    llmwatch.install(limits=Limits(ttfb=LONG), sinks=[records.append])
    return records


@in_each_way
@in_both_orders
def test_a_route_answers_as_without_llmwatch(using: str, first: str, caplog: pytest.LogCaptureFixture) -> None:
    """The route gets the model call and its answer reaches the client; nothing is watched, sent or said.

    A client that is made before, and one that is made inside, are both mocked.
    """
    before = httpx.Client()
    records = _installed() if first == "ours" else []
    with respx.mock(using=using) as router:
        route = router.post(URL).mock(return_value=httpx.Response(200, json={"text": "mocked"}))
        if first == "theirs":
            records = _installed()
        with before, httpx.Client() as inside:
            for client in (before, inside):
                assert client.post(URL, json=CHAT).json() == {"text": "mocked"}
        assert route.call_count == 2
        assert b"Say it." in route.calls[0].request.content
    assert (records, caplog.records) == ([], [])


@in_each_way
@in_both_orders
def test_what_a_route_raises_comes_unchanged(using: str, first: str) -> None:
    """The error of a side effect is the library's own, and is raised once."""
    if first == "ours":
        _installed()
    with respx.mock(using=using) as router, httpx.Client() as client:
        route = router.post(URL).mock(side_effect=httpx.ReadTimeout)
        if first == "theirs":
            _installed()
        with pytest.raises(httpx.ReadTimeout) as caught:
            client.post(URL, json=CHAT)
        assert not isinstance(caught.value, llmwatch.LLMWatchError)
        assert route.call_count == 1


@in_each_way
@in_both_orders
def test_a_route_may_pass_the_call_through(serve: Any, using: str, first: str) -> None:
    """A call that a route passes through is answered by the server, with one request.

    respx on httpx stands above the transport, so the call is watched. Beneath the pool it stands where llmwatch would
    send, so the call is the library's.
    """
    server = serve("healthy")
    records = _installed() if first == "ours" else []
    with respx.mock(using=using, assert_all_called=False) as router, httpx.Client(timeout=LONG) as client:
        router.route(host="127.0.0.1").pass_through()
        if first == "theirs":
            records = _installed()
        assert client.post(server.chat_url, json=STREAM).status_code == 200
    assert len(server.requests) == 1
    assert len(records) == (1 if using == "httpx" else 0)


@in_each_way
@in_both_orders
def test_calls_are_watched_after_the_mock(serve: Any, using: str, first: str) -> None:
    """Once the mock has ended the next call is watched, and ``uninstall`` puts the very objects back."""
    original = vars(httpx.HTTPTransport)["handle_request"]
    server = serve("healthy")
    records = _installed() if first == "ours" else []
    with respx.mock(using=using):
        if first == "theirs":
            records = _installed()
    with httpx.Client(timeout=LONG) as client:
        assert client.post(server.chat_url, json=STREAM).status_code == 200
    assert [record.outcome for record in records] == ["done"]
    llmwatch.uninstall()
    assert vars(httpx.HTTPTransport)["handle_request"] is original
