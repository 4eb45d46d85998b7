"""When to resend: the wait that the provider asks for, else an exponential back-off with full jitter."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import timezone
from email.utils import parsedate_to_datetime

from llmwatch.wire.refusal import retry_delay

__all__ = ["backoff", "retry_after", "should_retry"]

# float() also accepts "nan", "1_000", "1e9" and digits of other scripts. No wait has more than three hundred digits.
_NUMBER = re.compile(r"[+-]?(?:\d{1,300}(?:\.\d{0,20})?|\.\d{1,20})", re.ASCII)

# requests and urllib3 join the headers of one name like this. A comma without a blank is part of a number.
_JOINT = re.compile(r",\s+")
_MOST_VALUES = 16

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d{1,15}(?:\.\d{0,20})?)(ns|us|µs|ms|s|m|h|d)", re.ASCII)
_DURATION = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
_LONGEST_DURATION = 100

# Thirty million years; a longer wait means the same.
_LONGEST = 1e15


def retry_after(
    headers: Mapping[str, str], now_wall: float, *, status: int | None = None, body: bytes = b""
) -> float | None:
    """The wait in seconds that a response asks for, never negative; ``None`` for none or for nonsense.

    ``retry-after-ms`` (milliseconds) goes before ``Retry-After``, a number of seconds, fractions allowed, or an HTTP
    date. A date counts from the response's own ``Date``, so that the clocks of two machines need not agree; without one
    it counts from ``now_wall`` (Unix seconds). A date in the past means 0.

    A provider and its proxy may each send a header; requests joins them with a comma. The longest wait counts, since a
    resend has to get past both; nonsense does not count. ``retryDelay`` of the ``RetryInfo`` in the ``body`` of a
    Google error counts too, as far as that body was read.

    Without any of these, a ``status`` of 429 asks for the wait of OpenAI's ``x-ratelimit-reset-requests`` and
    ``-tokens``: the longest of the limits that are used up, or do not tell what remains; else that of the tokens, of
    which a request may need more than remain. A reset of 0 counts as none.
    """
    lowered = {str(name).lower(): str(value) for name, value in headers.items()}
    milliseconds = [_number(one) for one in _values(lowered.get("retry-after-ms"))]
    waits = [one / 1000 for one in milliseconds if one is not None]
    if not waits:
        since = _date(lowered.get("date"))
        start = now_wall if since is None else since
        asked = [_seconds(one, start) for one in _values(lowered.get("retry-after"))]
        waits = [one for one in asked if one is not None]
    delay = retry_delay(body)
    if delay is not None:
        waits.append(delay)
    if waits:
        return max(0.0, *waits)
    return _reset(lowered) if status == 429 else None


def should_retry(headers: Mapping[str, str]) -> bool | None:
    """The value of ``x-should-retry``: ``True``, ``False``, or ``None`` if it is missing or invalid."""
    for name, value in headers.items():
        if str(name).lower() == "x-should-retry":
            return {"true": True, "false": False}.get(str(value).strip().lower())
    return None


def backoff(attempt: int, base: float, cap: float, random: Callable[[], float]) -> float:
    """Seconds to wait after attempt number ``attempt``.

    The wait is up to ``base``, doubled with each attempt, at most ``cap``; infinity is no cap. ``random`` returns a
    number in [0, 1): full jitter, so that clients that failed together do not return together.
    """
    doublings = min(max(0, attempt - 1), 64)
    return random() * min(cap, base * 2.0**doublings)


def _reset(lowered: Mapping[str, str]) -> float | None:
    waits = {kind: _go_duration(lowered.get(f"x-ratelimit-reset-{kind}", "")) for kind in ("requests", "tokens")}
    left = {kind: _number(lowered.get(f"x-ratelimit-remaining-{kind}", "")) for kind in waits}
    named = {kind: wait for kind, wait in waits.items() if wait}
    spent = [wait for kind, wait in named.items() if not left[kind]]
    return max(spent, default=named.get("tokens", named.get("requests")))


def _go_duration(text: str) -> float | None:
    """Seconds of a duration in Go's notation: ``20ms``, ``1s``, ``6m0s``, ``1h2m3.5s``."""
    text = text.strip()
    if len(text) > _LONGEST_DURATION or not _DURATION.fullmatch(text):
        return None
    return min(sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text)), _LONGEST)


def _values(text: str | None) -> list[str]:
    # The weekday of a date becomes a value of its own, which is nonsense; the rest of the date is complete.
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
        # HTTP dates are in GMT, even if they do not say so.
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return seconds if math.isfinite(seconds) else None
