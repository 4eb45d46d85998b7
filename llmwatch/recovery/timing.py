"""When to send again: what the provider asks for, else an exponential back-off with full jitter."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import timezone
from email.utils import parsedate_to_datetime

__all__ = ["backoff", "retry_after", "should_retry"]

# float() also takes "nan", "1_000", "1e9" and digits of other scripts. No wait is longer than three hundred digits.
_NUMBER = re.compile(r"[+-]?(?:\d{1,300}(?:\.\d{0,20})?|\.\d{1,20})", re.ASCII)

# How requests and urllib3 join the headers of one name. Without the blank it is a decimal comma, or a thousand's.
_JOINT = re.compile(r",\s+")
_MOST_VALUES = 16

# Thirty million years: whatever is longer says no more.
_LONGEST = 1e15


def retry_after(headers: Mapping[str, str], now_wall: float) -> float | None:
    """The wait in seconds that a response asks for: exact, never negative, ``None`` for none or for nonsense.

    ``retry-after-ms`` (milliseconds) goes before ``Retry-After``, which is a number of seconds, fractions allowed, or
    an HTTP date. A date counts from the response's own ``Date``, so that the clocks of two machines need not agree, and
    from ``now_wall`` (Unix seconds) only without one. What has passed is 0.

    A provider and a proxy in front of it may each have sent one; requests joins them with a comma. The longest wait
    counts then, since a resend has to get past both, and those that are nonsense do not.
    """
    lowered = {str(name).lower(): str(value) for name, value in headers.items()}
    milliseconds = [_number(one) for one in _values(lowered.get("retry-after-ms"))]
    waits = [one / 1000 for one in milliseconds if one is not None]
    if not waits:
        since = _date(lowered.get("date"))
        start = now_wall if since is None else since
        asked = [_seconds(one, start) for one in _values(lowered.get("retry-after"))]
        waits = [one for one in asked if one is not None]
    return max(0.0, *waits) if waits else None


def should_retry(headers: Mapping[str, str]) -> bool | None:
    """What ``x-should-retry`` says: ``True``, ``False``, or ``None`` where it says nothing."""
    for name, value in headers.items():
        if str(name).lower() == "x-should-retry":
            return {"true": True, "false": False}.get(str(value).strip().lower())
    return None


def backoff(attempt: int, base: float, cap: float, random: Callable[[], float]) -> float:
    """Seconds to wait after attempt number ``attempt``: up to ``base``, doubled with each attempt, at most ``cap``.

    ``random`` gives a number in [0, 1); full jitter, so that many clients that failed together do not come back
    together. A ``cap`` of infinity is none.
    """
    doublings = min(max(0, attempt - 1), 64)
    return random() * min(cap, base * 2.0**doublings)


def _values(text: str | None) -> list[str]:
    # The weekday of a date becomes a value of its own, which is nonsense; what is left of the date says as much.
    return _JOINT.split(text)[:_MOST_VALUES] if text else []


def _seconds(text: str, start: float) -> float | None:
    seconds = _number(text)
    if seconds is None:
        until = _date(text)
        seconds = None if until is None else until - start
    return seconds


def _number(text: str) -> float | None:
    text = text.strip()
    return min(float(text), _LONGEST) if _NUMBER.fullmatch(text) else None


def _date(text: str | None) -> float | None:
    if not text:
        return None
    try:
        moment = parsedate_to_datetime(text.strip())
        # HTTP dates are in GMT, whether they say so or not.
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return seconds if math.isfinite(seconds) else None
