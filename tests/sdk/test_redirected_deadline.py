"""A model call that is redirected is one call to its deadline, whichever side follows the redirects."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import requests

from llmwatch import Limits, Retry, WatchTimeout
from llmwatch.faults import FaultServer, Script, steps
from llmwatch.sdk import Transport
from llmwatch.transport.redirects import end_of, sent_on
from tests.rows import each
from tests.sdk.following import ENTRY_POINTS
from tests.sdk.times import LONG, SOON

PLAIN = {"model": "m", "messages": []}
STREAM = {**PLAIN, "stream": True}
RETRY = Retry.none()


def _slow_circle() -> Script:
    """Sends back to where it was asked, after more than half of the deadline."""
    head = steps.Head(307, [("Location", "/v1/chat/completions")], "length", 0)
    return Script.of("circle", steps.Wait(0.6 * SOON), head, steps.End())


@each(("entry_point", "body"), list(zip(ENTRY_POINTS, [PLAIN, STREAM, STREAM, PLAIN], strict=True)))
def test_the_deadline_spans_redirects(entry_point: Any, body: dict[str, Any]) -> None:
    """The deadline counts from the first request.

    No single request exceeds it, and the second is the last.
    """
    with FaultServer(_slow_circle()) as server, entry_point(limits=Limits(deadline=SOON), retry=RETRY) as session:
        with pytest.raises(WatchTimeout) as caught:
            session.post(server.chat_url, json=body)
        error = caught.value
        assert (error.limit, error.limit_seconds) == ("deadline", SOON)
        assert error.elapsed >= SOON
        assert len(server.requests) <= 2


@each("entry_point", ENTRY_POINTS)
def test_a_redirect_within_the_deadline_is_followed(entry_point: Any) -> None:
    """A deadline that is far away changes nothing."""
    head = steps.Head(307, [("Location", "/v1/chat/completions")], "length", 0)
    there = Script.of("there", head, steps.End())
    with (
        FaultServer([there, there, "healthy"]) as server,
        entry_point(limits=Limits(deadline=LONG), retry=RETRY) as session,
    ):
        assert session.post(server.chat_url, json=STREAM).status_code == 200
        assert len(server.requests) == 3


def test_a_request_of_the_program_begins_another_call() -> None:
    """Only the request that follows a redirect continues the call."""
    prepared = requests.Request("POST", "http://a.example/v1/chat/completions", json=PLAIN).prepare()
    assert end_of(prepared) is None
    sent_on(prepared, 5.0)
    assert end_of(prepared) is None
    following = prepared.copy()
    assert (end_of(following), end_of(following), end_of(following.copy())) == (5.0, None, None)
    assert end_of(prepared.copy()) is None
    sent_on(following, 7.0)
    assert (end_of(following), end_of(following.copy())) == (None, 7.0)


def test_a_request_of_httpx_begins_another_call() -> None:
    """Its extensions are those of the request that follows it.

    The end of its own call does not end the next.
    """
    head = steps.Head(307, [("Location", "/v1/chat/completions")], "length", 0)
    with FaultServer([Script.of("there", head, steps.End()), "healthy"]) as server:
        transport = Transport(limits=Limits(deadline=LONG), retry=RETRY)
        with httpx.Client(transport=transport, timeout=None) as client:
            request = client.build_request("POST", server.chat_url, json=STREAM)
            assert client.send(request).status_code == 307
            sent, ends_at = request.extensions["llmwatch_ends_at"]
            assert sent() is request
            request.extensions["llmwatch_ends_at"] = sent, ends_at - 2 * LONG
            assert client.send(request).status_code == 200
