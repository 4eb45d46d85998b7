"""Calls without waits, and with scaled limits, in a whole test run."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable

import pytest
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry as OldRetry

import llmwatch
from llmwatch import Client, ConfigError, Limits, ProviderError, Retry
from llmwatch.faults import FaultServer, Script
from llmwatch.faults.steps import Chunk, End, Head
from llmwatch.testing import Overriding, no_waiting, scaled_limits
from tests.rows import each

BODY = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hello!"}]}
LONG = 3_000.0
"""Seconds that no test waits for."""
LOADING = Script.of(
    "loading",
    Head(503, [("Content-Type", "application/json")]),
    Chunk(b'{"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}'),
    End(),
)


def attempts(server: FaultServer, **settings: object) -> list[float | None]:
    """The wait that was recorded before each resend of a collected call, which may fail."""
    records: list[llmwatch.CallRecord] = []
    with Client(sinks=[records.append], **settings) as client, contextlib.suppress(ProviderError):
        client.collect("POST", server.chat_url, json=BODY)
    return [decision.wait for decision in records[0].decisions]


def limit(name: str, **options: object) -> float | None:
    """The limit of a call to a server that answers."""
    with FaultServer("healthy") as server, Client() as client:
        stream = client.stream("POST", server.chat_url, json=BODY, **options)
        with stream:
            return stream.limits.value(name)


def test_a_named_wait_is_not_waited_for() -> None:
    """A ``Retry-After`` that production waits for costs a test nothing, and the record says so."""
    with FaultServer(["retry-after:value=100", "healthy"]) as server, no_waiting():
        assert attempts(server) == [0.0]
        assert len(server.requests) == 2


def test_a_named_wait_that_is_too_long_still_ends_the_call() -> None:
    """What follows an attempt is what follows it in production."""
    with FaultServer(["retry-after:value=121", "healthy"]) as server, no_waiting():
        assert attempts(server) == [None]
        assert len(server.requests) == 1


def test_a_back_off_is_not_waited_for() -> None:
    """The client's own back-off is set aside as well."""
    retry = Retry(backoff=LONG, max_backoff=0, max_attempts=3)
    with FaultServer(["reset-before-response", "status:status=500", "healthy"]) as server, no_waiting():
        assert attempts(server, retry=retry) == [0.0, 0.0]


def test_no_barrier_holds_an_attempt_back() -> None:
    """Breaker, budget and pace would make the calls of one client wait for each other."""
    notices: list[llmwatch.Notice] = []
    with FaultServer(["retry-after:status=503,value=50"]) as server, no_waiting():
        with Client(retry=Retry(budget=1, breaker=1), on_notice=notices.append) as client:
            for _ in range(5):
                with pytest.raises(ProviderError):
                    client.collect("POST", server.chat_url, json=BODY)
        assert len(server.requests) == 15
    assert not [notice for notice in notices if isinstance(notice, llmwatch.DelayNotice)]


def test_a_server_that_loads_its_model_is_not_asked_without_end() -> None:
    """Without pauses it would be asked thousands of times within ``ttfb``."""
    with FaultServer(LOADING) as server, no_waiting():
        assert attempts(server) == [0.0, 0.0, None]
        assert len(server.requests) == 3


def test_the_wait_of_an_adapter_is_set_aside() -> None:
    """The retries of requests' own adapter, which llmwatch carries out, do not wait either."""
    retries = OldRetry(2, status_forcelist=[503], allowed_methods=None, backoff_factor=60, backoff_max=100)
    with FaultServer(["status:status=503", "status:status=503", "healthy"]) as server, no_waiting():
        with llmwatch.Session() as session:
            session.mount("http://", HTTPAdapter(max_retries=retries))
            answer = session.post(server.url + "/crm/orders", json={"order": 1})
        assert (answer.status_code, len(server.requests)) == (200, 3)


def test_retries_can_be_turned_off() -> None:
    """``max_attempts=1`` gives each failure to the program; the innermost bound counts, none raises."""
    with no_waiting(max_attempts=2), FaultServer("status:status=500") as server:
        with no_waiting(max_attempts=1):
            assert attempts(server) == [None]
        assert attempts(server, retry=Retry(max_attempts=5)) == [0.0, None]
        with no_waiting(max_attempts=9):
            assert attempts(server) == [0.0, 0.0, None]
        assert len(server.requests) == 6


def test_every_limit_is_scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Defaults, arguments, variables and a request's own time-out are scaled alike; off stays off."""
    monkeypatch.setenv("LLMWATCH_STALE_TIMEOUT_SECONDS", "70")
    with scaled_limits(0.1):
        assert limit("ttfb", limits=Limits(ttfb=45)) == pytest.approx(4.5)
        assert limit("stale") == pytest.approx(7)
        assert limit("ttfb", timeout=30) == pytest.approx(3)
        assert limit("first_content") == pytest.approx(180)
        assert limit("total") is None
        shown = llmwatch.effective_limits("https://api.example.com").limits["ttfb"]
    assert (shown.value, shown.source) == (pytest.approx(12), "profile hosted, scaled by 0.1 for tests")


def test_a_scaled_limit_expires() -> None:
    """A stall takes the scaled time, and is the same failure."""
    client = Client(limits=Limits(connect=LONG, ttfb=15))
    with FaultServer(["silent", "healthy"]) as server, scaled_limits(0.02), no_waiting(), client:
        answer = client.collect("POST", server.chat_url, json=BODY)
    first = answer.record.attempts[0]
    assert (first.limit, first.limit_seconds) == ("ttfb", pytest.approx(0.3))


def test_overrides_end_in_any_order() -> None:
    """The innermost counts; each is taken back by itself, once, and leaves nothing behind."""
    before, environment = limit("ttfb"), dict(os.environ)
    outer = scaled_limits(0.5)
    inner = scaled_limits(0.25)
    assert before is not None
    assert limit("ttfb") == pytest.approx(before / 4)
    outer.undo()
    assert limit("ttfb") == pytest.approx(before / 4)
    inner.undo()
    inner.undo()
    assert (limit("ttfb"), dict(os.environ)) == (before, environment)


def test_an_override_ends_with_its_block_on_an_error() -> None:
    """The next test has its waits and limits, whatever ended this one."""
    before = limit("ttfb")
    with pytest.raises(ZeroDivisionError), scaled_limits(0.5), no_waiting(max_attempts=1):
        raise ZeroDivisionError
    with FaultServer(["status:status=500", "healthy"]) as server:
        (wait,) = attempts(server, retry=Retry(backoff=1e-6))
    assert limit("ttfb") == before
    assert wait is not None
    assert 0 < wait < 1e-6


def test_an_override_holds_in_every_thread() -> None:
    """Threads that exist, and many overrides that begin and end at once, leave one state."""
    found: list[float | None] = []
    thread = threading.Thread(target=lambda: found.append(limit("connect")))
    with scaled_limits(0.5):
        thread.start()
        thread.join()
    assert found == [5.0]

    def nest() -> None:
        for _ in range(200):
            with scaled_limits(0.5), no_waiting():
                llmwatch.effective_limits()

    threads = [threading.Thread(target=nest) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert llmwatch.effective_limits().value("connect") == 10.0


@each("wrong", [0, -1, True, float("nan"), float("inf"), "2", None])
def test_a_wrong_factor(wrong: object) -> None:
    """A factor that would turn limits off or upside down is refused, and changes nothing."""
    with pytest.raises(ConfigError, match=r"scaled_limits\(.*\) is not allowed: it takes a finite number above 0"):
        scaled_limits(wrong)  # type: ignore[arg-type]
    assert llmwatch.effective_limits().value("connect") == 10.0


@each("wrong", [0, -1, True, 1.5, "2"])
def test_a_wrong_bound(wrong: object) -> None:
    """A number of attempts is a whole one."""
    with pytest.raises(ConfigError, match="it takes a whole number of attempts, 1 or more"):
        no_waiting(max_attempts=wrong)  # type: ignore[arg-type]


@each("begin", [no_waiting, lambda: scaled_limits(2)], ids=["no_waiting", "scaled_limits"])
def test_what_is_begun_can_be_undone(begin: Callable[[], Overriding]) -> None:
    """A call without a block is in force at once, as a conftest needs it."""
    override = begin()
    override.undo()
    assert isinstance(override, Overriding)
