"""A system without a thread to spare, in every entry point."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable, Iterator

import httpx
import pytest
import requests

import llmwatch
from llmwatch import Client, Retry, TooManyThreads
from tests.end_to_end.calls import asking
from tests.end_to_end.conftest import Serve

Call = Callable[[str], object]


def stream(url: str) -> object:
    with Client() as client, client.stream("POST", url, json=asking()) as answer:
        return list(answer)


def collect(url: str) -> object:
    with Client() as client:
        return client.collect("POST", url, json=asking())


def request(url: str) -> object:
    with Client() as client:
        return client.request("POST", url, json=asking())


def session(url: str) -> object:
    with llmwatch.Session() as one:
        return one.post(url, json=asking())


def mounted(url: str) -> object:
    with requests.Session() as one:
        return llmwatch.mount(one).post(url, json=asking())


def installed(url: str) -> object:
    llmwatch.install()
    try:
        return requests.post(url, json=asking(), stream=True)
    finally:
        llmwatch.uninstall()


def transport(url: str) -> object:
    with httpx.Client(transport=llmwatch.sdk.Transport()) as one:
        return one.post(url, json=asking())


def call(url: str) -> object:
    return llmwatch.call(requests.post, url, json=asking())


def iterate(url: str) -> object:
    return list(llmwatch.iterate(lambda: requests.post(url, json=asking())))


@llmwatch.watched()
def watched(url: str) -> object:
    return requests.post(url, json=asking())


def refreshing(url: str) -> object:
    auth = llmwatch.refreshing(lambda: requests.post(url).text)
    return requests.post(url, auth=auth)


OURS: list[Call] = [stream, collect, request, call, iterate, watched]
OF_REQUESTS: list[Call] = [session, mounted, installed, refreshing]


@pytest.fixture(params=["Thread.start", "start_new_thread"])
def no_threads(request: pytest.FixtureRequest, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a provider, while no thread can be started any more.

    The start fails at either of the places where that shows.
    """
    with serve() as server:
        # Its own threads come first.
        requests.post(server.chat_url, json=asking(), timeout=5)

        def refuse(*args: object, **kwargs: object) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            if request.param == "Thread.start":
                patch.setattr(threading.Thread, "start", refuse)
            else:
                patch.setattr(_thread, "start_new_thread", refuse)
            yield server.chat_url
        assert len(server.requests) == 1, "something was sent"


def refused(one: Call, url: str, kind: type[BaseException]) -> TooManyThreads:
    with pytest.raises(TooManyThreads, match="can't start new thread") as caught:
        one(url)
    assert isinstance(caught.value, kind)
    assert "Nothing was" in str(caught.value)
    assert caught.value.retryable
    return caught.value


@pytest.mark.parametrize("one", OURS)
def test_a_system_without_threads_is_too_many_threads(no_threads: str, one: Call) -> None:
    """A system without threads is ``TooManyThreads``, which is retryable; nothing was sent.

    The recovery says what to change.
    """
    error = refused(one, no_threads, llmwatch.LLMWatchError)
    assert error.recovery is not None
    assert error.recovery.reason == "too_many_threads"
    assert error.recovery.safe
    assert "threads" in error.recovery.action
    assert error.record is not None
    assert error.record.attempts == ()


@pytest.mark.parametrize("one", OF_REQUESTS)
def test_too_many_threads_is_a_connection_error_of_requests(no_threads: str, one: Call) -> None:
    """Code that catches requests' errors catches ``TooManyThreads``."""
    assert refused(one, no_threads, requests.exceptions.ConnectionError).request.url == no_threads  # type: ignore[attr-defined]


def test_too_many_threads_is_a_connect_error_of_httpx(no_threads: str) -> None:
    """Code that catches httpx's errors catches ``TooManyThreads``."""
    refused(transport, no_threads, httpx.ConnectError)


def test_a_call_goes_through_once_there_are_threads(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once there are threads again the same client works, and the refused call does not count against it."""
    with serve() as server, Client(retry=Retry(max_attempts=1)) as client:
        requests.post(server.chat_url, json=asking(), timeout=5)

        def refuse(*args: object) -> None:
            raise RuntimeError("can't start new thread")

        for _ in range(10):
            with monkeypatch.context() as patch, pytest.raises(TooManyThreads):
                patch.setattr(threading.Thread, "start", refuse)
                client.collect("POST", server.chat_url, json=asking())
        assert client.collect("POST", server.chat_url, json=asking()).text
        assert llmwatch.stats()["live_attempts"] == 0
