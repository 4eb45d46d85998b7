"""A refresh that hangs or says too much ends, and its connections with it."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest
import requests

import llmwatch
from llmwatch import Cancelled, CancelToken, Decision, Limits, RefreshFailed, Retry, WatchTimeout
from llmwatch.auth import refreshing
from llmwatch.faults import Script, refused_port, steps
from llmwatch.policy.environment import REFRESH_VARIABLE
from tests.auth.conftest import Connect, Serve
from tests.auth.tokens import asking_at, document, granting, guarded, refreshing_on, saying, token
from tests.end_to_end.calls import collect, eventually, in_thread, stream
from tests.end_to_end.manual import LATE, ManualTime
from tests.end_to_end.times import BEAT, LIMIT, LONG

HANGING = {
    "before the headers": Script.of("silent", steps.Hang()),
    "after the headers": Script.of("headers", steps.Head(200, (), "length", 200), steps.Hang()),
    "with a body that drips": Script.of(
        "dripping", steps.Head(200, (), "chunked"), steps.Repeat((steps.Chunk(b" "),), every=BEAT)
    ),
    "in a refusal's body": Script.of("refusal", steps.Head(400, (), "length", 200), steps.Chunk(b"{"), steps.Hang()),
}


class Hanging:
    """A token endpoint that hangs in one of these ways, and the auth that asks it.

    Only the test moves the auth's time.
    """

    def __init__(self, serve: Serve, manual: ManualTime, hanging: str) -> None:
        self.server = serve(HANGING[hanging])
        self._manual = manual
        self._silent = hanging == "before the headers"
        self.auth = refreshing_on(manual.clock, asking_at(self.server), limits=Limits(total=LIMIT))

    def expire(self, number: int) -> None:
        """Let the limit expire once the refresh with this number hangs."""
        self.server.wait_for_requests(number)
        if not self._silent:
            eventually(lambda: any(one.stats.status for one in self._manual.attempts()), "the headers are there")
        self._manual.advance(LIMIT + LATE)


def timed_out(error: RefreshFailed) -> None:
    """Check the error of a refresh that ran out of time."""
    assert (error.retryable, error.limit, error.limit_seconds) == (True, "refresh", LIMIT)
    assert error.elapsed is not None
    assert LIMIT <= error.elapsed < LONG
    for word in ("refresh", f"{LIMIT:g} s", REFRESH_VARIABLE):
        assert word in str(error)
    cause = error.__cause__
    assert isinstance(cause, WatchTimeout)
    assert (cause.limit, cause.limit_seconds, cause.elapsed) == ("refresh", LIMIT, error.elapsed)


@pytest.mark.parametrize("hanging", HANGING)
def test_a_refresh_that_hangs_ends_at_its_limit(
    serve: Serve, connect: Connect, manual: ManualTime, hanging: str
) -> None:
    """In a client, a refresh that hangs in any phase ends with a retryable error at its limit.

    Its connection is shut, nothing is sent to the API, and the attempts are used up as by any retryable failure.
    """
    auths, api = Hanging(serve, manual, hanging), serve()
    client = manual.on(connect(retry=Retry(max_attempts=2, backoff=0)))
    calling = in_thread(collect, client, api.chat_url, auth=auths.auth)
    for number in (1, 2):
        auths.expire(number)
    outcome = calling.result()
    error = outcome.failed(RefreshFailed)
    timed_out(error)
    assert error.recovery is not None
    assert (error.recovery.decision, error.recovery.reason) == (Decision.STOP, "attempts_exhausted")
    assert [(one.error, one.cause) for one in outcome.record.attempts] == [("RefreshFailed", "setup_failure")] * 2
    auths.server.wait_for_closed(2)
    assert (len(auths.server.requests), len(api.requests)) == (2, 0)


@pytest.mark.parametrize("hanging", HANGING)
def test_a_hanging_refresh_ends_in_plain_requests(serve: Serve, manual: ManualTime, hanging: str) -> None:
    """Without a client of llmwatch there is one refresh, and an error.

    Legacy code catches the error as one of requests'.
    """
    auths, api = Hanging(serve, manual, hanging), serve()

    def ask() -> requests.RequestException:
        with pytest.raises(requests.RequestException) as caught:
            requests.post(api.chat_url, json={}, auth=auths.auth)
        return caught.value

    calling = in_thread(ask)
    auths.expire(1)
    error = calling.result()
    assert isinstance(error, RefreshFailed)
    timed_out(error)
    assert error.request.url == api.chat_url
    assert error.response is None
    auths.server.wait_for_closed(1)
    assert (len(auths.server.requests), len(api.requests)) == (1, 0)


def test_a_client_recovers_from_a_hanging_refresh(serve: Serve, connect: Connect, manual: ManualTime) -> None:
    """A client tries again after a refresh that hung.

    The user sees the answer, and the record what happened.
    """
    auths, api = serve("silent", granting()), serve(guarded(2))
    auth = refreshing_on(manual.clock, asking_at(auths), limits=Limits(total=LIMIT))
    calling = in_thread(collect, manual.on(connect(retry=Retry(backoff=0))), api.chat_url, auth=auth)
    auths.wait_for_requests(1)
    waits(manual)
    manual.advance(LIMIT + LATE)
    record = calling.result().done("recovered")
    assert [one.close_reason for one in record.attempts] == ["failed", "done"]
    assert [(one.reason, one.carried_out) for one in record.decisions] == [("refresh_transient", True)]
    assert (len(auths.requests), len(api.requests)) == (2, 1)


def test_the_environment_sets_the_limit(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """LLMWATCH_REFRESH_TIMEOUT_SECONDS is heard at the next refresh."""
    auth = refreshing(asking_at(serve("silent")))
    monkeypatch.setenv(REFRESH_VARIABLE, str(LIMIT))
    with pytest.raises(RefreshFailed) as caught:
        requests.get("http://127.0.0.1:1", auth=auth)
    timed_out(caught.value)


def test_a_refresh_without_sockets_frees_its_callers_at_the_limit(serve: Serve) -> None:
    """A function in which nothing can be shut frees its callers at the limit all the same."""
    gate = threading.Event()

    def stuck() -> str:
        gate.wait(LONG)
        return token(1)

    with pytest.raises(RefreshFailed) as caught:
        requests.get("http://127.0.0.1:1", auth=refreshing(stuck, limits=Limits(total=LIMIT)))
    # Its caller is free, and the function still runs.
    assert not gate.is_set()
    timed_out(caught.value)
    gate.set()


def test_a_limit_of_zero_never_ends_a_refresh(serve: Serve, connect: Connect, manual: ManualTime) -> None:
    """With a limit of 0 a refresh may take any time."""
    auths, api = serve(Script.of("late", steps.WaitFor("go"), *_answer())), serve(guarded(1))
    auth = refreshing_on(manual.clock, asking_at(auths), limits=Limits(total=0))
    calling = in_thread(collect, manual.on(connect()), api.chat_url, auth=auth)
    auths.wait_for_requests(1)
    waits(manual)
    manual.advance(1e6)
    auths.gate("go").set()
    calling.result().done()


def _answer() -> tuple[steps.Step, ...]:
    return steps.Head(200, (), "length", len(document())), steps.Chunk(document()), steps.End()


# -- the body ---------------------------------------------------------------


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_an_endless_body_is_not_read_to_its_end(serve: Serve, connect: Connect, framing: Any) -> None:
    """A body beyond 64 KiB is dropped: an error that is not retried, from a connection that is closed."""
    endless = Script.of(
        "endless", steps.Head(200, (), framing, 1 << 40), steps.Repeat((steps.Chunk(b" " * 8192),), every=0)
    )
    auths, api = serve(endless), serve()
    outcome = collect(connect(), api.chat_url, auth=refreshing(asking_at(auths)))
    error = outcome.failed(RefreshFailed)
    assert "larger than 65,536 bytes" in str(error)
    assert (error.retryable, error.__cause__, error.limit) == (False, None, None)
    auths.wait_for_closed(1)
    assert (len(auths.requests), len(api.requests)) == (1, 0)


@pytest.mark.parametrize(
    ("body", "words"), [(b"<html>", "not JSON"), (b"{}", "no access_token"), (b'{"access_token": "a b"}', "no header")]
)
def test_a_body_without_a_token_is_a_final_failure(serve: Serve, connect: Connect, body: bytes, words: str) -> None:
    """The error says what is missing and is not retried; the next call may refresh again."""
    auths, api = serve(saying(body), granting()), serve(guarded(2))
    client, auth = connect(), refreshing(asking_at(auths))
    error = stream(client, api.chat_url, auth=auth).failed(RefreshFailed)
    assert words in str(error)
    assert not error.retryable
    assert len(auths.requests) == 1
    stream(client, api.chat_url, auth=auth).done()
    assert (len(auths.requests), len(api.requests)) == (2, 1)


# -- rejected ---------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [
        saying(b'{"error": "invalid_grant", "error_description": "gone"}', 400),
        saying(b"", 401),
        saying(b"<html>", 403),
        saying(b'{"error": "invalid_grant"}'),
    ],
)
@pytest.mark.parametrize("raising", [False, True])
def test_a_rejected_token_is_never_tried_again(serve: Serve, connect: Connect, script: Script, raising: bool) -> None:
    """Rejected credentials end the call, and every later one at once.

    There is one request to the token endpoint. After a reset it is asked again.
    """
    auths, api = serve(script, granting()), serve(guarded(2))
    ask = asking_at(auths)

    def refresh() -> requests.Response:
        response = ask()
        if raising:
            response.raise_for_status()
        return response

    client, auth = connect(), refreshing(refresh)
    for _ in range(3):
        outcome = collect(client, api.chat_url, auth=auth)
        error = outcome.failed(RefreshFailed)
        assert (error.retryable, error.limit) == (False, None)
        assert error.recovery is not None
        assert (error.recovery.decision, error.recovery.reason) == (Decision.STOP, "refresh_rejected")
        assert len(outcome.record.attempts) == 1
    with pytest.raises(requests.RequestException):
        requests.get(api.url, auth=auth)
    assert (len(auths.requests), len(api.requests)) == (1, 0)
    auth.reset()
    collect(client, api.chat_url, auth=auth).done()
    assert (len(auths.requests), len(api.requests)) == (2, 1)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_busy_token_endpoint_is_retried_by_the_client(serve: Serve, connect: Connect, status: int) -> None:
    """A status that may pass is a failure that the client tries again."""
    auths, api = serve(saying(b"{}", status), granting()), serve(guarded(2))
    collect(connect(), api.chat_url, auth=refreshing(asking_at(auths))).done("recovered")
    assert (len(auths.requests), len(api.requests)) == (2, 1)


def test_an_unreachable_token_endpoint_is_retried_by_the_client(serve: Serve, connect: Connect) -> None:
    """Refused or reset, it is tried again; the cause is a summary without the words of a library."""
    api = serve()
    with refused_port() as port:
        auth = refreshing(lambda: requests.post(f"http://127.0.0.1:{port}/token?code=abc"))
        error = collect(connect(), api.chat_url, auth=auth).failed(RefreshFailed)
    assert error.retryable
    assert f"asking 127.0.0.1:{port}, the connection was refused (ECONNREFUSED)" in str(error)
    assert "ECONNREFUSED" in str(error.__cause__)
    auths = serve("reset-before-response", granting())
    collect(connect(), api.chat_url, auth=refreshing(asking_at(auths))).done("recovered")
    assert len(auths.requests) == 2


# -- the limits of the call that waits --------------------------------------


def waits(manual: ManualTime) -> None:
    """Return once a refresh is on its way and its caller waits for it.

    Both attempts live, and the caller's limits are held.
    """

    def held() -> bool:
        return manual.live == 2 and any(one.machine.held for one in manual.attempts())

    eventually(held, "the caller waits")


def test_connect_does_not_count_a_refresh(serve: Serve, connect: Connect, manual: ManualTime) -> None:
    """A refresh may take longer than ``connect``, up to its own limit of 30 s.

    What was left of ``connect`` is left after it.
    """
    auths, api = serve(Script.of("late", steps.WaitFor("go"), *_answer())), serve(guarded(1))
    client = manual.on(connect(profile="hosted"))
    auth = refreshing_on(manual.clock, asking_at(auths))
    calling = in_thread(collect, client, api.chat_url, auth=auth)
    auths.wait_for_requests(1)
    waits(manual)
    manual.advance(29.0)
    assert manual.live == 2
    auths.gate("go").set()
    record = calling.result().done()
    assert (len(auths.requests), len(api.requests)) == (1, 1)
    assert record.attempts[0].timings.connected == 29.0


def test_the_default_limit_is_thirty_seconds(serve: Serve, connect: Connect, manual: ManualTime) -> None:
    """Without any setting a refresh ends after 30 s."""
    auths, api = serve("silent"), serve()
    client = manual.on(connect(profile="hosted", retry=Retry.none()))
    calling = in_thread(collect, client, api.chat_url, auth=refreshing_on(manual.clock, asking_at(auths)))
    auths.wait_for_requests(1)
    waits(manual)
    manual.advance(30.0 + LATE)
    error = calling.result().failed(RefreshFailed)
    assert (error.retryable, error.limit, error.limit_seconds) == (True, "refresh", 30.0)


def test_the_deadline_runs_during_a_refresh(serve: Serve, connect: Connect, manual: ManualTime) -> None:
    """A call whose deadline expires during a refresh ends then.

    The refresh continues, and the next call uses its token.
    """
    auths, api = serve(Script.of("late", steps.WaitFor("go"), *_answer())), serve(guarded(1))
    client = manual.on(connect(profile="hosted"))
    auth = refreshing_on(manual.clock, asking_at(auths))
    calling = in_thread(collect, client, api.chat_url, auth=auth, limits=Limits(deadline=20))
    auths.wait_for_requests(1)
    waits(manual)
    # No further, so that the worker need not hurry to be gone in time.
    manual.advance(20.0 + LATE)
    error = calling.result().failed(WatchTimeout)
    assert (error.limit, error.retryable) == ("deadline", False)
    assert error.record is not None
    assert not error.record.attempts[0].orphaned
    auths.gate("go").set()
    collect(client, api.chat_url, auth=auth).done()
    assert (len(auths.requests), len(api.requests)) == (1, 1)


def test_a_call_cancelled_during_a_refresh_ends_at_once(serve: Serve, connect: Connect) -> None:
    """A token or a closed client ends the call; other calls that wait for the refresh get its token."""
    auths, api = serve(Script.of("late", steps.WaitFor("go"), *_answer())), serve(guarded(1))
    auth, given_up, others = refreshing(asking_at(auths)), CancelToken(), connect()
    closing = connect()
    by_token = in_thread(collect, others, api.chat_url, auth=auth, cancel=given_up)
    by_client = in_thread(collect, closing, api.chat_url, auth=auth)
    patient = in_thread(collect, others, api.chat_url, auth=auth)
    auths.wait_for_requests(1)
    eventually(lambda: (flight := auth._token_cache._flight) and len(flight.waiters) == 3, "three calls wait")
    given_up.cancel()
    closing.close()
    assert by_token.result().failed(Cancelled).by == "user"
    assert by_client.result().failed(Cancelled).by == "lifecycle"
    # Both are over before the token endpoint has said a word.
    assert not auths.gate("go").is_set()
    auths.gate("go").set()
    patient.result().done()
    assert (len(auths.requests), len(api.requests)) == (1, 1)


def test_a_cancelled_call_starts_no_refresh(serve: Serve, connect: Connect) -> None:
    """A token that is set sends nothing, not to the token endpoint either."""
    auths, api, given_up = serve(granting()), serve(), CancelToken()
    given_up.cancel()
    collect(connect(), api.chat_url, auth=refreshing(asking_at(auths)), cancel=given_up).failed(Cancelled)
    assert (len(auths.requests), len(api.requests)) == (0, 0)


def test_ctrl_c_during_a_refresh_frees_the_caller(serve: Serve) -> None:
    """Ctrl-C frees the caller at once, and the token that comes later is used by the next call."""
    auths, api = serve(Script.of("late", steps.WaitFor("go"), *_answer())), serve(guarded(1))
    auth = refreshing(asking_at(auths))

    def press() -> None:
        auths.wait_for_requests(1)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    pressing = in_thread(press)
    with pytest.raises(KeyboardInterrupt):
        requests.post(api.chat_url, json={}, auth=auth)
    pressing.result()
    auths.gate("go").set()
    assert requests.post(api.chat_url, json={}, auth=auth).status_code == 200
    assert (len(auths.requests), len(api.requests)) == (1, 1)


def test_a_refresh_holds_the_limits_of_a_wrapped_function(serve: Serve, manual: ManualTime) -> None:
    """A wrapped function that needs a token waits for it with its limits standing."""
    auths, api = serve("silent", granting()), serve(guarded(2))
    auth = refreshing_on(manual.clock, asking_at(auths), limits=Limits(total=LIMIT))

    def ask() -> int:
        try:
            return requests.post(api.chat_url, json={}, auth=auth).status_code
        except RefreshFailed:
            return requests.post(api.chat_url, json={}, auth=auth).status_code

    calling = in_thread(llmwatch.wrap.call, ask, limits=Limits(ttfb=LIMIT / 2))
    auths.wait_for_requests(1)
    waits(manual)
    manual.advance(LIMIT + LATE)
    assert calling.result() == 200
    assert (len(auths.requests), len(api.requests)) == (2, 1)


def test_the_deadline_ends_a_wrapped_function_during_a_refresh(serve: Serve) -> None:
    """The deadline of a wrapped function runs on while it waits for a token.

    It frees its caller, and nothing is sent.
    """
    auths, api = serve("silent"), serve()
    hanging = refreshing(asking_at(auths), limits=Limits(total=LONG))
    with pytest.raises(WatchTimeout) as caught:
        llmwatch.wrap.call(lambda: requests.get(api.url, auth=hanging), limits=Limits(deadline=LIMIT))
    assert caught.value.limit == "deadline"
    assert caught.value.elapsed is not None
    assert LIMIT <= caught.value.elapsed < LONG
    assert len(api.requests) == 0
