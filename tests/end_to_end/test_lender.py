"""A session that lends headers, auth, cookies, params, hooks, verify and proxies.

The session stays as it was.
"""

from __future__ import annotations

import contextvars
import pickle
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from requests.auth import AuthBase, HTTPDigestAuth

import llmwatch
from llmwatch import Limits, Retry
from llmwatch.faults import Context, ProxyServer, Script, steps
from llmwatch.faults.catalogue import ANSWER
from tests.end_to_end.calls import asking, collect, request, stream, timed_out
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import FREE, LIMIT, PATIENCE

ENTRY_POINTS = [stream, collect, request]


@pytest.fixture
def lender() -> Iterator[requests.Session]:
    """A session of the user's."""
    with requests.Session() as session:
        yield session


class Token(AuthBase):
    """An auth that counts its calls, and remembers where it was called."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        self.calls.append((threading.current_thread().name, colour.get()))
        prepared.headers["Authorization"] = f"Bearer token-{len(self.calls)}"
        return prepared


colour: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_a_session_lends_headers_auth_cookies_and_params(
    serve: Serve, connect: Connect, lender: requests.Session, entry_point: Any
) -> None:
    """Headers, auth, cookies and params of the session go out with every call.

    The call's own go out beside them.
    """
    server = serve()
    lender.headers["X-Team"] = "blue"
    lender.auth = ("user", "pass")
    lender.cookies.set("flavour", "oat")
    lender.params = {"version": "7"}  # type: ignore[assignment]
    before = pickle.dumps((dict(lender.headers), lender.auth, dict(lender.cookies), lender.params, lender.verify))
    client = connect(session=lender)
    for _ in range(2):
        entry_point(
            client, server.chat_url, headers={"X-Own": "yes"}, params={"page": "1"}, cookies={"own": "c"}
        ).done()
    for sent in server.requests:
        assert sent.header("x-team") == "blue"
        assert sent.header("x-own") == "yes"
        assert sent.header("authorization") == "Basic dXNlcjpwYXNz"
        assert set((sent.header("cookie") or "").split("; ")) == {"flavour=oat", "own=c"}
        assert set(sent.target.partition("?")[2].split("&")) == {"version=7", "page=1"}
    after = pickle.dumps((dict(lender.headers), lender.auth, dict(lender.cookies), lender.params, lender.verify))
    assert after == before
    assert server.connections == 1


def test_a_change_of_the_session_counts_from_the_next_call(
    serve: Serve, connect: Connect, lender: requests.Session
) -> None:
    """A header that is set or removed on the session later holds for later calls."""
    server, client = serve(), connect(session=lender)
    lender.headers["X-Team"] = "blue"
    stream(client, server.chat_url).done()
    del lender.headers["X-Team"]
    lender.cookies.set("flavour", "oat")
    stream(client, server.chat_url).done()
    lender.cookies.clear()
    stream(client, server.chat_url).done()
    assert [one.header("x-team") for one in server.requests] == ["blue", None, None]
    assert [one.header("cookie") for one in server.requests] == [None, "flavour=oat", None]


def test_a_content_type_of_the_session_is_kept(serve: Serve, connect: Connect, lender: requests.Session) -> None:
    """The content type of a JSON body is the call's, else the session's, else that of JSON."""
    server = serve()
    stream(connect(), server.chat_url).done()
    lender.headers["Content-Type"] = "application/vnd.team+json"
    client = connect(session=lender)
    stream(client, server.chat_url).done()
    stream(client, server.chat_url, headers={"content-type": "application/x-own"}).done()
    assert [one.header("content-type") for one in server.requests] == [
        "application/json",
        "application/vnd.team+json",
        "application/x-own",
    ]
    assert [one.json() for one in server.requests] == [asking()] * 3


def _sets_cookie(context: Context) -> Iterator[steps.Step]:
    header = ("Set-Cookie", f"visit={context.request.number}; Path=/")
    yield from context.answer(steps.paced(context.whole()), headers=[header])


def test_cookies_of_a_server_stay_with_the_client(serve: Serve, connect: Connect, lender: requests.Session) -> None:
    """A cookie that a server sets goes out with the client's next call, and never into the session."""
    server = serve(Script(name="cookie", description="sets a cookie", play=_sets_cookie))
    client = connect(session=lender)
    for _ in range(3):
        stream(client, server.chat_url).done()
    assert [one.header("cookie") for one in server.requests] == [None, "visit=1", "visit=2"]
    assert len(lender.cookies) == 0


def test_an_auth_callable_is_asked_for_every_attempt(serve: Serve, connect: Connect) -> None:
    """Each attempt gets a token of its own, in the worker, with the caller's context variables."""
    server, token = serve("silent", "healthy"), Token()
    reset = colour.set("blue")
    try:
        stream(connect(limits=Limits(ttfb=LIMIT)), server.chat_url, auth=token).done("recovered")
    finally:
        colour.reset(reset)
    assert [one.header("authorization") for one in server.requests] == ["Bearer token-1", "Bearer token-2"]
    assert token.calls == [("llmwatch-worker", "blue")] * 2


def test_a_response_hook_sees_the_callers_context(serve: Serve, connect: Connect, lender: requests.Session) -> None:
    """Hooks of the session and of the call run with the caller's context variables, once a response."""
    server, seen = serve("status:status=503", "healthy"), []

    def note(where: str) -> Any:
        def hook(response: requests.Response, **options: Any) -> None:
            seen.append((where, response.status_code, colour.get()))

        return hook

    lender.hooks["response"] = [note("session")]
    reset = colour.set("green")
    try:
        stream(connect(session=lender), server.chat_url, hooks={"response": note("call")}).done("recovered")
    finally:
        colour.reset(reset)
    assert {where for where, _, _ in seen} <= {"session", "call"}
    assert [(status, shade) for where, status, shade in seen if where == "call"] == [(503, "green"), (200, "green")]


def test_the_callers_context_is_not_changed_by_the_worker(serve: Serve, connect: Connect) -> None:
    """A context variable that a hook sets does not change in the caller's context."""
    server = serve()

    def paint(response: requests.Response, **options: Any) -> None:
        colour.set("red")

    stream(connect(), server.chat_url, hooks={"response": paint}).done()
    assert colour.get() == "none"


@pytest.mark.parametrize("where", ["auth", "hook"])
def test_an_exception_of_the_users_code_comes_out_as_it_is(serve: Serve, connect: Connect, where: str) -> None:
    """An exception of an auth callable or a hook reaches the caller unchanged.

    The exception ends the call without a resend.
    """
    server, records = serve(), []

    class Broken(Exception):
        pass

    def breaks(first: Any, **options: Any) -> Any:
        raise Broken("by the user")

    options: dict[str, Any] = {"auth": breaks} if where == "auth" else {"hooks": {"response": breaks}}
    with pytest.raises(Broken, match="by the user"):
        stream(connect(sinks=[records.append]), server.chat_url, **options)
    assert len(server.requests) == (0 if where == "auth" else 1)
    (record,) = records
    assert (record.outcome, record.cause) == ("failed", "unknown")
    assert record.attempts[0].error == "Broken"
    assert "by the user" not in str(record.to_dict())


def test_an_auth_that_hangs_is_cut_at_connect(serve: Serve, connect: Connect) -> None:
    """Fetching a token belongs to ``connect``: the caller is free at the limit.

    What the auth callable returns late is not sent.
    """
    server, release = serve(), threading.Event()

    def hangs(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        assert release.wait(PATIENCE * 2)
        return prepared

    client = connect(limits=Limits(connect=LIMIT), retry=Retry.none())
    outcome = stream(client, server.chat_url, auth=hangs)
    try:
        timed_out(outcome, "connect", LIMIT, attempts=1, decision=llmwatch.Decision.STOP)
        assert outcome.elapsed < LIMIT + FREE
    finally:
        release.set()
    assert server.connections == 0


def test_a_response_hook_that_hangs_is_cut_at_ttfb(serve: Serve, connect: Connect) -> None:
    """A hook delays its own attempt alone: the caller is free when the limit for the first byte expires."""
    server, release = serve(), threading.Event()

    def hangs(response: requests.Response, **options: Any) -> None:
        assert release.wait(PATIENCE * 2)

    client = connect(limits=Limits(ttfb=LIMIT), retry=Retry.none())
    outcome = stream(client, server.chat_url, hooks={"response": hangs})
    try:
        timed_out(outcome, "ttfb", LIMIT, attempts=1, decision=llmwatch.Decision.STOP)
        assert outcome.elapsed < LIMIT + FREE
    finally:
        release.set()


def _digest(context: Context) -> Iterator[steps.Step]:
    if (context.request.header("authorization") or "").startswith("Digest "):
        yield from context.answer(
            [*steps.paced(context.part(3)), steps.Wait(2 * LIMIT), *steps.paced(context.whole()[4:])]
        )
        return
    challenge = [("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5')]
    yield from context.answer([steps.Chunk(b"{}")], status=401, headers=challenge, framing="length")


@pytest.mark.parametrize("entry_point", [stream, collect])
def test_a_digest_challenge_is_answered_within_a_streams_limits(
    serve: Serve, connect: Connect, entry_point: Any
) -> None:
    """Digest authentication sends two requests.

    The stream that follows has a stream's limits, not those of an error body.
    """
    server = serve(Script(name="digest", description="asks for digest authentication", play=_digest), framing="close")
    outcome = entry_point(connect(limits=Limits(stale=8 * LIMIT)), server.chat_url, auth=HTTPDigestAuth("u", "p"))
    record = outcome.done()
    assert outcome.text == ANSWER
    assert record.attempts[0].status == 200
    assert len(server.requests) == 2


def test_verify_and_proxies_of_the_session_hold(
    serve: Serve, connect: Connect, lender: requests.Session, server_tls: ssl.SSLContext, bundle: str
) -> None:
    """The session's certificate bundle and proxies are used as if they were the call's."""
    server = serve(tls=server_tls)
    lender.verify = bundle
    with ProxyServer() as proxy:
        lender.proxies = {"https": proxy.url}
        client = connect(session=lender)
        outcome = stream(client, server.chat_url)
        outcome.done()
        assert proxy.connects == 1
        client.close()
    assert outcome.text == ANSWER


@pytest.mark.parametrize("trusts", [True, False])
def test_trust_env_of_the_session_holds(
    serve: Serve, connect: Connect, lender: requests.Session, monkeypatch: pytest.MonkeyPatch, trusts: bool
) -> None:
    """A proxy of the environment is used by a session that trusts it, and by no other."""
    server = serve()
    lender.trust_env = trusts
    # A plain request to a proxy is not tunnelled; this one knows CONNECT alone and says so.
    with ProxyServer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("no_proxy", "")
        outcome = request(connect(session=lender), server.chat_url)
        assert outcome.value.status_code == (405 if trusts else 200)
    assert len(server.requests) == (0 if trusts else 1)


def test_the_sessions_own_adapters_are_left_alone(serve: Serve, connect: Connect, lender: requests.Session) -> None:
    """The session continues on its own connections, and the client never uses its adapters."""
    server = serve()
    client = connect(session=lender)
    stream(client, server.chat_url).done()
    adapters = [type(one).__name__ for one in lender.adapters.values()]
    assert adapters == ["HTTPAdapter", "HTTPAdapter"]
    assert lender.post(server.chat_url, json=asking(stream=False)).status_code == 200
    assert [one.connection for one in server.requests] == [1, 2]
