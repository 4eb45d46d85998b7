"""Bodies in the frames of AWS event streams, through the public entry points."""

from __future__ import annotations

import pytest

import llmwatch
from llmwatch.faults.script import ANSWER, answer
from tests.end_to_end.calls import collect, stream
from tests.end_to_end.conftest import Connect, Serve

PATH = "/model/test-model/converse-stream"


def test_an_answer_in_frames_is_delivered_event_by_event(serve: Serve, connect: Connect) -> None:
    """A whole answer comes event by event, its usage behind its reason, after one request."""
    server = serve("aws-frames")
    outcome = stream(connect(), server.url + PATH)
    assert outcome.done().end == "terminal"
    assert outcome.text == ANSWER
    assert outcome.events[-1].usage is not None
    assert outcome.events[-1].usage["outputTokens"] == len(ANSWER.split())
    assert [event.finish for event in outcome.events].index(True) == len(outcome.events) - 2
    assert collect(connect(), server.url + PATH).value.text == ANSWER
    assert len(server.requests) == 2


def test_a_tool_call_in_frames_is_whole(serve: Serve, connect: Connect) -> None:
    """Arguments in many frames are one call."""
    server = serve("tool-arguments-only:every=0")
    answered = collect(connect(), server.url + PATH).value
    assert [call.json()["city"] for call in answered.tool_calls] == ["Malmö"]


def test_an_exception_frame_is_a_provider_error(serve: Serve, connect: Connect) -> None:
    """The error has the exception's name and words.

    After a passing exception the request is sent again before content, and never after it.
    """
    server = serve("aws-exception:tokens=2,kind=modelStreamErrorException,code=424,message=This fault is meant.")
    outcome = stream(connect(), server.url + PATH)
    error = outcome.failed(llmwatch.ProviderError)
    assert (error.type, error.code) == ("modelStreamErrorException", "424")
    assert "This fault is meant." in str(error)
    assert error.partial == outcome.text == answer(2)
    assert error.retryable
    assert len(server.requests) == 1
    server = serve("aws-exception", "aws-frames")
    outcome = stream(connect(), server.url + PATH)
    outcome.done("recovered")
    assert outcome.text == ANSWER
    assert len(server.requests) == 2


@pytest.mark.parametrize("kind", ["validationException", "accessDeniedException"])
def test_an_exception_that_stays_is_not_sent_again(serve: Serve, connect: Connect, kind: str) -> None:
    """A refusal of the request itself costs one request."""
    server = serve(f"aws-exception:kind={kind}")
    assert not stream(connect(), server.url + PATH).failed(llmwatch.ProviderError).retryable
    assert len(server.requests) == 1


def test_a_damaged_frame_is_malformed(serve: Serve, connect: Connect) -> None:
    """A frame whose checksum does not match is never skipped."""
    server = serve("malformed-event:tokens=2,shape=bedrock")
    outcome = stream(connect(), server.url + PATH)
    error = outcome.failed(llmwatch.MalformedEvent)
    assert "checksum" in str(error)
    assert error.partial == answer(2)
    assert len(server.requests) == 1


def test_a_session_hands_on_the_frames_as_sent(serve: Serve) -> None:
    """The bytes of a response are the frames as they were sent."""
    server = serve("aws-frames")
    session = llmwatch.Session()
    body = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
    with session, session.post(server.url + PATH, json=body, stream=True) as response:
        received = b"".join(response.iter_content(None))
    assert received.count(b"contentBlockDelta") == len(ANSWER.split())
    assert received.count(b"messageStop") == 1
    assert len(server.requests) == 1


def test_a_cohere_stream_is_delivered_through_the_same_entry_points(serve: Serve, connect: Connect) -> None:
    """Cohere's events come through the same entry points."""
    server = serve("healthy")
    outcome = stream(connect(), server.url + "/v2/chat")
    assert outcome.done().end == "terminal"
    assert outcome.text == ANSWER
    server = serve("tool-arguments-only:every=0")
    answered = collect(connect(), server.url + "/v2/chat").value
    assert [call.json()["city"] for call in answered.tool_calls] == ["Malmö"]
    server = serve("eof-without-terminal")
    assert stream(connect(), server.url + "/v2/chat").failed(llmwatch.StreamTruncated).partial == answer(3)
