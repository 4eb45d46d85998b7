"""Failures after the first content surface as exceptions of requests and of llmwatch."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import pytest
import requests
from requests.exceptions import ChunkedEncodingError

import llmwatch
from llmwatch import Cancelled, CancelToken, Decision, Limits, LLMWatchError, Session
from llmwatch.faults import FaultServer
from llmwatch.faults.catalogue import ANSWER
from llmwatch.session.response import _Body
from llmwatch.session.watching_adapter import open_response
from tests.end_to_end.calls import asking, eventually, in_thread
from tests.session.entry_points import Way, caught, record_of
from tests.session.times import BEAT, LIMIT, LONG, PATIENCE, SOON

LIMITS = Limits(ttfb=LONG, stale=SOON, progress=SOON)


@dataclass(frozen=True)
class Case:
    """A fault behind some content, and what it is to both sides."""

    script: str
    ours: type[LLMWatchError]
    theirs: type[requests.RequestException]
    detail: dict[str, Any]


CASES = {
    case.script: case
    for case in (
        Case("stall-after-content", llmwatch.WatchTimeout, requests.ReadTimeout, {"limit": "stale"}),
        Case(f"pings-after-content:every={BEAT}", llmwatch.WatchTimeout, requests.ReadTimeout, {"limit": "progress"}),
        Case("reset-mid-stream", llmwatch.StreamCut, ChunkedEncodingError, {}),
        Case("cut-chunk", llmwatch.StreamCut, ChunkedEncodingError, {}),
        Case("missing-last-chunk", llmwatch.StreamCut, ChunkedEncodingError, {}),
        Case("short-length", llmwatch.StreamCut, ChunkedEncodingError, {}),
        Case("gzip-cut", llmwatch.StreamCut, ChunkedEncodingError, {}),
        Case("eof-without-terminal", llmwatch.StreamTruncated, ChunkedEncodingError, {}),
        Case("eof-without-terminal:framing=length", llmwatch.StreamTruncated, ChunkedEncodingError, {}),
        Case("eof-without-terminal:framing=close", llmwatch.StreamTruncated, ChunkedEncodingError, {}),
    )
}

Consume = Callable[[requests.Response, list[bytes]], None]


def _by_lines(response: requests.Response, seen: list[bytes]) -> None:
    seen.extend(response.iter_lines())


def _by_content(response: requests.Response, seen: list[bytes]) -> None:
    for piece in response.iter_content(None):
        seen.append(piece)


def _by_raw(response: requests.Response, seen: list[bytes]) -> None:
    while piece := response.raw.read1(65536):
        seen.append(piece)


def _by_raw_read(response: requests.Response, seen: list[bytes]) -> None:
    while piece := response.raw.read(100):
        seen.append(piece)


def _by_text(response: requests.Response, seen: list[bytes]) -> None:
    seen.append(response.text.encode())


@pytest.mark.parametrize("consume", [_by_lines, _by_content, _by_raw, _by_raw_read, _by_text])
@pytest.mark.parametrize("script", CASES)
def test_a_failure_after_content_is_llmwatchs_and_requests_error(script: str, consume: Consume) -> None:
    """The exception is requests' and llmwatch's, however the body is read.

    It has the request, the response, what may be done now, and the record. It is raised behind all the
    bytes that came before it, and after one request.
    """
    case, seen = CASES[script], list[bytes]()
    with FaultServer([script, "healthy"]) as server, Session(limits=LIMITS) as session:
        response = session.post(server.chat_url, json=asking(), stream=True)
        error = caught(case.theirs, consume, response, seen)
        assert isinstance(error, case.ours)
        assert isinstance(error, LLMWatchError)
        assert {name: getattr(error, name) for name in case.detail} == case.detail
        assert error.response is response
        assert error.request is response.request
        assert error.recovery is not None
        assert error.recovery.decision is Decision.CONTINUE
        assert error.record is response.llmwatch_record  # type: ignore[attr-defined]
        assert error.record is not None
        assert (error.record.outcome, error.record.entry_point, len(error.record.attempts)) == ("failed", "session", 1)
        assert len(server.requests) == 1
        assert response.raw.closed
        # Nor does it read like a whole one afterwards.
        again = caught(case.theirs, response.raw.read, 10)
        assert again is not error
        assert (type(again), str(again), again.record) == (type(error), str(error), error.record)  # type: ignore[attr-defined]
        assert (again.request, again.response) == (error.request, response)
    if consume not in (_by_text, _by_raw_read) and "gzip" not in script:
        assert ANSWER.split()[2].encode() in b"".join(seen)


@pytest.mark.parametrize("script", CASES)
def test_every_entry_point_raises_it(way: Way, script: str) -> None:
    """Every entry point raises the same error.

    It survives a round trip through pickle, without the request and the response.
    """
    case = CASES[script]
    with FaultServer(script) as server, way.session(limits=LIMITS) as session:
        response = session.post(server.chat_url, json=asking(), stream=True)
        error = caught(case.theirs, list, response.iter_lines())
        assert isinstance(error, case.ours)
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert (str(again), again.record, again.recovery) == (str(error), error.record, error.recovery)
        assert (again.request, again.response) == (None, None)
        assert len(server.requests) == 1


SECOND_LOOKS: dict[str, Callable[[requests.Response], object]] = {
    "content": lambda response: response.content,
    "text": lambda response: response.text,
    "json": lambda response: response.json(),
    "iter_content": lambda response: list(response.iter_content(100)),
    "iter_content of what is there": lambda response: list(response.iter_content(None)),
    "iter_lines": lambda response: list(response.iter_lines()),
    "raw.read": lambda response: response.raw.read(decode_content=True),
    "raw.read of some": lambda response: list(iter(lambda: response.raw.read(10, True), b"")),
    "raw.read1": lambda response: list(iter(lambda: response.raw.read1(10, True), b"")),
    "raw.stream": lambda response: list(response.raw.stream(10, True)),
    "raw.readline": lambda response: list(iter(response.raw.readline, b"")),
    "raw.data": lambda response: response.raw.data,
    "lines of raw": lambda response: list(response.raw),
    "below raw": lambda response: response.raw._fp.read(),
}


@pytest.mark.parametrize("script", [*CASES, "headers"])
def test_a_broken_body_raises_at_every_read(way: Way, script: str) -> None:
    """A caller that catches the error and reads the response again gets the error again.

    The caller does not get the half that came, also once the response was closed.
    """
    path = "/stream" if script == "headers" else ""
    with FaultServer("short-length" if path else script) as server, way.session(limits=LIMITS) as session:
        url = server.url + path if path else server.chat_url
        response = session.post(url, json=asking() if not path else {"order": 1}, stream=True)
        first = caught(requests.RequestException, lambda: response.content)
        for name, look in SECOND_LOOKS.items():
            assert type(caught(requests.RequestException, look, response)) is type(first), name
        response.close()
        for name, look in SECOND_LOOKS.items():
            assert type(caught(requests.RequestException, look, response)) is type(first), name
        assert len(server.requests) == 1


@pytest.mark.parametrize("raised", [ValueError("odd"), KeyboardInterrupt()], ids=repr)
def test_a_read_broken_off_by_a_foreign_exception_is_no_end(raised: BaseException) -> None:
    """An exception of a stand-in for the network, or Ctrl-C, comes out once as it is.

    The unread bytes stay missing.
    """

    class Interrupted:
        left: ClassVar[list[Any]] = [[b"half"], raised]

        def next_batch(self) -> list[bytes] | None:
            batch = self.left.pop(0) if self.left else None
            if batch is raised:
                raise raised
            return batch

        answered = False

        def rest(self) -> None:
            """Nothing came behind it."""

    def fail(error: LLMWatchError) -> NoReturn:
        raise error

    call: Any = Interrupted()
    body = _Body(call, [], fail)
    assert body.pull() == b"half"
    with pytest.raises(type(raised)):
        body.pull()
    for _ in range(2):
        with pytest.raises(llmwatch.StreamCut, match=type(raised).__name__):
            body.pull()


LEGACY = (requests.Timeout, requests.ConnectionError, ChunkedEncodingError)


def _legacy_agent(
    session: requests.Session, url: str, tries: int, read_timeout: float = SOON
) -> tuple[list[bytes], int]:
    """A retry loop as it stands in existing agents."""
    for tried in range(1, tries + 1):
        try:
            with session.post(url, json=asking(), stream=True, timeout=(LONG, read_timeout)) as response:
                response.raise_for_status()
                return [line for line in response.iter_lines() if line], tried
        except LEGACY:
            if tried == tries:
                raise
    raise AssertionError


@pytest.mark.parametrize(
    "script",
    [
        "stall-after-content",
        "reset-mid-stream",
        "cut-chunk",
        "short-length",
        "eof-without-terminal",
    ],
)
def test_a_users_retry_loop_catches_requests_errors(way: Way, script: str) -> None:
    """A loop that catches time-outs, connection errors and broken bodies sends again as it always did."""
    with FaultServer([script, script, "healthy"]) as server, way.session() as session:
        lines, tried = _legacy_agent(session, server.chat_url, 5)
        assert lines[-1] == b"data: [DONE]"
        assert (tried, len(server.requests)) == (3, 3)


def test_a_users_retry_loop_multiplies_the_attempts(way: Way) -> None:
    """Beneath a loop of the user's own each of its rounds is a call: rounds times attempts."""
    with FaultServer("silent") as server, way.session() as session:
        caught(requests.Timeout, _legacy_agent, session, server.chat_url, 2, LIMIT)
        server.wait_for_requests(2 * 3, PATIENCE)
        assert len(server.requests) == 2 * 3


@pytest.mark.parametrize("stream", [True, False])
def test_a_body_that_breaks_is_a_connection_error_where_it_is_no_model_call(way: Way, stream: bool) -> None:
    """A POST that is no model call raises what plain requests raises, the stall included."""
    expected = {
        "stall-after-content": requests.ConnectionError,
        "reset-mid-stream": ChunkedEncodingError,
        "cut-chunk": ChunkedEncodingError,
        "short-length": ChunkedEncodingError,
    }
    for script, kind in expected.items():

        def act(session: requests.Session, server: FaultServer, kind: Any = kind) -> Any:
            def call() -> bytes:
                return session.post(server.url + "/stream", data="x", stream=stream, timeout=SOON).content

            return isinstance(caught(requests.RequestException, call), kind), len(server.requests)

        assert way.alike(act, script) == (True, 1), script


def test_what_was_cancelled_is_none_of_requests_errors(way: Way) -> None:
    """Code that answers every ``RequestException`` with another try must not answer that one."""
    assert not issubclass(Cancelled, requests.RequestException)
    token = CancelToken()
    with FaultServer("silent") as server, way.session() as session:
        adapter = session.get_adapter(server.url)
        prepared = session.prepare_request(requests.Request("POST", server.chat_url, json=asking()))
        running = in_thread(
            open_response,
            adapter.inner,
            prepared,
            adapter.settings,
            stream=True,
            cancel=token,  # type: ignore[attr-defined]
        )
        server.wait_for_requests(1, PATIENCE)
        token.cancel()
        error = caught(Cancelled, running.result)
        assert error.by == "user"
        assert not isinstance(error, requests.RequestException)
        assert len(server.requests) == 1


def test_a_response_that_another_thread_closes_ends_its_reader(way: Way) -> None:
    """``close()`` from another thread wakes the thread that reads, which plain requests cannot do.

    One record says so.
    """
    records: list[llmwatch.CallRecord] = []
    with FaultServer("stall-after-content") as server, way.session(sinks=[records.append]) as session:
        response = session.post(server.chat_url, json=asking(), stream=True)
        seen: list[bytes] = []
        running = in_thread(_by_content, response, seen)
        eventually(lambda: len(seen) >= 3 and response.raw._fp._pulling, "the reader waits for more")
        response.close()
        assert caught(Cancelled, running.result).by == "user"
        assert caught(Cancelled, lambda: response.content).by == "user"
        assert record_of(response).outcome == "cancelled"
        assert len(records) == 1
        server.wait_for_closed(1, PATIENCE)


@pytest.mark.parametrize("script", ["short-length", "stall-after-content"])
def test_a_loaded_body_raises_the_same_error(way: Way, script: str) -> None:
    """What breaks in a body raises the same error with and without ``stream=True``.

    Without it the body is read before there is a response.
    """
    kind = ChunkedEncodingError if script == "short-length" else requests.ConnectionError
    with FaultServer(script) as server, way.session(limits=LIMITS, retry=llmwatch.Retry.none()) as session:
        error = caught(kind, session.post, server.chat_url, json=asking())
        assert isinstance(error, LLMWatchError)
