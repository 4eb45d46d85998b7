"""HTTP statuses: which are resent, after which wait, and with which message."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from functools import partial

import pytest

import llmwatch
from llmwatch import Decision, Limits, Retry
from llmwatch.faults.catalogue import ANSWER
from llmwatch.watch import machine
from tests.end_to_end.calls import asking, in_thread, request, stream, together
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import LIMIT, LONG, PATIENCE, PULSE


@pytest.mark.parametrize("status", [400, 409])
def test_a_refusal_of_the_request_is_never_resent(serve: Serve, connect: Connect, status: int) -> None:
    """A status that the same request would get again is ``ProviderError`` after one request.

    The error has what the provider said.
    """
    server = serve(f"bad-request:status={status}")
    error = stream(connect(), server.chat_url).failed(llmwatch.ProviderError)
    assert (error.status, error.retryable) == (status, False)
    assert f"The fault server answers {status}." in str(error)
    assert error.recovery is not None
    assert error.recovery.decision is Decision.STOP
    assert error.record is not None
    assert error.record.attempts[0].status == status
    assert error.record.attempts[0].request_id == "req_fault1"
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520, 524, 527, 529])
def test_a_status_that_may_pass_is_resent(serve: Serve, connect: Connect, status: int) -> None:
    """A status that may pass is retryable, and recovered by a second request."""
    server = serve(f"status:status={status}", "healthy")
    outcome = stream(connect(), server.chat_url)
    record = outcome.done("recovered")
    assert outcome.text == ANSWER
    assert (record.attempts[0].status, record.attempts[0].cause) == (status, "provider_error")
    assert len(server.requests) == 2


def test_a_status_of_every_attempt_comes_out_retryable(serve: Serve, connect: Connect) -> None:
    """The last attempt's status is the error, retryable although the attempts are used up.

    The server gets three requests.
    """
    server = serve("status:status=503")
    error = stream(connect(), server.chat_url).failed(llmwatch.ProviderError)
    assert (error.status, error.retryable) == (503, True)
    assert error.recovery is not None
    assert error.recovery.reason == "attempts_exhausted"
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [502, 520, 524])
def test_a_page_of_html_is_a_short_message(serve: Serve, connect: Connect, status: int) -> None:
    """A gateway's page is not quoted: the message is short, names the status, and is retryable."""
    server = serve(f"html-52x:status={status},size={256 * 1024}")
    error = stream(connect(retry=Retry.none()), server.chat_url).failed(llmwatch.ProviderError)
    assert (error.status, error.retryable) == (status, True)
    assert str(status) in str(error)
    assert "<" not in str(error)
    assert len(str(error)) < 300
    assert error.record is not None
    assert error.record.attempts[0].response_bytes <= 128 * 1024


def test_an_error_body_that_stalls_is_still_the_providers_error(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The body of an error gets five seconds (shortened here) and no more, silent or dripping.

    After that time its status is the error.
    """
    assert machine.ERROR_BODY == 5.0
    monkeypatch.setattr(machine, "ERROR_BODY", 2 * LIMIT)
    scripts = ["error-body-stall", f"error-body-stall:every={PULSE}", "html-52x:status=500,stall=true"]
    servers = [serve(script) for script in scripts]
    # The limits of a stream do not count here: a failure that is known is not turned into a time-out.
    client = connect(limits=Limits(ttfb=LIMIT, stale=LIMIT), retry=Retry.none())
    for running in [in_thread(stream, client, one.chat_url) for one in servers]:
        outcome = running.result()
        error = outcome.failed(llmwatch.ProviderError)
        assert (error.status, error.retryable) == (500, True)
        assert outcome.elapsed >= 2 * LIMIT
    for server in servers:
        assert len(server.requests) == 1
        server.wait_for_closed(1)


def test_total_shortens_the_wait_for_an_error_body(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt that ends at ``total`` while an error's body is read is still the provider's error."""
    monkeypatch.setattr(machine, "ERROR_BODY", LONG)
    server = serve("error-body-stall")
    outcome = stream(connect(limits=Limits(total=LIMIT), retry=Retry.none()), server.chat_url)
    assert outcome.failed(llmwatch.ProviderError).status == 500
    assert LIMIT <= outcome.elapsed < LONG


def _http_date(seconds: float) -> str:
    return format_datetime(datetime(2031, 4, 5, 6, 7, 8, tzinfo=timezone.utc) + timedelta(seconds=seconds), usegmt=True)


def test_the_wait_is_the_one_that_the_header_names(serve: Serve, connect: Connect) -> None:
    """The second request comes after exactly the wait of the header, in any form, without jitter."""
    forms = {
        "value=0.3": 0.3,
        f"value={0.1 + 0.2!r}": 0.1 + 0.2,
        "header=retry-after-ms,value=250": 0.25,
        f"value={_http_date(1)},date={_http_date(0)}": 1.0,
        "value=0": 0.0,
        "value=-5": 0.0,
        f"value={_http_date(-60)},date={_http_date(0)}": 0.0,
    }
    # A back-off of its own would be a minute.
    client = connect(retry=Retry(backoff=LONG, max_backoff=LONG))
    servers = [serve(f"retry-after:{options}", "healthy", clock=time.monotonic) for options in forms]
    outcomes = together(partial(stream, client, server.chat_url) for server in servers)
    for (options, wait), server, outcome in zip(forms.items(), servers, outcomes, strict=True):
        record = outcome.done("recovered")
        assert record.decisions[0].wait == pytest.approx(wait, abs=1e-9), options
        first, second = server.requests
        assert first.at is not None
        assert second.at is not None
        assert wait <= second.at - first.at < wait + LONG


def test_an_invalid_retry_after_leaves_the_back_off(serve: Serve, connect: Connect) -> None:
    """A ``Retry-After`` without a usable wait counts as missing."""
    server = serve("retry-after:value=soon", "healthy")
    outcome = stream(connect(retry=Retry(backoff=0.02)), server.chat_url)
    record = outcome.done("recovered")
    assert 0 <= record.decisions[0].wait <= 0.02


def test_a_wait_beyond_the_cap_fails_at_once_with_its_value(serve: Serve, connect: Connect) -> None:
    """A day is longer than 120 s: the call fails at once and carries the wait that was asked for."""
    server = serve("retry-after:value=86400", "healthy")
    outcome = stream(connect(), server.chat_url)
    error = outcome.failed(llmwatch.ProviderError)
    assert (error.status, error.retry_after, error.retryable) == (429, 86400.0, True)
    assert error.recovery is not None
    assert (error.recovery.decision, error.recovery.reason) == (Decision.STOP, "retry_after_too_long")
    assert outcome.elapsed < PATIENCE
    assert len(server.requests) == 1


def test_a_wait_beyond_the_deadline_fails_at_once_with_its_value(serve: Serve, connect: Connect) -> None:
    """A wait that would end after the deadline is not begun."""
    server = serve("retry-after:value=30", "healthy")
    outcome = stream(connect(limits=Limits(deadline=20)), server.chat_url)
    error = outcome.failed(llmwatch.ProviderError)
    assert error.retry_after == 30.0
    assert error.recovery is not None
    assert error.recovery.reason == "no_time_left"
    assert outcome.elapsed < PATIENCE
    assert len(server.requests) == 1


@pytest.mark.parametrize(("status", "says", "requests"), [(409, "true", 2), (503, "false", 1), (400, "true", 1)])
def test_the_provider_may_say_whether_to_retry(
    serve: Serve, connect: Connect, status: int, says: str, requests: int
) -> None:
    """``x-should-retry`` decides either way, except that a refused request is never resent."""
    server = serve(f"retry-after:status={status},value=0,should_retry={says}", "healthy")
    outcome = stream(connect(), server.chat_url)
    assert (outcome.error is None) == (requests == 2)
    assert len(server.requests) == requests


@pytest.mark.parametrize("target", ["", "http://127.0.0.1:9/elsewhere"])
def test_a_redirected_post_is_a_clear_error_and_never_a_get(serve: Serve, connect: Connect, target: str) -> None:
    """A 302 is not followed: the call is a ``ProviderError`` after one request.

    The error names where the redirect points, without query values.
    """
    server = serve(f"redirect-302:location={target}" if target else "redirect-302", "healthy")
    error = stream(connect(), server.chat_url).failed(llmwatch.ProviderError)
    assert (error.status, error.retryable) == (302, False)
    assert (target or server.chat_url) in str(error)
    assert "redirected=1" not in str(error)
    assert [one.method for one in server.requests] == ["POST"]


def test_a_307_within_the_origin_is_followed_with_its_body(serve: Serve, connect: Connect) -> None:
    """A 307 keeps method and body, and is followed as long as it stays with the same origin."""
    server = serve("redirect-307", "healthy")
    outcome = stream(connect(), server.chat_url)
    outcome.done()
    assert outcome.text == ANSWER
    assert [(one.method, one.json()) for one in server.requests] == [("POST", asking())] * 2


def test_a_307_to_another_origin_is_not_followed(serve: Serve, connect: Connect) -> None:
    """Headers and body of a request belong to its origin: a 307 that leaves it is an error."""
    other = serve()
    server = serve(f"redirect-307:location={other.chat_url}")
    error = stream(connect(), server.chat_url).failed(llmwatch.ProviderError)
    assert error.status == 307
    assert other.chat_url in str(error)
    assert other.requests == []


def test_a_plain_call_returns_every_status(serve: Serve, connect: Connect) -> None:
    """An HTTP status never raises in a plain call.

    The last response is returned after the retries that its status allows.
    """
    server = serve("bad-request:status=404")
    outcome = request(connect(), server.chat_url)
    assert outcome.error is None
    assert (outcome.value.status_code, outcome.record.outcome) == (404, "failed")
    assert len(server.requests) == 1
    server = serve("status:status=503")
    outcome = request(connect(), server.chat_url)
    assert outcome.error is None
    assert outcome.value.status_code == 503
    assert outcome.value.json()["error"]["message"] == "The fault server answers 503."
    assert len(outcome.record.attempts) == len(server.requests) == 3
    server = serve("status:status=503", "healthy")
    outcome = request(connect(), server.chat_url)
    outcome.done("recovered")
    assert outcome.value.status_code == 200
