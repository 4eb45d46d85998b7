"""``llmwatch.engine.hosts``: budgets, breakers and holds delay what calls send.

Budgets, breakers and holds belong to a client, by origin.
"""

from __future__ import annotations

import json
from random import random
from typing import Any

import pytest

from llmwatch import Cancelled, CancelToken, CircuitOpen, DelayNotice, Limits, ProviderError, Retry, WatchTimeout
from llmwatch.engine import hosts as module
from llmwatch.engine.hosts import Barrier, Delay, Hosts
from llmwatch.engine.planner import History, Planner
from llmwatch.engine.request import CallRequest
from llmwatch.engine.resend import Resend
from llmwatch.engine.settings import CallOptions
from llmwatch.policy import EffectiveRetry
from llmwatch.recovery import EntryPoint
from tests.end_to_end.calls import eventually, in_thread
from tests.engine.fakes import URL, Answer, Studio, asks, whole

BUSY = Answer(status=503)
SILENT = Answer(silent=True)


def test_state_is_shared_by_origin_and_settings() -> None:
    """One origin has one state for equal settings, and another for others."""
    hosts, retry = Hosts(), EffectiveRetry()
    one = hosts.get("https://a.test", retry, random)
    assert hosts.get("https://a.test", EffectiveRetry(), random) is one
    assert hosts.get("https://b.test", retry, random) is not one
    assert hosts.get("https://a.test", EffectiveRetry(budget=3), random) is not one


def test_time_between_calls_is_by_origin() -> None:
    """Start to start, and nothing for the first."""
    hosts = Hosts()
    assert hosts.started("https://a.test", 5.0) is None
    assert hosts.started("https://b.test", 6.0) is None
    assert hosts.started("https://a.test", 8.5) == 3.5


def test_the_state_of_unused_origins_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that talks to ever new hosts keeps the state of the latest.

    The process also keeps the state of those that it returns to.
    """
    monkeypatch.setattr(module, "MOST_HOSTS", 8)
    hosts, retry = Hosts(), EffectiveRetry()
    kept = hosts.get("https://kept.test", retry, random)
    lost = hosts.get("https://lost.test", retry, random)
    hosts.started("https://kept.test", 1.0)
    for number in range(100):
        hosts.get(f"https://{number}.test", retry, random)
        hosts.started(f"https://{number}.test", 2.0)
        assert hosts.get("https://kept.test", retry, random) is kept
        assert hosts.started("https://kept.test", 3.0) is not None
    assert hosts.get("https://lost.test", retry, random) is not lost
    assert hosts.started("https://1.test", 9.0) is None
    assert (len(hosts._known), len(hosts._starts)) == (8, 8)


def _failing(studio: Studio, settings: Any, retry: Retry) -> tuple[ProviderError, int]:
    call, sender = studio.call(BUSY, retry=retry, settings=settings)
    with pytest.raises(ProviderError) as caught:
        studio.drain(call)
    return caught.value, len(sender.asked)


def test_a_clients_resends_are_bounded_by_its_budget(studio: Studio) -> None:
    """After five resends a call has to wait for the sixth, and says what ended it.

    The client has two tokens, and the call three.
    """
    settings, retry = studio.settings(), Retry(backoff=0, max_attempts=9, budget=2, breaker=0, max_wait=0)
    error, requests = _failing(studio, settings, retry)
    assert requests == 6
    assert error.recovery is not None
    assert error.recovery.reason == "budget_empty"
    assert error.retry_after == 1.0
    assert error.recovery.action.startswith("Come back in 1 s.")
    assert "It was not sent again: too many calls to api.provider.test had to be sent again" in str(error)
    assert "may wait 120 s at once (max_retry_after) and 0 s in all (max_wait)" in str(error)
    # Another call brings three of its own, and another client has a budget of its own.
    assert _failing(studio, settings, retry)[1] == 4
    assert _failing(studio, studio.settings(), retry)[1] == 6


def test_an_empty_budget_delays_a_resend(studio: Studio) -> None:
    """The wait for an empty budget is a second for each token.

    The resend goes out at that instant, and a notice reports the wait.
    """
    settings = studio.settings(on_notice=studio.notices.append)
    retry = Retry(backoff=0, max_attempts=7, budget=2, breaker=0)
    call, sender = studio.call(BUSY, retry=retry, settings=settings)
    calling = in_thread(_expect, studio, call, ProviderError)
    sender.wait_for(6)
    eventually(lambda: _delays(studio), "the wait begins")
    studio.elapse(0.9)
    assert len(sender.asked) == 6
    studio.elapse(0.1)
    error = calling.result()
    assert sender.opened_at[6] - sender.opened_at[5] == pytest.approx(1.0)
    assert error.recovery.reason == "attempts_exhausted"
    assert [(one.cause, one.wait, one.attempt) for one in _delays(studio)] == [("budget", 1.0, 7)]


def test_a_resend_after_a_named_wait_costs_no_token(studio: Studio) -> None:
    """The provider times that resend itself, so it does not count as unwanted load."""
    settings = studio.settings(on_notice=studio.notices.append)
    retry = Retry(max_attempts=9, budget=1, max_wait=0)
    call, sender = studio.call(asks(**{"retry-after": "1"}), retry=retry, settings=settings)
    calling = in_thread(_expect, studio, call, ProviderError)
    for number in range(1, 9):
        sender.wait_for(number)
        eventually(lambda number=number: len(studio.retries) == number, "the wait begins")
        studio.elapse(1.0)
    assert calling.result().recovery.reason == "attempts_exhausted"


def test_a_budget_of_zero_bounds_nothing(studio: Studio) -> None:
    """``budget=0`` bounds nothing."""
    settings, retry = studio.settings(), Retry(backoff=0, max_attempts=19, budget=0, breaker=0, max_wait=0)
    assert [_failing(studio, settings, retry)[1] for _ in range(3)] == [19] * 3


def _delays(studio: Studio) -> list[DelayNotice]:
    delays = [one for one in studio.notices if isinstance(one, DelayNotice)]
    assert {one.phase for one in delays} <= {"backing_off"}
    return delays


def _lose(studio: Studio, settings: Any, times: int = 5) -> None:
    """As many calls that end at ``ttfb``."""
    for _ in range(times):
        call, sender = studio.call(SILENT, retry=Retry(max_attempts=1), settings=settings)
        calling = in_thread(_expect, studio, call, WatchTimeout)
        sender.wait_for(1)
        eventually(lambda: _counting(studio) == "ttfb", "ttfb counts")
        studio.elapse(120.1)
        calling.result()


def _counting(studio: Studio) -> str | None:
    live = studio.time.attempts()
    due = live[0].counting() if live else None
    return None if due is None else due.limit


def _expect(studio: Studio, call: Any, kind: type[BaseException]) -> Any:
    with pytest.raises(kind) as caught:
        studio.drain(call)
    return caught.value


def test_an_open_circuit_delays_a_call(studio: Studio) -> None:
    """After five attempts in a row that were lost to silence the sixth call waits a second.

    The wait uses up no attempt.
    """
    settings = studio.settings(on_notice=studio.notices.append)
    _lose(studio, settings)
    call, sender = studio.call(BUSY, whole(), retry=Retry(max_attempts=2, backoff=0), settings=settings)
    calling = in_thread(studio.drain, call)
    eventually(lambda: len(_delays(studio)) == 1, "the wait begins")
    assert sender.asked == []
    studio.elapse(1.0)
    # The probe is answered 503, which is no answer: the next goes out two seconds later.
    eventually(lambda: len(_delays(studio)) == 2, "the second wait begins")
    studio.elapse(2.0)
    calling.result()
    assert [round(one.wait) for one in _delays(studio)] == [1, 2]
    assert {one.cause for one in _delays(studio)} == {"breaker"}
    assert [len(studio.records[-1].attempts), studio.records[-1].outcome] == [2, "recovered"]
    assert studio.records[-1].delayed == pytest.approx(3.0)
    again, asking = studio.call(whole(), settings=settings)
    studio.drain(again)
    assert len(asking.asked) == 1


@pytest.mark.parametrize(
    ("retry", "limits", "setting"),
    [
        (Retry(max_wait=0), Limits(), "max_wait (LLMWATCH_MAX_WAIT_SECONDS)"),
        (Retry(max_wait=0.5), Limits(), "max_wait (LLMWATCH_MAX_WAIT_SECONDS)"),
        (Retry(max_retry_after=0.5), Limits(), "max_retry_after (LLMWATCH_MAX_RETRY_AFTER_SECONDS)"),
        (Retry(), Limits(deadline=0.5), "deadline (LLMWATCH_DEADLINE_SECONDS)"),
        (Retry(max_wait=0.5), Limits(deadline=0.9), "max_wait (LLMWATCH_MAX_WAIT_SECONDS)"),
    ],
)
def test_a_call_that_may_not_wait_that_long_sends_nothing(
    studio: Studio, retry: Retry, limits: Limits, setting: str
) -> None:
    """The call ends at once, with the wait attached and with the setting that bounds it.

    The advice says to raise that setting.
    """
    settings = studio.settings()
    _lose(studio, settings)
    call, sender = studio.call(whole(), retry=retry, limits=limits, settings=settings)
    error = _expect(studio, call, CircuitOpen)
    assert error.retry_after == pytest.approx(1.0, abs=0.2)
    assert (error.retryable, error.recovery.reason, sender.asked) == (True, "circuit_open", [])
    assert error.recovery.action.startswith("Come back in ")
    assert f"Raise {setting} or lower breaker_wait" in error.recovery.action
    assert "5 attempts in a row to api.provider.test were never answered" in str(error)
    assert ("deadline" in str(error)) == (limits.deadline == 0.5)
    assert studio.records[-1].outcome == "failed"


@pytest.mark.parametrize(
    ("delay", "words"),
    [
        (Delay(Barrier.PACE, 7.25, 0.25), "has told another call with this model and credential to wait"),
        (Delay(Barrier.PACE, 7.25, at_latest=True, optional=True, rate=4.0), "4 a second for now"),
        (Delay(Barrier.PACE, 7.25, optional=True), "lets others find out first"),
        (Delay(Barrier.BREAKER, 7.25, optional=True), "the latest attempts at api.provider.test have failed"),
        (Delay(Barrier.BREAKER, 7.25), "so the circuit breaker lets one through at a time"),
        (Delay(Barrier.BREAKER, 7.25, at_latest=True), "once the one that is out is answered"),
        (Delay(Barrier.BUDGET, 7.25), "the retry budget is empty"),
    ],
)
def test_each_kind_of_wait_has_its_own_notice(studio: Studio, delay: Delay, words: str) -> None:
    """The notice has the seconds of the wait."""
    settings, retry = studio.settings(), EffectiveRetry()
    request = CallRequest.build("POST", URL, {"json": {"stream": True}})
    options, gate = (
        CallOptions(request=request, entry_point=EntryPoint.COLLECT),
        settings.hosts.get(request.origin, retry, random),
    )
    planner = Planner(settings=settings, options=options, retry=retry, history=History(), gate=gate)
    text = planner.in_words(delay, request, 2.0)
    assert words in text
    assert " 5.2 s" in text


@pytest.mark.parametrize("max_wait", [0, 300])
def test_a_first_attempt_that_would_wait_may_go_elsewhere(studio: Studio, max_wait: float) -> None:
    """``on_retry`` is asked before the wait, with the number 1 and the error that the wait is."""
    settings, asked = studio.settings(on_notice=studio.notices.append), []
    _lose(studio, settings)

    def elsewhere(resend: Resend) -> dict[str, str]:
        asked.append((resend.attempt, type(resend.error), resend.error.retry_after))
        return {"url": "https://other.test/v1/chat/completions"}

    call, sender = studio.call(whole(), retry=Retry(max_wait=max_wait, on_retry=elsewhere), settings=settings)
    studio.drain(call)
    assert asked == [(1, CircuitOpen, pytest.approx(1.0, abs=0.2))]
    assert [url for _, url, _ in sender.asked] == ["https://other.test/v1/chat/completions"]
    assert (_delays(studio), studio.records[-1].outcome, len(studio.records[-1].attempts)) == ([], "done", 1)
    # No call waits there, and the hook is not asked.
    asked.clear()
    call, sender = studio.call(
        whole(), retry=Retry(on_retry=elsewhere), settings=settings, url="https://other.test/v1/chat/completions"
    )
    studio.drain(call)
    assert (len(sender.asked), asked) == (1, [])


def test_a_first_attempt_whose_hook_changes_no_address_waits(studio: Studio) -> None:
    """No attempt has failed, so a smaller body does not help, and the call waits."""
    settings = studio.settings(on_notice=studio.notices.append)
    _lose(studio, settings)
    retry = Retry(on_retry=lambda resend: {"json": {"stream": True, "small": True}})
    call, sender = studio.call(whole(), retry=retry, settings=settings)
    calling = in_thread(studio.drain, call)
    eventually(lambda: len(_delays(studio)) == 1, "the wait begins")
    studio.elapse(1.0)
    calling.result()
    ((_, _, kwargs),) = sender.asked
    assert json.loads(kwargs["data"]) == {"stream": True}


def test_waits_add_up_to_max_wait(studio: Studio) -> None:
    """A call whose probes fail waits 1 and 2 seconds.

    The third wait would be more than the call may wait, and is not begun.
    """
    settings = studio.settings(on_notice=studio.notices.append)
    _lose(studio, settings)
    retry = Retry(max_attempts=5, backoff=0, max_wait=6.5)
    call, sender = studio.call(BUSY, retry=retry, settings=settings)
    calling = in_thread(_expect, studio, call, ProviderError)
    for number, wait in enumerate((1.0, 2.0), 1):
        eventually(lambda number=number: len(_delays(studio)) == number, "the wait begins")
        studio.elapse(wait)
    error = calling.result()
    assert (len(sender.asked), error.recovery.reason, error.retry_after) == (2, "circuit_open", 4.0)
    assert error.status == 503
    assert "It was not sent again" in str(error)


@pytest.mark.parametrize("how", ["token", "interrupt"])
def test_a_wait_at_the_gate_can_be_cancelled(studio: Studio, how: str) -> None:
    """A cancellation ends the call in it, and its place in line is free."""
    token = CancelToken()
    settings = studio.settings(on_notice=studio.notices.append)
    _lose(studio, settings)
    call, sender = studio.call(whole(), cancel=token, settings=settings)
    calling = in_thread(_expect, studio, call, Cancelled)
    eventually(lambda: _delays(studio), "the wait begins")
    token.cancel() if how == "token" else call.cancel("lifecycle")
    calling.result()
    assert sender.asked == []
    assert (studio.records[-1].outcome, studio.records[-1].attempts) == ("cancelled", ())
    assert studio.records[-1].delayed == 0.0
    gate = settings.hosts.get("https://api.provider.test", EffectiveRetry(), random)
    assert (gate._line, gate._out, gate._budget.calls) == ([], set(), 0)


@pytest.mark.parametrize("status", [429, 500, 503, 529])
def test_a_named_wait_holds_calls_with_the_same_model_and_key(studio: Studio, status: int) -> None:
    """The calls wait until the end of the named wait and their share of a second.

    Any status that names a wait holds them. Other calls are sent at once.
    """
    studio.random = [0.25]
    settings = studio.settings(on_notice=studio.notices.append)
    mine, other = {"headers": {"Authorization": "Bearer one"}}, {"headers": {"authorization": "Bearer two"}}
    answer = Answer(status=status, headers={"retry-after": "7"})
    told, first = studio.call(answer, whole(), settings=settings, **mine)
    telling = in_thread(studio.drain, told)
    eventually(lambda: len(studio.retries) == 1, "the wait begins")
    held, second = studio.call(whole(), settings=settings, **mine)
    holding = in_thread(studio.drain, held)
    eventually(lambda: _delays(studio), "the other waits too")
    passing, third = studio.call(whole(), settings=settings, **other)
    studio.drain(passing)
    unpaced, fourth = studio.call(whole(), settings=settings, retry=Retry(pace=False), **mine)
    studio.drain(unpaced)
    assert (len(third.asked), len(fourth.asked), len(second.asked)) == (1, 1, 0)
    studio.elapse(7.0)
    # Its success may end the hold before that.
    telling.result()
    studio.elapse(0.25)
    holding.result()
    assert first.opened_at[1] - first.opened_at[0] == pytest.approx(7.0)
    (delay,) = _delays(studio)
    assert (delay.cause, delay.wait) == ("pace", pytest.approx(7.25))
    assert "told another call with this model and credential to wait" in delay.message


def test_a_status_between_silences_keeps_the_circuit_closed(studio: Studio) -> None:
    """A provider that answers, with an error of its own, is not silent."""
    settings = studio.settings()
    for _ in range(2):
        _lose(studio, settings, 4)
        call, sender = studio.call(Answer(status=400), settings=settings)
        _expect(studio, call, ProviderError)
        assert len(sender.asked) == 1


def test_a_breaker_of_zero_is_off(studio: Studio) -> None:
    """``breaker=0`` never keeps a call from being sent; so in ``Retry.none()``."""
    settings = studio.settings()
    for retry in (Retry(max_attempts=1, breaker=0), Retry.none()):
        for _ in range(7):
            assert _failing(studio, settings, retry)[1] == 1
