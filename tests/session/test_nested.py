"""Calls inside calls.

A watched session is used inside a wrapped function, an auth object, a hook or an adapter.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import requests
from requests.adapters import HTTPAdapter

import llmwatch
from llmwatch import CallRecord, Limits, Retry
from llmwatch.faults import FaultServer
from tests.end_to_end.calls import asking, eventually
from tests.session.entry_points import Way, caught, record_of
from tests.session.scripts import reply
from tests.session.times import LIMIT, LONG, PATIENCE, SOON


def test_a_killed_function_ends_the_call_inside_it(way: Way) -> None:
    """The call is shut down, recorded as ended from outside, and not resent."""
    records: list[CallRecord] = []
    with FaultServer("silent") as server, way.session(sinks=[records.append]) as session:

        def function() -> Any:
            return session.post(server.chat_url, json=asking())

        error = caught(llmwatch.WatchTimeout, llmwatch.call, function, limits=Limits(ttfb=LIMIT), retry=Retry.none())
        assert error.limit == "ttfb"
        server.wait_for_closed(1, PATIENCE)
        eventually(lambda: llmwatch.stats()["workers"] == 0, "both workers are gone")
        eventually(lambda: records, "the inner call has ended")
        assert [(one.outcome, one.cause) for one in records] == [("cancelled", "lifecycle_close")]
        assert len(server.requests) == 1


def test_a_killed_iterator_ends_the_stream_inside_it(way: Way) -> None:
    """The items that came before are delivered."""
    with FaultServer("stall-after-content") as server, way.session() as session:

        def lines() -> Iterator[bytes]:
            with session.post(server.chat_url, json=asking(), stream=True) as response:
                yield from (line for line in response.iter_lines() if line)

        seen: list[bytes] = []

        def read() -> None:
            for line in llmwatch.iterate(lines, limits=Limits(stale=SOON), retry=Retry.none()):
                seen.append(line)

        caught(llmwatch.WatchTimeout, read)
        assert len(seen) == 4
        server.wait_for_closed(1, PATIENCE)
        eventually(lambda: llmwatch.stats()["workers"] == 0, "both workers are gone")
        assert len(server.requests) == 1


def test_an_inner_call_recovers_by_itself(way: Way) -> None:
    """Inside a function that has time, a call is sent again as anywhere else; the function is run once."""
    runs: list[int] = []
    with FaultServer(["silent", "healthy"]) as server, way.session(limits=Limits(ttfb=SOON)) as session:

        def function() -> Any:
            runs.append(1)
            return session.post(server.chat_url, json=asking())

        response = llmwatch.call(function, limits=Limits(ttfb=LONG, total=LONG))
        assert record_of(response).outcome == "recovered"
        assert (len(runs), len(server.requests)) == (1, 2)


def test_an_auth_object_may_make_calls(way: Way) -> None:
    """A token that is fetched over the same session, in the caller's thread, before the request goes out."""
    threads: list[str] = []
    with FaultServer([reply(b"token"), reply(b"yes")]) as server, way.session() as session:

        def sign(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
            threads.append(threading.current_thread().name)
            prepared.headers["Authorization"] = "Bearer " + session.get(server.url + "/token").text
            return prepared

        assert session.get(server.url, auth=sign).content == b"yes"
        assert server.requests[1].header("authorization") == "Bearer token"
    assert threads == [threading.current_thread().name]


def test_an_adapter_may_make_calls(way: Way) -> None:
    """An adapter that makes another call before its own: neither's connections are taken for the other's."""

    class Asking(HTTPAdapter):
        def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
            if request.path_url != "/token":
                request.headers["X-Token"] = other.get(server.url + "/token").text
            return super().send(request, *args, **kwargs)

    session = requests.Session()
    session.mount("http://", Asking())
    with FaultServer([reply(b"token"), reply(b"yes")]) as server, way.session(session) as watched:
        with requests.Session() as other:
            llmwatch.mount(other)
            response = watched.get(server.url)
        assert response.content == b"yes"
        assert server.requests[1].header("x-token") == "token"
        assert len(record_of(response).attempts) == 1
        assert record_of(response).attempts[0].facts["sent"] == "yes"


def test_a_killed_call_ends_the_call_inside_its_adapter(way: Way) -> None:
    """A call that is killed while its adapter waits for another call takes that along."""

    class Asking(HTTPAdapter):
        def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
            other.get(slow.url)
            return super().send(request, *args, **kwargs)

    session = requests.Session()
    session.mount("http://", Asking())
    settings: dict[str, Any] = {"limits": Limits(connect=LIMIT), "retry": Retry.none()}
    with FaultServer(reply()) as server, FaultServer("silent") as slow, way.session(session, **settings) as watched:
        with llmwatch.Session() as other:
            caught(requests.ConnectTimeout, watched.get, server.url)
            slow.wait_for_closed(1, PATIENCE)
            eventually(lambda: llmwatch.stats()["workers"] == 0, "both workers are gone")
        assert len(server.requests) == 0


def test_nested_watching_adapters_make_one_attempt(way: Way) -> None:
    """Nested watching adapters make one attempt, one worker and one record.

    The adapter of a watched session is mounted on another watched session.
    """
    records: list[CallRecord] = []
    with FaultServer("late-terminal") as server, way.session(sinks=[records.append]) as session:
        with llmwatch.Session() as other:
            other.mount("http://", session.get_adapter(server.url))
            response = other.post(server.chat_url, json=asking(), stream=True)
            assert llmwatch.stats()["workers"] == 1
            server.gate("terminal").set()
            assert response.content
        assert [len(one.attempts) for one in records] == [1]
