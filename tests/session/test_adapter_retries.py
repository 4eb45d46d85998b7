"""An adapter's own ``max_retries``.

They work as they do bare where llmwatch never sends again, and nowhere else.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import pickle
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry as OldRetry

import llmwatch
from llmwatch import CallRecord, Limits, Retry
from llmwatch.faults import FaultServer, Script
from tests.end_to_end.calls import asking
from tests.session.entry_points import Way, caught, record_of
from tests.session.scripts import LINES, reply
from tests.session.times import LONG, SOON

BUSY = reply(b"busy", status=503)
DONE = reply(LINES)


@pytest.fixture(autouse=True)
def unlogged(caplog: pytest.LogCaptureFixture) -> None:
    """Keep urllib3 from logging each of its retries with the error.

    The log would keep the error's frames, and the connection in them.
    """
    caplog.set_level(logging.ERROR, "urllib3")


def _with(retries: Any, prefix: str = "http://") -> requests.Session:
    session = requests.Session()
    session.mount(prefix, HTTPAdapter(max_retries=retries))
    return session


def _retries(total: int = 3, **more: Any) -> OldRetry:
    return OldRetry(total, **{"status_forcelist": [503], "allowed_methods": None, "backoff_factor": 0, **more})


@contextlib.contextmanager
def _collected() -> Iterator[None]:
    """Search only the objects of this block for garbage at its end."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect(0)


def _outcome(opened: Any, scripts: list[str | Script], method: str, **more: Any) -> tuple[Any, int]:
    """The result or exception of a request that is no model call, and the number of requests that came."""
    with FaultServer(scripts) as server:
        with opened as session:
            try:
                response = session.request(method, server.url + "/crm/orders", **more)
                history = [(one.method, one.status) for one in response.raw.retries.history]
                outcome: Any = (response.status_code, response.content, history)
            except requests.RequestException as error:
                outcome = next(kind for kind in type(error).__mro__ if kind.__module__ == "requests.exceptions")
        return outcome, len(server.requests)


def _seen(way: Way, retries: Any, scripts: list[str | Script], method: str, **more: Any) -> list[Any]:
    """The outcome of a request that is no model call, bare and watched."""
    # urllib3 keeps an error with its frames, and in them the connection, in a circle.
    with _collected():
        bare = _outcome(_with(retries), scripts, method, **more)
    return [bare, _outcome(way.session(_with(retries)), scripts, method, **more)]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_status_is_retried_by_the_adapter(way: Way, method: str, stream: bool) -> None:
    """With or without a body, streamed or not; the response's history is that of plain requests."""
    bare, watched = _seen(
        way, _retries(), [BUSY, BUSY, DONE], method, stream=stream, data=None if method == "GET" else "x"
    )
    assert watched == bare
    assert bare == ((200, LINES, [(method, 503), (method, 503)]), 3)


@pytest.mark.parametrize(
    ("retries", "scripts", "method", "outcome", "requests_made"),
    [
        # used up: an exception, or the response where the adapter says so
        (_retries(2), [BUSY], "GET", requests.exceptions.RetryError, 3),
        (_retries(2), [BUSY], "POST", requests.exceptions.RetryError, 3),
        (_retries(2, raise_on_status=False), [BUSY], "POST", (503, b"busy", [("POST", 503)] * 2), 3),
        (_retries(5, status=1), [BUSY], "GET", requests.exceptions.RetryError, 2),
        # not asked for: another status, another method, no retries at all
        (_retries(), [reply(b"no", status=500)], "GET", (500, b"no", []), 1),
        (_retries(allowed_methods=["GET"]), [BUSY], "POST", (503, b"busy", []), 1),
        (3, [BUSY], "GET", (503, b"busy", []), 1),
        (0, [BUSY], "GET", (503, b"busy", []), 1),
        # a number alone goes by the server's Retry-After
        (3, [reply(b"busy", status=503, headers=[("Retry-After", "0")]), DONE], "GET", (200, LINES, [("GET", 503)]), 2),
        # lost after the request was sent
        (_retries(), ["reset-before-response", DONE], "POST", (200, LINES, [("POST", None)]), 2),
        (_retries(2), ["reset-before-response"], "POST", requests.ConnectionError, 3),
        (_retries(read=0), ["reset-before-response"], "POST", requests.ConnectionError, 1),
        (3, ["reset-before-response", DONE], "POST", requests.ConnectionError, 1),
        # lost in the body, which was handed out
        (_retries(), ["cut-chunk", DONE], "POST", requests.exceptions.ChunkedEncodingError, 1),
    ],
)
def test_the_adapter_retries_as_with_plain_requests(
    way: Way, retries: Any, scripts: list[Any], method: str, outcome: Any, requests_made: int
) -> None:
    """Outcome, history and number of requests are those of plain requests."""
    bare, watched = _seen(way, retries, scripts, method)
    assert bare == (outcome, requests_made)
    assert watched == bare


def test_the_adapter_retries_a_silent_request_that_is_no_model_call(way: Way) -> None:
    """A POST that llmwatch would not resend is resent by an adapter that was told to."""
    with FaultServer(["silent", DONE]) as server:
        with way.session(_with(_retries()), limits=Limits(ttfb=SOON)) as session:
            response = session.post(server.url + "/crm/orders", data="x")
            assert response.content == LINES
        assert len(server.requests) == 2
    (first, second) = record_of(response).attempts
    assert (first.limit, second.limit) == ("ttfb", None)


def test_the_adapter_never_retries_a_model_call(way: Way) -> None:
    """A setting for POST and 5xx multiplies no request, streamed or not.

    This holds also where llmwatch's resends are off.
    """
    for retry, most in ((Retry(max_attempts=2, backoff=0), 2), (Retry.none(), 1)):
        for script, stream in ((BUSY, True), (BUSY, False), ("reset-before-response", True), ("silent", True)):
            with FaultServer([script]) as server:
                with way.session(_with(_retries(9)), retry=retry, limits=Limits(ttfb=SOON)) as session:
                    try:
                        assert (
                            session.post(server.chat_url, json=asking(stream=stream), stream=stream).status_code == 503
                        )
                    except requests.RequestException as error:
                        assert isinstance(error, llmwatch.LLMWatchError)  # noqa: PT017 (a status raises nothing)
                assert len(server.requests) == most


def test_the_adapter_retries_where_llmwatch_does_not(way: Way) -> None:
    """``Retry.none()`` leaves failures to the user's own loop; the adapter's retries are one."""
    for method in ("GET", "POST"):
        with (
            FaultServer(["reset-before-response"]) as server,
            way.session(_with(_retries(2)), retry=Retry.none()) as session,
        ):
            caught(requests.ConnectionError, session.request, method, server.url)
            assert len(server.requests) == 3


def test_resends_and_the_adapters_retries_do_not_multiply(way: Way) -> None:
    """A lost request that llmwatch resends is not retried by the adapter.

    The adapter's retries use up none of llmwatch's attempts.
    """
    lost = "reset-before-response"
    with FaultServer([BUSY, BUSY, lost, lost, DONE]) as server, way.session(_with(_retries(2))) as session:
        assert session.get(server.url).content == LINES
        assert len(server.requests) == 5
    # Not on a reused connection, whose loss has a resend of its own.
    closing = reply(b"busy", status=503, framing="close")
    with FaultServer([closing, lost]) as server, way.session(_with(_retries(5))) as session:
        caught(requests.ConnectionError, session.get, server.url)
        assert len(server.requests) == 1 + 3


def test_a_retry_wait_of_the_adapter_is_bounded_by_the_call(way: Way) -> None:
    """A wait that ends after the deadline, or is longer than allowed, is not begun.

    The status is the response.
    """
    later = reply(b"later", status=503, headers=[("Retry-After", "100000")])
    for settings in ({}, {"limits": Limits(deadline=LONG), "retry": Retry(max_retry_after=10**6)}):
        with FaultServer([later, DONE]) as server, way.session(_with(_retries()), **settings) as session:
            response = session.get(server.url)
            assert (response.status_code, response.content, len(server.requests)) == (503, b"later", 1)


def test_a_body_that_can_be_read_once_is_sent_once(way: Way) -> None:
    """An iterator is used up by the first try."""
    with FaultServer([BUSY, DONE]) as server, way.session(_with(_retries())) as session:
        assert session.post(server.url + "/crm/orders", data=iter([b"a", b"b"])).status_code == 503
        assert len(server.requests) == 1


def test_the_record_shows_the_adapters_retries(way: Way) -> None:
    """Each try is an attempt, each decision has its reason, and the error says what was used up."""
    records: list[CallRecord] = []
    with FaultServer([BUSY]) as server, way.session(_with(_retries(1)), sinks=[records.append]) as session:
        error = caught(requests.exceptions.RetryError, session.get, server.url)
    assert isinstance(error, llmwatch.ProviderError)
    assert (error.status, error.recovery.reason) == (503, "adapter_retries_exhausted")
    assert pickle.loads(pickle.dumps(error)).status == 503
    (record,) = records
    assert [one.status for one in record.attempts] == [503, 503]
    assert [(one.reason, one.carried_out) for one in record.decisions] == [
        ("adapter_retries", True),
        ("adapter_retries_exhausted", False),
    ]
    with FaultServer([BUSY, DONE]) as server, way.session(_with(_retries(1))) as session:
        assert record_of(session.get(server.url)).outcome == "recovered"


class _Thing:
    """Something that a program has at hand."""


@pytest.mark.parametrize("retries", [0, 2, False, _retries(read=False), _retries(connect=0)], ids=repr)
@pytest.mark.parametrize("script", ["silent", "reset-before-response"])
def test_a_failed_call_frees_the_callers_variables_at_once(way: Way, retries: Any, script: str) -> None:
    """The variables of the calling function are freed with it, without a garbage collection."""

    def ask(session: requests.Session, url: str) -> weakref.ref[_Thing]:
        thing = _Thing()
        caught(requests.RequestException, session.post, url, data="x")
        return weakref.ref(thing)

    gc.disable()
    try:
        with FaultServer(script) as server, way.session(_with(retries), limits=Limits(ttfb=SOON)) as session:
            assert ask(session, server.url + "/crm/orders")() is None
    finally:
        gc.enable()


class _Counting(OldRetry):
    """A user's own, which says how long it waits and counts what it is asked."""

    def get_backoff_time(self) -> float:
        waits.append(len(self.history))
        return 0.0


waits: list[int] = []


def test_a_subclass_of_urllib3s_retry_is_used(way: Way) -> None:
    """An object of a subclass of urllib3's ``Retry`` is used as it is."""
    waits.clear()
    retries = _Counting(3, status_forcelist=[503])
    with FaultServer([BUSY, BUSY, DONE]) as server, way.session(_with(retries)) as session:
        assert type(session.get(server.url).raw.retries) is _Counting
    assert waits == [1, 2]
