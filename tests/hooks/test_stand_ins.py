"""Stand-ins for the network (respx, responses) beside ``install()``."""

from __future__ import annotations

import functools
from typing import Any

import httpx
import pytest
import requests
import responses
import respx

import llmwatch
from llmwatch import CallRecord, Limits
from tests.hooks.test_httpx_transports import CHAT, STREAM
from tests.hooks.test_not_http import CALLS
from tests.sdk.times import LONG

pytestmark = pytest.mark.usefixtures("nothing_left")

URL = "https://provider.test/v1/chat/completions"

of_another_library = pytest.mark.parametrize("how", [name for name in CALLS if name != "requests"])
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


@of_another_library
def test_a_stand_in_for_requests_leaves_other_libraries_alone(serve: Any, how: str) -> None:
    """``responses`` replaces a function of requests, by which a watched call of another library is sent."""
    records = _installed()
    server = serve("healthy")
    with responses.RequestsMock(assert_all_requests_are_fired=False):
        CALLS[how](server.chat_url, STREAM)
    assert len(server.requests) == 1
    assert len(records) == 1


@of_another_library
def test_a_tracer_of_requests_does_not_see_other_libraries(
    serve: Any, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beneath its wrapper of an adapter ddtrace 4.16 sends no trace headers of urllib3's requests."""
    seen: list[str] = []
    original = requests.adapters.HTTPAdapter.send

    @functools.wraps(original)
    def send(*args: Any, **kwargs: Any) -> Any:
        seen.append("a call of requests")
        return original(*args, **kwargs)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    _installed()
    server = serve("healthy")
    CALLS[how](server.chat_url, STREAM)
    assert seen == []
    requests.post(server.chat_url, json=STREAM, timeout=LONG)
    assert len(seen) == 1
    assert len(server.requests) == 2
