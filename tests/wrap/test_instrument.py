"""Requests inside a wrapped function, over real sockets.

They are found without help, shut, and left usable otherwise.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import responses
import urllib3
from requests.adapters import HTTPAdapter

import llmwatch
from llmwatch import Decision, Limits, Retry, WatchTimeout
from llmwatch.faults import Context, FaultServer, Script, steps
from llmwatch.faults.catalogue import ANSWER
from llmwatch.hooks import install, uninstall
from llmwatch.transport import context, instrument
from llmwatch.wrap import call, iterate, on_abort
from llmwatch.wrap.instrument import find
from tests.end_to_end.calls import asking, eventually, in_thread
from tests.end_to_end.scripts import late
from tests.end_to_end.times import FREE, LIMIT, LIVELY, LONG, PATIENCE
from tests.wrap.conftest import Serve
from tests.wrap.functions import QUICK, killed, record_of

SHORT = Limits(ttfb=LIMIT)
SOON = Limits(ttfb=LIVELY)


def _answer(context: Context) -> Iterator[steps.Step]:
    yield from context.answer([steps.Chunk(b"Yes.")])


YES = Script(name="yes", description="answers with one word", play=_answer)


def ask(url: str, **options: Any) -> str:
    """A model call as an untouched agent makes it."""
    return requests.post(url, json=asking(stream=False), **options).text


@pytest.fixture(autouse=True)
def requests_is_as_it_was() -> Iterator[None]:
    """Nothing of requests stays changed, once the last function has come back."""
    original = requests.Session.get_adapter
    yield
    eventually(lambda: requests.Session.get_adapter is original, "requests is as it was")
    assert find not in instrument._interceptors


# -- found and shut ----------------------------------------------------------


def test_a_silent_request_is_shut_and_made_again(serve: Serve) -> None:
    """The connection is found without any help, and each kill frees its thread.

    The healthy answer is returned.
    """
    server = serve("silent", "silent", YES)
    before = llmwatch.stats()
    assert call(ask, server.chat_url, limits=SHORT, retry=QUICK) == "Yes."
    assert len(server.requests) == 3
    server.wait_for_closed(2)
    eventually(lambda: llmwatch.stats()["workers"] == before["workers"], "every thread is gone")
    after = llmwatch.stats()
    assert [after[name] for name in ("orphans", "unabortable")] == [before[name] for name in ("orphans", "unabortable")]


def test_a_request_that_stays_silent_is_sent_max_attempts_times(serve: Serve) -> None:
    """Exactly as many requests as attempts; the record has them all, and no orphan is left."""
    server = serve("silent")
    with pytest.raises(WatchTimeout) as caught:
        call(ask, server.chat_url, limits=SHORT, retry=QUICK)
    error = killed(caught, "ttfb", attempts=3, decision=Decision.STOP, reason="attempts_exhausted")
    assert len(server.requests) == 3
    assert [one.orphaned for one in record_of(error).attempts] == [False] * 3
    assert "orphan" not in str(error)


def test_an_answered_request_is_not_repeated(serve: Serve) -> None:
    """The headers of a response show that something was done.

    There is one request, it is shut, and the recovery asks a person.
    """
    server = serve("headers-then-silent")
    with pytest.raises(WatchTimeout) as caught:
        call(ask, server.chat_url, limits=SHORT, retry=QUICK)
    error = killed(caught, "ttfb", attempts=1, decision=Decision.CONFIRM, reason="function_has_beaten")
    assert len(server.requests) == 1
    assert record_of(error).attempts[0].status == 200
    server.wait_for_closed(1)


def test_resend_with_tools_repeats_an_answered_request(serve: Serve) -> None:
    """The same, allowed by its user."""
    server = serve("headers-then-silent", YES)
    allowed = Retry(backoff=0, resend_with_tools=True)
    assert call(ask, server.chat_url, limits=SHORT, retry=allowed) == "Yes."
    assert len(server.requests) == 2


def test_a_silent_request_after_an_answered_one_is_not_repeated(serve: Serve) -> None:
    """The effect of the first request is unknown."""
    server = serve(YES, "silent")

    def function() -> None:
        with requests.Session() as session:
            session.get(server.url)
            session.get(server.url)

    with pytest.raises(WatchTimeout) as caught:
        call(function, limits=SHORT, retry=QUICK)
    killed(caught, "ttfb", attempts=1, decision=Decision.CONFIRM, reason="function_has_beaten")
    assert len(server.requests) == 2


def test_a_function_that_hangs_without_a_socket_is_not_repeated(serve: Serve) -> None:
    """The function is not run again if no socket can be found at the kill.

    Its request has failed before.
    """
    server, free = serve("reset-before-response"), threading.Event()

    def function() -> None:
        with contextlib.suppress(requests.ConnectionError):
            requests.post(server.chat_url, json={})
        free.wait(PATIENCE)

    with pytest.raises(WatchTimeout) as caught:
        call(function, limits=SHORT, retry=QUICK)
    killed(caught, "ttfb", attempts=1, decision=Decision.CONFIRM, reason="function_may_run")
    free.set()


def test_a_loop_that_catches_everything_ends(serve: Serve) -> None:
    """An agent's own retry loop sends nothing any more once its attempt is over, and comes back."""
    server, rounds = serve("silent"), []

    def agent() -> None:
        while True:
            rounds.append(1)
            try:
                ask(server.chat_url)
            except Exception:
                continue

    with pytest.raises(WatchTimeout):
        call(agent, limits=SHORT, retry=Retry.none())
    eventually(lambda: llmwatch.stats()["workers"] == 0, "the loop has ended")
    assert len(rounds) <= 2
    assert len(server.requests) == 1


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("script", ["silent", "headers-then-silent", "stall-after-content"])
def test_a_stuck_request_is_shut_in_every_phase(
    serve: Serve, server_tls: Any, bundle: str, script: str, secure: bool
) -> None:
    """The thread is gone within a second.

    The kill comes before the headers, before the body, or in the body; plain and over TLS.
    """
    server = serve(script, tls=server_tls if secure else None)

    def function() -> None:
        with requests.post(server.chat_url, json=asking(), stream=True, verify=bundle) as response:
            for _ in response.iter_content(None):
                pass

    with pytest.raises(WatchTimeout):
        # Its limit counts from the start of the function, which on a busy machine has not sent anything by then.
        call(function, limits=SOON, retry=Retry.none())
    eventually(lambda: llmwatch.stats()["workers"] == 0, "the thread is gone", FREE)
    assert len(server.requests) == 1


def test_a_stuck_tls_handshake_is_shut(serve: Serve) -> None:
    """A TLS handshake that is never answered is shut as well."""
    server = serve(tls_silent=True)
    with pytest.raises(WatchTimeout):
        call(ask, server.chat_url, limits=SHORT, retry=Retry.none())
    eventually(lambda: llmwatch.stats()["workers"] == 0, "the thread is gone", FREE)


def test_a_stall_in_a_watched_iterator_is_shut(serve: Serve) -> None:
    """A generator over ``iter_lines``: its lines come out, and the stall after them is shut."""
    server = serve("stall-after-content:tokens=3")

    def lines() -> Iterator[bytes]:
        with requests.post(server.chat_url, json=asking(), stream=True) as response:
            yield from (line for line in response.iter_lines(1) if line)

    seen = []
    with pytest.raises(WatchTimeout) as caught:
        for line in iterate(lines, limits=Limits(ttfb=LONG, stale=LIMIT)):
            seen.append(line)
    assert caught.value.limit == "stale"
    assert len(seen) >= 3
    assert len(server.requests) == 1
    server.wait_for_closed(1)


def test_a_cancellation_shuts_the_request_inside(serve: Serve) -> None:
    """A cancellation frees the thread, not only the caller."""
    server, token = serve("silent"), llmwatch.CancelToken()
    running = in_thread(call, ask, server.chat_url, cancel=token)
    server.wait_for_requests(1)
    token.cancel()
    with pytest.raises(llmwatch.Cancelled):
        running.result()
    server.wait_for_closed(1)
    eventually(lambda: llmwatch.stats()["workers"] == 0, "the thread is gone", FREE)


# -- left as it was ----------------------------------------------------------


def test_the_users_connections_stay_usable(serve: Serve) -> None:
    """A session goes on over the same connection: in the function, after it, and in the next."""
    server = serve(YES)
    with requests.Session() as session:

        def function() -> str:
            return session.get(server.url).text + session.get(server.url).text

        assert call(function) == "Yes.Yes."
        assert session.get(server.url).text == "Yes."
        assert call(function) == "Yes.Yes."
    assert len(server.requests) == 5
    assert server.connections == 1


def test_a_body_may_be_read_after_the_function(serve: Serve) -> None:
    """A streamed response that the function returns is its caller's, and so is its connection."""
    server = serve(YES)
    with requests.Session() as session:
        response = call(session.get, server.url, stream=True)
        assert response.content == b"Yes."
        assert session.get(server.url).text == "Yes."
    assert server.connections == 1


def test_a_connection_of_a_killed_function_is_not_used_again(serve: Serve) -> None:
    """The session itself stays usable."""
    server = serve("silent", YES)
    with requests.Session() as session:
        with pytest.raises(WatchTimeout):
            call(session.get, server.url, limits=SHORT, retry=Retry.none())
        assert session.get(server.url).text == "Yes."
    assert server.connections == 2
    # An exception of urllib3 holds itself, and its pool closes its connections when the pool is freed: once the worker
    # that raised it, and was not waited for, has let go of it.
    eventually(lambda: not any(one.name == "llmwatch-worker" for one in threading.enumerate()), "the worker ends")
    gc.collect()


def test_an_adapter_keeps_what_it_was_made_for(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """Its class, its headers, its pool sizes, its own retries, which are the function's business."""

    class Mine(HTTPAdapter):
        sent = 0

        def add_headers(self, request: requests.PreparedRequest, **kwargs: Any) -> None:
            Mine.sent += 1
            request.headers["X-Mine"] = "yes"

    server = serve("status:status=503", YES)
    retries = urllib3.util.Retry(total=2, status_forcelist=[503], backoff_factor=0)
    adapter = Mine(pool_maxsize=3, max_retries=retries)
    with requests.Session() as session, caplog.at_level(logging.WARNING, "llmwatch"):
        session.mount("http://", adapter)
        assert call(session.get, server.url).text == "Yes."
        assert session.get_adapter(server.url) is adapter
        (pool,) = (adapter.poolmanager.pools[key] for key in adapter.poolmanager.pools.keys())  # noqa: SIM118
        assert pool.pool.maxsize == 3
    assert Mine.sent == 1
    assert [request.header("x-mine") for request in server.requests] == ["yes", "yes"]
    assert caplog.text == ""


def test_other_threads_are_left_alone(serve: Serve) -> None:
    """While a function runs, a session that is used elsewhere gets its own adapter.

    Its socket is not shut.
    """
    server, free = serve(late()), threading.Event()
    session = requests.Session()
    watched = in_thread(call, lambda: free.wait(PATIENCE), abort=lambda: None)
    eventually(lambda: find in instrument._interceptors, "the function runs")
    assert type(session.get_adapter(server.url)) is HTTPAdapter
    other = in_thread(session.get, server.url)
    server.wait_for_requests(1)
    free.set()
    watched.result()
    server.gate("rest").set()
    assert other.result().status_code == 200
    session.close()


def test_a_time_out_inside_the_function_is_kept(serve: Serve) -> None:
    """``timeout=`` inside the function raises what requests raises, and that comes out."""
    server = serve("silent")
    with pytest.raises(requests.ReadTimeout):
        call(ask, server.chat_url, timeout=(LONG, LIMIT), limits=Limits(ttfb=LONG))
    assert len(server.requests) == 1


def test_a_connect_time_out_inside_the_function_is_kept(serve: Serve) -> None:
    """The time-out holds for the handshakes too."""
    server = serve(tls_silent=True)
    with pytest.raises(requests.Timeout):
        call(ask, server.chat_url, timeout=(LIMIT, LONG), limits=Limits(ttfb=LONG))


def test_errors_inside_the_function_are_those_of_requests(serve: Serve) -> None:
    """A connection that is refused or reset raises inside the function what it raises without llmwatch."""
    refused = FaultServer("healthy")
    refused.stop()
    with pytest.raises(requests.ConnectionError):
        call(ask, refused.chat_url)
    server = serve("reset-before-response")
    with pytest.raises(requests.ConnectionError):
        call(ask, server.chat_url)
    assert len(server.requests) == 1


def test_responses_mocks_work_inside_a_function() -> None:
    """Its answers are given, its errors raised."""
    with responses.RequestsMock() as mock:
        mock.get("https://provider.test/", body="mocked")
        mock.get("https://provider.test/broken", body=requests.ConnectionError("mocked"))
        assert call(lambda: requests.get("https://provider.test/").text) == "mocked"
        with pytest.raises(requests.ConnectionError, match="mocked"):
            call(requests.get, "https://provider.test/broken")


def test_connections_through_a_proxy_of_one_request_are_found(serve: Serve) -> None:
    """Connections through a proxy that only this request names are found as well."""
    server = serve("silent")
    with pytest.raises(WatchTimeout) as caught:
        call(
            requests.get,
            "http://provider.test/",
            proxies={"http": server.url},
            limits=SHORT,
            retry=Retry(backoff=0, max_attempts=2),
        )
    killed(caught, "ttfb", attempts=2, decision=Decision.STOP, reason="attempts_exhausted")
    assert len(server.requests) == 2


def test_a_client_call_inside_ends_with_the_function(serve: Serve) -> None:
    """A waiting call through llmwatch ends with the function; one that was answered is a sign of it."""
    silent, healthy = serve("silent"), serve()

    def waits() -> None:
        llmwatch.collect("POST", silent.chat_url, json=asking(), limits=Limits(ttfb=LONG))

    with pytest.raises(WatchTimeout) as caught:
        call(waits, limits=SHORT, retry=Retry(backoff=0, max_attempts=2))
    killed(caught, "ttfb", attempts=2, decision=Decision.STOP, reason="attempts_exhausted")
    assert len(silent.requests) == 2
    silent.wait_for_closed(2)
    eventually(lambda: llmwatch.stats()["workers"] == 0, "every thread is gone", FREE)

    free = threading.Event()

    def answered() -> None:
        on_abort(free.set)
        with llmwatch.Client() as client:
            assert client.collect("POST", healthy.chat_url, json=asking()).text == ANSWER
        free.wait(PATIENCE)

    with pytest.raises(WatchTimeout) as caught:
        call(answered, limits=Limits(ttfb=5 * LIMIT), retry=QUICK)
    killed(caught, "ttfb", attempts=1, decision=Decision.CONFIRM, reason="function_has_beaten")
    assert len(healthy.requests) == 1


def test_the_request_context_belongs_to_the_workers_thread(serve: Serve) -> None:
    """A request context belongs to the worker's thread alone."""
    server = serve(YES)
    assert call(lambda: (ask(server.chat_url), context.current() is not None)) == ("Yes.", True)
    assert context.current() is None


def test_many_functions_at_once(serve: Serve) -> None:
    """Functions in many threads, on one session, with healthy and silent answers: each gets its own."""
    server, silent = serve(YES), serve("silent")
    session = requests.Session()
    session.mount("http://", HTTPAdapter(pool_maxsize=64))

    def one(number: int) -> bool:
        if number % 2:
            return bool(call(lambda: session.get(server.url).text) == "Yes.")
        with pytest.raises(WatchTimeout):
            call(session.get, silent.url, limits=SHORT, retry=Retry.none())
        return True

    running = [in_thread(one, number) for number in range(40)]
    assert all(each.result(LONG) for each in running)
    assert (len(server.requests), len(silent.requests)) == (20, 20)
    eventually(lambda: llmwatch.stats()["workers"] == 0, "every thread is gone", FREE)
    assert session.get(server.url).text == "Yes."
    session.close()


def test_a_request_inside_a_function_is_an_inner_call_under_install(serve: Serve) -> None:
    """The request of a function ends with the function if every session is watched already.

    Its socket is found, and its answer is a sign of life.
    """
    silent, stalls, healthy = serve("silent"), serve("headers-then-silent"), serve(YES)
    original = requests.Session.get_adapter
    install(limits=Limits(ttfb=LONG))
    try:
        assert call(ask, healthy.chat_url) == "Yes."
        twice = Retry(backoff=0, max_attempts=2)
        with pytest.raises(WatchTimeout) as caught:
            call(ask, silent.chat_url, limits=SHORT, retry=twice)
        killed(caught, "ttfb", attempts=2, decision=Decision.STOP, reason="attempts_exhausted")
        with pytest.raises(WatchTimeout) as caught:
            call(ask, stalls.chat_url, limits=SHORT, retry=twice)
        killed(caught, "ttfb", attempts=1, decision=Decision.CONFIRM, reason="function_has_beaten")
        eventually(lambda: llmwatch.stats()["workers"] == 0, "every thread is gone", FREE)
    finally:
        uninstall()
    assert requests.Session.get_adapter is original
    assert [len(server.requests) for server in (silent, stalls, healthy)] == [2, 1, 1]
