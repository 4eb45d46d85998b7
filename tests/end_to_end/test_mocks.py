"""Users' tests that mock with ``responses``: unchanged, through every entry point."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import responses

import llmwatch
from llmwatch import ConnectFailed, Limits, Retry, StreamTruncated
from llmwatch.faults.catalogue import ANSWER
from llmwatch.faults.request import Request
from llmwatch.faults.script import Context
from llmwatch.faults.shapes import SHAPES as WRITERS
from tests.end_to_end.calls import SHAPES, collect, request, stream
from tests.end_to_end.conftest import Connect

URL = "https://api.provider.test/v1/chat/completions"


def _body(shape: str) -> bytes:
    """A healthy answer in a shape, as it would stand in a user's test."""
    asked = Request(
        number=1, connection=1, method="POST", target="/", headers=[], body=b"", body_bytes=0, complete=True, script=""
    )
    context = Context(
        request=asked, shape=WRITERS[shape](1), framing="length", text=ANSWER, streaming=True, url="http://127.0.0.1"
    )
    return b"".join(context.whole())


def _url(shape: str) -> str:
    return "https://api.provider.test" + WRITERS[shape].path


@pytest.fixture
def mocked() -> Iterator[responses.RequestsMock]:
    """The mock of a user's test."""
    with responses.RequestsMock() as mock:
        yield mock


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("entry_point", [stream, collect])
def test_a_mocked_stream_is_an_answer(
    connect: Connect, mocked: responses.RequestsMock, shape: str, entry_point: Any
) -> None:
    """``Client.stream`` and ``Client.collect`` read a mocked body as they read a real one."""
    mocked.post(_url(shape), body=_body(shape), content_type="text/event-stream")
    outcome = entry_point(connect(limits=Limits(ttfb=5)), _url(shape))
    record = outcome.done()
    assert outcome.text == ANSWER
    assert outcome.kinds[-1] == "terminal"
    assert len(mocked.calls) == 1
    assert record.attempts[0].status == 200
    assert record.attempts[0].socket_reused is None


def test_a_mocked_plain_call_is_a_response(connect: Connect, mocked: responses.RequestsMock) -> None:
    """``Client.request`` returns the mocked response, JSON and headers included."""
    mocked.post(URL, json={"answer": 42}, headers={"x-request-id": "req_1"})
    outcome = request(connect(), URL)
    record = outcome.done()
    assert outcome.value.json() == {"answer": 42}
    assert outcome.value.headers["x-request-id"] == "req_1"
    assert record.attempts[0].request_id == "req_1"
    assert mocked.calls[0].request.headers["Content-Type"] == "application/json"


def test_mocked_failures_are_retried(connect: Connect, mocked: responses.RequestsMock) -> None:
    """A mocked 503 and then an answer is a recovered call with two mocked requests."""
    mocked.post(URL, status=503, json={"error": {"message": "busy"}})
    mocked.post(URL, body=_body("openai-chat"), content_type="text/event-stream")
    outcome = stream(connect(), URL)
    outcome.done("recovered")
    assert outcome.text == ANSWER
    assert len(mocked.calls) == 2


@pytest.mark.parametrize("entry_point", [stream, collect, request])
def test_a_mocked_refusal_is_final(connect: Connect, mocked: responses.RequestsMock, entry_point: Any) -> None:
    """A mock that refuses the connection opened no socket and means it: ``ConnectFailed``, once."""
    mocked.post(URL, body=requests.exceptions.ConnectionError("by the mock"))
    error = entry_point(connect(), URL).failed(ConnectFailed)
    assert (error.cause, error.retryable) == ("refused", False)
    assert len(mocked.calls) == 1


@pytest.mark.parametrize("entry_point", [stream, collect, request])
def test_what_is_not_mocked_is_refused(connect: Connect, mocked: responses.RequestsMock, entry_point: Any) -> None:
    """A URL that no mock knows never leaves the machine, and is no endless retry."""
    mocked.assert_all_requests_are_fired = False
    outcome = entry_point(connect(), URL)
    assert isinstance(outcome.error, ConnectFailed)
    assert len(mocked.calls) == 1


def test_a_mocked_stream_without_its_end_is_truncated(connect: Connect, mocked: responses.RequestsMock) -> None:
    """A mocked body that lacks its terminal event is ``StreamTruncated``, as a real one."""
    body = _body("openai-chat").replace(b"data: [DONE]\n\n", b"").rpartition(b"data: ")[0].rpartition(b"data: ")[0]
    mocked.post(URL, body=body, content_type="text/event-stream")
    error = stream(connect(retry=Retry.none()), URL).failed(StreamTruncated)
    assert error.partial == ANSWER


def test_a_mocked_read_time_out_is_an_error_of_llmwatch(connect: Connect, mocked: responses.RequestsMock) -> None:
    """A mock that raises requests' own time-out comes out as one of llmwatch's errors.

    The error has no foreign chain.
    """
    mocked.post(URL, body=requests.exceptions.ReadTimeout("by the mock"))
    error = stream(connect(retry=Retry.none()), URL).error
    assert isinstance(error, llmwatch.LLMWatchError)
    assert error.__context__ is None
