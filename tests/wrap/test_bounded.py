"""``run_bounded``: one limit on a function, and what it does to the call that waits for it."""

from __future__ import annotations

import contextvars
import gzip
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests

import llmwatch
from llmwatch import Limits, Retry, WatchTimeout
from llmwatch.faults import Context, Script, steps
from llmwatch.watch.interfaces import Aborted
from llmwatch.wrap import beat, call
from llmwatch.wrap.bounded import BoundExceeded, run_bounded
from tests.end_to_end.calls import asking, eventually, in_thread
from tests.end_to_end.times import FREE, LIMIT, LONG, PATIENCE
from tests.wrap.conftest import Hang, Serve, Time

NAME = contextvars.ContextVar("name", default="nobody")


def test_a_value_or_an_exception_comes_out_as_it_is() -> None:
    """The same object comes out, also an error of llmwatch's own."""
    NAME.set("caller")
    assert run_bounded(NAME.get, seconds=LONG) == "caller"
    for error in (ValueError("mine"), llmwatch.ProviderError("mine", status=401), SystemExit(3)):

        def raises(error: BaseException = error) -> None:
            raise error

        with pytest.raises(type(error)) as caught:
            run_bounded(raises, seconds=LONG)
        assert caught.value is error


@pytest.mark.parametrize("limit", ["refresh", "something"])
def test_the_caller_is_free_at_the_limit(hang: Hang, limit: str) -> None:
    """A time-out with the limit that was given; the function is called once."""
    function = hang()
    with pytest.raises(WatchTimeout) as caught:
        run_bounded(function, seconds=LIMIT, limit=limit)
    error = caught.value
    assert (error.limit, error.limit_seconds, error.retryable) == (limit, LIMIT, True)
    assert LIMIT <= error.elapsed < LONG
    assert limit in str(error)
    assert (error.recovery, error.record) == (None, None)
    assert function.calls == 1


@pytest.mark.parametrize("seconds", [None, 0])
def test_without_a_limit_a_function_runs_on(hang: Hang, manual: Time, seconds: float | None) -> None:
    """No limit ends the function."""
    function = hang()
    running = in_thread(run_bounded, function, seconds=seconds)
    function.started()
    manual.advance(1e6)
    assert manual.live == 1
    function.let_go()
    assert running.result() == "done"


def test_beats_do_not_lengthen_the_limit(hang: Hang, manual: Time) -> None:
    """The limit counts for the whole function."""
    function = hang(beat)
    running = in_thread(run_bounded, function, seconds=10)
    function.started()
    manual.expire(10)
    with pytest.raises(WatchTimeout):
        running.result()


def test_a_request_inside_is_shut_at_the_limit(serve: Serve) -> None:
    """The thread is gone, and the server sees the end; nothing is sent again."""
    server = serve("silent")
    with pytest.raises(WatchTimeout):
        run_bounded(lambda: requests.post(server.url), seconds=LIMIT)
    server.wait_for_closed(1)
    eventually(lambda: llmwatch.stats()["workers"] == 0, "the thread is gone", FREE)
    assert len(server.requests) == 1


# -- the body ----------------------------------------------------------------


def _answering(body: bytes, *, encoding: str | None = None, endless: bool = False) -> Script:
    def play(context: Context) -> Iterator[steps.Step]:
        headers = [("Content-Encoding", encoding)] if encoding else []
        pieces: list[steps.Step] = [steps.Chunk(body)]
        yield from context.answer(pieces * (100_000 if endless else 1), headers=headers)

    return Script(name="answering", description="answers with a body", play=play)


MOST = 64 * 1024


@pytest.mark.parametrize("size", [0, 1, MOST - 1, MOST])
def test_a_body_within_the_bound_is_whole(serve: Serve, size: int) -> None:
    """A body within the bound is whole, by any way of reading."""
    server = serve(_answering(b"x" * size) if size else _answering(b"x"))

    def function() -> tuple[bytes, list[bytes], str]:
        with requests.Session() as session:
            streamed = session.get(server.url, stream=True)
            return session.get(server.url).content, list(streamed.iter_content(MOST)), streamed.text

    whole, pieces, text = run_bounded(function, seconds=LONG, max_body=MOST)
    assert whole == b"x" * max(size, 1)
    assert b"".join(pieces) == whole
    assert text == whole.decode()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("endless", [False, True])
def test_a_body_beyond_the_bound_is_an_error(serve: Serve, stream: bool, endless: bool) -> None:
    """The error is one of requests' too; of an endless body little is read, and the connection is closed."""
    server = serve(_answering(b"x" * (MOST + 1), endless=endless))
    with pytest.raises(BoundExceeded, match="65,536 bytes") as caught:
        run_bounded(lambda: requests.get(server.url, stream=stream), seconds=LONG, max_body=MOST)
    assert isinstance(caught.value, requests.RequestException)
    assert caught.value.response is not None
    server.wait_for_closed(1)


def test_the_bound_counts_decoded_bytes(serve: Serve) -> None:
    """The bound holds for the decoded body, not for the bytes on the wire."""
    bomb = gzip.compress(b"x" * (50 * MOST))
    assert len(bomb) < MOST
    server = serve(_answering(bomb, encoding="gzip"))
    with pytest.raises(BoundExceeded):
        run_bounded(lambda: requests.get(server.url), seconds=LONG, max_body=MOST)


def test_without_a_bound_a_body_of_any_size_is_read(serve: Serve) -> None:
    """Outside of the function no body is bounded either."""
    server = serve(_answering(b"x" * (4 * MOST)))
    assert len(run_bounded(lambda: requests.get(server.url).content, seconds=LONG)) == 4 * MOST
    assert len(requests.get(server.url).content) == 4 * MOST


# -- inside another call -----------------------------------------------------


def test_a_bounded_function_holds_the_limits_of_its_callers(hang: Hang, manual: Time) -> None:
    """The limits of every call around it are held; afterwards they have what they had left."""
    inside, after = hang(), hang()

    def function() -> None:
        run_bounded(inside, seconds=1000)
        after()

    options = {"limits": Limits(ttfb=10), "retry": Retry.none()}
    running = in_thread(call, lambda: call(function, **options), **options)
    inside.started()
    manual.advance(900)
    assert manual.live == 3
    inside.let_go()
    after.started()
    manual.advance(10)
    assert manual.live == 2
    manual.expire(0)
    with pytest.raises(WatchTimeout) as caught:
        running.result()
    assert (caught.value.limit, caught.value.limit_seconds) == ("ttfb", 10)


@pytest.mark.parametrize("how", ["deadline", "cancel"])
def test_a_bounded_function_ends_with_the_call_around_it(hang: Hang, manual: Time, how: str) -> None:
    """A kill or a cancellation of the outer call ends it; inside, the attempt is over."""
    inside, token, seen = hang(), llmwatch.CancelToken(), []

    def function() -> None:
        try:
            run_bounded(inside, seconds=1000)
        except BaseException as error:
            seen.append(type(error))
            raise

    running = in_thread(call, function, limits=Limits(ttfb=10, deadline=50), cancel=token, retry=Retry.none())
    inside.started()
    if how == "cancel":
        token.cancel()
    else:
        manual.expire(50)
    with pytest.raises(llmwatch.LLMWatchError) as caught:
        running.result()
    assert isinstance(caught.value, llmwatch.Cancelled if how == "cancel" else WatchTimeout)
    eventually(lambda: seen == [Aborted], "the inner one is over")


def test_a_bounded_function_may_run_in_an_authentication(serve: Serve, hang: Hang) -> None:
    """``connect`` of the client's call does not count it, and the request is sent afterwards."""
    server, began, free = serve(), threading.Event(), threading.Event()

    def refresh() -> str:
        began.set()
        assert free.wait(PATIENCE)
        return "token"

    class Auth(requests.auth.AuthBase):
        def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
            request.headers["Authorization"] = run_bounded(refresh, seconds=LONG)
            return request

    with llmwatch.Client(limits=Limits(connect=LIMIT), retry=Retry.none()) as client:
        running = in_thread(client.collect, "POST", server.chat_url, json=asking(), auth=Auth())
        assert began.wait(PATIENCE)
        threading.Event().wait(3 * LIMIT)
        free.set()
        assert running.result().text
    assert len(server.requests) == 1
    assert server.requests[0].header("authorization") == "token"


def test_ctrl_c_ends_a_bounded_function(hang: Hang, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt of the waiting caller ends the function's attempt."""
    from llmwatch.watch.attempt import Attempt

    function = hang()

    def interrupted(self: Any, until: float | None = None) -> Any:
        function.started()
        raise KeyboardInterrupt

    monkeypatch.setattr(Attempt, "take", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_bounded(function, seconds=LONG)
    assert llmwatch.stats()["live_attempts"] == 0
