"""``llmwatch.client.origins``: budgets and breakers are a client's, by origin, and bound what calls may resend."""

from __future__ import annotations

from typing import Any

import pytest

from llmwatch import CircuitOpen, ProviderError, Retry, WatchTimeout
from llmwatch.client import origins as module
from llmwatch.client.origins import Origins
from llmwatch.policy import EffectiveRetry
from tests.client.fakes import Answer, Studio, whole
from tests.end_to_end.calls import eventually, in_thread

BUSY = Answer(status=503)
SILENT = Answer(silent=True)


def test_state_is_shared_by_origin_and_settings() -> None:
    """One origin has one state for equal settings, and another for others."""
    origins, retry = Origins(), EffectiveRetry()
    one = origins.get("https://a.test", retry)
    assert origins.get("https://a.test", EffectiveRetry()) is one
    assert origins.get("https://b.test", retry) is not one
    assert origins.get("https://a.test", EffectiveRetry(budget=3)) is not one


def test_time_between_calls_is_by_origin() -> None:
    """Start to start, and nothing for the first."""
    origins = Origins()
    assert origins.started("https://a.test", 5.0) is None
    assert origins.started("https://b.test", 6.0) is None
    assert origins.started("https://a.test", 8.5) == 3.5


def test_what_was_not_used_for_long_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that talks to ever new hosts remembers the latest of them, and those that it comes back to."""
    monkeypatch.setattr(module, "MOST_ORIGINS", 8)
    origins, retry = Origins(), EffectiveRetry()
    kept = origins.get("https://kept.test", retry)
    lost = origins.get("https://lost.test", retry)
    origins.started("https://kept.test", 1.0)
    for number in range(100):
        origins.get(f"https://{number}.test", retry)
        origins.started(f"https://{number}.test", 2.0)
        assert origins.get("https://kept.test", retry) is kept
        assert origins.started("https://kept.test", 3.0) is not None
    assert origins.get("https://lost.test", retry) is not lost
    assert origins.started("https://1.test", 9.0) is None
    assert (len(origins._known), len(origins._starts)) == (8, 8)


def _failing(studio: Studio, settings: Any, retry: Retry) -> tuple[ProviderError, int]:
    call, sender = studio.call(BUSY, retry=retry, settings=settings)
    with pytest.raises(ProviderError) as caught:
        studio.drain(call)
    return caught.value, len(sender.asked)


def test_a_clients_resends_are_bounded_by_its_budget(studio: Studio) -> None:
    """Ten tokens: after ten resends a call still has its first attempt, and says what it ran out of."""
    settings, retry = studio.settings(), Retry(backoff=0, max_attempts=4)
    counts = [_failing(studio, settings, retry)[1] for _ in range(3)]
    assert counts == [4, 4, 4]
    error, requests = _failing(studio, settings, retry)
    assert requests == 2
    assert error.recovery is not None
    assert error.recovery.reason == "budget_empty"
    assert _failing(studio, settings, retry)[1] == 1
    # Another client has a budget of its own.
    assert _failing(studio, studio.settings(), retry)[1] == 4


def test_a_success_returns_a_tenth(studio: Studio) -> None:
    """Ten good calls pay for one resend."""
    settings, retry = studio.settings(), Retry(backoff=0, max_attempts=2, budget=1)
    assert _failing(studio, settings, retry)[1] == 2
    assert _failing(studio, settings, retry)[1] == 1
    for _ in range(10):
        call, _ = studio.call(whole(), retry=retry, settings=settings)
        studio.drain(call)
    assert _failing(studio, settings, retry)[1] == 2


def test_a_budget_of_zero_is_none(studio: Studio) -> None:
    """``budget=0`` bounds nothing."""
    settings, retry = studio.settings(), Retry(backoff=0, max_attempts=9, budget=0)
    assert [_failing(studio, settings, retry)[1] for _ in range(3)] == [9] * 3


def _lost(studio: Studio, settings: Any, retry: Retry) -> None:
    """A call that ends at ``ttfb``."""
    call, sender = studio.call(SILENT, retry=retry, settings=settings)
    calling = in_thread(_expect, studio, call, WatchTimeout)
    sender.wait_for(1)
    eventually(lambda: _counting(studio) == "ttfb", "ttfb counts")
    studio.elapse(120.1)
    calling.result()


def _counting(studio: Studio) -> str | None:
    live = studio.time.attempts()
    due = live[0].counting() if live else None
    return None if due is None else due.clock


def _expect(studio: Studio, call: Any, kind: type[BaseException]) -> BaseException:
    with pytest.raises(kind) as caught:
        studio.drain(call)
    return caught.value


def test_five_silent_calls_open_the_circuit(studio: Studio) -> None:
    """After five calls in a row that were lost to silence the sixth sends nothing, and says when to come back."""
    settings, retry = studio.settings(), Retry(max_attempts=1)
    for _ in range(5):
        _lost(studio, settings, retry)
    call, sender = studio.call(whole(), retry=retry, settings=settings)
    error = _expect(studio, call, CircuitOpen)
    assert isinstance(error, CircuitOpen)
    assert 0 < error.retry_after <= 30
    assert error.retryable
    assert error.recovery is not None
    assert sender.asked == []
    assert studio.records[-1].outcome == "failed"
    studio.elapse(error.retry_after)
    probe, probing = studio.call(whole(), retry=retry, settings=settings)
    studio.drain(probe)
    assert len(probing.asked) == 1
    again, asking = studio.call(whole(), retry=retry, settings=settings)
    studio.drain(again)
    assert len(asking.asked) == 1


def test_a_status_between_silences_keeps_the_circuit_closed(studio: Studio) -> None:
    """A provider that answers, with whatever status, is not silent."""
    settings, retry = studio.settings(), Retry(max_attempts=1)
    for _ in range(2):
        for _ in range(4):
            _lost(studio, settings, retry)
        assert _failing(studio, settings, retry)[1] == 1


def test_a_breaker_of_zero_is_off(studio: Studio) -> None:
    """``breaker=0`` never keeps a call from being sent."""
    settings, retry = studio.settings(), Retry(max_attempts=1, breaker=0)
    for _ in range(7):
        _lost(studio, settings, retry)
