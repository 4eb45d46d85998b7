"""A session that the user lends has its settings looked at anew for every call.

The session stays as it was.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from llmwatch.faults import FaultServer, ProxyServer, Script, steps
from llmwatch.transport.sender import Sender
from tests.transport.drive import Call
from tests.transport.scenes import Network

_SETTING = Script.of(
    "setting",
    steps.Head(200, [("Set-Cookie", "session=from-the-server; Path=/")], "length", 2),
    steps.Chunk(b"ok"),
    steps.End(),
)


def _cookies(server: FaultServer) -> list[dict[str, str]]:
    """The cookies of each request."""
    pairs = [(request.header("cookie") or "").split("; ") for request in server.requests]
    return [dict(pair.split("=", 1) for pair in one if pair) for one in pairs]


class _Fixture:
    """A lender and a sender on it; calls run one after the other."""

    def __init__(self, lender: requests.Session) -> None:
        self.lender = lender
        self.sender = Sender(lender)

    def call(self, url: str, **kwargs: Any) -> Call:
        call = Call(self.sender, url, **kwargs)
        call.run()
        assert call.error is None, call.error
        return call


@pytest.fixture
def lent() -> Any:
    with requests.Session() as lender:
        fixture = _Fixture(lender)
        yield fixture
        fixture.sender.close()


def _state(session: requests.Session) -> dict[str, Any]:
    state = {name: copy.copy(getattr(session, name)) for name in requests.Session.__attrs__}
    state["headers"] = dict(session.headers)
    state["adapters"] = list(session.adapters.items())
    state["cookies"] = [(cookie.name, cookie.value) for cookie in session.cookies]
    state["hooks"] = {name: list(hooks) for name, hooks in session.hooks.items()}
    return state


def test_the_lender_stays_as_it_was(lent: _Fixture) -> None:
    """Streaming, redirects, cookies of the server and failures leave no trace in the session."""
    lent.lender.headers["X-One"] = "1"
    lent.lender.cookies.set("mine", "1")
    lent.lender.auth = ("user", "password")
    lent.lender.params = {"version": "1"}
    before = _state(lent.lender)
    redirect = Script.of(
        "moved", steps.Head(307, [("Location", "/moved"), ("Set-Cookie", "a=b")], "length", 0), steps.End()
    )
    with FaultServer([_SETTING, redirect, "reset-before-response"]) as server:
        for headers in ({"X-Two": "2"}, {}, {}):
            Call(lent.sender, server.chat_url, headers=headers, cookies={"call": "1"}).run()
    assert _state(lent.lender) == before


def test_no_adapter_of_the_lender_is_used(lent: _Fixture) -> None:
    """The session's adapters are neither replaced nor used: connections are llmwatch's own."""

    class Forbidden(HTTPAdapter):
        def send(self, *args: Any, **kwargs: Any) -> requests.Response:
            raise AssertionError("this adapter's sockets could not be aborted")

    lent.lender.mount("http://", Forbidden())
    with FaultServer(_SETTING) as server:
        lent.call(server.chat_url)
    assert isinstance(lent.lender.get_adapter("http://x"), Forbidden)


def test_headers_are_used_live(lent: _Fixture) -> None:
    """A header that is set, changed or deleted between two calls is so in the next.

    A call's own header wins.
    """
    with FaultServer(_SETTING) as server:
        lent.lender.headers["X-One"] = "1"
        lent.call(server.chat_url)
        lent.lender.headers["X-One"] = "2"
        lent.call(server.chat_url)
        lent.call(server.chat_url, headers={"X-One": "3"})
        del lent.lender.headers["X-One"]
        lent.call(server.chat_url)
        lent.lender.headers = {"X-One": "5"}
        lent.call(server.chat_url)
        assert [request.header("x-one") for request in server.requests] == ["1", "2", "3", None, "5"]


def test_auth_and_params_are_used_live(lent: _Fixture) -> None:
    """Auth and query parameters are those of the session at the moment of the call."""

    def bearer(token: str) -> Any:
        def auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
            request.headers["Authorization"] = f"Bearer {token}"
            return request

        return auth

    with FaultServer(_SETTING) as server:
        lent.lender.auth = bearer("one")
        lent.lender.params = {"v": "1"}
        lent.call(server.chat_url)
        lent.lender.auth = bearer("two")
        lent.lender.params = {"v": "2"}
        lent.call(server.chat_url, params={"w": "3"})
        lent.call(server.chat_url, auth=bearer("three"))
        assert [request.header("authorization") for request in server.requests] == [
            "Bearer one",
            "Bearer two",
            "Bearer three",
        ]
        assert [request.target.partition("?")[2] for request in server.requests] == ["v=1", "v=2&w=3", "v=2"]


def test_hooks_are_used_live_and_run_in_the_worker(lent: _Fixture) -> None:
    """A response hook of the session is called with each response, before its body is read."""
    seen: list[tuple[int, bool]] = []

    def hook(response: requests.Response, **kwargs: Any) -> None:
        seen.append((response.status_code, response._content_consumed))  # type: ignore[attr-defined]

    with FaultServer(_SETTING) as server:
        lent.lender.hooks["response"].append(hook)
        assert lent.call(server.chat_url).seen == b"ok"
        lent.lender.hooks["response"].clear()
        lent.call(server.chat_url)
    assert seen == [(200, False)]


def test_cookies_of_the_lender_are_used_live(lent: _Fixture) -> None:
    """A cookie that the user changes or deletes between two calls is so in the next."""
    with FaultServer("healthy") as server:
        lent.lender.cookies.set("mine", "1")
        lent.call(server.chat_url)
        lent.lender.cookies.set("mine", "2")
        lent.call(server.chat_url)
        lent.lender.cookies.clear()
        lent.call(server.chat_url)
        assert _cookies(server) == [{"mine": "1"}, {"mine": "2"}, {}]


def test_cookies_of_the_server_are_kept_by_the_sender_alone(lent: _Fixture) -> None:
    """A server's cookie is sent in the next call, beside the lender's own.

    The cookie does not enter the lender's jar.
    """
    with FaultServer([_SETTING, "healthy"]) as server:
        lent.lender.cookies.set("mine", "1")
        lent.call(server.chat_url)
        lent.call(server.chat_url, cookies={"call": "1"})
        lent.call(server.chat_url)
        assert _cookies(server) == [
            {"mine": "1"},
            {"mine": "1", "session": "from-the-server", "call": "1"},
            {"mine": "1", "session": "from-the-server"},
        ]
    assert [cookie.name for cookie in lent.lender.cookies] == ["mine"]


def test_a_cookie_of_a_redirect_is_kept(lent: _Fixture) -> None:
    """A cookie that comes with a redirect that is followed is sent in the next call."""
    redirect = Script.of(
        "moved", steps.Head(307, [("Location", "/moved"), ("Set-Cookie", "hop=1")], "length", 0), steps.End()
    )
    with FaultServer([redirect, "healthy"]) as server:
        lent.call(server.chat_url)
        lent.call(server.chat_url)
        assert _cookies(server)[-1] == {"hop": "1"}


def test_verify_and_proxies_are_used_live(lent: _Fixture, network: Network) -> None:
    """The lender's bundle and proxies hold for a call that names none."""
    lent.lender.verify = network.bundle
    with FaultServer(tls=network.tls) as server, ProxyServer() as proxy:
        lent.call(server.chat_url)
        lent.lender.proxies["https"] = proxy.url
        lent.call(server.chat_url)
        assert (proxy.connects, len(server.requests)) == (1, 2)


@pytest.mark.parametrize("trust", [True, False])
def test_the_environment_is_used_if_the_lender_trusts_it(
    trust: bool, lent: _Fixture, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proxies of the environment are used unless the session's ``trust_env`` is off.

    The environment is that at the moment of the call.
    """
    lent.lender.verify = network.bundle
    lent.lender.trust_env = trust
    with FaultServer(tls=network.tls) as server, ProxyServer() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        lent.call(server.chat_url)
        assert proxy.connects == (1 if trust else 0)


def test_a_sender_without_a_lender_has_its_own_session(sender: Sender) -> None:
    """Without a session that is lent, requests' own defaults are sent."""
    with FaultServer("healthy") as server:
        assert Call(sender, server.chat_url).run()
        (request,) = server.requests
    assert (request.header("user-agent") or "").startswith("python-requests/")
