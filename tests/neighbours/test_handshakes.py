"""requests-ntlm, whose three steps are bound to one connection.

The server here checks the steps as a real one does.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import spnego
from requests_ntlm import HttpNtlmAuth

import llmwatch
from llmwatch.faults import Context, FaultServer, Script, steps
from tests.end_to_end.calls import QUICK, asking
from tests.session.entry_points import Way, plain
from tests.session.scripts import LINES, reply

USER, PASSWORD = "DOMAIN\\user", "secret-words"


@pytest.fixture(autouse=True)
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The users that the server knows."""
    file = tmp_path / "users"
    file.write_text(f"DOMAIN:user:{PASSWORD}\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(file))


class Guarded:
    """Answers as ``script`` does once the three steps were taken on the connection of a request."""

    def __init__(self, script: Script, *, framing: Any = None) -> None:
        self.script = script
        self.framing = framing
        self.contexts: dict[int, Any] = {}
        self.answers = Script(name="guarded", description="asks for NTLM", play=self.play)

    def play(self, context: Context) -> Iterator[Any]:
        connection, given = context.request.connection, dict(context.request.headers).get("Authorization", "")
        server = self.contexts.get(connection)
        if server is None or not given.startswith("NTLM "):
            self.contexts[connection] = spnego.server(protocol="ntlm")
            return self.refuse(context, "NTLM")
        try:
            said = server.step(base64.b64decode(given.removeprefix("NTLM ")))
        except (ValueError, spnego.exceptions.SpnegoError):
            return self.refuse(context, "NTLM")
        if server.complete:
            return iter(self.script.play(context))
        return self.refuse(context, f"NTLM {base64.b64encode(said).decode()}")

    def refuse(self, context: Context, challenge: str) -> Iterator[Any]:
        headers = [("WWW-Authenticate", challenge)]
        return iter(reply(b"who are you?", status=401, headers=headers, framing=self.framing).play(context))


def _events(context: Context) -> Iterator[Any]:
    return iter(context.answer([steps.Chunk(piece) for piece in context.whole()]))


EVENTS = Script(name="events", description="an answer", play=_events)


def _asked(session: requests.Session, url: str, kind: str) -> requests.Response:
    model = f"{url}/v1/chat/completions"
    if kind == "get":
        return session.get(f"{url}/file", stream=True)
    if kind == "order":
        return session.post(f"{url}/orders", json={"a": 1})
    return session.post(model, json=asking(stream=kind == "stream"), stream=kind == "stream")


@pytest.mark.parametrize("kind", ["get", "order", "plain", "stream"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_the_three_steps_are_taken_on_one_connection(way: Way, kind: str, framing: Any) -> None:
    """The answer comes with as many requests as bare, and has the same history.

    All requests are on the same connection.
    """
    found = []
    for opened in (plain, way.session):
        guarded = Guarded(EVENTS if kind == "stream" else reply(LINES), framing=framing)
        with FaultServer([guarded.answers]) as server, opened() as session:
            session.auth = HttpNtlmAuth(USER, PASSWORD)
            for _ in range(2):
                response = _asked(session, server.url, kind)
                body = response.content
            found.append(
                (
                    response.status_code,
                    body,
                    [one.status_code for one in response.history],
                    [one.connection for one in server.requests],
                    [dict(one.headers).get("Authorization", "")[:20] for one in server.requests],
                )
            )
    expected, watched = found
    assert expected[0] == 200
    assert set(expected[3]) == {1}
    assert watched == expected


@pytest.mark.parametrize("kind", ["get", "plain", "stream"])
def test_the_channel_is_bound(way: Way, kind: str, server_tls: ssl.SSLContext, bundle: str) -> None:
    """Over TLS the server's certificate goes into the last step.

    The certificate is found through the response to the first step.
    """
    found = []
    for opened in (plain, way.session):
        guarded = Guarded(EVENTS if kind == "stream" else reply(LINES))
        with FaultServer([guarded.answers], tls=server_tls) as server, opened() as session:
            session.auth, session.verify = HttpNtlmAuth(USER, PASSWORD), bundle
            response = _asked(session, server.url, kind)
            found.append((response.status_code, [one.connection for one in server.requests]))
    assert found == [(200, [1, 1, 1])] * 2


def test_a_wrong_password_is_refused(way: Way) -> None:
    """The last 401 is the answer, after three requests: a handshake is not tried again."""
    guarded = Guarded(reply(LINES))
    with FaultServer([guarded.answers]) as server, way.session() as session:
        session.auth = HttpNtlmAuth(USER, "wrong")
        assert session.post(server.chat_url, json=asking(stream=False)).status_code == 401
        assert len(server.requests) == 3


def test_a_client_with_the_auth_of_a_session() -> None:
    """``Client`` on a session that was given such an auth."""
    guarded = Guarded(EVENTS)
    session = requests.Session()
    session.auth = HttpNtlmAuth(USER, PASSWORD)
    with FaultServer([guarded.answers]) as server, llmwatch.Client(session=session, retry=QUICK) as client:
        assert client.collect("POST", server.chat_url, json=asking()).text
        assert {one.connection for one in server.requests} == {1}
        assert len(server.requests) == 3
