"""Auth that answers a refusal, as HTTP digest does.

The second response is the answer, and is watched like one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from requests.auth import HTTPBasicAuth, HTTPDigestAuth

from llmwatch.faults import FaultServer, Script, steps
from llmwatch.transport.sender import Sender
from llmwatch.watch import machine
from llmwatch.watch.machine import VerdictKind
from llmwatch.watch.states import Phase
from tests.transport.drive import GONE, LIMIT, PATIENCE, Call, assert_killed

_CHALLENGE = Script.of(
    "challenge",
    steps.Head(
        401,
        [("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256')],
        "length",
        2,
    ),
    steps.Chunk(b"no"),
    steps.End(),
)


def _gated(context: Any) -> Iterator[steps.Step]:
    yield from context.answer([steps.Chunk(b"one"), steps.WaitFor("on"), steps.Chunk(b"two")])


_GATED = Script(name="gated", description="two words, a gate between them", play=_gated)
_HANGING = Script(
    name="hanging",
    description="one word and then nothing",
    play=lambda context: context.answer([steps.Chunk(b"one"), steps.Hang()], framing="close", ends=False),
)


def test_digest_answers_the_challenge_on_the_same_connection(sender: Sender) -> None:
    """The challenge is answered with the same body on the same connection, and the answer is read."""
    with FaultServer([_CHALLENGE, "healthy"]) as server:
        call = Call(sender, server.chat_url, auth=HTTPDigestAuth("user", "secret"))
        assert call.run()
        assert call.verdict.kind is VerdictKind.DONE
        first, second = server.requests
        assert server.connections == 1
    assert first.header("authorization") is None
    assert (second.header("authorization") or "").startswith('Digest username="user"')
    assert second.body == first.body
    assert (call.status, call.attempt.stats.status) == (200, 200)


def test_digest_is_remembered_by_its_thread_alone(sender: Sender) -> None:
    """Each worker is a thread of its own, so the same auth object is challenged again, and works again."""
    auth = HTTPDigestAuth("user", "secret")
    with FaultServer([_CHALLENGE, "healthy", _CHALLENGE, "healthy"]) as server:
        for _ in range(2):
            call = Call(sender, server.chat_url, auth=auth)
            assert call.run()
            assert call.status == 200
        assert len(server.requests) == 4


def test_the_answer_after_a_challenge_is_watched_as_an_answer(sender: Sender) -> None:
    """The 401 that was answered does not count as the refusal of the attempt.

    The stream after it has its own limits.
    """
    with FaultServer([_CHALLENGE, _HANGING]) as server:
        call = Call(sender, server.chat_url, auth=HTTPDigestAuth("user", "secret"), limits={"stale": LIMIT})
        assert call.start().take() == b"one"
        assert_killed(call, limit="stale", phase="content")
        server.wait_for_closed(1)


def test_the_answer_after_a_challenge_is_not_cut_like_an_error(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that follows an answered challenge may last longer than the body of an error."""
    monkeypatch.setattr(machine, "ERROR_BODY", LIMIT)
    with FaultServer([_CHALLENGE, _GATED]) as server:
        call = Call(sender, server.chat_url, auth=HTTPDigestAuth("user", "secret")).start()
        assert call.attempt.take() == [b"one"]
        assert call.attempt.phase is Phase.CONTENT
        threading.Event().wait(2 * LIMIT)
        server.gate("on").set()
        assert call.take() == b"two"
        assert call.verdict.kind is VerdictKind.DONE
        assert call.attempt.join(GONE)


def test_an_unmet_challenge_is_a_refusal(sender: Sender) -> None:
    """A second 401 is handed back, as a refusal, after two requests."""
    with FaultServer(_CHALLENGE) as server:
        call = Call(sender, server.chat_url, auth=HTTPDigestAuth("user", "wrong"))
        call.run()
        assert len(server.requests) == 2
        assert (call.status, call.attempt.stats.status) == (401, 401)
        assert call.attempt.phase is Phase.REFUSED


def test_a_challenge_without_an_end_is_bound_by_the_running_limit(sender: Sender) -> None:
    """A 401 whose body never ends holds up the auth, and the caller is free at the limit that is running."""
    silent = Script.of(
        "silent-challenge",
        steps.Head(401, [("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth"')], "length", 5),
        steps.Hang(),
    )
    with FaultServer(silent) as server:
        call = Call(
            sender, server.chat_url, auth=HTTPDigestAuth("user", "secret"), limits={"ttfb": LIMIT, "total": 3 * LIMIT}
        )
        call.start().take()
        assert call.verdict.kind is VerdictKind.KILLED
        assert call.attempt.join(GONE)
        server.wait_for_closed(1)


def test_auth_that_hangs_is_bound_by_connect(sender: Sender) -> None:
    """An auth callable that does not return is bound by ``connect``.

    When it returns nothing is sent.
    """
    go = threading.Event()

    def auth(request: Any) -> Any:
        go.wait(PATIENCE)
        return request

    with FaultServer() as server:
        call = Call(sender, server.chat_url, auth=auth, limits={"connect": LIMIT})
        call.start().take()
        assert (call.verdict.kind, call.verdict.limit) == (VerdictKind.KILLED, "connect")
        go.set()
        assert call.attempt.join(GONE)
        assert server.connections == 0


def test_basic_auth_is_sent_at_once(sender: Sender) -> None:
    """Basic auth needs no challenge."""
    with FaultServer() as server:
        assert Call(sender, server.chat_url, auth=HTTPBasicAuth("user", "secret")).run()
        (request,) = server.requests
    assert (request.header("authorization") or "").startswith("Basic ")
