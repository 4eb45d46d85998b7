"""The wait before a resend: the provider's, else a back-off with full jitter.

Waits without a resend are tested too.
"""

from __future__ import annotations

import math
import random
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from functools import partial
from typing import Any

import pytest

import llmwatch
from llmwatch import CancelToken, Decision, Limits, LLMWatchError, Retry, RetryNotice
from llmwatch.faults import FaultServer
from llmwatch.faults.catalogue import ANSWER
from tests.end_to_end.calls import collect, request, stream, together
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import LIMIT, LONG, PATIENCE
from tests.safe_recovery.scripts import headed

ENTRY_POINTS = [stream, collect, request]
MOMENT = datetime(2031, 4, 5, 6, 7, 8, tzinfo=timezone.utc)


def _imf(seconds: float, since: datetime = MOMENT) -> str:
    return format_datetime(since + timedelta(seconds=seconds), usegmt=True)


def _at(number: int, server: FaultServer) -> float:
    at = server.requests[number].at
    assert at is not None
    return at


FORMS: dict[str, tuple[list[tuple[str, str]], float]] = {
    "seconds": ([("Retry-After", "1")], 1.0),
    "spaces around": ([("Retry-After", "  0.2  ")], 0.2),
    "fraction": ([("retry-after", ".25")], 0.25),
    "milliseconds": ([("retry-after-ms", "150")], 0.15),
    "a fraction of a millisecond": ([("Retry-After-Ms", "0.5")], 0.0005),
    "milliseconds go first": ([("Retry-After", "60"), ("retry-after-ms", "100")], 0.1),
    "nonsense in milliseconds": ([("retry-after-ms", "soon"), ("Retry-After", "0.1")], 0.1),
    "date": ([("Date", _imf(0)), ("Retry-After", _imf(1))], 1.0),
    "date of RFC 850": (
        [("Date", _imf(0)), ("Retry-After", (MOMENT + timedelta(seconds=1)).strftime("%A, %d-%b-%y %H:%M:%S GMT"))],
        1.0,
    ),
    "date of asctime": (
        [("Date", _imf(0)), ("Retry-After", (MOMENT + timedelta(seconds=1)).strftime("%a %b %d %H:%M:%S %Y"))],
        1.0,
    ),
    "the server's clock is years off": ([("Date", "Mon, 01 Jan 2001 00:00:00 GMT"), ("Retry-After", "0.1")], 0.1),
    "twice": ([("Retry-After", "0.1"), ("Retry-After", "0.3")], 0.3),
    "twice, nonsense once": ([("Retry-After", "soon"), ("Retry-After", "0.2")], 0.2),
    "zero": ([("Retry-After", "0")], 0.0),
    "negative": ([("Retry-After", "-30")], 0.0),
    "negative milliseconds": ([("retry-after-ms", "-1")], 0.0),
    "a date that has passed": ([("Date", _imf(0)), ("Retry-After", _imf(-3600))], 0.0),
}


def test_the_server_sees_the_wait_kept(serve: Serve, connect: Connect) -> None:
    """For a named wait in any form, the second request comes after it and not before."""
    client = connect(retry=Retry(backoff=LONG, max_backoff=LONG))
    servers = [
        serve(headed(partial(list, headers), status=503), "healthy", clock=time.monotonic)
        for headers, _ in FORMS.values()
    ]
    outcomes = together(partial(stream, client, server.chat_url) for server in servers)
    for (form, (_, wait)), server, outcome in zip(FORMS.items(), servers, outcomes, strict=True):
        record = outcome.done("recovered")
        assert record.decisions[0].wait == pytest.approx(wait, abs=1e-9), form
        assert wait <= _at(1, server) - _at(0, server) < wait + LONG
        assert len(server.requests) == 2


def test_a_date_without_the_responses_own_counts_from_here(serve: Serve, connect: Connect) -> None:
    """If the response has no Date, the local wall clock counts."""
    server = serve(
        headed(lambda: [("Retry-After", _imf(2, datetime.now(timezone.utc)))]), "healthy", clock=time.monotonic
    )
    record = stream(connect(retry=Retry(backoff=LONG, max_backoff=LONG)), server.chat_url).done("recovered")
    wait = record.decisions[0].wait
    assert wait is not None
    # A date has whole seconds.
    assert 0.5 < wait <= 2.0
    assert wait <= _at(1, server) - _at(0, server) < wait + LONG


@pytest.mark.parametrize(
    "value",
    ["soon", "", "nan", "inf", "1e9", "0x10", "1_000", "٣", "Fri, 32 Foo 2031 25:61:61 GMT", "-", "1 2", "9" * 400],
)
def test_a_header_without_meaning_is_none(serve: Serve, connect: Connect, value: str) -> None:
    """An invalid header names no wait: the error carries none, and the back-off is llmwatch's."""
    encoded = value.encode().decode("latin-1")
    server = serve(headed(lambda: [("Retry-After", encoded), ("retry-after-ms", encoded)]))
    error = stream(connect(retry=Retry(max_attempts=2, backoff=0)), server.chat_url).failed(llmwatch.ProviderError)
    assert error.retry_after is None
    assert len(server.requests) == 2


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
@pytest.mark.parametrize(
    ("headers", "asked"),
    [
        ([("Retry-After", "86400")], 86400.0),
        ([("Retry-After", "120.001")], 120.001),
        ([("retry-after-ms", "120001")], 120.001),
        ([("Date", _imf(0)), ("Retry-After", _imf(86400))], 86400.0),
    ],
    ids=["a day", "just over", "milliseconds", "date"],
)
def test_over_the_cap_the_call_fails_at_once(
    serve: Serve, connect: Connect, headers: list[tuple[str, str]], asked: float, entry_point: Any
) -> None:
    """A wait above the cap is not begun; the error, or the plain response, comes at once with the value."""
    server = serve(headed(lambda: headers), "healthy")
    outcome = entry_point(connect(), server.chat_url)
    record = outcome.record
    assert record is not None
    assert (record.outcome, record.decisions[0].reason) == ("failed", "retry_after_too_long")
    assert record.decisions[0].could_work
    assert record.decisions[0].safe
    assert not record.decisions[0].carried_out
    if entry_point is not request:
        error = outcome.failed(llmwatch.ProviderError)
        assert (error.retry_after, error.retryable) == (asked, True)
    assert outcome.elapsed < PATIENCE
    assert len(server.requests) == 1


def test_a_wait_that_ends_with_the_deadline_or_after_it_is_not_begun(serve: Serve, connect: Connect) -> None:
    """A wait that leaves no time for another attempt fails at once.

    The deadline spans attempts and waits.
    """
    server = serve("retry-after:value=0.2", "retry-after:value=50", "healthy")
    outcome = stream(connect(limits=Limits(deadline=40.0)), server.chat_url)
    error = outcome.failed(llmwatch.ProviderError)
    assert error.retry_after == 50.0
    assert error.recovery is not None
    assert (error.recovery.decision, error.recovery.reason) == (Decision.STOP, "no_time_left")
    assert error.record is not None
    assert [one.wait for one in error.record.decisions] == [0.2, None]
    assert outcome.elapsed < PATIENCE
    assert len(server.requests) == 2


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
@pytest.mark.parametrize(
    ("status", "says", "requests", "reason"),
    [
        (409, "true", 2, "provider_asked"),
        (418, "True", 2, "provider_asked"),
        (503, "false", 1, "provider_forbade"),
        (429, " FALSE ", 1, "provider_forbade"),
        (409, "perhaps", 1, "http_status_final"),
        (503, "perhaps", 2, "http_status"),
        (400, "true", 1, "http_status_final"),
        (401, "true", 1, "http_status_final"),
    ],
)
def test_x_should_retry_both_ways(
    serve: Serve, connect: Connect, status: int, says: str, requests: int, reason: str, entry_point: Any
) -> None:
    """``x-should-retry`` wins over the status in both directions.

    Nonsense in it wins over nothing, and it never wins over a refusal of the request itself.
    """
    server = serve(headed(lambda: [("x-should-retry", says)], status=status), "healthy")
    record = entry_point(connect(retry=Retry(backoff=0)), server.chat_url).record
    assert record is not None
    assert record.outcome == ("recovered" if requests == 2 else "failed")
    assert record.decisions[0].reason == reason
    assert record.decisions[0].could_work == (requests == 2)
    assert len(server.requests) == requests


def test_the_back_off_is_a_share_of_a_doubling_bound(serve: Serve, connect: Connect) -> None:
    """With full jitter the wait is the drawn share of 0.1, 0.2, 0.4, ... up to the cap.

    The server sees the wait kept.
    """
    shares = (0.0, 0.25, 1.0 - 2**-53)
    servers = [serve(*["status:status=503"] * 4, "healthy", clock=time.monotonic) for _ in shares]
    clients = [
        connect(retry=Retry(max_attempts=5, backoff=0.1, max_backoff=0.3), random=partial(float, share))
        for share in shares
    ]
    outcomes = together(
        partial(stream, client, server.chat_url) for client, server in zip(clients, servers, strict=True)
    )
    for share, server, outcome in zip(shares, servers, outcomes, strict=True):
        record = outcome.done("recovered")
        assert [one.wait for one in record.decisions] == pytest.approx([share * one for one in (0.1, 0.2, 0.3, 0.3)])
        for number, decision in enumerate(record.decisions):
            assert decision.wait is not None
            assert _at(number + 1, server) - _at(number, server) >= decision.wait


def test_the_jitter_is_drawn_anew_for_each_wait(serve: Serve, connect: Connect) -> None:
    """Equal calls wait for different times, all within bounds.

    Many that failed together do not come back together.
    """
    server = serve("status:status=503")
    client = connect(retry=Retry(max_attempts=2, backoff=0.01, budget=0, breaker=0), random=random.Random(7).random)
    waits = []
    for _ in range(20):
        record = stream(client, server.chat_url).record
        assert record is not None
        waits.append(record.decisions[0].wait)
    assert len(set(waits)) == 20
    assert all(wait is not None and 0 <= wait < 0.01 for wait in waits)


@pytest.mark.parametrize("way", ["close", "interrupt", "deadline"])
def test_a_wait_that_does_not_end_in_a_resend_decides_again(serve: Serve, connect: Connect, way: str) -> None:
    """The planned resend stays as history that was not carried out.

    What the record says in the end is what came of it.
    """
    server, records = serve("retry-after:value=30", "healthy"), []

    def told(notice: Any) -> None:
        if not isinstance(notice, RetryNotice):
            return
        if way == "close":
            client.close()
        elif way == "interrupt":
            raise KeyboardInterrupt

    deadline = 20.0 if way == "deadline" else math.inf
    limits = Limits(deadline=deadline) if deadline < math.inf else None
    client = connect(on_notice=told, sinks=[records.append], limits=limits)
    if way == "interrupt":
        with pytest.raises(KeyboardInterrupt):
            stream(client, server.chat_url)
    else:
        assert isinstance(stream(client, server.chat_url).error, LLMWatchError)
    (record,) = records
    first = record.decisions[0]
    last = record.decisions[-1]
    assert not any(one.carried_out for one in record.decisions)
    if way == "deadline":
        assert (first.decision, first.reason) == (Decision.STOP, "no_time_left")
    else:
        assert (first.decision, first.could_work, first.safe) == (Decision.RETRY, True, True)
        assert record.outcome == "cancelled"
    if way == "close":
        assert (last.decision, last.reason) == (Decision.STOP, "cancelled_by_lifecycle")
    assert record.attempts[0].status == 429
    assert len(server.requests) == 1


def test_a_cancel_during_the_wait_costs_none_of_it(serve: Serve, connect: Connect) -> None:
    """The wait is interrupted, not sat out."""
    server, token = serve("retry-after:value=100", "healthy"), CancelToken()
    client = connect(on_notice=lambda notice: token.cancel())
    outcome = stream(client, server.chat_url, cancel=token)
    outcome.failed(llmwatch.Cancelled)
    assert outcome.elapsed < 100
    assert len(server.requests) == 1


def test_the_deadline_spans_attempts_and_names_itself(serve: Serve, connect: Connect) -> None:
    """A deadline that expires in the second attempt is final, under the limit ``deadline``.

    Both attempts are in the record.
    """
    server = serve("silent")
    client = connect(limits=Limits(ttfb=2 * LIMIT, deadline=3.8 * LIMIT), retry=Retry(backoff=0))
    outcome = stream(client, server.chat_url)
    error = outcome.failed(llmwatch.WatchTimeout)
    assert (error.limit, error.retryable) == ("deadline", False)
    assert error.recovery is not None
    assert (error.recovery.decision, error.recovery.reason) == (Decision.STOP, "deadline")
    assert error.record is not None
    assert [one.limit for one in error.record.attempts] == ["ttfb", "deadline"]
    assert outcome.elapsed >= 3.8 * LIMIT
    server.wait_for_requests(2)
    assert len(server.requests) == 2


def test_no_wait_is_a_wait_of_zero(serve: Serve, connect: Connect) -> None:
    """``backoff=0`` resends at once and says so."""
    server = serve("status:status=503", "healthy")
    outcome = stream(connect(retry=Retry(backoff=0)), server.chat_url)
    assert outcome.done("recovered").decisions[0].wait == 0
    assert outcome.text == ANSWER
