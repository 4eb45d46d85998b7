"""Failures before the first content are recovered unseen, with exactly as many requests as necessary."""

from __future__ import annotations

import pytest
import requests

import llmwatch
from llmwatch import Decision, Limits, Retry
from llmwatch.faults import FaultServer, Script, steps
from llmwatch.faults.catalogue import ANSWER
from llmwatch.faults.steps import Framing
from llmwatch.watch import machine
from tests.end_to_end.calls import SHAPES, asking, endpoint, eventually
from tests.session.entry_points import Way, caught, record_of, text_of, together
from tests.session.scripts import FRAMINGS, reply
from tests.session.times import BEAT, LIMIT, LONG, PATIENCE, SOON

LIMITS = Limits(ttfb=SOON, first_content=LONG, stale=SOON, progress=LONG)

# What the first attempt meets, and the reason that the decision to send again names.
BEFORE_CONTENT = {
    "silent": "silence",
    "headers-then-silent": "silence",
    "comment-then-silent": "silence",
    "comment-then-silent:what=half": "silence",
    "reset-before-response": "lost_before_response",
    "fin-before-response": "lost_before_response",
    "reset-mid-stream:tokens=0": "stream_cut",
    "eof-without-terminal:tokens=0": "truncated",
    "status:status=500": "http_status",
    "html-52x": "http_status",
    "retry-after:value=0": "http_status",
}


@pytest.mark.parametrize("script", BEFORE_CONTENT)
def test_a_failure_before_content_is_recovered_from(way: Way, script: str) -> None:
    """The caller gets the whole answer of the second attempt, of two requests.

    This holds with ``stream=True`` and without.
    """

    def ask(stream: bool) -> None:
        with FaultServer([script, "healthy"]) as server:
            response = session.post(server.chat_url, json=asking(), stream=stream)
            assert response.status_code == 200
            assert text_of(response) == ANSWER
            record = record_of(response)
            assert len(server.requests) == len(record.attempts) == 2
            assert record.outcome == "recovered"
            assert [(one.decision, one.reason, one.outcome) for one in record.decisions] == [
                (Decision.RETRY, BEFORE_CONTENT[script], "recovered")
            ]

    with way.session(limits=LIMITS) as session:
        together(ask, (True, False))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_stall_before_content_is_recovered_from_in_any_dialect(way: Way, shape: str) -> None:
    """Silence before the headers, and behind them, ends in three attempts and one answer.

    No event of the first two attempts is in the answer, in every framing.
    """

    def ask(framing: Framing) -> None:
        scripts = ["silent", "headers-then-silent", "healthy"]
        with FaultServer(scripts, shape=shape, framing=framing) as server:
            with session.post(endpoint(server, shape), json=asking(), stream=True) as response:
                body = response.content
            assert b"fault1" not in body
            assert b"fault2" not in body
            assert text_of(response, shape) == ANSWER
            assert [one.limit for one in record_of(response).attempts] == ["ttfb", "ttfb", None]
            assert len(server.requests) == 3

    with way.session(limits=LIMITS) as session:
        together(ask, FRAMINGS)


@pytest.mark.parametrize("stream", [True, False])
def test_silence_without_end_is_a_time_out_after_every_attempt(way: Way, stream: bool) -> None:
    """Three silent attempts are requests' ``ReadTimeout`` after three requests."""
    with FaultServer("silent") as server, way.session(limits=Limits(ttfb=LIMIT)) as session:
        error = caught(requests.ReadTimeout, session.post, server.chat_url, json=asking(), stream=stream)
        assert isinstance(error, llmwatch.WatchTimeout)
        assert (error.limit, error.limit_seconds, error.phase, error.retryable) == ("ttfb", LIMIT, "waiting", True)
        assert error.record is not None
        assert [one.limit for one in error.record.attempts] == ["ttfb"] * 3
        server.wait_for_requests(3, PATIENCE)
        assert len(server.requests) == 3


@pytest.mark.parametrize("stream", [True, False])
def test_resets_without_end_are_a_connection_error(way: Way, stream: bool) -> None:
    """Three resets are requests' ``ConnectionError`` after three requests."""
    with FaultServer("reset-before-response") as server, way.session() as session:
        error = caught(requests.ConnectionError, session.post, server.chat_url, json=asking(), stream=stream)
        assert isinstance(error, llmwatch.StreamCut)
        assert len(server.requests) == 3


def test_keep_alives_alone_end_at_first_content_without_a_resend(way: Way) -> None:
    """A provider that is at work and says nothing ends at ``first_content``, after one request."""
    limits = Limits(first_content=SOON)
    with FaultServer(f"keepalive-only:every={BEAT}") as server, way.session(limits=limits) as session:
        error = caught(requests.ReadTimeout, session.post, server.chat_url, json=asking(), stream=True)
        assert isinstance(error, llmwatch.WatchTimeout)
        assert error.limit == "first_content"
        assert error.recovery is not None
        assert error.recovery.reason == "slow_but_alive"
        assert len(server.requests) == 1


@pytest.mark.parametrize("stream", [True, False])
def test_the_last_status_is_the_answer(way: Way, stream: bool) -> None:
    """A model's error status that stays is a response after all attempts, its body whole."""
    with FaultServer("status:status=529") as server, way.session() as session:
        response = session.post(server.chat_url, json=asking(), stream=stream)
        assert response.status_code == 529
        assert response.json()["error"]["code"] == "529"
        assert len(server.requests) == 3
        record = record_of(response)
        assert (record.outcome, record.cause) == ("failed", "provider_error")
        assert record.decisions[-1].reason == "attempts_exhausted"
        with pytest.raises(requests.HTTPError):
            response.raise_for_status()


def test_retry_after_is_kept(way: Way) -> None:
    """``Retry-After`` is kept to; beyond the cap the response comes at once, with the header."""
    scripts = [f"retry-after:value={LIMIT}", "healthy", "retry-after:value=3600"]
    with FaultServer(scripts) as server, way.session() as session:
        response = session.post(server.chat_url, json=asking(), stream=True)
        assert record_of_read(response).decisions[0].wait == LIMIT
        refused = session.post(server.chat_url, json=asking(), stream=True)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "3600")
        assert record_of(refused).decisions[-1].reason == "retry_after_too_long"
        assert len(server.requests) == 3


def record_of_read(response: requests.Response) -> llmwatch.CallRecord:
    """The record of a call, once its body was read."""
    assert response.content
    return record_of(response)


@pytest.mark.parametrize("script", ["stall-after-content", "reset-mid-stream", "eof-without-terminal", "cut-chunk"])
def test_a_loaded_stream_may_be_sent_again_once_after_content(way: Way, script: str) -> None:
    """Without ``stream=True`` nothing was handed over, so half an answer is discarded, once a call."""
    with FaultServer([script, "healthy", script]) as server, way.session(limits=LIMITS) as session:
        response = session.post(server.chat_url, json=asking())
        assert text_of(response) == ANSWER
        assert record_of(response).decisions[0].reason == "partial_discarded"
        assert len(server.requests) == 2
        error = caught(llmwatch.LLMWatchError, session.post, server.chat_url, json=asking())
        assert isinstance(error, requests.RequestException)
        assert error.recovery is not None
        assert error.recovery.reason == "partial_resend_used"
        assert len(server.requests) == 4


@pytest.mark.parametrize("tool", ["mcp", "teleport"])
def test_tools_with_side_effects_stop_a_resend(way: Way, tool: str) -> None:
    """A request with a tool that the provider runs asks for a person's word after one attempt.

    So does a request with an unknown tool.
    """
    with FaultServer("silent") as server, way.session(limits=Limits(ttfb=LIMIT)) as session:
        error = caught(requests.ReadTimeout, session.post, server.chat_url, json=asking(tools=[{"type": tool}]))
        assert isinstance(error, llmwatch.WatchTimeout)
        assert error.recovery is not None
        assert error.recovery.decision is Decision.CONFIRM
        assert len(server.requests) == 1


@pytest.mark.parametrize("stream", [True, False])
def test_a_plain_model_call_has_the_hard_limits(way: Way, stream: bool) -> None:
    """A model call that does not stream ends at ``ttfb``, or at ``stale`` in its body.

    A call that is silent after it was sent counts as at work, and is not sent again unless that is allowed.
    """
    limits = Limits(ttfb=SOON, stale=SOON)
    with FaultServer(["silent", "stall-after-content"]) as server, way.session(limits=limits) as session:
        for limit in ("ttfb", "stale"):

            def read() -> bytes:
                return session.post(server.chat_url, json=asking(stream=False), stream=stream).content

            error = caught(requests.ReadTimeout, read)
            assert isinstance(error, llmwatch.WatchTimeout)
            assert error.limit == limit
            assert error.recovery is not None
            handed_out = stream and limit == "stale"
            assert error.recovery.reason == ("output_delivered" if handed_out else "slow_but_alive")
        assert len(server.requests) == 2
    allowed = Retry(slow_but_alive=True, backoff=0.01)
    with FaultServer(["silent", "healthy"]) as server, way.session(limits=limits, retry=allowed) as session:
        response = session.post(server.chat_url, json=asking(stream=False), stream=stream)
        assert response.json()["choices"][0]["message"]["content"] == ANSWER
        assert record_of(response).limits["ttfb"]["value"] == SOON
        assert len(server.requests) == 2


def test_a_plain_model_call_has_a_limit_by_default(way: Way) -> None:
    """Nothing set, a plain model call is limited by its profile, a stream by more limits."""
    with FaultServer() as server, way.session(profile="hosted") as session:
        plain = record_of(session.post(server.chat_url, json=asking(stream=False)))
        stream = record_of(session.post(server.chat_url, json=asking()))
    assert [plain.limits[name]["value"] for name in ("ttfb", "first_content", "stale", "progress")] == [
        600,
        None,
        360,
        None,
    ]
    assert [stream.limits[name]["value"] for name in ("ttfb", "first_content", "stale", "progress")] == [
        120,
        300,
        360,
        600,
    ]


def test_retry_none_surfaces_the_first_failure(way: Way) -> None:
    """With ``Retry.none()`` the first failure surfaces, for a loop of the user's own."""
    once = Limits(ttfb=LIMIT)
    with FaultServer(["silent", "healthy"]) as server, way.session(limits=once, retry=Retry.none()) as session:
        caught(requests.ReadTimeout, session.post, server.chat_url, json=asking(), stream=True)
        assert len(server.requests) == 1


def test_a_recovered_call_is_one_record_and_one_notice(way: Way) -> None:
    """A recovered call is one record at the sinks, and its resend a notice."""
    records: list[llmwatch.CallRecord] = []
    notices: list[object] = []
    settings = {"limits": LIMITS, "sinks": [records.append], "on_notice": notices.append}
    with FaultServer(["silent", "healthy"]) as server, way.session(**settings) as session:
        session.post(server.chat_url, json=asking())
    name = "requests" if way.name == "install" else "session"
    assert [(one.outcome, one.entry_point, len(one.attempts)) for one in records] == [("recovered", name, 2)]
    assert [one.cause for one in notices if isinstance(one, llmwatch.RetryNotice)] == ["ttfb"]
    eventually(lambda: llmwatch.stats()["workers"] == 0, "the workers are gone")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("status", [302, 307])
def test_an_unread_redirect_body_causes_no_resend(
    way: Way, monkeypatch: pytest.MonkeyPatch, stream: bool, status: int
) -> None:
    """A redirect whose body does not come gets the time of an error body.

    The model call is not resent.
    """
    monkeypatch.setattr(machine, "ERROR_BODY", LIMIT * 2)
    slow = Script.of("slow", steps.Head(status, [("Location", "/moved")], "length", 10), steps.Hang())
    with FaultServer(slow) as server, way.session(limits=LIMITS) as session:
        response = session.post(server.chat_url, json=asking(stream=stream), stream=stream, allow_redirects=False)
        assert (response.status_code, response.content) == (status, b"")
        assert len(server.requests) == 1


def test_sinks_and_callbacks_are_not_told_of_their_own_calls(way: Way) -> None:
    """A sink is not told of the calls that it makes itself; other sinks are told.

    A sink that posts records through a watched session would otherwise never come to an end.
    """
    heard: list[llmwatch.CallRecord] = []
    notices: list[object] = []
    with FaultServer(reply()) as board, FaultServer(["silent", "healthy"]) as server:
        posting: list[requests.Session] = []

        def post(record: llmwatch.CallRecord) -> None:
            posting[0].post(board.url, json={"outcome": record.outcome})

        def tell(notice: object) -> None:
            notices.append(notice)
            posting[0].post(board.url, json={"cause": type(notice).__name__})

        with way.session(limits=LIMITS, sinks=[post, heard.append], on_notice=tell, notice_every=SOON / 3) as session:
            posting.append(session)
            assert text_of(session.post(server.chat_url, json=asking())) == ANSWER
        assert len(server.requests) == 2
        # One for the record, one for each notice, and one for the record of each of the latter.
        assert len(board.requests) == 2 * len(notices) + 1
        assert sorted(one.outcome for one in heard) == ["done"] * len(board.requests) + ["recovered"]
