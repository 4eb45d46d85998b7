"""Tests of users that mock the network with ``responses`` work.

``responses`` stands in for the adapter that the sender sends through.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
import responses

from llmwatch.errors import ConnectFailed, StreamCut
from llmwatch.transport.sender import Reply, Sender
from llmwatch.watch.machine import VerdictKind
from llmwatch.watch.states import Phase
from tests.transport.drive import Call

_URL = "https://provider.invalid/v1/chat/completions"
_EVENTS = b"data: one\n\ndata: two\n\ndata: [DONE]\n\n"


@responses.activate
def test_a_mocked_stream_is_read(sender: Sender) -> None:
    """Status, headers and body of a mock come through, the attempt is done, and no socket was opened."""
    responses.post(_URL, body=_EVENTS, content_type="text/event-stream", headers={"x-request-id": "req_1"})
    call = Call(sender, _URL)
    assert call.run() == _EVENTS
    assert call.verdict.kind is VerdictKind.DONE
    assert call.reply is not None
    assert call.reply.headers["content-type"] == "text/event-stream"
    stats = call.attempt.stats
    assert (stats.status, stats.request_id, stats.sockets) == (200, "req_1", 0)


@responses.activate
def test_a_mock_sees_the_request(sender: Sender) -> None:
    """The mock gets the prepared request: method, body and headers.

    The headers show that a stream asks for no compression.
    """
    responses.post(_URL, body=_EVENTS)
    Call(sender, _URL, data=None, json={"model": "m"}, headers={"X-One": "1"}).run()
    (sent,) = responses.calls
    assert sent.request.method == "POST"
    assert json.loads(sent.request.body or b"") == {"model": "m"}
    assert sent.request.headers["X-One"] == "1"
    assert sent.request.headers["Accept-Encoding"] == "identity"


@responses.activate
@pytest.mark.parametrize("status", [400, 429, 500, 529])
def test_a_mocked_status_is_a_refusal(status: int, sender: Sender) -> None:
    """An error status of a mock is told to the attempt as a refusal, and its body can be read."""
    responses.post(_URL, status=status, json={"error": "no"})
    call = Call(sender, _URL, reading=lambda call, reply: call.read_blindly(reply))
    call.run()
    assert json.loads(bytes(call.seen)) == {"error": "no"}
    assert (call.status, call.attempt.stats.status) == (status, status)
    assert call.attempt.phase is Phase.REFUSED


@responses.activate
def test_a_mocked_plain_response_is_loaded(sender: Sender) -> None:
    """A mocked plain call gives a response with its content, text and JSON."""
    responses.post(_URL, json={"answer": 42})
    loaded: list[requests.Response] = []

    def load(call: Call, reply: Reply) -> None:
        call.read_blindly(reply)
        loaded.append(reply.load(bytes(call.seen), 1 << 30))

    Call(sender, _URL, reading=load, streaming=False).run()
    (response,) = loaded
    assert (response.status_code, response.json(), response.ok) == (200, {"answer": 42}, True)


@responses.activate
@pytest.mark.parametrize("error", [requests.exceptions.ConnectionError("refused"), ConnectionError("refused")])
def test_a_mocked_connection_error_is_final(error: Exception, sender: Sender) -> None:
    """A connection error of a mock is ``refused``, and not worth a retry: no socket was opened."""
    responses.post(_URL, body=error)
    call = Call(sender, _URL)
    call.run()
    assert isinstance(call.error, ConnectFailed)
    assert (call.error.cause, call.error.retryable) == ("refused", False)
    assert len(responses.calls) == 1


@responses.activate
def test_a_url_that_is_not_mocked_is_refused(sender: Sender) -> None:
    """A request that no mock answers is ``refused`` and final."""
    responses.post(_URL, body=_EVENTS)
    call = Call(sender, "https://elsewhere.invalid/")
    call.run()
    assert isinstance(call.error, ConnectFailed)
    assert (call.error.cause, call.error.retryable) == ("refused", False)


@responses.activate
@pytest.mark.parametrize(
    "error",
    [
        requests.exceptions.ReadTimeout("slow"),
        requests.exceptions.ConnectTimeout("slow"),
        requests.exceptions.SSLError("bad"),
        requests.exceptions.ChunkedEncodingError("cut"),
        requests.exceptions.ProxyError("no"),
    ],
)
def test_any_mocked_exception_of_requests_is_translated(error: Exception, sender: Sender) -> None:
    """Every exception of requests that a mock raises becomes an llmwatch error."""
    responses.post(_URL, body=error)
    call = Call(sender, _URL)
    call.run()
    assert isinstance(call.error, (ConnectFailed, StreamCut))


@responses.activate
def test_a_mocked_callback_can_raise_what_it_wants(sender: Sender) -> None:
    """An assertion in a mock's callback comes out as the test's own."""

    def callback(request: Any) -> Any:
        raise AssertionError("the request is not what the test wants")

    responses.add_callback(responses.POST, _URL, callback=callback)
    call = Call(sender, _URL)
    call.run()
    assert type(call.verdict.error) is AssertionError


@responses.activate
def test_several_mocks_answer_one_after_the_other(sender: Sender) -> None:
    """A mock that fails and then answers serves two attempts in that order."""
    responses.post(_URL, status=503)
    responses.post(_URL, body=_EVENTS)
    first, second = Call(sender, _URL), Call(sender, _URL)
    first.run()
    assert second.run() == _EVENTS
    assert (first.status, second.status) == (503, 200)
