"""Which requests an idle thread may send: those in which no code of the user runs in the worker."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPDigestAuth

from llmwatch.transport.adapter import WatchedAdapter
from llmwatch.transport.prepared import PreparedSender
from llmwatch.transport.sender import Sender

URL = "http://provider.test/v1/chat/completions"


class _Own(requests.Session):
    """A session of the user's own class."""


def _with(**settings: Any) -> requests.Session:
    session = requests.Session()
    for name, value in settings.items():
        setattr(session, name, value)
    return session


def _note(response: requests.Response, **kwargs: Any) -> None:
    """A hook."""


def _pieces() -> Iterator[bytes]:
    yield b"{}"


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"json": {"model": "m"}},
        {"data": b"{}", "headers": {"a": "b"}},
        {"data": "{}", "timeout": 3},
        {"auth": None},
    ],
    ids=repr,
)
@pytest.mark.parametrize("session", [None, _with(), _with(headers={"a": "b"}, proxies={"http": "http://proxy.test"})])
def test_a_plain_request_may_go_from_an_idle_thread(session: requests.Session | None, kwargs: dict[str, Any]) -> None:
    """The threads are those of the sender's own connections."""
    sender = Sender(session)
    assert sender.workers(kwargs) is sender._adapter.workers
    assert sender.workers(kwargs) is not Sender().workers(kwargs)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"auth": HTTPDigestAuth("user", "password")},
        {"auth": _note},
        {"hooks": {"response": _note}},
        {"files": {"file": io.BytesIO(b"")}},
        {"data": _pieces()},
        {"data": io.BytesIO(b"{}")},
    ],
    ids=lambda kwargs: next(iter(kwargs)),
)
def test_code_of_the_user_in_a_request_has_a_thread_of_its_own(kwargs: dict[str, Any]) -> None:
    """Auth, hooks and bodies that are made or read as they are sent."""
    assert Sender().workers(kwargs) is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: _with(auth=HTTPDigestAuth("user", "password")),
        lambda: _with(auth=("user", "password")),
        lambda: _with(hooks={"response": [_note]}),
        _Own,
    ],
)
def test_code_of_the_user_in_a_session_has_a_thread_of_its_own(make: Callable[[], requests.Session]) -> None:
    """Auth and hooks that a session lends, at the time of the call, and sessions of another class."""
    assert Sender(make()).workers({}) is None
    session = requests.Session()
    sender = Sender(session)
    session.hooks["response"].append(_note)
    assert sender.workers({}) is None


def _prepared(adapter: Any, **more: Any) -> PreparedSender:
    prepared = requests.Request("POST", URL, **more).prepare()
    return PreparedSender(adapter, prepared, {"stream": True}, model=True)


def test_a_prepared_request_may_go_from_an_idle_thread_of_its_adapter() -> None:
    """A request over llmwatch's own adapter: its hooks and auth run in the caller's thread."""
    adapter = WatchedAdapter()
    for more in ({}, {"json": {}}, {"data": "a"}, {"auth": ("user", "password"), "hooks": {"response": _note}}):
        sender = _prepared(adapter, **more)
        assert sender.workers(sender.kwargs) is adapter.workers


def test_a_prepared_request_with_code_of_the_user_has_a_thread_of_its_own() -> None:
    """A body that is made as it is sent, a request that ``on_retry`` has changed, and other adapters."""

    class Own(WatchedAdapter):
        """An adapter of the user's."""

    sender = _prepared(WatchedAdapter())
    assert sender.workers({**sender.kwargs, "auth": _note}) is None
    for adapter, more in ((WatchedAdapter(), {"data": _pieces()}), (HTTPAdapter(), {}), (Own(), {})):
        sender = _prepared(adapter, **more)  # type: ignore[arg-type]
        assert sender.workers(sender.kwargs) is None


def test_a_copy_of_an_adapter_has_threads_of_its_own() -> None:
    """A pickled adapter takes no thread along."""
    adapter = WatchedAdapter()
    copy = pickle.loads(pickle.dumps(adapter))
    assert copy.workers is not adapter.workers


def test_closing_an_adapter_ends_its_idle_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Together with its idle connections."""
    adapter, closed = WatchedAdapter(), []
    monkeypatch.setattr(adapter.workers, "close", lambda: closed.append(True))
    adapter.close()
    assert closed == [True]
