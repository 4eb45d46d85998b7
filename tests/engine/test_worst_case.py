"""``llmwatch.engine.worst_case``: how long a call to a silent provider can take at most."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmwatch.engine.worst_case import WorstCase, worst_case
from llmwatch.policy import EffectiveLimits, Limits, Retry, resolve_limits, resolve_retry
from tests.rows import each


def found(
    limits: Limits | None = None, retry: Retry | None = None, *, plain: bool = False, profile: str = "hosted"
) -> WorstCase:
    def after(kills: int) -> EffectiveLimits:
        return resolve_limits(client=limits, environ={}, profile=profile, plain=plain, patience=kills)

    return worst_case(after, resolve_retry(client=retry, environ={}), plain=plain)


def test_the_worst_case_of_the_defaults_is_three_doubling_attempts() -> None:
    """Three attempts, each with twice the limit of the one before.

    The longest back-offs lie between them.
    """
    assert found() == WorstCase(seconds=841.5, number=3, attempts=(120, 240, 480), waits=(0.5, 1), deadline=False)
    assert found(profile="reasoning").seconds == 300 + 600 + 1200 + 1.5
    assert found(profile="local").seconds == 900 + 1800 + 3600 + 1.5


SECONDS: list[tuple[dict[str, Any], dict[str, Any], float | None]] = [
    ({"ttfb": 45}, {}, 45 * 3 + 1.5),
    ({"ttfb": 45}, {"max_attempts": 1}, 45),
    ({"ttfb": 45}, {"backoff": 0}, 45 * 3),
    ({"ttfb": 45}, {"backoff": 20}, 45 * 3 + 20 + 40),
    ({"ttfb": 45}, {"max_backoff": 0.75}, 45 * 3 + 0.5 + 0.75),
    ({"headers": 10}, {}, 10 * 3 + 1.5),
    ({"first_event": 10}, {}, 10 * 3 + 1.5),
    ({"total": 10}, {}, 10 * 3 + 1.5),
    # What has begun does not count for a provider that says nothing.
    ({"stale": 1, "progress": 1}, {}, 841.5),
    ({"ttfb": 0}, {}, 300 + 600 + 1200 + 1.5),
    ({"ttfb": 0, "first_content": 0}, {}, None),
    ({"ttfb": 0, "first_content": 0, "deadline": 90}, {}, 90),
    ({"deadline": 200}, {}, 200),
    ({"deadline": 1000}, {}, 841.5),
    ({"ttfb": 45}, {"max_attempts": 1000, "backoff": 0}, 45 * 1000),
    ({"ttfb": 45}, {"max_attempts": 10**9, "backoff": 1, "max_backoff": 4}, 45 * 10**9 + 1 + 2 + 4 * (10**9 - 3)),
]


@each(("limits", "retry", "seconds"), SECONDS)
def test_explicit_limits_decide_the_worst_case(
    limits: dict[str, Any], retry: dict[str, Any], seconds: float | None
) -> None:
    """A limit that is set is used as given, whichever limit ends the silence.

    The deadline bounds the sum.
    """
    assert found(Limits(**limits), Retry(**retry)).seconds == (None if seconds is None else pytest.approx(seconds))


def test_a_plain_call_is_not_sent_again() -> None:
    """A silent plain call may be at work, so it is not resent unless ``slow_but_alive`` allows it."""
    assert (found(plain=True).seconds, found(plain=True).number) == (600, 1)
    assert found(retry=Retry(slow_but_alive=True), plain=True).seconds == 600 + 1200 + 2400 + 1.5


@each(
    ("case", "text"),
    [
        (
            found(),
            "the error comes after 841.5 s at most: 3 attempts of 120 s, 240 s and 480 s, and back-offs of up to 0.5 s"
            " and 1 s",
        ),
        (
            found(Limits(ttfb=45), Retry(max_attempts=2)),
            "the error comes after 90.5 s at most: 2 attempts of 45 s each, and back-offs of up to 0.5 s",
        ),
        (found(retry=Retry(backoff=0)), "the error comes after 840 s at most: 3 attempts of 120 s, 240 s and 480 s"),
        (found(Limits(ttfb=45), Retry.none()), "the error comes after 45 s, and nothing is sent again"),
        (found(Limits(deadline=90)), "the error comes after 90 s at most, the deadline"),
        (found(Limits.single(0)), "no limit ends the call"),
        (
            found(retry=Retry(max_attempts=6, backoff=0)),
            "the error comes after 7,560 s at most: 6 attempts of 120 s, 240 s, 480 s, 960 s, ...",
        ),
    ],
)
def test_the_worst_case_text_has_the_sum_and_its_parts(case: WorstCase, text: str) -> None:
    """A person reads the sum and what it is made of."""
    assert str(case) == text
    assert json.loads(json.dumps(case.to_dict(), allow_nan=False))["seconds"] == case.seconds
