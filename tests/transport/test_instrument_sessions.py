"""``llmwatch.transport.instrument``: what ``Session.get_adapter`` returns with interceptors.

The interceptors are registered when it is called.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
import requests
from requests.adapters import BaseAdapter

from llmwatch.transport import instrument

URL = "http://provider.test/"


class Around(BaseAdapter):
    """An adapter around another, under a name."""

    def __init__(self, inner: BaseAdapter, name: str) -> None:
        super().__init__()
        self.inner = inner
        self.name = name


class Named:
    """An interceptor that puts one adapter of its own around each."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: list[tuple[requests.Session, str]] = []

    def __call__(self, session: requests.Session, url: str, adapter: BaseAdapter) -> BaseAdapter:
        self.seen.append((session, url))
        inner: BaseAdapter | None = adapter
        while isinstance(inner, Around):
            if inner.name == self.name:
                return adapter
            inner = inner.inner
        return Around(adapter, self.name)


def _names(session: requests.Session) -> str:
    """From the outside in."""
    adapter, found = session.get_adapter(URL), ""
    while isinstance(adapter, Around):
        found, adapter = found + adapter.name, adapter.inner
    return found


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Every test puts back what it has changed."""
    before = requests.Session.get_adapter
    yield
    assert requests.Session.get_adapter is before


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """A session that exists before anything is changed."""
    with requests.Session() as session:
        yield session


def test_an_interceptor_sees_the_chosen_adapter_and_returns_the_used_one(session: requests.Session) -> None:
    """The interceptor gets the session, the URL and the adapter, in every session, until it is removed."""
    one = Named("a")
    instrument.add_interceptor(one)
    assert _names(session) == "a"
    assert session.get_adapter(URL).inner is session.adapters["http://"]  # type: ignore[attr-defined]
    assert one.seen == [(session, URL), (session, URL)]
    with requests.Session() as other, pytest.raises(requests.exceptions.InvalidSchema):
        assert _names(other) == "a"
        other.get_adapter("nothing://")
    instrument.remove_interceptor(one)
    assert _names(session) == ""


def test_interceptors_are_called_in_their_order(session: requests.Session) -> None:
    """Each gets what the one before it has returned; ``first`` goes before all that are there."""
    one, two, three = Named("a"), Named("b"), Named("c")
    instrument.add_interceptor(one)
    instrument.add_interceptor(two)
    assert _names(session) == "ba"
    instrument.add_interceptor(three, first=True)
    assert _names(session) == "bac"
    instrument.remove_interceptor(one)
    assert _names(session) == "bc"
    instrument.remove_interceptor(two)
    instrument.remove_interceptor(three)


def test_an_interceptor_counts_as_often_as_it_was_added(session: requests.Session) -> None:
    """An interceptor counts as often as it was added; removing an unknown one does nothing."""
    one = Named("a")
    instrument.remove_interceptor(one)
    instrument.add_interceptor(one)
    instrument.add_interceptor(one)
    instrument.remove_interceptor(one)
    assert _names(session) == "a"
    instrument.remove_interceptor(one)
    instrument.remove_interceptor(one)
    assert _names(session) == ""


def test_a_later_patch_of_get_adapter_keeps_ours_working(session: requests.Session) -> None:
    """A patch above llmwatch's stays.

    llmwatch's beneath it passes adapters through, and works again when it is used.
    """
    one = Named("a")
    instrument.add_interceptor(one)
    ours = requests.Session.get_adapter
    with mock.patch.object(requests.Session, "get_adapter", lambda self, url: Around(ours(self, url), "x")):
        assert _names(session) == "xa"
        instrument.remove_interceptor(one)
        assert _names(session) == "x"
        instrument.add_interceptor(one)
        assert _names(session) == "xa"
        instrument.remove_interceptor(one)
    assert requests.Session.get_adapter is ours
    instrument.add_interceptor(one)
    assert _names(session) == "a"
    instrument.remove_interceptor(one)


def test_a_removed_patch_is_applied_again(session: requests.Session) -> None:
    """Another library that restores the original removes llmwatch's patch.

    A later ``add_interceptor`` patches again, and the last removal restores the original.
    """
    one, before = Named("a"), requests.Session.get_adapter
    with mock.patch.object(requests.Session, "get_adapter", before):
        instrument.add_interceptor(one)
        assert _names(session) == "a"
    assert _names(session) == ""
    instrument.remove_interceptor(one)
    for _ in range(3):
        instrument.add_interceptor(one)
        assert _names(session) == "a"
        instrument.remove_interceptor(one)
        assert requests.Session.get_adapter is before


def test_concurrent_adds_and_removes_leave_nothing(session: requests.Session) -> None:
    """However threads add and remove, each sees its own interceptor while it is there.

    In the end nothing is left.
    """
    wrong: list[str] = []

    def turns(name: str) -> None:
        one = Named(name)
        for _ in range(300):
            instrument.add_interceptor(one)
            if name not in _names(session):
                wrong.append(name)
            instrument.remove_interceptor(one)

    threads = [threading.Thread(target=turns, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert _names(session) == ""


def test_a_subclass_is_watched_where_it_calls_its_parent() -> None:
    """One that calls its parent's is seen, one that does not is left alone."""

    class Asks(requests.Session):
        def get_adapter(self, url: str) -> BaseAdapter:
            return Around(super().get_adapter(url), "s")

    class Knows(requests.Session):
        def get_adapter(self, url: str) -> BaseAdapter:
            return Around(self.adapters["http://"], "k")

    one = Named("a")
    instrument.add_interceptor(one)
    with Asks() as asks, Knows() as knows:
        assert (_names(asks), _names(knows)) == ("sa", "k")
    instrument.remove_interceptor(one)


class _Bound:
    """What wrapt puts into a class: a call passes the session only after it was bound."""

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return lambda *args, **kwargs: self.wrapped(instance, *args, **kwargs)


def test_what_other_code_put_there_is_bound_and_put_back_itself(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A descriptor in place of the function is called from the session, and put back itself."""
    bound = _Bound(vars(requests.Session)["get_adapter"])
    monkeypatch.setattr(requests.Session, "get_adapter", bound)
    one = Named("a")
    instrument.add_interceptor(one)
    assert _names(session) == "a"
    instrument.remove_interceptor(one)
    assert vars(requests.Session)["get_adapter"] is bound
    assert _names(session) == ""
    monkeypatch.undo()


def test_a_mock_in_place_of_the_function_never_gets_the_session(session: requests.Session) -> None:
    """A mock is called as without an interceptor: with the URL alone."""
    one = Named("a")
    with mock.patch.object(requests.Session, "get_adapter") as made:
        instrument.add_interceptor(one)
        adapter = session.get_adapter(URL)
        instrument.remove_interceptor(one)
        assert vars(requests.Session)["get_adapter"] is made
    made.assert_called_once_with(URL)
    assert isinstance(adapter, Around)
    assert adapter.inner is made.return_value
