"""What a client sees of a failure: whether to send again, and that an answer is not whole."""

from __future__ import annotations

import httpx
import pytest

from llmwatch import errors
from llmwatch.faults import Script, steps
from llmwatch.proxy.error_answers import retry_headers
from tests.proxy.serving import BODY, PATH, connect, exchange, proxied, request_bytes

pytestmark = pytest.mark.usefixtures("baseline", "quick")

EVENT = b'data: {"choices": [{"index": 0, "delta": {"content": "Hello"}}]}\n\n'


@pytest.mark.parametrize(
    ("script", "attempts", "retries"),
    [("status:status=503", "3", "false"), ("bad-request", "3", "false"), ("status:status=503", "1", None)],
)
def test_an_error_status_is_not_retried_twice(
    monkeypatch: pytest.MonkeyPatch, script: str, attempts: str, retries: str | None
) -> None:
    """The SDK is told not to where llmwatch has resent or a resend could not work; else it decides."""
    monkeypatch.setenv("LLMWATCH_MAX_ATTEMPTS", attempts)
    with proxied(script) as (proxy, _, _), httpx.Client() as client:
        answer = client.post(proxy.url + PATH, json=BODY)
        assert answer.headers.get("x-should-retry") == retries


def test_a_known_wait_is_told_in_whole_seconds() -> None:
    """It is rounded up: a client that comes before would be refused again."""
    error = errors.CircuitOpen("closed", retry_after=1.2)
    assert ("Retry-After", "2") in retry_headers(error)
    assert "Retry-After" not in dict(retry_headers(errors.EmptyStream("nothing")))


def test_an_error_event_follows_whole_events_only() -> None:
    """Behind half an event it would be read as the event's rest."""
    for sent, told in ((EVENT, True), (EVENT + b'data: {"cho', False)):
        head = steps.Head(200, (("Content-Type", "text/event-stream"),))
        script = Script.of("stalls", head, steps.Chunk(sent), steps.Hang())
        with proxied(script) as (proxy, _, _):
            got = exchange(proxy, request_bytes(proxy))
            assert b"Hello" in got
            assert (b"llmwatch_stale" in got) is told
            assert not got.endswith(b"0\r\n\r\n")


def test_a_client_of_http_1_0_sees_a_cut_too() -> None:
    """The end of its connection is that of a body without a length, so a cut is a reset."""
    with proxied("stall-after-content") as (proxy, _, _), connect(proxy) as client:
        client.sendall(request_bytes(proxy).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        with pytest.raises(ConnectionResetError):
            while client.recv(65536):
                pass
