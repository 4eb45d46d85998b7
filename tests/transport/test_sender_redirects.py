"""Redirects: a POST follows 307 and 308 within its origin and nothing else."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import requests

from llmwatch.errors import StreamCut
from llmwatch.faults import Context, FaultServer, Script, steps
from llmwatch.transport.sender import Reply, Sender, same_origin
from tests.transport.drive import Call


def _to(status: int, location: str) -> Script:
    return Script.of("redirect", steps.Head(status, [("Location", location)], "length", 0), steps.End())


_FINAL = Script.of("final", steps.Head(200, (), "length", 5), steps.Chunk(b"final"), steps.End())


@pytest.mark.parametrize("status", [301, 302, 303])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_redirect_that_would_become_a_get_is_not_followed(status: int, method: str, sender: Sender) -> None:
    """301, 302 and 303 are handed back as they are, with the absolute target, after one request."""
    with FaultServer(_to(status, "/elsewhere?key=1")) as server:
        call = Call(sender, server.chat_url, method=method)
        call.run()
        assert [request.method for request in server.requests] == [method]
        assert call.reply is not None
        assert (call.status, call.reply.location) == (status, f"{server.url}/elsewhere?key=1")


def _moved(status: int, *, absolute: bool) -> Script:
    def play(context: Context) -> Iterable[steps.Step]:
        target = f"{context.url}/moved" if absolute else "/moved"
        return steps.Head(status, [("Location", target)], "length", 0), steps.End()

    return Script(name="moved", description="the same request at /moved", play=play)


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])
def test_a_redirect_that_keeps_the_request_is_followed_with_its_body(
    status: int, absolute: bool, sender: Sender
) -> None:
    """307 and 308 within the origin repeat the request with method, body and headers."""
    with FaultServer([_moved(status, absolute=absolute), _FINAL]) as server:
        call = Call(sender, server.chat_url, data=b"the body", headers={"Authorization": "Bearer one", "X-One": "1"})
        assert call.run() == b"final"
        first, second = server.requests
    assert (second.method, second.target, second.body) == ("POST", "/moved", b"the body")
    assert (second.header("authorization"), second.header("x-one")) == ("Bearer one", "1")
    assert second.headers == first.headers


def test_a_redirect_loop_ends_after_five(sender: Sender) -> None:
    """A redirect that leads to itself is followed five times and then handed back."""
    with FaultServer(_to(307, "/v1/chat/completions")) as server:
        call = Call(sender, server.chat_url)
        call.run()
        assert len(server.requests) == 6
        assert call.status == 307
        assert call.reply is not None
        assert call.reply.location == server.chat_url


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_to_another_origin_is_not_followed(status: int, sender: Sender) -> None:
    """A body and its credentials are not sent to another port, host or scheme."""
    with FaultServer(_FINAL) as other:
        targets = [f"{other.url}/", f"http://localhost:{other.port}/", f"https://127.0.0.1:{other.port}/"]
        for target in targets:
            with FaultServer(_to(status, target)) as server:
                call = Call(sender, server.chat_url)
                call.run()
                assert len(server.requests) == 1
                assert call.status == status
        assert other.connections == 0


def test_a_redirect_without_a_target_is_handed_back(sender: Sender) -> None:
    """A 307 that names no target is an answer like any other."""
    with FaultServer(Script.of("nowhere", steps.Head(307, (), "length", 0), steps.End())) as server:
        call = Call(sender, server.chat_url)
        call.run()
        assert len(server.requests) == 1
        assert call.reply is not None
        assert (call.status, call.reply.location) == (307, None)


def test_a_body_that_cannot_be_read_twice_is_not_sent_again(sender: Sender) -> None:
    """A request whose body is an iterator is not repeated for a redirect."""
    with FaultServer([_to(307, "/moved"), _FINAL]) as server:
        call = Call(sender, server.chat_url, data=iter([b"once"]))
        call.run()
        assert [request.body for request in server.requests] == [b"once"]
        assert call.status == 307


def test_redirects_can_be_switched_off(sender: Sender) -> None:
    """With ``allow_redirects=False`` even a 307 is handed back."""
    with FaultServer([_to(307, "/moved"), _FINAL]) as server:
        call = Call(sender, server.chat_url, allow_redirects=False)
        call.run()
        assert len(server.requests) == 1
        assert call.status == 307


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_get_follows_as_requests_does(status: int, sender: Sender) -> None:
    """A GET has nothing to lose, and follows every redirect."""
    with FaultServer([_to(status, "/moved"), _FINAL]) as server:
        call = Call(sender, server.chat_url, method="GET", data=None)
        assert call.run() == b"final"
        assert [(request.method, request.path) for request in server.requests][1] == ("GET", "/moved")


def test_an_endless_redirect_of_a_get_ends_at_max_redirects(sender: Sender) -> None:
    """A GET that is redirected for ever ends after as many requests as its session allows.

    The error is not worth a resend.
    """
    with FaultServer(_to(302, "/v1/chat/completions?key=planted")) as server:
        call = Call(sender, server.chat_url, method="GET", data=None)
        call.run()
        assert len(server.requests) == requests.models.DEFAULT_REDIRECT_LIMIT + 1
    error = call.verdict.error
    assert error is not None
    assert not isinstance(error, StreamCut)
    assert not getattr(error, "retryable", False)
    assert "planted" not in str(error)


def test_a_redirected_request_is_watched_to_its_end(sender: Sender) -> None:
    """The second connection of a redirect belongs to the attempt as the first did, and is given back."""
    owned = []

    def look(call: Call, reply: Reply) -> None:
        owned.append(len(call.attempt._handles))
        call.read(reply)

    with FaultServer([_to(307, "/moved"), _FINAL]) as server:
        call = Call(sender, server.chat_url, reading=look)
        assert call.run() == b"final"
        assert call.attempt._handles == []
    assert owned == [1]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://host/a", "http://host:80/b?c", True),
        ("https://host", "https://HOST:443/", True),
        ("http://host", "https://host", False),
        ("http://host:1", "http://host:2", False),
        ("http://host", "http://host.example", False),
        ("http://user@host/", "http://host/", True),
    ],
)
def test_an_origin_is_scheme_host_and_port(one: str, other: str, same: bool) -> None:
    """Scheme, host and port are the origin; default ports count, letter case, path and user info do not."""
    assert same_origin(one, other) is same
