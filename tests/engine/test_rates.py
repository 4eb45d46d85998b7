"""A key with a limit is used near that limit and costs no prompt, whatever the form of the limit."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from tests.engine.simulation import Batch, Reply

QUICK = {"first_byte": 0.02, "whole": 0.03}
SLOW = {"first_byte": 4.0, "whole": 10.0}

Accepts = Callable[[float], "float | None"]
"""The answer of a key to a request at a time of the clock; times come in order.

The answer is ``None`` where the request is accepted, else the wait that is named.
"""


def bucket(rate: float, size: float, wait: float | None = None) -> Accepts:
    """Tokens come in at ``rate`` a second; named is the time until the next, or ``wait``."""
    at, tokens = 0.0, size

    def accepts(now: float) -> float | None:
        nonlocal at, tokens
        tokens, at = min(size, tokens + (now - at) * rate), now
        if tokens >= 1.0:
            tokens -= 1.0
            return None
        return max(0.001, (1.0 - tokens) / rate) if wait is None else wait

    return accepts


def window(most: int, seconds: float, wait: float | None = None) -> Accepts:
    """A key that accepts a number of requests in each window of the clock.

    The named wait ends with the window, or is ``wait``.
    """
    current, accepted = -1, 0

    def accepts(now: float) -> float | None:
        nonlocal current, accepted
        if now // seconds != current:
            current, accepted = int(now // seconds), 0
        if accepted < most:
            accepted += 1
            return None
        return (current + 1) * seconds - now if wait is None else wait

    return accepts


def sliding(most: int, seconds: float, wait: float) -> Accepts:
    """A number of requests in any window of that length."""
    latest: deque[float] = deque()

    def accepts(now: float) -> float | None:
        while latest and latest[0] <= now - seconds:
            latest.popleft()
        if len(latest) < most:
            latest.append(now)
            return None
        return wait

    return accepts


def run(accepts: Accepts, threads: int, calls: int, seed: int, status: int = 429, **answer: Any) -> Batch:
    """A batch under a limit. The clock of the provider does not go by our calls."""

    def provider(at: float, call: int, attempt: int) -> Reply:
        wait = accepts(at + 1000.25)
        return Reply(**answer) if wait is None else Reply.status(status, wait)

    return Batch(provider, threads, calls=calls, seed=seed).run()


@pytest.mark.parametrize(
    ("limit", "rate", "threads", "calls", "answer"),
    [
        (lambda: sliding(8, 1.0, 1.0), 8.0, 16, 300, QUICK),
        (lambda: sliding(10, 1.0, 1.0), 10.0, 100, 300, QUICK),
        (lambda: sliding(5, 1.0, 1.0), 5.0, 64, 240, SLOW),
        (lambda: bucket(8.0, 8.0, 1.0), 8.0, 16, 300, QUICK),
        (lambda: bucket(10.0, 10.0, 1.0), 10.0, 80, 300, QUICK),
        (lambda: bucket(5.0, 5.0), 5.0, 16, 200, QUICK),
        (lambda: bucket(1.0, 60.0, 1.0), 1.0, 100, 240, QUICK),
        (lambda: bucket(10.0, 60.0, 1.0), 10.0, 100, 300, {}),
        (lambda: window(60, 60.0), 1.0, 16, 240, QUICK),
        (lambda: window(60, 60.0), 1.0, 80, 200, QUICK),
        (lambda: window(10, 1.0), 10.0, 80, 300, QUICK),
        (lambda: window(10, 1.0, 1.0), 10.0, 64, 300, QUICK),
        (lambda: window(50, 10.0), 5.0, 80, 300, QUICK),
    ],
)
def test_a_limited_key_costs_no_prompt(
    limit: Callable[[], Accepts], rate: float, threads: int, calls: int, answer: dict[str, float]
) -> None:
    """Every prompt is answered, at 70 % of what the key allows or more.

    Of ten prompts at most one is sent again, besides one for every second thread at the start.
    """
    for seed in (1, 2) if threads < 64 else (1,):
        batch = run(limit(), threads, calls, seed, **answer)
        assert (batch.answered, [str(error) for error in batch.lost]) == (calls, [])
        assert len(batch.sent_at) <= 1.1 * calls + threads / 2
        # The last calls take their own time.
        assert calls / (batch.elapsed - 1.25 * answer.get("whole", 2.0)) >= 0.7 * rate
