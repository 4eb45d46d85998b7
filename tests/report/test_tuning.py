"""The bound on limits, against traffic whose truth is known."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from llmwatch.records import AttemptRecord, CallRecord, Timings
from llmwatch.report.tuning import (
    MEASURED,
    Observation,
    groups,
    least_calls,
    longer_allowed,
    merged,
    percentiles,
    recommend,
    replay,
    rounded_up,
)

Draw = Callable[[random.Random], float]
ENOUGH = 6_000
# Each with the time that 999 in 1,000 calls do not exceed.
TRUTHS: dict[str, tuple[Draw, float]] = {
    "lognormal": (lambda dice: dice.lognormvariate(0, 1), math.exp(3.0902323)),
    "heavy tail": (lambda dice: dice.paretovariate(1.2), 1000 ** (1 / 1.2)),
    "exponential": (lambda dice: dice.expovariate(0.5), math.log(1000) / 0.5),
    "two kinds of call": (
        lambda dice: dice.uniform(20, 30) if dice.random() < 0.1 else dice.uniform(1, 2),
        20 + 10 * 0.99,
    ),
}


def seen(values: list[float], *, limit: float | None = None, start: float = 0.0) -> list[Observation]:
    """What a log has of these times under a limit, one call a second."""
    found = []
    for number, value in enumerate(values):
        ended = limit is not None and value > limit
        found.append(
            Observation(
                at=start + number,
                seconds=limit if ended and limit is not None else value,
                censored=ended,
                killed_at=limit if ended else None,
                limit=limit,
                cost=limit if ended and limit is not None else value,
            )
        )
    return found


def test_a_bound_takes_2995_calls() -> None:
    """The least number is where the longest time is a bound; more calls allow some to be longer."""
    assert least_calls() == 2_995
    assert [longer_allowed(calls) for calls in (10, 2_994, 2_995)] == [None, None, 0]
    for calls in (2_995, 3_500, 4_700, 4_743, 10_000):
        allowed = longer_allowed(calls)
        assert allowed is not None
        chances = [math.comb(calls, longer) * 0.001**longer * 0.999 ** (calls - longer) for longer in range(20)]
        assert sum(chances[: allowed + 1]) <= 0.05 < sum(chances[: allowed + 2])
    # The sum of probabilities stays exact where a factor alone would not be a float.
    assert longer_allowed(2_000_000) == 1_926


@pytest.mark.parametrize("name", TRUTHS)
def test_the_bound_holds_as_often_as_it_says(name: str) -> None:
    """Of many logs at most 5 % give a limit that ends more than 1 in 1,000 calls; none is far too long."""
    draw, truth = TRUTHS[name]
    runs = 60
    found = []
    for seed in range(runs):
        dice = random.Random(seed)
        found.append(recommend("ttfb", seen([draw(dice) for _ in range(ENOUGH)])))
    assert all(one.confident and one.since is None for one in found)
    lengths = sorted(one.seconds or 0.0 for one in found)
    # 5 % of 60 are 3; more than 7 has a chance below 1 %.
    assert sum(length < truth for length in lengths) <= 7
    assert lengths[runs // 2] < 5 * truth


def test_too_few_calls_are_refused() -> None:
    """One call less than the least number gives no limit."""
    dice = random.Random(1)
    values = [dice.random() for _ in range(2_995)]
    assert recommend("ttfb", seen(values)).seconds is not None
    refused = recommend("ttfb", seen(values[1:]))
    assert (refused.seconds, refused.confident) == (None, False)
    assert "2,994 calls are too few" in refused.reason


def test_limits_do_not_shrink_from_night_to_night() -> None:
    """Survivors alone would tighten the limit; calls that it ended count as longer than all."""
    draw, truth = TRUTHS["lognormal"]
    limit = 2 * truth
    for night in range(8):
        dice = random.Random(night)
        one = recommend("ttfb", seen([draw(dice) for _ in range(ENOUGH)], limit=limit))
        assert one.seconds is not None
        assert one.seconds >= min(limit, truth)
        limit = min(limit, one.seconds)


@pytest.mark.parametrize("share", [0.002, 0.01, 0.3])
def test_a_limit_that_ended_more_than_1_in_1000_is_not_lowered(share: float) -> None:
    """Whether they hung or were slow is not known: the limit is kept, without a confidence."""
    dice = random.Random(7)
    values = [math.inf if dice.random() < share else dice.uniform(1, 2) for _ in range(ENOUGH)]
    one = recommend("stale", seen(values, limit=60.0))
    assert (one.seconds, one.confident) == (60.0, False)
    assert one.killed == sum(map(math.isinf, values))


def test_few_hangs_do_not_keep_a_limit_long() -> None:
    """Up to what the bound allows to be longer, calls may have hung."""
    dice = random.Random(7)
    values = [dice.uniform(1, 2) for _ in range(10_000)]
    values[100] = values[9_000] = math.inf
    one = recommend("stale", seen(values, limit=600.0))
    assert (one.seconds, one.confident) == (2.0, True)


def test_a_short_limit_of_before_is_a_floor() -> None:
    """A limit that ended more than 1 in 1,000 of the calls under it is not recommended again."""
    dice = random.Random(3)
    before = seen([1.0] * 50 + [math.inf], limit=30.0)
    after = seen([dice.uniform(1, 2) for _ in range(ENOUGH)], limit=300.0, start=1_000.0)
    one = recommend("ttfb", before + after)
    assert (one.seconds, one.confident) == (30.0, False)


@pytest.mark.parametrize("factor", [0.2, 4.0])
def test_times_that_changed_in_mid_file_do_not_count(factor: float) -> None:
    """Only calls since the change make the bound, whether calls became slower or faster."""
    draw, truth = TRUTHS["lognormal"]
    dice = random.Random(5)
    values = [draw(dice) for _ in range(ENOUGH)] + [factor * draw(dice) for _ in range(ENOUGH)]
    one = recommend("ttfb", seen(values))
    assert one.since is not None
    assert ENOUGH * 0.8 <= one.since <= ENOUGH * 1.3
    assert one.seconds is not None
    assert factor * truth <= one.seconds < 6 * factor * truth


def test_a_tail_that_appears_in_mid_file_is_a_change() -> None:
    """The median stays, and 3 in 100 calls take ten times as long from some moment on."""
    dice = random.Random(6)
    before = [dice.uniform(1, 2) for _ in range(20_000)]
    after = [dice.uniform(1, 2) * (10 if dice.random() < 0.03 else 1) for _ in range(5_000)]
    one = recommend("ttfb", seen(before + after))
    assert one.since is not None
    assert one.seconds is not None
    assert one.seconds >= 18.0


def test_after_a_change_too_few_calls_are_refused() -> None:
    """Old calls do not fill up the number."""
    dice = random.Random(5)
    values = [dice.uniform(1, 2) for _ in range(4_000)] + [dice.uniform(5, 6) for _ in range(1_000)]
    one = recommend("ttfb", seen(values))
    assert one.seconds is None
    assert one.since is not None


def test_a_call_that_its_caller_left_early_is_left_out() -> None:
    """It says nothing about how long it would have taken; one that was waited for longest counts."""
    dice = random.Random(8)
    values = [dice.uniform(1, 2) for _ in range(ENOUGH)]
    left = [Observation(at=0.5 + number, seconds=0.5, censored=True) for number in range(ENOUGH)]
    one = recommend("ttfb", seen(values) + left)
    assert (one.calls, one.seconds) == (ENOUGH, 2.0)
    waited = [Observation(at=float(number), seconds=50.0, censored=True) for number in range(0, ENOUGH, 100)]
    assert recommend("ttfb", seen(values) + waited).seconds == 50.0


def test_a_replay_counts_what_another_limit_ends() -> None:
    """Healthy attempts that it would have ended, and the time that it would have saved on the others."""
    observations = seen([1.0, 2.0, 31.0, math.inf, math.inf], limit=60.0)
    told = replay(observations, 30.0)
    assert (told.healthy, told.answered, told.ended, told.saved) == (1, 3, 2, 60.0)
    assert percentiles(observations) == {"p50": 2.0, "p95": 31.0, "p99": 31.0, "max": 31.0}
    assert percentiles([]) is None


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.0, 0.1), (0.01, 0.1), (1.0, 1.0), (1.01, 1.1), (9.99, 10.0), (30.2, 31)]
)
def test_a_limit_is_rounded_up(seconds: float, shown: float) -> None:
    """Rounding spares more calls, never less."""
    assert rounded_up(seconds) == shown


def record(**changed: object) -> CallRecord:
    """A call that was answered after 2 s, with a gap of 3 s."""
    fields: dict[str, object] = {
        "number": 1,
        "started_at": 100.0,
        "timings": Timings(sent=0.5, first_byte=2.5, first_content=3.5, end=9.0),
        "method": "POST",
        "url": "http://a",
        "origin": "http://a",
        "model": "m",
        "status": 200,
        "events": {"text": 3},
        "longest_gap": 3.0,
        "elapsed": 9.0,
    }
    call = {name: changed.pop(name) for name in ("entry_point", "prompt_bytes") if name in changed}
    attempt = AttemptRecord(**{**fields, **changed})  # type: ignore[arg-type]
    return CallRecord(
        call_id="1",
        started_at=100.0,
        method="POST",
        url="http://a",
        origin="http://a",
        limits={name: {"value": 60.0, "source": "s"} for name in MEASURED},
        attempts=(attempt,),
        **call,  # type: ignore[arg-type]
    )


def test_the_times_of_an_attempt_count_from_the_request() -> None:
    """First byte and first content from sent on, the gap as it is, each with the limit in force."""
    (group,) = groups([record()])
    assert {name: [(one.seconds, one.censored, one.limit) for one in found] for name, found in group.seen.items()} == {
        "ttfb": [(2.0, False, 60.0)],
        "first_content": [(3.0, False, 60.0)],
        "stale": [(3.0, False, 60.0)],
    }


def test_a_kill_is_a_lower_bound() -> None:
    """Of the limit that ended the attempt, and of those that had not been met yet."""
    killed = {"cause": "watchdog_timeout", "close_reason": "ttfb_kill", "limit": "ttfb", "limit_seconds": 60.0}
    silent = record(timings=Timings(sent=0.5, end=60.6), events={}, longest_gap=None, status=None, **killed)
    (group,) = groups([silent])
    (ttfb,), (content,) = group.seen["ttfb"], group.seen["first_content"]
    assert (ttfb.censored, ttfb.killed_at, ttfb.seconds) == (True, 60.0, pytest.approx(60.1))
    assert (content.censored, content.killed_at) == (True, None)
    assert group.seen["stale"] == []
    killed.update(limit="stale", close_reason="stale_kill")
    (group,) = groups([record(longest_gap=4.0, **killed)])
    (stale,) = group.seen["stale"]
    assert (stale.censored, stale.killed_at, stale.seconds) == (True, 60.0, 60.0)


@pytest.mark.parametrize(
    "changed",
    [{"status": 503, "cause": "provider_error"}, {"events": {}}, {"entry_point": "wrap"}, {"timings": Timings()}],
    ids=["an error status", "a plain answer", "a function", "not sent"],
)
def test_what_shows_no_time_is_left_out(changed: dict[str, object]) -> None:
    """An error status, a plain answer, a wrapped function, and a request that was not sent."""
    assert groups([record(**changed)]) == []


def test_groups_are_by_origin_model_and_size_and_small_ones_are_merged() -> None:
    """Two models of one origin stay apart; small groups of one model come together."""
    records = [record(model=model, prompt_bytes=size) for model in ("m", "n") for size in (10, 10_000, 10**7)]
    records += [record(model="m", origin="http://b")]
    found = groups(records)
    assert len(found) == 7
    together = merged(found)
    assert {(group.origin, group.model, group.size, group.merged, group.calls) for group in together} == {
        (None, "m", None, 4, 4),
        ("http://a", "n", None, 3, 3),
    }
