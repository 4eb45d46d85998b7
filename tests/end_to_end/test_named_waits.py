"""A wait that is named elsewhere than in ``Retry-After`` is kept through every entry point."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import llmwatch
from llmwatch import Retry
from llmwatch.faults import Context, FaultServer, Script, steps
from llmwatch.sdk import Transport
from tests.conftest import SCALE
from tests.end_to_end.calls import asking
from tests.end_to_end.conftest import Serve

WAIT = round(0.4 * SCALE, 1)
"""Seconds that the provider names: longer than the first back-off can be."""

BACKOFF = Retry(backoff=0.01, max_backoff=0.01)


def refusing(status: int = 429, *, delay: str | None = None, **headers: str) -> Script:
    """A script that refuses with a status, a ``RetryInfo`` in the body and these headers."""
    details = [] if delay is None else [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]
    body = json.dumps({"error": {"code": status, "message": "Slow down.", "details": details}}).encode()
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]

    def play(context: Context) -> Iterator[steps.Step]:
        yield from context.answer(
            [steps.Chunk(body)], status=status, headers=named, content_type="application/json", framing="length"
        )

    return Script(name="refusing", description="refuses, and names a wait in its own way", play=play)


def _client(call: str) -> Callable[[FaultServer, Retry], Any]:
    def ask(server: FaultServer, retry: Retry) -> Any:
        with llmwatch.Client(retry=retry) as client:
            if call == "stream":
                with client.stream("POST", server.chat_url, json=asking()) as stream:
                    for _ in stream:
                        pass
                return stream.record
            if call == "collect":
                return client.collect("POST", server.chat_url, json=asking()).record
            return client.request("POST", server.chat_url, json=asking(stream=False)).llmwatch_record  # type: ignore[attr-defined]

    return ask


def _session(stream: bool) -> Callable[[FaultServer, Retry], Any]:
    def ask(server: FaultServer, retry: Retry) -> Any:
        with llmwatch.Session(retry=retry) as session:
            response = session.post(server.chat_url, json=asking(stream=stream), stream=stream)
            assert response.content
            return response.llmwatch_record  # type: ignore[attr-defined]

    return ask


def _transport(server: FaultServer, retry: Retry) -> Any:
    httpx = pytest.importorskip("httpx")
    with httpx.Client(transport=Transport(retry=retry), timeout=None) as client:
        response = client.post(server.chat_url, json=asking())
        assert response.content
        return response.extensions["llmwatch"].record


ASKS = {
    "stream": _client("stream"),
    "collect": _client("collect"),
    "request": _client("request"),
    "Session": _session(stream=False),
    "Session, streamed": _session(stream=True),
    "Transport": _transport,
}

NAMED = {
    "RetryInfo": {"delay": f"{WAIT}s"},
    "RetryInfo of an unavailable service": {"status": 503, "delay": f"{WAIT}s"},
    "reset of the requests": {"x_ratelimit_reset_requests": f"{WAIT}s"},
    "reset of the tokens": {"x_ratelimit_reset_tokens": f"{round(WAIT * 1000)}ms"},
    "both resets": {"x_ratelimit_reset_requests": "1ms", "x_ratelimit_reset_tokens": f"{WAIT}s"},
    "garbage beside it": {"retry_after": "soon", "x_ratelimit_reset_tokens": f"{WAIT}s"},
}


@pytest.mark.parametrize("named", NAMED)
@pytest.mark.parametrize("ask", ASKS)
def test_a_named_wait_is_kept(serve: Serve, ask: str, named: str) -> None:
    """The resend comes no earlier than the provider said, and is the second request."""
    server = serve(refusing(**NAMED[named]), "healthy")
    began = time.monotonic()
    record = ASKS[ask](server, BACKOFF)
    assert time.monotonic() - began >= WAIT
    assert record.outcome == "recovered"
    assert record.decisions[0].wait == pytest.approx(WAIT)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "named",
    [
        {},
        {"x_ratelimit_reset_requests": "soon", "x_ratelimit_reset_tokens": "1760000000"},
        {"x_ratelimit_reset_requests": "0s"},
        {"delay": "soon"},
        {"status": 500, "x_ratelimit_reset_requests": "1h"},
        {"status": 503, "x_ratelimit_reset_tokens": "1h"},
    ],
)
@pytest.mark.parametrize("ask", ASKS)
def test_without_a_named_wait_the_back_off_counts(serve: Serve, ask: str, named: dict[str, Any]) -> None:
    """No wait, an invalid one, and a reset beside another status than 429 leave the back-off."""
    server = serve(refusing(**named), "healthy")
    record = ASKS[ask](server, BACKOFF)
    assert record.decisions[0].wait <= 0.01
    assert len(server.requests) == 2


@pytest.mark.parametrize("named", [{"delay": "3600s"}, {"x_ratelimit_reset_requests": "1h0m0s"}])
@pytest.mark.parametrize("ask", ["stream", "collect"])
def test_a_named_wait_above_the_cap_fails_at_once(serve: Serve, ask: str, named: dict[str, Any]) -> None:
    """An hour is longer than any call waits: the error comes at once, with the hour attached."""
    server = serve(refusing(**named), "healthy")
    with pytest.raises(llmwatch.ProviderError) as caught:
        ASKS[ask](server, BACKOFF)
    assert caught.value.retry_after == 3600.0
    assert caught.value.recovery is not None
    assert caught.value.recovery.reason == "retry_after_too_long"
    assert len(server.requests) == 1


@pytest.mark.parametrize("named", [{"delay": "3600s"}, {"x_ratelimit_reset_requests": "1h0m0s"}])
@pytest.mark.parametrize("ask", ["request", "Session", "Session, streamed", "Transport"])
def test_a_status_with_a_wait_above_the_cap_is_returned(serve: Serve, ask: str, named: dict[str, Any]) -> None:
    """At an entry point at which a status never raises, the first status is the answer."""
    server = serve(refusing(**named), "healthy")
    record = ASKS[ask](server, BACKOFF)
    assert [one.reason for one in record.decisions] == ["retry_after_too_long"]
    assert len(server.requests) == 1


def in_stream(delay: str | None, *, before: bytes = b"", document: bool = False) -> Script:
    """A script that answers 200, and refuses in an event of the stream or in a document."""
    details = [] if delay is None else [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]
    refusal = json.dumps({"error": {"code": 429, "message": "Slow down.", "details": details}}).encode()
    body = refusal if document else before + b"data: " + refusal + b"\n\n"
    content_type = "application/json" if document else "text/event-stream"

    def play(context: Context) -> Iterator[steps.Step]:
        yield from context.answer([steps.Chunk(body)], content_type=content_type)

    return Script(name="in-stream", description="refuses inside of the answer", play=play)


@pytest.mark.parametrize("document", [False, True])
@pytest.mark.parametrize("ask", ["stream", "collect"])
def test_a_wait_named_inside_the_answer_is_attached_to_the_error(serve: Serve, ask: str, document: bool) -> None:
    """A wait that a refusal inside the answer names is attached to the error.

    The refusal is in the stream's first event, or in a document with status 200. Without a named wait the error has
    none.
    """
    for delay, seconds in ((f"{WAIT}s", pytest.approx(WAIT)), (None, None)):
        server = serve(in_stream(delay, document=document))
        with pytest.raises(llmwatch.ProviderError) as caught:
            ASKS[ask](server, Retry(max_attempts=1))
        assert caught.value.retry_after == seconds
        assert caught.value.status == 200


def test_a_wait_named_inside_the_answer_is_kept(serve: Serve) -> None:
    """``collect`` resends an answer that a refusal broke off, no earlier than the provider said."""
    server = serve(in_stream(f"{WAIT}s"), "healthy")
    began = time.monotonic()
    record = ASKS["collect"](server, BACKOFF)
    assert time.monotonic() - began >= WAIT
    assert record.decisions[0].wait == pytest.approx(WAIT)
    assert len(server.requests) == 2
