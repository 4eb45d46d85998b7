"""Requests with bodies of every kind, through each entry point as without it."""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

import llmwatch
from llmwatch import Limits
from llmwatch.faults import FaultServer
from tests.end_to_end.calls import in_thread
from tests.session.entry_points import Way, caught, record_of
from tests.session.scripts import LINES, echo, numbered, reply
from tests.session.times import BEAT, LONG, PATIENCE, SOON

Body = Callable[[Path], dict[str, Any]]


def _pieces() -> Iterator[bytes]:
    yield b"one"
    yield b""
    yield "zwölf".encode()


def _file(path: Path) -> Any:
    return (path / "upload.txt").open("rb")


BODIES: dict[str, Body] = {
    "none": lambda path: {},
    "text": lambda path: {"data": "größer"},
    "bytes": lambda path: {"data": LINES},
    "form": lambda path: {"data": {"a": ["1", "2"], "b": "ü"}},
    "pairs": lambda path: {"data": [("a", "1"), ("a", "2")]},
    "json": lambda path: {"json": {"a": [1, None, "é"]}},
    "generator": lambda path: {"data": _pieces()},
    "iterator of a list": lambda path: {"data": iter([b"one", b"two"])},
    "file": lambda path: {"data": _file(path)},
    "file from its middle": lambda path: {"data": _at(_file(path), 100)},
    "file in memory": lambda path: {"data": io.BytesIO(LINES)},
    "multipart": lambda path: {"files": {"f": ("name.txt", _file(path), "text/plain", {"X": "1"})}, "data": {"a": "b"}},
    "multipart of strings": lambda path: {"files": {"f": "text", "g": ("", b"bytes")}},
    "parameters": lambda path: {"params": {"q": "a b", "r": ["1", "2"]}, "data": b"x"},
    "a header of one's own": lambda path: {"data": b"x", "headers": {"X-Own": "1", "Accept-Encoding": "identity"}},
}


def _at(file: Any, position: int) -> Any:
    file.seek(position)
    return file


@pytest.fixture(autouse=True)
def one_boundary(monkeypatch: pytest.MonkeyPatch) -> None:
    """The boundary of a form is random, and would be another each time."""
    monkeypatch.setattr("urllib3.filepost.choose_boundary", lambda: "boundary")


@pytest.mark.parametrize("name", BODIES)
def test_a_body_arrives_as_requests_sends_it(way: Way, name: str, tmp_path: Path) -> None:
    """Headers, framing and bytes of a request are the same, whatever it is made of."""
    (tmp_path / "upload.txt").write_bytes(LINES)

    def act(session: requests.Session, server: FaultServer) -> Any:
        given = BODIES[name](tmp_path)
        with session.post(server.url + "/up", **given) as response:
            found = response.content, type(response.request.body).__name__, dict(response.request.headers)
        for one in (given.get("data"), *(given.get("files") or {}).values()):
            for file in one if isinstance(one, tuple) else (one,):
                if hasattr(file, "close"):
                    file.close()
        return found

    way.alike(act, echo())


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "get", "PURGE"])
def test_every_http_method_is_sent_unchanged(way: Way, method: str) -> None:
    """Known and unknown methods are sent unchanged."""
    way.alike(lambda session, server: session.request(method, server.url, data=b"x").content, echo())


def test_a_large_upload_arrives_whole(way: Way) -> None:
    """Some megabytes are sent once, and byte for byte."""
    body = numbered(6 << 20)

    def act(session: requests.Session, server: FaultServer) -> Any:
        session.post(server.url, data=body)
        (request,) = server.requests
        return request.body_bytes, request.body == body[: len(request.body)], request.tail == body[-len(request.tail) :]

    assert way.alike(act, reply(b"thanks")) == (len(body), True, True)


LIMITS = Limits(connect=SOON, send=SOON, stale=SOON, ttfb=LONG)


def test_a_slowly_read_upload_is_not_killed(way: Way) -> None:
    """An upload takes as long as it takes: it is not killed for being slow, only for standing still."""
    limits = Limits(send=SOON, ttfb=LONG)
    slowly = f"slow-upload:size=131072,every={2 * BEAT}"
    with FaultServer(slowly, receive_buffer=1 << 20) as server, way.session(limits=limits) as session:
        response = session.post(server.url, data=bytes(16 << 20))
        timings = record_of(response).attempts[0].timings
        assert response.status_code == 200
        assert [one.body_bytes for one in server.requests] == [16 << 20]
        assert timings.sent is not None
        assert timings.connected is not None
        assert timings.sent - timings.connected > 2 * SOON


@pytest.mark.parametrize("body", ["bytes", "file", "generator"])
def test_a_stalled_upload_ends_at_send(way: Way, body: str, tmp_path: Path) -> None:
    """If the server stops reading, the call ends at ``send`` after one attempt, because a part was sent."""
    with (tmp_path / "upload").open("wb") as sparse:
        sparse.truncate(64 << 20)
    with (
        FaultServer("upload-stall", receive_buffer=65536) as server,
        way.session(limits=LIMITS) as session,
        (tmp_path / "upload").open("rb") as upload,
    ):
        data = {"bytes": bytes(64 << 20), "file": upload, "generator": iter([bytes(1 << 20)] * 64)}[body]
        error = caught(requests.ReadTimeout, session.post, server.url, data=data)
    assert isinstance(error, llmwatch.WatchTimeout)
    assert error.limit == "send"
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", ["generator", "pipe"])
def test_no_limit_runs_while_a_generator_makes_the_body(way: Way, kind: str) -> None:
    """A body that is sent while it is written, from a generator or a pipe, is no silence of the server's."""

    def pieces() -> Iterator[bytes]:
        for word in (b"one ", b"two"):
            threading.Event().wait(1.5 * SOON)
            yield word

    def write(end: int) -> None:
        with open(end, "wb", buffering=0) as pipe:
            for word in pieces():
                pipe.write(word)

    with FaultServer(echo()) as server, way.session(limits=Limits(send=SOON)) as session:
        if kind == "generator":
            response = session.post(server.url, data=pieces())
        else:
            ours, theirs = os.pipe()
            writing = in_thread(write, theirs)
            with open(ours, "rb", buffering=0) as pipe:
                response = session.post(server.url, data=pipe)
            writing.result()
        assert response.content == b"one two"


def test_an_exception_of_a_body_generator_comes_out(way: Way) -> None:
    """The exception comes out as it is, and the request is left incomplete."""

    def pieces() -> Iterator[bytes]:
        yield b"one"
        raise ZeroDivisionError("made badly")

    def act(session: requests.Session, server: FaultServer) -> Any:
        error = caught(ZeroDivisionError, session.post, server.url, data=pieces())
        server.wait_for_closed(1, PATIENCE)
        return str(error), [one.complete for one in server.requests]

    assert way.alike(act, reply()) == ("made badly", [False])


def test_a_prepared_request_can_be_sent(way: Way) -> None:
    """``Session.send`` takes a prepared request, and sends it twice.

    Its body may be looked at afterwards.
    """

    def act(session: requests.Session, server: FaultServer) -> Any:
        prepared = session.prepare_request(requests.Request("POST", server.url, json={"a": 1}))
        before = dict(prepared.headers), prepared.body
        answers = [session.send(prepared), session.send(prepared, stream=True)]
        assert all(answer.request is prepared for answer in answers)
        assert (dict(prepared.headers), prepared.body) == before
        return [answer.content for answer in answers]

    assert way.alike(act, echo()) == [b'{"a": 1}'] * 2


def test_a_large_document_without_a_prompt_is_not_parsed(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large JSON document without a prompt is sent as it is: parsing it would take many times its size."""
    body = b'{"rows": [' + b'{"a": 1},' * 700_000 + b"{}]}"

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("it was parsed")

    with FaultServer(reply(b"thanks")) as server, way.session() as session:
        monkeypatch.setattr(json, "loads", refuse)
        assert session.post(server.url, data=body).content == b"thanks"
        monkeypatch.undo()
        assert server.requests[0].body_bytes == len(body)
