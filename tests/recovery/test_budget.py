"""The retry budget."""

from __future__ import annotations

import threading

import pytest

from llmwatch.recovery import RetryBudget


def test_ten_resends_and_no_more() -> None:
    """A full bucket of ten pays for exactly ten resends."""
    budget = RetryBudget(10)
    assert [budget.take() for _ in range(12)] == [True] * 10 + [False] * 2
    assert budget.left == 0


def test_ten_successes_pay_for_one_resend() -> None:
    """A success returns a tenth, exactly, however often."""
    budget = RetryBudget(1)
    assert budget.take()
    for _ in range(9):
        budget.success()
        assert not budget.ok
    assert budget.left == pytest.approx(0.9)
    budget.success()
    assert budget.ok
    assert budget.take()
    assert not budget.take()


def test_it_is_never_more_than_full() -> None:
    """Successes in good times are not saved up."""
    budget = RetryBudget(2)
    for _ in range(100):
        budget.success()
    assert budget.left == 2
    assert [budget.take() for _ in range(3)] == [True, True, False]


def test_size_zero_is_no_bound() -> None:
    """0 turns the budget off."""
    budget = RetryBudget(0)
    assert all(budget.take() for _ in range(1000))
    assert budget.ok
    assert budget.left == float("inf")
    budget.success()
    assert budget.take()


def test_threads_share_it_exactly() -> None:
    """Whatever the interleaving, tokens are neither lost nor made."""
    budget, taken = RetryBudget(1000), []
    start = threading.Barrier(8)

    def spend() -> None:
        start.wait()
        taken.append(sum(budget.take() for _ in range(500)))

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sum(taken) == 1000
    assert budget.left == 0
