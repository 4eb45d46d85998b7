"""What a response and a session know and can do, through each entry point as without it."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import requests

import llmwatch
from llmwatch import Limits, Retry
from llmwatch.faults import Context, FaultServer, Script, steps
from llmwatch.session.response import WatchedResponse
from tests.end_to_end.calls import asking, eventually
from tests.rows import each
from tests.session.entry_points import Way, caught, record_of
from tests.session.scripts import LINES, encoded, redirect, reply
from tests.session.times import BEAT, LIMIT, LONG, PATIENCE, SOON


def _attributes(response: requests.Response, url: str) -> dict[str, Any]:
    names = ("status_code", "reason", "encoding", "ok", "is_redirect", "is_permanent_redirect", "links", "text")
    return {
        **{name: getattr(response, name) for name in names},
        "url": response.url.replace(url, ""),
        "headers": {name: value.replace(url, "") for name, value in response.headers.items()},
        "cookies": sorted(response.cookies.items()),
        "elapsed": isinstance(response.elapsed, timedelta),
        "truth": bool(response),
        "repr": repr(response),
        "method": response.request.method,
        "history": [_attributes(one, url) for one in response.history],
    }


@pytest.mark.parametrize("stream", [True, False])
def test_a_response_has_the_attributes_of_plain_requests(way: Way, stream: bool) -> None:
    """Status, reason, headers, encoding, links, cookies and history are those of plain requests."""
    last = reply(b"\xfcber", content_type="text/html; charset=latin-1", headers=[("Link", '<http://x>; rel="next"')])

    def act(session: requests.Session, server: FaultServer) -> Any:
        return _attributes(session.get(server.url + "/from?a=b#c", stream=stream), server.url)

    assert way.alike(act, redirect("/to"), last)["text"] == "über"


def test_repeated_headers_are_kept_apart(way: Way) -> None:
    """``headers`` joins repeated ones, as in requests; ``raw.headers`` has each, as in urllib3."""
    headers = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Twice", "1"), ("x-twice", "2")]

    def act(session: requests.Session, server: FaultServer) -> Any:
        raw = session.get(server.url, stream=True).raw
        return (
            raw.headers.getlist("set-cookie"),
            list(raw.headers.items()),
            (raw.status, raw.reason, raw.version, raw.version_string),
            raw._original_response.msg.get_all("x-twice"),
            raw._original_response.status,
        )

    assert way.alike(act, reply(headers=headers))[0] == ["a=1", "b=2"]


@each("status", [400, 401, 403, 404, 409, 418, 422, 500, 501, 505, 599])
@each("stream", [True, False])
def test_a_status_never_raises(way: Way, status: int, stream: bool) -> None:
    """An error status is a response with its body, whatever was asked.

    ``raise_for_status`` raises what it always raised.
    """

    def act(session: requests.Session, server: FaultServer) -> Any:
        found = []
        for call in (
            {"method": "GET", "url": server.url},
            {"method": "POST", "url": server.url, "data": "x"},
            {"method": "POST", "url": server.chat_url, "json": asking()},
            {"method": "POST", "url": server.chat_url, "json": asking(stream=False)},
        ):
            response = session.request(**call, stream=stream)
            error = caught(requests.HTTPError, response.raise_for_status)
            assert error.response is response
            found.append((response.status_code, response.content, str(error).replace(server.url, "")))
        return found

    once = {"retry": Retry(max_attempts=1)}
    way.alike(act, reply(b"sorry", status=status), ignoring=("accept-encoding",), settings=once)


def _again(response: requests.Response) -> dict[str, requests.Response]:
    """The same response by every way to have it twice."""
    protocols = range(pickle.HIGHEST_PROTOCOL + 1)
    return {
        **{f"pickle {protocol}": pickle.loads(pickle.dumps(response, protocol)) for protocol in protocols},
        "copy": copy.copy(response),
        "deepcopy": copy.deepcopy(response),
    }


@pytest.mark.parametrize("stream", [True, False])
def test_a_response_can_be_pickled_and_copied(way: Way, stream: bool) -> None:
    """Pickling and copying read the body and keep what requests keeps.

    The copies are responses of requests' own class, the history included.
    """

    def act(session: requests.Session, server: FaultServer) -> Any:
        response = session.get(server.url + "/from", stream=stream)
        found = {}
        for name, again in _again(response).items():
            assert again.elapsed == response.elapsed
            assert pickle.loads(pickle.dumps(again)).content == again.content
            # A shallow copy has the very history of the first.
            classes = {type(one) for one in (again, *([] if name == "copy" else again.history))}
            found[name] = _attributes(again, server.url), again.content, again.raw, classes
        return found

    alike = way.alike(act, redirect("/to"), encoded(LINES, "gzip"))
    assert all(found[-1] == {requests.Response} for found in alike.values())


@pytest.mark.parametrize("path", ["/from", "/v1/chat/completions"])
def test_a_pickled_response_needs_no_llmwatch(way: Way, path: str) -> None:
    """The pickle names no module of llmwatch: a program without it can load the response."""
    scripts = [redirect("/to"), reply(b"yes")] if path == "/from" else "healthy"
    with FaultServer(scripts) as server, way.session() as session:
        response = session.post(server.url + path, json=asking(), stream=True)
        written = pickle.dumps(response)
    assert b"llmwatch" not in written.replace(server.url.encode(), b"")
    asked = "import pickle, sys; sys.modules['llmwatch'] = None; print(pickle.load(sys.stdin.buffer).status_code)"
    printed = subprocess.run([sys.executable, "-c", asked], input=written, capture_output=True, timeout=PATIENCE * 4)
    assert printed.stdout.split() == [b"200"], printed.stderr


class _Mine(WatchedResponse):
    """A class of the user's own below llmwatch's."""


def test_a_subclass_of_the_response_keeps_its_class() -> None:
    """A response of a class below llmwatch's is pickled and copied as one of that class."""
    mine = _Mine()
    mine._content, mine.status_code = b"yes", 200
    for name, again in _again(mine).items():
        assert (type(again), again.content) == (_Mine, b"yes"), name


def test_a_session_can_be_pickled_and_copied(way: Way) -> None:
    """A session works after a round trip, with its headers and cookies.

    The settings go along, and the sinks do not.
    """
    limits = Limits(ttfb=LONG)
    records: list[Any] = []

    def act(session: requests.Session, server: FaultServer) -> Any:
        session.headers["X-Mine"] = "1"
        session.get(server.url)
        found = []
        for make in (lambda: pickle.loads(pickle.dumps(session)), lambda: copy.deepcopy(session)):
            with make() as again:
                again.headers["X-Again"] = "1"
                found += [type(again) is type(session), again.get(server.url).content]
        if way.name != "install" and records:
            assert len(records) == 1
            assert again.get_adapter(server.url).settings.limits == limits
        return found

    settings = {"limits": limits, "sinks": [records.append]}
    assert way.alike(act, reply(b"yes"), settings=settings) == [True, b"yes", True, b"yes"]


def test_a_pickled_session_keeps_its_pools_to_itself(way: Way) -> None:
    """An unpickled session closes its idle connections like any other."""
    with FaultServer(reply()) as server, way.session() as session:
        with pickle.loads(pickle.dumps(session)) as again:
            again.get(server.url)
        if way.name == "Session":
            server.wait_for_closed(1, PATIENCE)
        session.get(server.url)
        assert server.connections == 2


def _late(context: Context) -> Iterator[steps.Step]:
    yield steps.Wait(LIMIT)
    yield from context.answer([steps.Chunk(b"begun"), steps.Wait(LIMIT), steps.Chunk(b"done")])


@pytest.mark.parametrize("stream", [True, False])
def test_elapsed_is_the_time_to_the_headers(way: Way, stream: bool) -> None:
    """``elapsed`` counts neither the body nor an earlier attempt that was lost."""
    script = Script(name="late", description="takes its time twice", play=_late)
    with FaultServer(["silent", script]) as server, way.session(limits=Limits(ttfb=SOON)) as session:
        response = session.get(server.url, stream=stream)
        assert response.content == b"begundone"
        record = record_of(response)
        headers = record.attempts[1].timings.headers
        assert headers is not None
        assert response.elapsed == timedelta(seconds=headers)
        assert LIMIT <= headers < record.attempts[1].timings.end - LIMIT / 2
        assert len(record.attempts) == len(server.requests) == 2


def test_the_connection_of_a_response_can_be_used(way: Way) -> None:
    """``response.connection`` sends, as adapters of auth helpers have it do.

    The request is watched like any other call, after its session is gone as well.
    """
    with FaultServer([reply(), "silent", reply(b"b")]) as server:
        with way.session(limits=Limits(ttfb=SOON)) as session:
            response = session.get(server.url)
            again = response.connection.send(response.request)  # type: ignore[attr-defined]
            assert (again.content, len(record_of(again).attempts)) == (b"b", 2)
        del session
        last = response.connection.send(response.request)  # type: ignore[attr-defined]
        assert last.content == b"b"
        response.connection.close()  # type: ignore[attr-defined]
        assert len(server.requests) == 4


def test_a_session_works_again_after_its_close(way: Way) -> None:
    """``close()`` drops the idle connections; a call after it opens a new one."""

    def act(session: requests.Session, server: FaultServer) -> Any:
        found = []
        for _ in range(2):
            found += [session.get(server.url).content, session.get(server.url).content]
            session.close()
        return found, server.connections

    assert way.alike(act, reply(b"yes")) == ([b"yes"] * 4, 2)


def test_closing_a_session_leaves_a_stream_alone(way: Way) -> None:
    """A response that is being read goes on after its session was closed."""

    def act(session: requests.Session, server: FaultServer) -> Any:
        with session.get(server.url, stream=True) as response:
            lines = response.iter_lines()
            first = next(lines)
            session.close()
            return [first, *lines]

    assert len(way.alike(act, reply(LINES * 10, pieces=50))) == 2000


def test_the_functions_of_requests_are_watched_by_install() -> None:
    """``requests.get`` and its like make a session for each call, and are watched.

    A stall before the answer is recovered from, and nothing is left behind.
    """
    with FaultServer(["silent", reply(b"yes")]) as server:
        llmwatch.install(limits=Limits(ttfb=SOON), retry=Retry(backoff=BEAT / 10))
        try:
            with requests.get(server.url, stream=True) as response:
                assert response.content == b"yes"
            assert requests.post(server.url, data="x").content == b"yes"
        finally:
            llmwatch.uninstall()
        assert [one.method for one in server.requests] == ["GET", "GET", "POST"]
        del response
        eventually(lambda: server.open_connections == 0, "the connections of both sessions are closed")
        assert not hasattr(requests.get(server.url), "llmwatch_record")
