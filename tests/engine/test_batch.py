"""A batch loses nothing by default, whatever the provider does for a while.

A batch is two thousand prompts on one client.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle

import pytest

from llmwatch import CircuitOpen, ProviderError, Retry
from tests.engine.simulation import HEALTHY, Batch, Reply

THREADS = (16, 200)
SEEDS = (1, 2)
# Seconds. Two hundred threads are through with everything in 22 s where all is well.
BEGIN, HALF = 8.0, 60.0
END = BEGIN + 2 * HALF


def _healthy(at: float, call: int, attempt: int) -> Reply:
    return HEALTHY


def _silent_at_first(at: float, call: int, attempt: int) -> Reply:
    return Reply.silent() if call % 10 == 0 and attempt == 1 else HEALTHY


def _storm(at: float, call: int, attempt: int) -> Reply:
    return Reply.status(429, float(math.ceil(END - at))) if BEGIN <= at < END else HEALTHY


def _outage(at: float, call: int, attempt: int) -> Reply:
    if BEGIN <= at < BEGIN + HALF:
        return Reply.refused()
    return Reply.status(503) if BEGIN <= at < END else HEALTHY


def _healthy_rate(threads: int) -> float:
    batch = Batch(_healthy, threads).run()
    return batch.calls / batch.elapsed


@pytest.mark.parametrize(
    ("provider", "most_extra"),
    [
        # The resend of each silent attempt, and nothing else.
        (_silent_at_first, lambda threads: 200),
        # Each call that was in flight when the storm began is told once.
        (_storm, lambda threads: threads),
    ],
    ids=["silent", "storm"],
)
@pytest.mark.parametrize("threads", THREADS)
def test_every_prompt_is_answered(
    provider: Callable[[float, int, int], Reply], most_extra: Callable[[int], int], threads: int
) -> None:
    """2,000 of 2,000, with no more requests than it takes."""
    for seed in SEEDS:
        batch = Batch(provider, threads, seed=seed).run()
        assert (batch.answered, [str(error) for error in batch.lost]) == (2000, [])
        assert len(batch.sent_at) <= 2000 + most_extra(threads)


@pytest.mark.parametrize(
    ("statuses", "wait", "threads"),
    [
        *(([status], None, 16) for status in (429, 500, 524)),
        *(([503, status], None, 16) for status in (429, 500, 529)),
        *(([status], 1.0, 16) for status in (429, 500, 503, 529)),
        *((statuses, wait, 200) for statuses, wait in (([500], None), ([503, 429], None), ([429], 1.0), ([503], 1.0))),
    ],
)
def test_some_seconds_of_errors_cost_no_prompt(statuses: list[int], wait: float | None, threads: int) -> None:
    """Every prompt is answered after five seconds in which each request gets an error that may pass.

    The errors come alone or in turns, with a named wait or without.
    """
    calls = 500
    for seed in SEEDS if threads < 100 else SEEDS[:1]:
        turns = cycle(statuses)

        def provider(at: float, call: int, attempt: int, turns: Iterator[int] = turns) -> Reply:
            return Reply.status(next(turns), wait) if BEGIN / 2 <= at < BEGIN / 2 + 5 else HEALTHY

        batch = Batch(provider, threads, calls=calls, seed=seed).run()
        assert (batch.answered, [str(error) for error in batch.lost]) == (calls, [])
        assert len(batch.sent_at) <= calls + 2 * threads


@pytest.mark.parametrize("threads", [16, 100])
def test_a_number_of_refusals_costs_no_prompt(threads: int) -> None:
    """A provider that refuses so many requests costs no prompt.

    No call spends its last attempt on a refusal while another call has more left.
    """
    for seed in range(4 if threads < 64 else 1):
        refusals = iter([Reply.status(429, 1.0)] * (threads * 3 // 2))

        def provider(at: float, call: int, attempt: int, refusals: Iterator[Reply] = refusals) -> Reply:
            return HEALTHY if at < BEGIN / 2 else next(refusals, HEALTHY)

        batch = Batch(provider, threads, calls=threads * 8, seed=seed).run()
        assert (batch.answered, [str(error) for error in batch.lost]) == (threads * 8, [])
        assert len(batch.sent_at) == threads * 8 + threads * 3 // 2


@pytest.mark.parametrize("threads", THREADS)
def test_an_outage_gets_probes_alone_and_no_burst_after_it(threads: int) -> None:
    """All of 2,000 prompts are answered.

    During the outage only probes go out, and no second after it has more than twice the usual requests.
    """
    rate = _healthy_rate(threads)
    for seed in SEEDS if threads < 100 else SEEDS[:1]:
        batch = Batch(_outage, threads, seed=seed).run()
        assert (batch.answered, [str(error) for error in batch.lost]) == (2000, [])
        # No call loses more than two attempts before the breaker opens; then the probes follow: 1, 2, 4, ... s.
        assert len(batch.sent_at) <= 2000 + 2 * threads + 8
        assert sum(BEGIN + 2 <= at < END for at in batch.sent_at) <= 8
        assert max(count for second, count in batch.rates.items() if second >= END) <= 2 * rate


@pytest.mark.parametrize("bound", [{"max_wait": 20}, {"max_retry_after": 20}])
def test_calls_with_a_bounded_wait_are_answered_while_a_probe_is_out(bound: dict[str, float]) -> None:
    """The duration of the probe is unknown, so calls that may wait a little do, and all are answered."""

    def provider(at: float, call: int, attempt: int) -> Reply:
        return Reply.status(503) if BEGIN <= at < BEGIN + 3 else HEALTHY

    for seed in SEEDS:
        batch = Batch(provider, 16, calls=300, seed=seed, retry=Retry(**bound)).run()
        assert (batch.answered, [str(error) for error in batch.lost]) == (300, [])


def test_lasting_errors_end_every_call_within_forty_seconds() -> None:
    """If every request fails with a retryable error, each of many calls ends within forty seconds."""
    batch = Batch(lambda at, call, attempt: replace(Reply.status(500), after=1.0), 40, calls=80).run()
    assert (batch.answered, len(batch.lost), len(batch.sent_at)) == (0, 80, 240)
    assert batch.elapsed <= 2 * 40


def test_an_outage_costs_prompts_where_calls_do_not_wait() -> None:
    """If calls do not wait, the same outage costs hundreds of prompts."""
    batch = Batch(_outage, 16, seed=1, retry=Retry(max_wait=0)).run()
    assert len(batch.lost) > 300
    for error in batch.lost:
        assert isinstance(error, CircuitOpen) or error.retry_after is not None or error.recovery is None


def test_a_wait_above_the_cap_ends_its_own_call_alone() -> None:
    """A wait above the cap is not shared: other calls are sent, and each gets its own refusal."""

    def provider(at: float, call: int, attempt: int) -> Reply:
        return Reply.status(429, 7200.0) if call % 2 else HEALTHY

    batch = Batch(provider, 16, calls=100).run()
    assert (batch.answered, len(batch.lost), len(batch.sent_at)) == (50, 50, 100)
    assert all(isinstance(error, ProviderError) and error.retry_after == 7200.0 for error in batch.lost)
