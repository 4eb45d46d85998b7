"""Giving a call up: a token, ``stream.cancel()``, ``Client.close()``, a dropped iterator."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

import llmwatch
from llmwatch import Cancelled, CancelToken, Client, Decision, Limits, Retry, Stream
from llmwatch.faults import FaultServer
from tests.end_to_end.calls import asking, collect, eventually, in_thread, request, run_stream, stream
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.scripts import gated
from tests.end_to_end.times import BEAT, FREE, LONG, PATIENCE

Way = Callable[[Client, Stream, CancelToken], None]

WAYS: dict[str, tuple[Way, str]] = {
    "token": (lambda client, made, token: token.cancel(), "user"),
    "stream.cancel": (lambda client, made, token: made.cancel(), "user"),
    "Client.close": (lambda client, made, token: client.close(), "lifecycle"),
}


def _cancelled(error: Cancelled, by: str) -> None:
    """Check the error and the record of a cancelled call."""
    assert (error.by, error.retryable) == (by, False)
    assert error.recovery is not None
    assert (error.recovery.decision, error.recovery.reason) == (Decision.STOP, f"cancelled_by_{by}")
    assert error.record is not None
    assert error.record.outcome == "cancelled"
    assert error.record.cause == {"user": "user_cancel", "lifecycle": "lifecycle_close"}[by]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("script", ["silent", "headers-then-silent", "keepalive-only", "stall-after-content:tokens=4"])
def test_a_cancellation_ends_a_waiting_or_reading_call_at_once(
    serve: Serve, connect: Connect, script: str, way: str
) -> None:
    """Another thread ends a call that waits or reads.

    The caller gets ``Cancelled`` at once, and the server sees the connection closed.
    """
    give_up, by = WAYS[way]
    server = serve(script)
    client, token, said = connect(limits=Limits(stale=LONG)), CancelToken(), threading.Event()
    made = client.stream("POST", server.chat_url, json=asking(), cancel=token)
    calling = in_thread(run_stream, made, lambda event: said.set() if event.text else None)
    server.wait_for_requests(1)
    if "stall" in script:
        assert said.wait(PATIENCE)
    began = time.monotonic()
    give_up(client, made, token)
    outcome = calling.result()
    assert time.monotonic() - began < FREE
    _cancelled(outcome.failed(Cancelled), by)
    assert outcome.error.partial == outcome.text
    server.wait_for_closed(1)
    assert len(server.requests) == 1
    assert made.record is not None
    (attempt,) = made.record.attempts
    assert attempt.close_reason == {"user": "user_cancel", "lifecycle": "lifecycle_close"}[by]
    assert attempt.limit is None


@pytest.mark.parametrize("way", WAYS)
def test_a_cancellation_ends_a_back_off_at_once(serve: Serve, connect: Connect, way: str) -> None:
    """The call ends as cancelled, and the resend that was planned is not carried out."""
    give_up, by = WAYS[way]
    server = serve("retry-after:value=60", "healthy")
    backing_off = threading.Event()
    client = connect(on_notice=lambda one: backing_off.set() if isinstance(one, llmwatch.RetryNotice) else None)
    token = CancelToken()
    made = client.stream("POST", server.chat_url, json=asking(), cancel=token)
    calling = in_thread(run_stream, made)
    assert backing_off.wait(PATIENCE)
    began = time.monotonic()
    give_up(client, made, token)
    outcome = calling.result()
    assert time.monotonic() - began < FREE
    error = outcome.failed(Cancelled)
    _cancelled(error, by)
    assert error.record is not None
    planned, derived = error.record.decisions
    assert (planned.decision, planned.carried_out) == (Decision.RETRY, False)
    assert (derived.decision, derived.reason) == (Decision.STOP, f"cancelled_by_{by}")
    assert len(error.record.attempts) == 1
    assert len(server.requests) == 1


@pytest.mark.parametrize("entry_point", [stream, collect, request])
def test_a_token_that_is_set_sends_nothing(serve: Serve, connect: Connect, entry_point: Any) -> None:
    """A call that gets a token which was set before is cancelled before anything is connected or sent."""
    server, token = serve(), CancelToken()
    token.cancel()
    assert token.cancelled
    error = entry_point(connect(), server.chat_url, cancel=token).failed(Cancelled)
    _cancelled(error, "user")
    assert server.requests == []
    assert server.connections == 0


@pytest.mark.parametrize("entry_point", [collect, request])
def test_a_token_ends_collect_and_request_too(serve: Serve, connect: Connect, entry_point: Any) -> None:
    """A token ends a whole answer and a plain call as it ends a stream."""
    server, token = serve("silent"), CancelToken()
    calling = in_thread(entry_point, connect(), server.chat_url, cancel=token)
    server.wait_for_requests(1)
    token.cancel()
    _cancelled(calling.result().failed(Cancelled), "user")
    server.wait_for_closed(1)


def test_one_token_ends_many_calls(serve: Serve, connect: Connect) -> None:
    """Every call that holds a token ends with it, and no other."""
    server, token, client = serve("silent", "silent", "silent", gated(3)), CancelToken(), connect()
    calling = [in_thread(stream, client, server.chat_url, cancel=token) for _ in range(3)]
    server.wait_for_requests(3)
    free = in_thread(stream, client, server.chat_url)
    server.wait_for_requests(4)
    token.cancel()
    token.cancel()
    for one in calling:
        _cancelled(one.result().failed(Cancelled), "user")
    server.gate("rest").set()
    free.result().done()


def test_a_stream_cancelled_before_it_starts_sends_nothing(serve: Serve, connect: Connect) -> None:
    """``cancel()`` before the block is entered is no silent empty answer.

    Entering raises ``Cancelled``, and nothing is sent.
    """
    server = serve()
    made = connect().stream("POST", server.chat_url, json=asking())
    made.cancel()
    _cancelled(run_stream(made).failed(Cancelled), "user")
    assert server.connections == 0


def test_a_stream_closed_before_it_starts_sends_nothing(serve: Serve, connect: Connect) -> None:
    """A stream that was closed stays closed: neither iterating nor entering it sends a request."""
    server = serve()
    made = connect().stream("POST", server.chat_url, json=asking())
    made.close()
    assert list(made) == []
    with made as events:
        assert list(events) == []
    assert server.connections == 0


def test_a_cancellation_after_the_end_changes_nothing(serve: Serve, connect: Connect) -> None:
    """Token, ``cancel()`` and ``close()`` find a finished call as it was, and its connection is reused."""
    server, token, client = serve(), CancelToken(), connect()
    made = client.stream("POST", server.chat_url, json=asking(), cancel=token)
    outcome = run_stream(made)
    before = outcome.done()
    token.cancel()
    made.cancel()
    made.close()
    assert made.record == before
    stream(client, server.chat_url).done()
    assert server.connections == 1


def test_what_was_handed_over_before_a_cancellation_is_discarded(serve: Serve, connect: Connect) -> None:
    """A caller that is away when its call is cancelled gets ``Cancelled``.

    The caller gets none of the events that lay ready.
    """
    server = serve("stall-after-content:tokens=20")
    made = connect(limits=Limits(stale=LONG)).stream("POST", server.messages_url, json=asking())

    def take(event: Any) -> None:
        if event.text:
            made.cancel()

    outcome = run_stream(made, take)
    _cancelled(outcome.failed(Cancelled), "user")
    assert outcome.kinds.count("text") == 1
    assert outcome.error.partial == outcome.text


def test_a_closed_client_takes_no_calls(serve: Serve, connect: Connect) -> None:
    """After ``close()`` every entry point raises ``Cancelled`` by ``lifecycle`` and sends nothing.

    Closing again is allowed.
    """
    server, client = serve(), connect()
    client.close()
    client.close()
    for entry_point in (stream, collect, request):
        error = entry_point(client, server.chat_url).error
        assert isinstance(error, Cancelled)
        assert error.by == "lifecycle"
    assert server.connections == 0


def test_close_drops_a_connection_that_only_drains(serve: Serve, connect: Connect) -> None:
    """``close()`` does not wait for the drain of a finished answer."""
    server, client = serve("linger-after-done"), connect(limits=Limits(drain=LONG))
    stream(client, server.chat_url).done()
    assert server.open_connections == 1
    client.close()
    server.wait_for_closed(1)


@pytest.mark.parametrize("script", ["silent", "stall-after-content", "endless-content:every=0"])
def test_a_dropped_stream_ends_its_request(serve: Serve, connect: Connect, script: str) -> None:
    """Dropping the last reference to a stream shuts its connection.

    The stream needs no ``with`` block and no garbage collection for that.
    """
    server = serve(script)
    client = connect()
    made = client.stream("POST", server.messages_url, json=asking())
    if script == "silent":
        calling = in_thread(_first_event, made)
        server.wait_for_requests(1)
        calling.result()
    else:
        iterator = iter(made)
        next(iterator)
        del iterator
    del made
    server.wait_for_closed(1)
    assert len(server.requests) == 1


def _first_event(made: Stream) -> None:
    """Enter a stream and leave it to others."""
    made.__enter__()


def test_a_stream_in_a_reference_cycle_ends_with_the_collection(serve: Serve, connect: Connect) -> None:
    """A stream that only the garbage collector can find is ended by its finalizer.

    The finalizer may run in any thread.
    """
    server = serve("stall-after-content")
    made = connect().stream("POST", server.messages_url, json=asking())
    next(made)
    cycle: list[Any] = [made]
    cycle.append(cycle)
    del made, cycle
    gc.collect()
    server.wait_for_closed(1)


def test_a_token_does_not_keep_calls_that_were_dropped(serve: Serve, connect: Connect) -> None:
    """A token that outlives a thousand calls holds none of them."""
    server, token, client = serve(), CancelToken(), connect()
    for _ in range(20):
        made = client.stream("POST", server.messages_url, json=asking(), cancel=token)
        next(made)
        del made
    eventually(lambda: llmwatch.stats()["live_attempts"] == 0, "they end")
    gc.collect()
    eventually(lambda: len(client._calls) == 0, "nobody has a call in hand")


@pytest.mark.parametrize("moment", range(6))
def test_a_cancellation_at_any_moment_ends_the_call_once(serve: Serve, connect: Connect, moment: int) -> None:
    """A healthy call that is cancelled at any moment is either done or cancelled.

    Each call leaves one record and sends no more than one request.
    """
    server = serve(f"healthy:delay={BEAT / 20}")
    records: list[Any] = []
    client = connect(sinks=[records.append], retry=Retry(backoff=0))
    calling, tokens = [], [CancelToken() for _ in range(10)]
    for token in tokens:
        calling.append(in_thread(stream, client, server.chat_url, cancel=token))
    for token in tokens:
        threading.Event().wait(moment * 0.0007)
        token.cancel()
    for one in calling:
        outcome = one.result()
        assert outcome.error is None or type(outcome.error) is Cancelled
        assert outcome.record.outcome == ("done" if outcome.error is None else "cancelled")
    assert len(records) == 10
    assert len(server.requests) <= 10


def test_cancelling_from_within_the_loop_is_allowed(serve: Serve, connect: Connect) -> None:
    """The iterating thread may cancel its own stream.

    Closing a client in a ``with`` block of a stream ends that stream.
    """
    server: FaultServer = serve("endless-content:every=0")
    client = connect()
    made = client.stream("POST", server.messages_url, json=asking())
    outcome = run_stream(made, lambda event: client.close() if event.text else None)
    _cancelled(outcome.failed(Cancelled), "lifecycle")
    server.wait_for_closed(1)


def test_a_resend_cancelled_before_its_request_was_not_carried_out(serve: Serve, connect: Connect) -> None:
    """The worker of a second attempt is at work already and has sent nothing; the decision says so."""
    server, token, asked = serve("status:status=503", "healthy"), CancelToken(), []

    def auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
        asked.append(request.url)
        if len(asked) == 2:
            token.cancel()
        return request

    error = stream(connect(), server.chat_url, auth=auth, cancel=token).failed(llmwatch.Cancelled)
    assert error.record is not None
    assert [one.facts["sent"] for one in error.record.attempts] == ["yes", "no"]
    assert [(one.reason, one.carried_out) for one in error.record.decisions] == [
        ("http_status", False),
        ("cancelled_by_user", False),
    ]
    assert len(server.requests) == 1
