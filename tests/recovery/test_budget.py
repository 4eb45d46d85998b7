"""The retry budget."""

from __future__ import annotations

import pytest

from llmwatch.recovery import RetryBudget


def taken(budget: RetryBudget, times: int, now: float = 0.0) -> int:
    """The number of tokens, of so many attempts to take one, that were there at this moment."""
    return sum(budget.take(now) for _ in range(times))


def test_ten_resends_at_once() -> None:
    """A full bucket of ten pays for exactly ten resends."""
    budget = RetryBudget(10)
    assert taken(budget, 12) == 10
    assert budget.left(0.0) == 0


def test_each_call_in_flight_adds_three_tokens() -> None:
    """Each call in flight makes room for three more, and what it spent of them is gone with it."""
    budget = RetryBudget(1)
    budget.calls = 2
    budget.fit()
    assert taken(budget, 9) == 7
    budget.calls = 1
    budget.fit()
    assert budget.left(0.0) == 0
    budget.calls = 0
    budget.fit()
    assert budget.left(0.0) == 0
    budget.calls = 1
    budget.fit()
    assert budget.left(0.0) == 3


def test_ten_successes_pay_for_one_resend() -> None:
    """A success returns a tenth."""
    budget = RetryBudget(1)
    assert budget.take(0.0)
    for _ in range(9):
        budget.success(0.0)
        assert budget.ready_at(0.0) > 0.0
    assert budget.left(0.0) == pytest.approx(0.9)
    budget.success(0.0)
    assert budget.ready_at(0.0) == 0.0
    assert taken(budget, 2) == 1


def test_a_second_adds_one_token() -> None:
    """The wait for a token is known.

    It is a second for each token that is missing, and for each that others wait for.
    """
    budget = RetryBudget(2)
    assert taken(budget, 2, now=5.0) == 2
    assert budget.ready_at(5.25) == 6.0
    assert budget.ready_at(5.25, others=3) == 9.0
    assert not budget.take(5.9)
    assert budget.take(6.0)
    assert budget.left(6.5) == 0.5


def test_tokens_never_exceed_the_bucket() -> None:
    """Successes and time add none to a full bucket."""
    budget = RetryBudget(2)
    for _ in range(100):
        budget.success(1000.0)
    assert budget.left(5000.0) == 2
    assert taken(budget, 3, now=5000.0) == 2


def test_an_older_time_of_another_thread_adds_no_token() -> None:
    """Two threads may reach the budget in another order than they read the clock."""
    budget = RetryBudget(1)
    assert budget.take(10.0)
    assert budget.left(9.5) == 0


def test_a_size_of_zero_bounds_nothing() -> None:
    """0 turns the budget off."""
    budget = RetryBudget(0)
    assert taken(budget, 1000) == 1000
    assert budget.ready_at(0.0, others=50) == 0.0
    assert budget.left(0.0) == float("inf")
