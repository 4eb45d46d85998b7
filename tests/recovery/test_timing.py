"""When to send again."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmwatch.recovery import backoff, retry_after, should_retry

NOW = 1_445_412_480.0
"""Wed, 21 Oct 2015 07:28:00 GMT."""


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30.0),
        ("0", 0.0),
        ("1.5", 1.5),
        (".25", 0.25),
        ("7.", 7.0),
        (" 3 ", 3.0),
        ("+3", 3.0),
        ("-5", 0.0),
        ("86400", 86400.0),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0),
        ("Wednesday, 21-Oct-15 07:28:30 GMT", 30.0),
        ("Wed Oct 21 07:28:30 2015", 30.0),
        ("Wed, 21 Oct 2015 09:28:30 +0200", 30.0),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("1_000", None),
        ("0x10", None),
        ("\u0663", None),
        ("5, 10", 10.0),
        ("10, 5", 10.0),
        ("5,  10 , 7.5", 10.0),
        ("-5, -1", 0.0),
        ("soon, 5", 5.0),
        ("5, later", 5.0),
        ("nan, 5, inf", 5.0),
        ("soon, later", None),
        (", ", None),
        ("5, ", 5.0),
        ("1,5", None),
        ("1,000", None),
        ("Wed, 21 Oct 2015 07:28:30 GMT, 5", 30.0),
        ("Wed, 21 Oct 2015 07:28:30 GMT, 45", 45.0),
        ("45, Wed, 21 Oct 2015 07:28:30 GMT", 45.0),
        ("Wed, 21 Oct 2015 07:28:30 GMT, Wed, 21 Oct 2015 07:29:30 GMT", 90.0),
        ("Wednesday, 21-Oct-15 07:28:30 GMT, Wed Oct 21 07:28:40 2015", 40.0),
        ("Wed, 99 Oct 2015 07:28:30 GMT, 3", 3.0),
        (", ".join(["5"] * 5000), 5.0),
        ("9" * 400, None),
        ("Wed, 99 Oct 2015 07:28:30 GMT", None),
        ("Wed, 21 Oct 99999 07:28:30 GMT", None),
        ("Wed, 21 Oct 2015 07:28:30 +9999", None),
        ("2015-10-21T07:28:30Z", None),
    ],
)
def test_retry_after_in_all_its_forms(value: str, seconds: float | None) -> None:
    """Seconds, fractions and the three forms of HTTP dates; never negative; nonsense is nothing; of several values the
    longest wait counts.
    """
    assert retry_after({"Retry-After": value}, NOW) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500"}, 1.5),
        ({"Retry-After-Ms": "250.5"}, 0.2505),
        ({"retry-after-ms": "-1"}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "30"}, 1.5),
        ({"retry-after-ms": "nonsense", "retry-after": "30"}, 30.0),
        ({"retry-after-ms": "1500, 250", "retry-after": "30"}, 1.5),
        ({"retry-after-ms": "nonsense, 250", "retry-after": "30"}, 0.25),
        ({"RETRY-AFTER": "2"}, 2.0),
        ({}, None),
        ({"x-ratelimit-reset": "5"}, None),
    ],
)
def test_milliseconds_go_first(headers: dict[str, str], seconds: float | None) -> None:
    """retry-after-ms is the more exact one; header names have no case."""
    assert retry_after(headers, NOW) == seconds


@pytest.mark.parametrize("wall", [0.0, NOW - 3600, NOW, NOW + 3600, 4e9])
def test_a_date_counts_from_the_responses_own(wall: float) -> None:
    """With a Date header the clock of this machine plays no part."""
    headers = {"Retry-After": "Wed, 21 Oct 2015 07:29:00 GMT", "Date": "Wed, 21 Oct 2015 07:28:45 GMT"}
    assert retry_after(headers, wall) == 15.0


def test_a_date_header_that_is_none() -> None:
    """A Date that cannot be read counts as missing."""
    assert retry_after({"Retry-After": "Wed, 21 Oct 2015 07:29:00 GMT", "Date": "today"}, NOW) == 60.0


@given(st.text(max_size=40) | st.text("0123456789 :,-+GMTWedOct", max_size=40), st.floats(0, 4e9))
@settings(deadline=None)
def test_nothing_a_provider_says_raises(value: str, wall: float) -> None:
    """Any header gives a finite wait that is not negative, or none."""
    for name in ("retry-after", "retry-after-ms", "date"):
        wait = retry_after({"retry-after": "Wed, 21 Oct 2015 07:29:00 GMT", name: value}, wall)
        assert wait is None or (wait >= 0 and math.isfinite(wait))


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"x-should-retry": "true"}, True),
        ({"X-Should-Retry": " FALSE "}, False),
        ({"x-should-retry": "1"}, None),
        ({"x-should-retry": ""}, None),
        ({}, None),
    ],
)
def test_should_retry(headers: dict[str, str], said: bool | None) -> None:
    """Only the two words count."""
    assert should_retry(headers) is said


@pytest.mark.parametrize(
    ("attempt", "most"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 8.0), (6, 8.0), (5000, 8.0), (0, 0.5)]
)
def test_the_back_off_doubles_up_to_its_cap(attempt: int, most: float) -> None:
    """With full jitter the wait lies between nothing and a ceiling that doubles."""
    assert backoff(attempt, base=0.5, cap=8.0, random=lambda: 0.0) == 0.0
    assert backoff(attempt, base=0.5, cap=8.0, random=lambda: 1.0) == most
    assert backoff(attempt, base=0.5, cap=8.0, random=lambda: 0.25) == most / 4


def test_the_back_off_without_a_cap_or_a_base() -> None:
    """An infinite cap is none, and stays finite; a base of 0 does not wait."""
    assert backoff(5, 0.5, math.inf, lambda: 1.0) == 8.0
    assert math.isfinite(backoff(10**9, 0.5, math.inf, lambda: 1.0))
    assert backoff(5, 0.0, 8.0, lambda: 1.0) == 0.0


def test_the_jitter_is_spread_evenly() -> None:
    """Over many draws the mean is half of the ceiling."""
    source = random.Random(7)
    waits = [backoff(3, 0.5, 8.0, source.random) for _ in range(4000)]
    assert 0.95 < sum(waits) / len(waits) < 1.05
    assert max(waits) <= 2.0
