"""``install()`` and ``uninstall()``.

Every session of the process is watched once, and put back without a trace.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
import requests
from requests.adapters import HTTPAdapter

import llmwatch
from llmwatch import CallRecord, Client, Limits, Retry
from llmwatch.faults import FaultServer
from llmwatch.faults.catalogue import ANSWER
from tests.end_to_end.calls import QUICK, asking, eventually, in_thread
from tests.session.entry_points import caught, record_of, text_of
from tests.session.scripts import echo, reply
from tests.session.times import LIMIT, LONG, PATIENCE, SOON


@pytest.fixture(autouse=True)
def uninstalled() -> Iterator[None]:
    """Undo the installation of the test."""
    yield
    llmwatch.uninstall()


@pytest.fixture
def records() -> list[CallRecord]:
    """The records that the sink of an installation has got."""
    return []


def test_sessions_that_exist_and_those_to_come_are_watched(records: list[CallRecord]) -> None:
    """A session of before, one of after, one of a subclass, and the functions of requests."""

    class Legacy(requests.Session):
        pass

    with requests.Session() as before, FaultServer("silent") as server:
        llmwatch.install(limits=Limits(ttfb=LIMIT), retry=Retry.none(), sinks=[records.append])
        with requests.Session() as after, Legacy() as legacy:
            for get in (before.get, after.get, legacy.get, requests.get):
                caught(llmwatch.WatchTimeout, get, server.url)
        assert [one.entry_point for one in records] == ["requests"] * 4
        assert len(server.requests) == 4


def test_a_call_is_watched_once(records: list[CallRecord]) -> None:
    """A call has one worker, one record and one attempt.

    llmwatch is installed twice, around a client, a session and a mounted session.
    """
    inner: list[CallRecord] = []
    settings: dict[str, Any] = {"sinks": [inner.append], "retry": QUICK}
    first: list[CallRecord] = []
    llmwatch.install(sinks=[first.append])
    llmwatch.install(sinks=[records.append], retry=QUICK)
    with (
        FaultServer("late-terminal") as server,
        llmwatch.Session(**settings) as watched,
        requests.Session() as plain,
        requests.Session() as other,
        Client(**settings) as client,
    ):
        llmwatch.mount(other, **settings)
        llmwatch.mount(other, **settings)

        def post(session: requests.Session) -> Any:
            return session.post(server.chat_url, json=asking())

        calls: dict[str, Any] = {
            "session": lambda: post(watched),
            "mounted": lambda: post(other),
            "client": lambda: client.collect("POST", server.chat_url, json=asking()),
            "plain": lambda: post(plain),
        }
        for number, call in enumerate(calls.values(), 1):
            running = in_thread(call)
            server.wait_for_requests(number, PATIENCE)
            assert llmwatch.stats()["workers"] == 1
            server.gate("terminal").set()
            running.result()
            server.gate("terminal").clear()
            eventually(lambda: llmwatch.stats()["workers"] == 0, "the worker is gone")
        assert len(server.requests) == 4
    assert first == []
    assert [len(one.attempts) for one in [*inner, *records]] == [1] * 4
    assert [one.entry_point for one in inner] == ["session", "session", "collect"]
    assert len(records) == 1


def test_installing_again_exchanges_the_settings(records: list[CallRecord]) -> None:
    """The second installation counts from the next call on.

    One ``uninstall`` ends both, and another does nothing.
    """
    llmwatch.install(limits=Limits(ttfb=LONG))
    llmwatch.install(limits=Limits(ttfb=LIMIT), retry=Retry.none(), sinks=[records.append])
    with FaultServer("silent") as server, requests.Session() as session:
        error = caught(llmwatch.WatchTimeout, session.get, server.url)
        assert error.limit_seconds == LIMIT
        llmwatch.uninstall()
        llmwatch.uninstall()
        assert type(session.get_adapter(server.url)) is HTTPAdapter


def test_invalid_settings_change_nothing() -> None:
    """A setting that is refused leaves the installation as it was, or requests untouched."""
    before = requests.Session.get_adapter
    with pytest.raises(llmwatch.ConfigError):
        llmwatch.install(profile="nonsense")
    with pytest.raises(TypeError):
        llmwatch.install(limits=5)  # type: ignore[arg-type]
    assert requests.Session.get_adapter is before
    llmwatch.install()
    installed = requests.Session.get_adapter
    with pytest.raises(llmwatch.ConfigError):
        llmwatch.install(keepalive=-1)
    assert requests.Session.get_adapter is installed


def test_requests_is_as_it_was_afterwards() -> None:
    """``uninstall`` puts back the very function that was there, as often as one likes."""
    before = requests.Session.get_adapter
    for _ in range(3):
        llmwatch.install()
        assert requests.Session.get_adapter is not before
        llmwatch.uninstall()
        assert requests.Session.get_adapter is before


def test_a_stream_goes_on_watched_after_uninstall(records: list[CallRecord]) -> None:
    """A stream that is being read when ``uninstall`` comes is read to its end.

    One that stalls still ends.
    """
    llmwatch.install(limits=Limits(stale=SOON), sinks=[records.append])
    with FaultServer(["late-terminal", "stall-after-content"]) as server, requests.Session() as session:
        first = session.post(server.chat_url, json=asking(), stream=True)
        second = session.post(server.chat_url, json=asking(), stream=True, timeout=(LONG, SOON))
        lines = first.iter_lines()
        assert next(lines)
        llmwatch.uninstall()
        server.gate("terminal").set()
        assert [line for line in lines if line][-1] == b"data: [DONE]"
        caught(llmwatch.WatchTimeout, list, second.iter_lines())
    assert sorted(one.outcome for one in records) == ["done", "failed"]


def test_a_wait_between_attempts_survives_uninstall() -> None:
    """A call that waits before its resend when ``uninstall`` comes is sent again all the same."""
    notices: list[Any] = []
    llmwatch.install(limits=Limits(ttfb=SOON), retry=Retry(backoff=LIMIT), on_notice=notices.append)
    with FaultServer(["silent", "healthy"]) as server, requests.Session() as session:
        running = in_thread(session.post, server.chat_url, json=asking())
        eventually(lambda: any(isinstance(one, llmwatch.RetryNotice) for one in notices), "the resend is planned")
        llmwatch.uninstall()
        assert text_of(running.result()) == ANSWER
        assert len(server.requests) == 2


def test_the_installation_keeps_no_session_alive() -> None:
    """Nothing of a session is kept by the installation once the session is gone.

    No garbage collection is needed for that.
    """
    llmwatch.install()
    with FaultServer(reply()) as server:
        session = requests.Session()
        adapter = session.get_adapter(server.url)
        watched = [weakref.ref(one) for one in (session, *session.adapters.values())]
        assert session.get(server.url).content
        assert session.get(server.url, stream=True).content
        del session, adapter
        assert [ref() for ref in watched] == [None] * 3
        eventually(lambda: server.open_connections == 0, "the idle connection was closed with its pool")


def test_threads_may_call_during_install_and_uninstall() -> None:
    """Calls of eight threads have their own answers meanwhile, and no patch is left."""
    before = requests.Session.get_adapter
    done = threading.Event()

    def calls(number: int, url: str) -> int:
        made = 0
        with requests.Session() as session:
            while not done.is_set() or made < 5:
                body = b"%d-%d" % (number, made)
                assert session.post(url, data=body).content == body
                made += 1
        return made

    with FaultServer(echo()) as server:
        threads = [in_thread(calls, number, server.url) for number in range(8)]
        for _ in range(60):
            llmwatch.install()
            llmwatch.install()
            llmwatch.uninstall()
        done.set()
        assert sum(one.result() for one in threads) == len(server.requests)
    eventually(lambda: llmwatch.stats()["workers"] == 0, "the workers are gone")
    assert requests.Session.get_adapter is before


def test_concurrent_installs_leave_one_installation_or_none() -> None:
    """However threads install and uninstall, in the end there is one installation or none."""
    before = requests.Session.get_adapter

    def turns() -> None:
        for _ in range(200):
            llmwatch.install()
            llmwatch.uninstall()

    for one in [in_thread(turns) for _ in range(4)]:
        one.result()
    llmwatch.install()
    llmwatch.uninstall()
    assert requests.Session.get_adapter is before


def test_another_patch_of_get_adapter_may_come_before_or_after(records: list[CallRecord]) -> None:
    """Another library's patch of ``Session.get_adapter`` keeps llmwatch's neither out nor in.

    An installation under it works, and so does one after it was removed.
    """
    before = requests.Session.get_adapter
    llmwatch.install(sinks=[records.append])
    ours = requests.Session.get_adapter
    with FaultServer(reply()) as server, requests.Session() as session:
        with mock.patch.object(requests.Session, "get_adapter", lambda self, url: ours(self, url)):
            llmwatch.uninstall()
            session.get(server.url)
            llmwatch.install(sinks=[records.append])
            session.get(server.url)
            assert len(records) == 1
        # Theirs has put back what it had found: ours of before.
        session.get(server.url)
        assert len(records) == 2
        llmwatch.uninstall()
        assert requests.Session.get_adapter is before
        session.get(server.url)
        llmwatch.install(sinks=[records.append])
        session.get(server.url)
        assert len(records) == 3


def test_install_patches_again_after_another_library_has_unpatched(records: list[CallRecord]) -> None:
    """If another library has restored the original function, installing again patches it again."""
    before = requests.Session.get_adapter
    llmwatch.install()
    with mock.patch.object(requests.Session, "get_adapter", before):
        llmwatch.install(sinks=[records.append])
        with FaultServer(reply()) as server, requests.Session() as session:
            session.get(server.url)
        assert len(records) == 1
        llmwatch.uninstall()
        assert requests.Session.get_adapter is before
    llmwatch.install()
    llmwatch.uninstall()
    assert requests.Session.get_adapter is before


def test_a_call_in_a_wrapped_function_is_watched_under_install(records: list[CallRecord]) -> None:
    """The call is watched inside the function and shut down with it, whichever came first."""
    limits = Limits(ttfb=LONG)
    with FaultServer("silent") as server, requests.Session() as session:

        def function(first: bool) -> None:
            if first:
                llmwatch.install(limits=limits, sinks=[records.append])
            session.get(server.url)

        for number, first in enumerate((True, False), 1):
            short = Limits(ttfb=LIMIT)
            caught(llmwatch.WatchTimeout, llmwatch.call, function, first, limits=short, retry=Retry.none())
            server.wait_for_closed(number, PATIENCE)
            eventually(lambda: llmwatch.stats()["workers"] == 0, "both workers are gone")
        assert len(server.requests) == 2
        assert llmwatch.stats()["orphans"] == 0


def test_requests_get_returns_a_response_with_a_record(records: list[CallRecord]) -> None:
    """``requests.get`` returns a response with a record, like any other."""
    llmwatch.install(sinks=[records.append])
    with FaultServer(reply()) as server:
        assert record_of(requests.get(server.url)) is records[0]
