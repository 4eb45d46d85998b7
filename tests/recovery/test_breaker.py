"""The circuit breaker."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmwatch.recovery import Breaker, BreakerState, Failure, FailureKind, Outcome, is_lost

WAIT = 30.0


def opened(now: float = 100.0, threshold: int = 5) -> Breaker:
    """A breaker that has just opened."""
    breaker = Breaker(threshold, WAIT)
    for _ in range(threshold):
        breaker.settle(breaker.admit(now), Outcome.LOST, now)
    assert breaker.state is BreakerState.OPEN
    return breaker


def test_it_opens_after_so_many_in_a_row() -> None:
    """Four lost calls leave it closed, the fifth opens it for its wait."""
    breaker = Breaker(5, WAIT)
    for _ in range(4):
        breaker.settle(breaker.admit(0.0), Outcome.LOST, 0.0)
    assert breaker.state is BreakerState.CLOSED
    breaker.settle(breaker.admit(1.0), Outcome.LOST, 1.0)
    assert breaker.state is BreakerState.OPEN
    permit = breaker.admit(11.0)
    assert (permit.allowed, permit.wait) == (False, 20.0)
    assert breaker.left(11.0) == 20.0


def test_any_answer_ends_the_row() -> None:
    """An answer in between, an error of the provider's included, starts the count anew; an abandoned call does not."""
    breaker = Breaker(2, WAIT)
    for outcome in (Outcome.LOST, Outcome.ANSWERED, Outcome.LOST, Outcome.ABANDONED):
        breaker.settle(breaker.admit(0.0), outcome, 0.0)
        assert breaker.state is BreakerState.CLOSED
    breaker.settle(breaker.admit(0.0), Outcome.LOST, 0.0)
    assert breaker.state is BreakerState.OPEN


def test_one_probe_at_a_time() -> None:
    """When the wait is over a single call goes through, and the others wait for it."""
    breaker = opened()
    assert not breaker.admit(129.9).allowed
    probe = breaker.admit(130.0)
    assert (probe.allowed, probe.probe) == (True, True)
    assert breaker.state is BreakerState.HALF_OPEN
    other = breaker.admit(131.0)
    assert (other.allowed, other.wait) == (False, 29.0)


def test_a_probe_that_is_answered_closes_it() -> None:
    """Everything goes through again, and the count starts at nothing."""
    breaker = opened(threshold=2)
    breaker.settle(breaker.admit(130.0), Outcome.ANSWERED, 131.0)
    assert breaker.state is BreakerState.CLOSED
    assert breaker.left(131.0) == 0.0
    breaker.settle(breaker.admit(131.0), Outcome.LOST, 131.0)
    assert breaker.state is BreakerState.CLOSED


def test_a_probe_that_is_lost_opens_it_again() -> None:
    """For the whole wait, from the moment of the loss."""
    breaker = opened()
    breaker.settle(breaker.admit(130.0), Outcome.LOST, 140.0)
    assert breaker.state is BreakerState.OPEN
    assert breaker.admit(141.0).wait == 29.0
    assert breaker.admit(170.0).probe


def test_a_probe_that_is_abandoned_makes_room_at_once() -> None:
    """A cancelled probe has shown nothing; the next call is the probe."""
    breaker = opened()
    breaker.settle(breaker.admit(130.0), Outcome.ABANDONED, 130.5)
    assert breaker.admit(130.5).probe


def test_a_probe_of_which_nothing_is_heard() -> None:
    """It does not block the origin for ever, and its late answer changes nothing."""
    breaker = opened()
    silent = breaker.admit(130.0)
    second = breaker.admit(160.0)
    assert second.probe
    breaker.settle(silent, Outcome.ANSWERED, 161.0)
    assert breaker.state is BreakerState.HALF_OPEN
    breaker.settle(second, Outcome.ANSWERED, 162.0)
    assert breaker.state is BreakerState.CLOSED


def test_calls_from_before_do_not_count() -> None:
    """A call that was under way when it opened neither closes it nor keeps it open longer."""
    breaker = Breaker(2, WAIT)
    early = [breaker.admit(0.0) for _ in range(4)]
    breaker.settle(early[0], Outcome.LOST, 10.0)
    breaker.settle(early[1], Outcome.LOST, 10.0)
    assert breaker.state is BreakerState.OPEN
    breaker.settle(early[2], Outcome.ANSWERED, 20.0)
    breaker.settle(early[3], Outcome.LOST, 20.0)
    assert breaker.left(20.0) == 20.0


def test_a_refused_call_has_nothing_to_settle() -> None:
    """A permit that was not given changes nothing when it is handed back."""
    breaker = opened()
    breaker.settle(breaker.admit(101.0), Outcome.ANSWERED, 101.0)
    assert breaker.state is BreakerState.OPEN


def test_a_threshold_of_zero_never_opens() -> None:
    """0 turns it off."""
    breaker = Breaker(0, WAIT)
    for _ in range(100):
        permit = breaker.admit(0.0)
        assert permit.allowed
        breaker.settle(permit, Outcome.LOST, 0.0)
    assert breaker.state is BreakerState.CLOSED


def test_a_wait_of_zero_probes_at_once() -> None:
    """It still lets one through at a time."""
    breaker = Breaker(1, 0.0)
    breaker.settle(breaker.admit(5.0), Outcome.LOST, 5.0)
    assert breaker.admit(5.0).probe


def test_threads_get_one_probe() -> None:
    """Of many threads that ask at the same moment one is let through."""
    breaker, start = opened(), threading.Barrier(16)
    allowed: list[bool] = []

    def ask() -> None:
        start.wait()
        allowed.append(breaker.admit(130.0).allowed)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sum(allowed) == 1


@pytest.mark.parametrize(
    ("failure", "lost"),
    [
        (Failure(kind=FailureKind.WATCHDOG, limit="connect"), True),
        (Failure(kind=FailureKind.WATCHDOG, limit="ttfb"), True),
        (Failure(kind=FailureKind.WATCHDOG, limit="stale"), False),
        (Failure(kind=FailureKind.WATCHDOG, limit="deadline"), False),
        (Failure(kind=FailureKind.CONNECT_REFUSED), False),
        (Failure(kind=FailureKind.HTTP_STATUS, status=503), False),
        (Failure(kind=FailureKind.UNKNOWN, limit="ttfb"), False),
    ],
)
def test_what_counts_as_lost(failure: Failure, lost: bool) -> None:
    """Only the two limits that mean that nobody answers."""
    assert is_lost(failure) is lost


@given(
    st.lists(st.tuples(st.sampled_from(["ask", "settle"]), st.sampled_from(Outcome), st.integers(0, 40)), max_size=60)
)
@settings(deadline=None)
def test_laws(steps: list[tuple[str, Outcome, int]]) -> None:
    """However calls come and go: at most one live probe, waits within bounds, and it always lets somebody try again."""
    breaker, now, out = Breaker(2, WAIT), 0.0, []
    for action, outcome, passed in steps:
        now += passed
        if action == "ask":
            permit = breaker.admit(now)
            assert permit.allowed or 0 < permit.wait <= WAIT
            assert permit.allowed is (permit.wait == 0)
            assert permit.allowed or not permit.probe
            if permit.allowed:
                out.append(permit)
        elif out:
            breaker.settle(out.pop(0), outcome, now)
        newest = max((one.serial for one in out if one.probe), default=0)
        assert sum(one.probe and one.serial == newest for one in out) <= 1
        assert 0 <= breaker.left(now) <= WAIT
    assert breaker.admit(now + WAIT).allowed
