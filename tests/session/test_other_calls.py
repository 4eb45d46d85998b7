"""Calls that are no model calls.

They are watched for silence, and sent again only where their method says that they may be.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests

import llmwatch
from llmwatch import Limits, Retry
from llmwatch.faults import Context, FaultServer, Script, refused_port, steps
from llmwatch.payload import modelcalls
from llmwatch.session.watching_adapter import IDEMPOTENT
from tests.end_to_end.calls import asking
from tests.rows import each
from tests.session.entry_points import Way, caught, record_of, together
from tests.session.scripts import LINES, headless, reply
from tests.session.times import BEAT, LONG, SOON

LIMITS = Limits(ttfb=SOON, stale=SOON)

OTHERS = ["POST", "PATCH", "PURGE"]


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the registrations of the test."""
    monkeypatch.setattr(modelcalls, "_registered", ())


@pytest.mark.parametrize("script", ["silent", "reset-before-response", "fin-before-response"])
@pytest.mark.parametrize("method", sorted(IDEMPOTENT))
def test_an_idempotent_request_is_sent_again(way: Way, method: str, script: str) -> None:
    """GET and its like are recovered from silence and resets before the answer, whatever they ask for."""
    answer = headless(200) if method == "HEAD" else reply(b"yes")

    def ask(stream: bool) -> None:
        with FaultServer([script, answer]) as server:
            response = session.request(method, server.url, stream=stream)
            assert response.content == (b"" if method == "HEAD" else b"yes")
            assert record_of(response).outcome == "recovered"
            assert len(server.requests) == 2

    with way.session(limits=LIMITS) as session:
        together(ask, (True, False))


@pytest.mark.parametrize("script", ["headers-then-silent", "stall-after-content", "reset-mid-stream", "cut-chunk"])
def test_a_get_is_recovered_in_its_body_unless_it_streams(way: Way, script: str) -> None:
    """Loaded whole, a download that breaks off is fetched again; streamed, the caller has its beginning."""
    with FaultServer([script, reply(LINES), script]) as server, way.session(limits=LIMITS) as session:
        assert session.get(server.url + "/stream").content == LINES
        assert len(server.requests) == 2
        response = session.get(server.url + "/stream", stream=True)
        error = caught(requests.RequestException, lambda: response.content)
        assert isinstance(error, (requests.ConnectionError, requests.exceptions.ChunkedEncodingError))
        assert len(server.requests) == 3


@pytest.mark.parametrize("retry", [Retry(backoff=0.01), Retry(resend_with_tools=True, slow_but_alive=True)])
@pytest.mark.parametrize("stream", [True, False])
def test_a_sent_post_that_is_no_model_call_is_never_resent(way: Way, stream: bool, retry: Retry) -> None:
    """A POST or its like fails at once after it was sent, whatever was opted into for model calls."""
    scripts = ["silent", "reset-before-response", "fin-before-response"]

    def ask(method: str) -> None:
        with FaultServer(scripts) as server:
            for count, kind in enumerate([requests.ReadTimeout, requests.ConnectionError, requests.ConnectionError], 1):
                error = caught(kind, session.request, method, server.url, data="x", stream=stream)
                assert isinstance(error, llmwatch.LLMWatchError)
                assert error.recovery is not None
                assert error.recovery.reason == "unreadable_body"
                assert len(server.requests) == count

    with way.session(limits=LIMITS, retry=retry) as session:
        together(ask, OTHERS)


@pytest.mark.parametrize("method", OTHERS)
def test_a_dead_pooled_connection_gives_an_ordinary_post_no_free_resend(way: Way, method: str) -> None:
    """The server may have carried the request out."""
    with FaultServer([reply(), "reset-before-response"]) as server, way.session() as session:
        session.request(method, server.url, data="x")
        error = caught(requests.ConnectionError, session.request, method, server.url, data="x")
        assert isinstance(error, llmwatch.StreamCut)
        assert error.record is not None
        assert error.record.attempts[0].socket_reused
        assert len(server.requests) == 2


def test_an_unsent_request_is_resent_for_every_method(way: Way) -> None:
    """A connection that does not come about is tried again, since nothing was sent."""
    with refused_port() as port, way.session() as session:
        error = caught(requests.ConnectionError, session.post, f"http://127.0.0.1:{port}/", data="x")
    assert isinstance(error, llmwatch.ConnectFailed)
    assert error.record is not None
    assert len(error.record.attempts) == 3


def test_a_generator_is_sent_once(way: Way) -> None:
    """A body that can be read once is not sent again.

    This holds even where the method would allow it, or nothing was sent.
    """

    def pieces() -> Iterator[bytes]:
        yield b"x"

    with FaultServer("silent") as server, way.session(limits=LIMITS) as session:
        caught(requests.ReadTimeout, session.put, server.url, data=pieces())
        assert len(server.requests) == 1
    with refused_port() as port, way.session() as session:
        error = caught(requests.ConnectionError, session.put, f"http://127.0.0.1:{port}/", data=pieces())
        assert isinstance(error, llmwatch.LLMWatchError)
        assert error.recovery is not None
        assert error.recovery.reason == "body_not_replayable"


def test_a_file_is_rewound_before_it_is_sent_again(way: Way, tmp_path: Any) -> None:
    """A PUT of a file whose first attempt was lost arrives whole with the second."""
    (tmp_path / "upload").write_bytes(LINES)
    with FaultServer(["reset-before-response", reply()]) as server, way.session() as session:
        with (tmp_path / "upload").open("rb") as upload:
            upload.seek(10)
            session.put(server.url, data=upload)
        assert [one.body for one in server.requests] == [LINES[10:]] * 2


@each("status", [429, 500, 502, 503, 504])
@each("method", ["GET", "POST"])
@each("stream", [True, False])
def test_a_status_is_returned_at_once(way: Way, method: str, status: int, stream: bool) -> None:
    """One request, one response, whatever ``Retry-After`` says: the script decides about a status."""
    answer = reply(b"busy", status=status, headers=[("Retry-After", "0")])
    with FaultServer(answer) as server, way.session() as session:
        response = session.request(method, server.url, stream=stream)
        assert (response.status_code, response.content) == (status, b"busy")
        assert (record_of(response).outcome, record_of(response).attempts[0].status) == ("done", status)
        assert len(server.requests) == 1


@pytest.mark.parametrize("stream", [True, False])
def test_a_slow_download_is_not_killed(way: Way, stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download that takes longer than every limit goes on while bytes come.

    Only silence counts, also where the single knob or limits on content are set.
    """
    monkeypatch.setenv("LLMWATCH_TIMEOUT_SECONDS", str(SOON))
    limits = Limits(first_content=SOON, progress=SOON)
    pieces = 120

    def slow(context: Context) -> Iterator[steps.Step]:
        yield from context.answer(
            [step for _ in range(pieces) for step in (steps.Chunk(b"12345678"), steps.Wait(BEAT))]
        )

    script = Script(name="slow", description="takes its time", play=slow)
    assert pieces * BEAT > 2 * SOON
    with FaultServer(script) as server, way.session(limits=limits) as session:
        response = session.get(server.url, stream=stream, timeout=SOON)
        assert len(response.content) == 8 * pieces
        assert len(server.requests) == 1


def test_a_slow_reader_of_a_download_is_not_killed(way: Way) -> None:
    """No limit runs while the caller does not read.

    A large download is whole after a pause longer than every limit.
    """
    body = bytes(range(256)) * (64 << 10)
    with FaultServer(reply(body, pieces=16)) as server, way.session(limits=LIMITS) as session:
        response = session.get(server.url, stream=True)
        pieces = response.iter_content(1 << 20)
        found = [next(pieces)]
        threading.Event().wait(1.5 * SOON)
        assert b"".join([*found, *pieces]) == body


def test_other_requests_neither_open_nor_wait_for_the_breaker(way: Way) -> None:
    """A script that polls a server until it is up never waits for the breaker.

    Its failures do not count.
    """
    once = Retry(max_attempts=1, breaker=2)
    with FaultServer(["silent"] * 4 + ["healthy"]) as server, way.session(limits=LIMITS, retry=once) as session:
        for _ in range(4):
            caught(requests.ReadTimeout, session.get, server.url)
        assert session.post(server.chat_url, json=asking()).status_code == 200
        assert len(server.requests) == 5


def test_an_open_breaker_of_model_calls_stops_no_other(way: Way) -> None:
    """A breaker that model calls have opened lets the script's other requests through."""
    once = Retry(max_attempts=1, breaker=1, max_wait=0)
    with FaultServer(["silent", reply(b"up")]) as server, way.session(limits=LIMITS, retry=once) as session:
        caught(requests.ReadTimeout, session.post, server.chat_url, json=asking())
        error = caught(requests.ConnectionError, session.post, server.chat_url, json=asking())
        assert isinstance(error, llmwatch.CircuitOpen)
        assert session.get(server.url).content == b"up"
        assert len(server.requests) == 2


def test_a_url_can_be_registered_as_a_models(way: Way) -> None:
    """``register_model_url`` has a URL's requests treated as model calls.

    They are sent again after silence, and looked into.
    """
    body = {"question": "Why?", "stream": True}
    scripts = ["silent", "silent", "healthy", "eof-without-terminal"]
    with FaultServer(scripts, shape="openai-chat") as server, way.session(limits=LIMITS) as session:
        caught(requests.ReadTimeout, session.post, server.url + "/ask", json=body)
        llmwatch.register_model_url("/ask$")
        response = session.post(server.url + "/ask", json=body)
        assert record_of(response).outcome == "recovered"
        assert len(server.requests) == 3
        response = session.post(server.url + "/ask?key=1", json=body, stream=True)
        caught(llmwatch.StreamTruncated, lambda: response.content)


def test_a_url_can_be_registered_as_no_models(way: Way) -> None:
    """With ``model=False`` a URL's requests are not resent, and their bodies are not decoded."""
    with FaultServer(["silent", "eof-without-terminal"]) as server, way.session(limits=LIMITS) as session:
        llmwatch.register_model_url("/v1/chat", model=False)
        caught(requests.ReadTimeout, session.post, server.chat_url, json=asking())
        assert len(server.requests) == 1
        assert session.post(server.chat_url, json=asking(), stream=True).content
        assert len(server.requests) == 2


def test_a_request_that_is_no_model_call_has_the_limits_of_a_plain_call(way: Way) -> None:
    """No limit on content; an explicit ``total`` or ``deadline`` counts."""
    with FaultServer([reply(), f"drip:every={BEAT}"]) as server, way.session(profile="hosted") as session:
        record = record_of(session.get(server.url))
        names = ("connect", "ttfb", "first_content", "stale", "progress", "total")
        assert [record.limits[name]["value"] for name in names] == [10, 600, None, 360, None, None]
    with FaultServer(f"drip:every={BEAT}") as server, way.session(limits=Limits(total=SOON, ttfb=SOON)) as session:
        error = caught(requests.Timeout, session.get, server.url)
        assert isinstance(error, llmwatch.WatchTimeout)
        assert error.limit == "total"
        assert len(server.requests) == 1


def test_nothing_in_a_body_can_break_a_call(way: Way) -> None:
    """A body that begins like JSON and is none, or is nested beyond reason, goes through as it is."""
    bodies = [b"{", b'{"a": ' * 200_000, "{ä", b'{"model": NaN, "messages": []}', b"\xff\xfe{", bytes(10)]

    def act(session: requests.Session, server: FaultServer) -> Any:
        return [session.post(server.url, data=body).status_code for body in bodies], LONG

    way.alike(act, reply())


def test_a_hook_does_not_make_a_request_repeatable(way: Way) -> None:
    """A request that was never sent may go elsewhere with ``on_retry``.

    There it is sent once, as without the hook.
    """
    with FaultServer(["reset-before-response", reply(b"yes")]) as server, refused_port() as port:
        retry = Retry(backoff=0, on_retry=lambda resend: {"url": server.url, "headers": {"X-One": None}})
        with way.session(retry=retry) as session:
            body = b'{"amount": 5}'
            error = caught(requests.ConnectionError, session.post, f"http://127.0.0.1:{port}/orders", data=body)
        assert isinstance(error, llmwatch.StreamCut)
        assert error.record is not None
        assert [one.reason for one in error.record.decisions] == ["not_connected", "unreadable_body"]
        assert [one.body for one in server.requests] == [body]
