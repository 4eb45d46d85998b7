"""Redirects of every kind are known by their head alone and never silent.

They are bounded in number and in what is read.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any

import pytest
import requests

import llmwatch
from llmwatch import Decision, Limits, Retry
from llmwatch.faults import Script, refused_port, steps
from llmwatch.faults.catalogue import ANSWER
from llmwatch.watch import machine
from tests.end_to_end.calls import Outcome, asking, collect, request, stream
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import FREE, LIMIT, PULSE

ENTRY_POINTS = [stream, collect, request]
PASSWORD = "hunter2plain"

ENDLESS = [steps.Repeat([steps.Chunk(b"x" * 65536)])]
BODIES = {
    "missing": ("length", 10, [steps.Hang()]),
    "cut": ("length", 10, [steps.Chunk(b"abc"), steps.Reset()]),
    "slow": ("close", 0, [steps.Repeat([steps.Chunk(b"x")], every=PULSE)]),
    "endless": ("chunked", 0, ENDLESS),
}
"""What may come in place of a redirect's short body: framing, announced length, steps."""

MALFORMED = (
    "http://[::1",
    "http://127.0.0.1:99999/",
    f"http://127.0.0.1:{PASSWORD}/",
    f"http://user:{PASSWORD}@127.0.0.1:port/",
    f"http://user:{PASSWORD}@a..b/",
    f"ftp://user:{PASSWORD}@127.0.0.1/",
    "https:///nowhere",
)


def _to(location: str, status: int = 307, body: str | None = None) -> Script:
    framing, length, rest = BODIES[body] if body else ("length", 0, [steps.End()])
    head = steps.Head(status, [("Location", location)], framing, length)  # type: ignore[arg-type]
    played: Sequence[steps.Step] = rest  # type: ignore[assignment]
    return Script.of(f"redirect {status}", head, *played)


def _get(client: Any, url: str, **options: Any) -> Outcome:
    """The outcome of a plain GET; its value is the response."""
    outcome = Outcome()
    try:
        outcome.value = client.request("GET", url, **options)
        outcome.record = outcome.value.llmwatch_record
    except llmwatch.LLMWatchError as error:
        outcome.error, outcome.record = error, error.record
    return outcome


@pytest.mark.parametrize("entry_point", [stream, collect])
@pytest.mark.parametrize("body", BODIES)
def test_a_redirect_that_is_not_followed_is_final_before_its_body(
    serve: Serve, connect: Connect, entry_point: Any, body: str
) -> None:
    """The error comes with the head, with any body: one request, and the target of the redirect."""
    for status in (302, 307):
        server = serve(_to("http://127.0.0.1:9/elsewhere?key=1", status, body))
        outcome = entry_point(connect(limits=Limits(ttfb=LIMIT)), server.chat_url)
        error = outcome.failed(llmwatch.ProviderError)
        assert (error.status, error.retryable) == (status, False)
        assert "http://127.0.0.1:9/elsewhere" in str(error)
        assert error.recovery is not None
        assert (error.recovery.decision, error.recovery.reason) == (Decision.STOP, "redirected")
        assert outcome.record.attempts[0].response_bytes == 0
        assert len(server.requests) == 1


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
@pytest.mark.parametrize("body", BODIES)
def test_the_body_of_a_redirect_that_is_followed_is_not_waited_for(
    serve: Serve, connect: Connect, entry_point: Any, body: str
) -> None:
    """A 307 within the origin is followed by its head, on a connection of its own; its body is not read."""
    server = serve(_to("/v1/chat/completions?moved=1", 307, body), "healthy")
    outcome = entry_point(connect(limits=Limits(ttfb=LIMIT + FREE)), server.chat_url)
    outcome.done()
    assert outcome.elapsed < LIMIT + FREE
    assert [(one.method, one.json()) for one in server.requests] == [("POST", server.requests[0].json())] * 2
    assert [one.connection for one in server.requests] == [1, 2]


@pytest.mark.parametrize("body", BODIES)
def test_a_get_follows_a_redirect_without_reading_its_body(serve: Serve, connect: Connect, body: str) -> None:
    """A GET follows every redirect in the same way, and its history has the redirect, without its body."""
    server = serve(_to("/v1/chat/completions?moved=1", 302, body), "healthy")
    outcome = _get(connect(limits=Limits(ttfb=LIMIT + FREE)), server.chat_url)
    outcome.done()
    assert outcome.value.status_code == 200
    assert [(one.status_code, one.content) for one in outcome.value.history] == [(302, b"")]
    assert len(server.requests) == 2


def test_a_redirect_without_a_body_keeps_its_connection(serve: Serve, connect: Connect) -> None:
    """After a head that announces no body, the next request uses the same connection."""
    server = serve(_to("/v1/chat/completions?moved=1"), "healthy")
    stream(connect(), server.chat_url).done()
    assert [one.connection for one in server.requests] == [1, 1]


@pytest.mark.parametrize("body", ["slow", "missing"])
def test_the_body_of_a_redirect_that_is_returned_is_bounded(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    """A plain call returns the redirect of a POST with the part of its body that comes in time.

    The time is that of an error's body.
    """
    monkeypatch.setattr(machine, "ERROR_BODY", 2 * LIMIT)
    server = serve(_to("/elsewhere", 302, body))
    outcome = request(connect(limits=Limits(ttfb=LIMIT, stale=0)), server.chat_url)
    assert outcome.value.status_code == 302
    assert outcome.value.next.url == f"{server.url}/elsewhere"
    assert 2 * LIMIT <= outcome.elapsed < 2 * LIMIT + FREE
    assert len(server.requests) == 1


def test_the_size_of_a_redirect_that_is_returned_is_bounded(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endless body is returned as far as that of an error would be."""
    monkeypatch.setattr("llmwatch.engine.exchange.PLAIN_ERROR_SIZE", 1 << 20)
    server = serve(_to("/elsewhere", 302, "endless"))
    outcome = request(connect(), server.chat_url)
    assert (outcome.value.status_code, len(outcome.value.content)) == (302, 1 << 20)
    assert len(server.requests) == 1


@pytest.mark.parametrize("entry_point", [*ENTRY_POINTS, _get])
@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_to_an_invalid_url_is_a_provider_error(
    serve: Serve, connect: Connect, entry_point: Any, status: int
) -> None:
    """The error has a record, and no part of the location is in it."""
    for location in MALFORMED:
        server = serve(_to(location, status))
        error = entry_point(connect(), server.chat_url).failed(llmwatch.ProviderError)
        assert (error.status, error.retryable) == (status, False)
        assert "a redirect without a usable target" in str(error)
        assert error.__cause__ is error.__context__ is None
        said = "".join(traceback.format_exception(error)) + str(error.record.to_dict())
        assert PASSWORD not in said
        assert len(server.requests) == 1


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_later_attempts_of_a_call_start_at_the_redirects_target(
    serve: Serve, connect: Connect, entry_point: Any
) -> None:
    """Each later attempt takes one request; the next call begins at the original URL."""
    server = serve(_to("/v1/chat/completions?moved=1"), "status:status=503", "status:status=503", "healthy", "healthy")
    client = connect(retry=Retry(backoff=0))
    outcome = entry_point(client, server.chat_url, params={"version": "1"}, cookies={"mine": "1"})
    record = outcome.done("recovered")
    assert len(record.attempts) == 3
    targets = [one.target for one in server.requests]
    assert targets == ["/v1/chat/completions?version=1", *["/v1/chat/completions?moved=1"] * 3]
    assert [one.header("cookie") for one in server.requests] == ["mine=1"] * 4
    assert {one.body for one in server.requests} == {server.requests[0].body}
    entry_point(client, server.chat_url).done()
    assert server.requests[4].target == "/v1/chat/completions"


@pytest.mark.parametrize("entry_point", [stream, collect])
def test_a_call_follows_five_redirects_in_all(serve: Serve, connect: Connect, entry_point: Any) -> None:
    """Redirects are counted over all attempts of a call: the sixth is final."""
    hops = [_to(f"/v1/chat/completions?hop={number}") for number in range(6)]
    server = serve(*hops[:3], "status:status=503", *hops[3:5], "status:status=503", hops[5])
    error = entry_point(connect(retry=Retry(backoff=0)), server.chat_url).failed(llmwatch.ProviderError)
    assert (error.status, error.retryable) == (307, False)
    assert len(error.record.attempts) == 3
    assert len(server.requests) == 8
    server = serve(*[_to("/v1/chat/completions")] * 5, "status:status=503", "healthy")
    entry_point(connect(retry=Retry(backoff=0)), server.chat_url).done("recovered")
    assert len(server.requests) == 7


def test_a_hooks_url_goes_before_a_redirects(serve: Serve, connect: Connect) -> None:
    """``on_retry`` with a URL or parameters of its own decides where a resend goes.

    Without them the redirect's target decides.
    """
    for changes, target in (
        ({"url": "{}/v1/chat/completions?own=1"}, "/v1/chat/completions?own=1"),
        ({"params": {"own": "1"}}, "/v1/chat/completions?own=1"),
        ({"headers": {"X-One": "1"}}, "/v1/chat/completions?moved=1"),
    ):
        server = serve(_to("/v1/chat/completions?moved=1"), "status:status=503", "healthy")
        named = {name: value.format(server.url) if name == "url" else value for name, value in changes.items()}  # type: ignore[attr-defined]
        stream(connect(retry=Retry(backoff=0, on_retry=lambda resend, to=named: to)), server.chat_url).done("recovered")
        assert [one.target for one in server.requests][-1] == target


def test_a_hooks_url_does_not_reset_the_number_of_redirects(serve: Serve, connect: Connect) -> None:
    """A hook's new URL does not allow further redirects."""
    server = serve(_to("/v1/chat/completions"), "status:status=503", *[_to("/v1/chat/completions")] * 9)
    retry = Retry(backoff=0, on_retry=lambda resend: {"url": server.chat_url + "?own=1"})
    error = stream(connect(retry=retry), server.chat_url).failed(llmwatch.ProviderError)
    assert error.status == 307
    assert len(server.requests) == 2 + 4 + 1


def test_a_get_is_followed_as_often_as_its_session_allows(serve: Serve, connect: Connect) -> None:
    """``max_redirects`` of the lent session ends a circle with ``ProviderError``.

    The client follows exactly so many redirects.
    """
    server = serve(_to("/v1/chat/completions", 302))
    with requests.Session() as lender:
        lender.max_redirects = 2
        error = _get(connect(session=lender), server.chat_url).failed(llmwatch.ProviderError)
    assert (error.status, error.retryable) == (302, False)
    assert len(server.requests) == 3


def test_a_get_takes_no_credentials_to_another_host(serve: Serve, connect: Connect) -> None:
    """``Authorization`` stays with its host, as in requests.

    The other headers go along, and the way is in the history.
    """
    there = serve("healthy")
    here = serve(_to("/on", 301), _to(f"http://localhost:{there.port}/v1/chat/completions", 302))
    outcome = _get(connect(), here.chat_url, headers={"Authorization": "Bearer one", "X-One": "1"})
    assert outcome.value.status_code == 200
    assert [one.header("authorization") for one in (*here.requests, *there.requests)] == [*["Bearer one"] * 2, None]
    assert there.requests[0].header("x-one") == "1"
    assert [(one.status_code, one.url) for one in outcome.value.history] == [
        (301, here.chat_url),
        (302, f"{here.url}/on"),
    ]
    assert [len(one.history) for one in outcome.value.history] == [0, 1]


def test_a_streamed_get_follows_redirects(serve: Serve, connect: Connect) -> None:
    """A GET follows redirects in every entry point."""
    server = serve(_to("/v1/chat/completions?moved=1", 307, "missing"), "healthy")
    with connect(limits=Limits(ttfb=LIMIT + FREE)).stream("GET", server.chat_url, json=asking()) as events:
        assert "".join(event.text for event in events) == ANSWER
    assert [one.method for one in server.requests] == ["GET", "GET"]


def test_a_redirect_to_a_refusing_port_names_that_port(serve: Serve, connect: Connect) -> None:
    """A GET that is redirected to a port that refuses is a failure to connect to that port.

    A connection that breaks behind a redirect stays a cut.
    """
    client = connect()
    with refused_port() as port:
        server = serve(_to(f"http://127.0.0.1:{port}/moved", 302))
        found = _get(client, server.chat_url, retry=Retry(max_attempts=1)).error
    assert isinstance(found, llmwatch.ConnectFailed)
    assert (found.cause, found.retryable) == ("refused", True)
    assert f"127.0.0.1:{port} refused" in str(found)
    assert len(server.requests) == 1
    broken = serve("reset-before-response")
    server = serve(_to(f"{broken.url}/moved", 302))
    assert isinstance(_get(client, server.chat_url, retry=Retry(max_attempts=1)).error, llmwatch.StreamCut)


def test_an_authentications_refused_request_names_its_own_host(serve: Serve, connect: Connect) -> None:
    """The error of a request that an authentication sends elsewhere names the place that it connected to."""

    class Elsewhere(requests.auth.AuthBase):
        def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
            prepared.register_hook("response", self.again)  # type: ignore[no-untyped-call]
            return prepared

        def again(self, response: requests.Response, **settings: Any) -> requests.Response:
            following = response.request.copy()
            following.url = f"http://127.0.0.1:{port}/token"
            return response.connection.send(following, **settings)

    with refused_port() as port:
        found = request(connect(), serve("healthy").chat_url, auth=Elsewhere(), retry=Retry(max_attempts=1)).error
    assert isinstance(found, llmwatch.ConnectFailed)
    assert f"127.0.0.1:{port} refused" in str(found)
