"""The work of requests around a call: auth, redirects, cookies and hooks.

Each entry point does it as plain requests does.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.auth import HTTPBasicAuth, HTTPDigestAuth

from llmwatch.faults import Context, FaultServer, Script, steps
from tests.session.entry_points import Way, caught
from tests.session.scripts import LINES, echo, redirect, reply

CHALLENGE = 'Digest realm="here", nonce="abc", qop="auth", algorithm=MD5'


def _challenging() -> Script:
    """Answers an authorized request, and challenges any other."""

    def play(context: Context) -> Iterator[steps.Step]:
        known = (context.request.header("authorization") or "").startswith("Digest")
        headers = [] if known else [("WWW-Authenticate", CHALLENGE), ("Set-Cookie", "asked=1")]
        yield from context.answer(
            [steps.Chunk(b"in" if known else b"who?")], status=200 if known else 401, headers=headers
        )

    return Script(name="challenging", description="wants a digest", play=play)


def _said(response: requests.Response) -> Any:
    return response.status_code, response.content, [one.status_code for one in response.history]


@pytest.mark.parametrize("auth", [("me", "secret"), HTTPBasicAuth("me", "secret"), None])
def test_basic_auth_and_credentials_in_the_url(way: Way, auth: Any) -> None:
    """Basic auth goes out as requests makes it, from a pair, an object, and from the URL."""

    def act(session: requests.Session, server: FaultServer) -> Any:
        url = server.url if auth else server.url.replace("://", "://me:secret@")
        return session.get(url, auth=auth).content, server.requests[0].header("authorization")

    assert way.alike(act, reply())[1] == "Basic bWU6c2VjcmV0"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("stream", [True, False])
def test_digest_auth_answers_the_challenge(way: Way, method: str, stream: bool) -> None:
    """Digest auth takes its 401 and asks again, over the same connection.

    The 401 is in the history. The second call knows the challenge already.
    """
    auth = HTTPDigestAuth("me", "secret")

    def act(session: requests.Session, server: FaultServer) -> Any:
        # It keeps what it knows for the thread that it was used in.
        auth.__init__("me", "secret")  # type: ignore[misc]
        said = [_said(session.request(method, server.url, data="body", auth=auth, stream=stream)) for _ in range(2)]
        return said, len(server.requests), server.connections, dict(session.cookies)

    seen = way.alike(act, _challenging(), ignoring=("authorization",))
    assert seen == ([(200, b"in", [401]), (200, b"in", [])], 3, 1, {"asked": "1"})


def test_digest_auth_rewinds_a_file(way: Way, tmp_path: Path) -> None:
    """A file that was sent with the challenged request is sent from its beginning again."""
    (tmp_path / "upload").write_bytes(LINES)

    def act(session: requests.Session, server: FaultServer) -> Any:
        with (tmp_path / "upload").open("rb") as upload:
            return _said(session.post(server.url, data=upload, auth=HTTPDigestAuth("me", "secret")))

    assert way.alike(act, _challenging(), ignoring=("authorization",)) == (200, b"in", [401])


def test_credentials_come_from_the_netrc_file(way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that does not trust its environment does not read the file."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    def act(session: requests.Session, server: FaultServer) -> Any:
        session.get(server.url)
        session.trust_env = False
        session.get(server.url)
        return [one.header("authorization") for one in server.requests]

    assert way.alike(act, reply()) == ["Basic bWU6c2VjcmV0", None]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("stream", [True, False])
def test_redirects_of_a_post_follow_requests_rules(way: Way, status: int, stream: bool) -> None:
    """301, 302 and 303 make a POST a GET without a body, and 307 and 308 repeat it.

    The history holds what came before.
    """

    def act(session: requests.Session, server: FaultServer) -> Any:
        answer = session.post(server.url + "/from", data={"a": "b"}, stream=stream)
        return _said(answer), answer.url == server.url + "/to", [one.content for one in answer.history]

    way.alike(act, redirect("/to", status), echo())


@pytest.mark.parametrize("body", ["stream", "plain"])
@pytest.mark.parametrize("status", [302, 307])
def test_a_redirected_model_call_is_followed_as_in_requests(way: Way, status: int, body: str) -> None:
    """The entry points for existing code follow redirects as plain requests does."""

    def act(session: requests.Session, server: FaultServer) -> Any:
        asked = {"model": "m", "messages": [], "stream": body == "stream"}
        answer = session.post(server.url + "/v1/chat/completions", json=asked, stream=body == "stream")
        return answer.status_code, [one.status_code for one in answer.history], answer.text

    way.alike(act, redirect("/v1/chat/completions", status), "healthy", ignoring=("accept-encoding",))


def test_credentials_do_not_follow_to_another_host(way: Way) -> None:
    """A redirect to another host loses the Authorization header, one to the same host keeps it."""

    def act(session: requests.Session, server: FaultServer) -> Any:
        with FaultServer(reply()) as other:
            location = f"http://localhost:{other.port}/there"
            server._scripts[1] = redirect(location)
            answer = session.get(server.url, auth=("me", "secret"))
            return _said(answer), [one.header("authorization") for one in (*server.requests, *other.requests)]

    said, credentials = way.alike(act, redirect("/here"), redirect("/here"))
    assert [one is not None for one in credentials] == [True, True, False]
    assert said[2] == [302, 302]


def test_max_redirects_ends_a_circle(way: Way) -> None:
    """requests' own error comes after exactly so many requests."""

    def act(session: requests.Session, server: FaultServer) -> Any:
        session.max_redirects = 3
        error = caught(requests.TooManyRedirects, session.get, server.url)
        assert error.response is not None
        return str(error), error.response.status_code, len(server.requests)

    assert way.alike(act, redirect("/again"))[2] == 4


def test_allow_redirects_false_returns_the_redirect(way: Way) -> None:
    """The response has the request that would follow it."""

    def act(session: requests.Session, server: FaultServer) -> Any:
        answer = session.post(server.url, data="a", allow_redirects=False)
        assert answer.next is not None
        return _said(answer), answer.is_redirect, answer.next.method, answer.next.url == server.url + "/to"

    assert way.alike(act, redirect("/to"))[1:] == (True, "GET", True)


def test_cookies_are_kept_and_sent_again(way: Way) -> None:
    """Cookies of an answer, and of a redirect on the way to it, are in the session's jar.

    They go out with the next request.
    """
    first = redirect("/to", 302, [("Set-Cookie", "on=way; Path=/"), ("Set-Cookie", "two=2; Path=/")])
    second = reply(headers=[("Set-Cookie", "at=end; Path=/"), ("Set-Cookie", "gone=1; Max-Age=0; Path=/")])

    def act(session: requests.Session, server: FaultServer) -> Any:
        session.cookies.set("mine", "1")
        answer = session.get(server.url, cookies={"once": "1"})
        session.get(server.url)
        return (
            sorted(session.cookies.items()),
            sorted(answer.cookies.items()),
            [sorted((one.header("cookie") or "").split("; ")) for one in server.requests],
        )

    jar, own, sent = way.alike(act, first, second)
    assert jar == [("at", "end"), ("mine", "1"), ("on", "way"), ("two", "2")]
    assert own == [("at", "end")]
    assert sent[2] == ["at=end", "mine=1", "on=way", "two=2"]


@pytest.mark.parametrize("stream", [True, False])
def test_hooks_see_the_response_and_may_read_it(way: Way, stream: bool) -> None:
    """A response hook of the session and one of the call are called with the response.

    They may read its body.
    """

    def act(session: requests.Session, server: FaultServer) -> Any:
        seen: list[Any] = []

        def read(response: requests.Response, **options: Any) -> None:
            seen.append(("session", response.content, sorted(options), options["stream"], options["timeout"]))

        def look(response: requests.Response, **options: Any) -> None:
            seen.append(("call", response.status_code, response.json()))

        session.hooks["response"].append(read)
        answer = session.get(server.url, hooks={"response": look}, stream=stream, timeout=30)
        return seen, answer.content, answer.json(), list(answer.iter_content(2))

    way.alike(act, reply(b'{"a": 1}'))


def test_a_hook_may_return_another_response(way: Way) -> None:
    """The response that a hook returns replaces the first; a hook may make calls of its own."""

    def act(session: requests.Session, server: FaultServer) -> Any:
        def again(response: requests.Response, **options: Any) -> requests.Response | None:
            if response.status_code != 401:
                return None
            response.close()
            return session.get(server.url + "/with-a-token", headers={"X-Token": "t"})

        answer = session.get(server.url, hooks={"response": again})
        return answer.status_code, answer.content, [one.path for one in server.requests]

    seen = way.alike(act, reply(b"no", status=401), reply(b"yes"))
    assert seen == (200, b"yes", ["/", "/with-a-token"])


def test_an_exception_of_a_hook_comes_out_as_it_is(way: Way) -> None:
    """The exception ends the call without another attempt."""

    def act(session: requests.Session, server: FaultServer) -> Any:
        def refuse(response: requests.Response, **options: Any) -> None:
            response.raise_for_status()

        error = caught(requests.HTTPError, session.get, server.url, hooks={"response": refuse})
        assert error.response is not None
        return str(error).replace(server.url, ""), error.response.status_code, len(server.requests)

    assert way.alike(act, reply(b"", status=503))[1:] == (503, 1)


def test_an_auth_object_may_read_and_change_the_request(way: Way) -> None:
    """An auth callable sees the prepared request, in the caller's thread, once a call."""

    def act(session: requests.Session, server: FaultServer) -> Any:
        seen: list[Any] = []

        def sign(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
            seen.append((prepared.method, prepared.body))
            prepared.headers["X-Signed"] = str(len(seen))
            return prepared

        session.auth = sign
        return session.post(server.url, data="text").content, seen, server.requests[0].header("x-signed")

    assert way.alike(act, echo()) == (b"text", [("POST", "text")], "1")
