"""The times of resends."""

from __future__ import annotations

import json
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmwatch.recovery import backoff, retry_after, should_retry
from tests.rows import each

NOW = 1_445_412_480.0
"""Wed, 21 Oct 2015 07:28:00 GMT."""


@each(
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
    """Seconds, fractions and the three forms of HTTP dates; never negative.

    Nonsense is nothing. Of several values the longest wait counts.
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
def test_retry_after_ms_takes_precedence(headers: dict[str, str], seconds: float | None) -> None:
    """``retry-after-ms`` is the more exact header; the case of names does not matter."""
    assert retry_after(headers, NOW) == seconds


@pytest.mark.parametrize("wall", [0.0, NOW - 3600, NOW, NOW + 3600, 4e9])
def test_a_date_counts_from_the_responses_own(wall: float) -> None:
    """With a Date header the clock of this machine plays no part."""
    headers = {"Retry-After": "Wed, 21 Oct 2015 07:29:00 GMT", "Date": "Wed, 21 Oct 2015 07:28:45 GMT"}
    assert retry_after(headers, wall) == 15.0


def test_an_unreadable_date_header_counts_as_missing() -> None:
    """A Date that cannot be read counts as missing."""
    assert retry_after({"Retry-After": "Wed, 21 Oct 2015 07:29:00 GMT", "Date": "today"}, NOW) == 60.0


def refusal(*delays: object, kind: str = "type.googleapis.com/google.rpc.RetryInfo") -> dict[str, object]:
    """An error of Google's whose details name these delays."""
    details: list[object] = [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": []}]
    details += [{"@type": kind, "retryDelay": delay} for delay in delays]
    return {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Please retry.", "details": details}}


@each(
    ("document", "seconds"),
    [
        (refusal("3s"), 3.0),
        (refusal("3.0s"), 3.0),
        (refusal("0.25s"), 0.25),
        (refusal("34.074824224s"), 34.074824224),
        (refusal("0s"), 0.0),
        (refusal("-1s"), 0.0),
        (refusal({"seconds": 3, "nanos": 500_000_000}), 3.5),
        (refusal({"seconds": "3"}), 3.0),
        (refusal("3s", "5s"), 5.0),
        (refusal("soon", "5s"), 5.0),
        ([refusal("3s")], 3.0),
        (refusal("3"), None),
        (refusal("3 seconds"), None),
        (refusal("nans"), None),
        (refusal(3), None),
        (refusal(None), None),
        (refusal({"seconds": "soon"}), None),
        (refusal("3s", kind="type.googleapis.com/google.rpc.ErrorInfo"), None),
        (refusal(), None),
        ({"error": {"details": {"RetryInfo": "3s"}}}, None),
        ({"error": "RetryInfo"}, None),
        ({"details": ["RetryInfo"]}, None),
        (["RetryInfo"], None),
        ("RetryInfo", None),
    ],
)
@each("status", [429, 503, None])
def test_the_delay_of_a_retry_info_counts(document: object, seconds: float | None, status: int | None) -> None:
    """Google's ``RetryInfo`` counts like ``Retry-After``, whatever the status; nonsense is nothing."""
    assert retry_after({}, NOW, status=status, body=json.dumps(document).encode()) == seconds


def test_an_unreadable_retry_info_names_no_wait() -> None:
    """A body that was cut, is no JSON, or is nested beyond reason names no wait."""
    whole = json.dumps(refusal("3s")).encode()
    for body in (whole[:-1], b"RetryInfo", b"\xff\xfe RetryInfo", b'{"RetryInfo": ' + b"[" * 100_000):
        assert retry_after({}, NOW, status=429, body=body) is None
    assert retry_after({}, NOW, status=429, body=b"\xef\xbb\xbf" + whole) == 3.0


def test_the_longest_of_header_and_retry_info_counts() -> None:
    """A resend has to respect both."""
    for header, delay in (("2", "7s"), ("7", "2s")):
        body = json.dumps(refusal(delay)).encode()
        assert retry_after({"Retry-After": header}, NOW, status=429, body=body) == 7.0
    assert retry_after({"Retry-After": "soon"}, NOW, body=json.dumps(refusal("2s")).encode()) == 2.0


REQUESTS, TOKENS = "x-ratelimit-reset-requests", "x-ratelimit-reset-tokens"
REQUESTS_LEFT, TOKENS_LEFT = "x-ratelimit-remaining-requests", "x-ratelimit-remaining-tokens"


@each(
    ("headers", "seconds"),
    [
        ({REQUESTS: "1s"}, 1.0),
        ({TOKENS: "20ms"}, 0.02),
        ({TOKENS: "4000000000ns"}, 4.0),
        ({TOKENS: "2000us"}, 0.002),
        ({TOKENS: "3000µs"}, 0.003),
        ({TOKENS: "1d2h"}, 93_600.0),
        ({"X-RateLimit-Reset-Tokens": "6m0s"}, 360.0),
        ({REQUESTS: "1h2m3.5s"}, 3723.5),
        ({REQUESTS: "8.64s"}, 8.64),
        ({REQUESTS: "2d"}, 172_800.0),
        ({REQUESTS: "500us"}, 0.0005),
        ({REQUESTS: "1s", TOKENS: "2s"}, 2.0),
        ({REQUESTS: "3s", TOKENS: "2s"}, 3.0),
        ({REQUESTS: "3s", TOKENS: "2s", REQUESTS_LEFT: "10"}, 2.0),
        ({REQUESTS: "3s", TOKENS: "2s", REQUESTS_LEFT: "0", TOKENS_LEFT: "99"}, 3.0),
        ({REQUESTS: "24h0m0s", TOKENS: "2s", REQUESTS_LEFT: "10", TOKENS_LEFT: "99"}, 2.0),
        ({REQUESTS: "3s", REQUESTS_LEFT: "10"}, 3.0),
        ({REQUESTS: "soon", TOKENS: "2s"}, 2.0),
        ({REQUESTS: "0s", TOKENS: "2s"}, 2.0),
        ({REQUESTS: "0s"}, None),
        ({REQUESTS: "0s", TOKENS: "0ms"}, None),
        ({REQUESTS: ""}, None),
        ({REQUESTS: "1"}, None),
        ({REQUESTS: "1760000000"}, None),
        ({REQUESTS: "-1s"}, None),
        ({REQUESTS: "1s ago"}, None),
        ({REQUESTS: "1 s"}, None),
        ({REQUESTS: "\u0661s"}, None),
        ({REQUESTS: "9" * 400 + "s"}, None),
        ({REQUESTS: "1s" * 1000}, None),
        ({REQUESTS: "soon", TOKENS: "later"}, None),
        ({"x-ratelimit-limit-requests": "60", REQUESTS_LEFT: "0"}, None),
    ],
)
def test_a_limit_that_is_used_up_names_its_reset(headers: dict[str, str], seconds: float | None) -> None:
    """OpenAI's reset of requests and of tokens, as durations.

    Where something is left of both, that of the tokens counts.
    """
    assert retry_after(headers, NOW, status=429) == (None if seconds is None else pytest.approx(seconds))
    for status in (None, 200, 500, 503):
        assert retry_after(headers, NOW, status=status) is None


def test_a_named_wait_goes_before_a_reset() -> None:
    """If the provider names a wait, its resets are ignored."""
    headers = {REQUESTS: "9s", TOKENS: "9s"}
    assert retry_after({**headers, "Retry-After": "2"}, NOW, status=429) == 2.0
    assert retry_after({**headers, "retry-after-ms": "0"}, NOW, status=429) == 0.0
    assert retry_after({**headers, "Retry-After": "soon"}, NOW, status=429) == 9.0
    assert retry_after(headers, NOW, status=429, body=json.dumps(refusal("1s")).encode()) == 1.0


@given(st.text(max_size=40) | st.text("0123456789.smhdnuµ -", max_size=40), st.text(max_size=200))
@settings(deadline=None)
def test_any_reset_header_or_body_gives_a_finite_wait_or_none(value: str, body: str) -> None:
    """Any header and any body give a finite wait that is not negative, or none."""
    document = json.dumps(refusal(value, body)).encode()
    for said in (document, b"RetryInfo" + body.encode("utf-8", "replace")):
        wait = retry_after({REQUESTS: value, TOKENS: value, REQUESTS_LEFT: value}, NOW, status=429, body=said)
        assert wait is None or (wait >= 0 and math.isfinite(wait))


@given(st.text(max_size=40) | st.text("0123456789 :,-+GMTWedOct", max_size=40), st.floats(0, 4e9))
@settings(deadline=None)
def test_any_retry_after_gives_a_finite_wait_or_none(value: str, wall: float) -> None:
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
def test_only_true_and_false_count_in_should_retry(headers: dict[str, str], said: bool | None) -> None:
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
    """An infinite cap is no cap, and the wait stays finite; a base of 0 does not wait."""
    assert backoff(5, 0.5, math.inf, lambda: 1.0) == 8.0
    assert math.isfinite(backoff(10**9, 0.5, math.inf, lambda: 1.0))
    assert backoff(5, 0.0, 8.0, lambda: 1.0) == 0.0


def test_the_jitter_is_spread_evenly() -> None:
    """Over many draws the mean is half of the ceiling."""
    source = random.Random(7)
    waits = [backoff(3, 0.5, 8.0, source.random) for _ in range(4000)]
    assert 0.95 < sum(waits) / len(waits) < 1.05
    assert max(waits) <= 2.0
