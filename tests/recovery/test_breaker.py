"""The circuit breaker."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from llmwatch import ProviderError
from llmwatch.recovery import Breaker, BreakerState, Failure, FailureKind, Outcome, outcome_of
from llmwatch.recovery.breaker import DOUBT, NEWS, Permit
from tests.rows import each

WAIT = 30.0


def opened(now: float = 100.0, threshold: int = 5) -> Breaker:
    """A breaker that has just opened."""
    breaker = Breaker(threshold, WAIT)
    for _ in range(threshold):
        breaker.settle(breaker.admit(now), Outcome.LOST, now)
    assert breaker.state is BreakerState.OPEN
    return breaker


def recovering(now: float = 101.0) -> Breaker:
    """One whose first probe was answered."""
    breaker = opened()
    breaker.settle(breaker.admit(now), Outcome.ANSWERED, now)
    assert breaker.state is BreakerState.RECOVERING
    return breaker


def test_the_breaker_opens_after_five_losses_in_a_row() -> None:
    """Four lost attempts leave the breaker closed, and the fifth opens it.

    The first probe goes out a second later.
    """
    breaker = Breaker(5, WAIT)
    for _ in range(4):
        breaker.settle(breaker.admit(0.0), Outcome.LOST, 0.0)
    assert breaker.state is BreakerState.CLOSED
    breaker.settle(breaker.admit(1.0), Outcome.LOST, 1.0)
    assert breaker.state is BreakerState.OPEN
    assert breaker.ready_at(1.5) == 2.0


def test_an_answer_starts_the_count_of_losses_anew() -> None:
    """An error of the call's own is an answer too; a retryable failure is not."""
    breaker = Breaker(2, WAIT)
    for outcome in (Outcome.LOST, Outcome.ANSWERED, Outcome.LOST, Outcome.ABANDONED, Outcome.FAILED, Outcome.REFUSED):
        breaker.settle(breaker.admit(0.0), outcome, 0.0)
        assert breaker.state is BreakerState.CLOSED
    breaker.settle(breaker.admit(0.0), Outcome.LOST, 0.0)
    assert breaker.state is BreakerState.OPEN


def test_probes_go_out_after_1_2_4_seconds() -> None:
    """Each from the loss of the one before, up to the longest wait; an answer begins at one second again."""
    breaker, now, waits = opened(), 100.0, []
    for _ in range(8):
        waits.append(breaker.ready_at(now) - now)
        now = breaker.ready_at(now)
        breaker.settle(breaker.admit(now), Outcome.LOST, now)
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    now = breaker.ready_at(now)
    breaker.settle(breaker.admit(now), Outcome.ANSWERED, now)
    for _ in range(5):
        breaker.settle(breaker.admit(now), Outcome.LOST, now)
    assert (breaker.state, breaker.ready_at(now) - now) == (BreakerState.OPEN, 1.0)


def test_one_probe_is_out_at_a_time() -> None:
    """While it is out no other goes."""
    breaker = opened()
    breaker.admit(101.0)
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.ready_at(102.0) > 102.0


def test_waiting_attempts_go_out_in_growing_numbers() -> None:
    """One, and one more for each that is answered: 1, 2, 4, ... at once."""
    breaker, rounds = recovering(), []
    for _ in range(5):
        out = []
        while breaker.ready_at(101.0) <= 101.0:
            out.append(breaker.admit(101.0))
        rounds.append(len(out))
        for permit in out:
            breaker.settle(permit, Outcome.ANSWERED, 101.0)
    assert rounds == [1, 2, 4, 8, 16]


def test_the_breaker_closes_once_no_attempt_waits() -> None:
    """Every attempt goes through then, and the count starts at 0."""
    breaker = recovering()
    breaker.calm()
    assert breaker.state is BreakerState.CLOSED
    for _ in range(4):
        breaker.settle(breaker.admit(102.0), Outcome.LOST, 102.0)
    assert breaker.state is BreakerState.CLOSED


def test_losses_during_the_recovery_open_the_breaker_again() -> None:
    """Five in a row open it, as before; an answer in between starts the count anew."""
    breaker = recovering()
    for outcome in [Outcome.LOST] * 4 + [Outcome.ANSWERED] + [Outcome.LOST] * 4:
        breaker.settle(breaker.admit(102.0), outcome, 102.0)
        assert breaker.state is BreakerState.RECOVERING
    breaker.settle(breaker.admit(102.0), Outcome.LOST, 102.0)
    assert breaker.state is BreakerState.OPEN


def test_a_cancelled_probe_lets_the_next_out_at_once() -> None:
    """A cancelled probe has shown nothing; the next goes out, and the time between probes does not grow."""
    breaker = opened()
    breaker.settle(breaker.admit(101.0), Outcome.ABANDONED, 101.5)
    assert breaker.ready_at(101.5) == 101.5
    breaker.settle(breaker.admit(101.5), Outcome.LOST, 101.5)
    assert breaker.ready_at(101.5) == 103.5


def test_a_probe_without_a_report_does_not_hold_the_next_for_ever() -> None:
    """Its late loss changes nothing, and its late answer closes the breaker."""
    breaker = opened()
    silent = breaker.admit(101.0)
    assert breaker.ready_at(130.9) == 131.0
    breaker.admit(131.0)
    breaker.settle(silent, Outcome.LOST, 132.0)
    assert breaker.state is BreakerState.HALF_OPEN
    breaker.settle(silent, Outcome.ANSWERED, 133.0)
    assert breaker.state is BreakerState.RECOVERING


def test_a_probe_that_gets_a_500_is_no_answer() -> None:
    """A 500 leaves the origin as doubtful as it was, and the next probe goes out after twice the time."""
    breaker = opened()
    breaker.settle(breaker.admit(101.0), Outcome.FAILED, 101.5)
    assert (breaker.state, breaker.ready_at(101.5)) == (BreakerState.OPEN, 103.5)


def test_a_probe_that_gets_a_429_with_a_wait_is_an_answer() -> None:
    """A 429 that names a wait shows that the origin is there."""
    breaker = opened()
    breaker.settle(breaker.admit(101.0), Outcome.REFUSED, 101.5)
    assert breaker.state is BreakerState.RECOVERING


def test_the_last_attempt_waits_a_second_after_a_failure() -> None:
    """The last attempt waits longer if as many attempts have failed as open the breaker.

    It does not wait after an answer to an attempt that went out since.
    """
    breaker = Breaker(3, WAIT)
    assert not breaker.doubtful
    early = breaker.admit(0.5)
    for number, outcome in enumerate((Outcome.LOST, Outcome.FAILED, Outcome.REFUSED)):
        breaker.settle(breaker.admit(1.0 + number), outcome, 1.0 + number)
        assert (breaker.doubtful, breaker.patience) == (True, NEWS if number < 2 else DOUBT)
    breaker.settle(early, Outcome.ANSWERED, 4.0)
    assert breaker.doubtful
    breaker.settle(breaker.admit(4.0), Outcome.ANSWERED, 4.5)
    assert (breaker.doubtful, breaker.patience) == (False, NEWS)


def test_a_report_of_an_attempt_from_before_the_opening_counts_if_it_is_an_answer() -> None:
    """Its loss keeps the breaker open no longer; its answer ends the outage."""
    breaker = Breaker(2, WAIT)
    early = [breaker.admit(0.0) for _ in range(4)]
    for permit in early[:3]:
        breaker.settle(permit, Outcome.LOST, 10.0)
    assert (breaker.state, breaker.ready_at(10.0)) == (BreakerState.OPEN, 11.0)
    breaker.settle(early[3], Outcome.ANSWERED, 10.5)
    assert breaker.state is BreakerState.RECOVERING


def test_a_threshold_of_zero_never_opens() -> None:
    """0 turns it off."""
    breaker = Breaker(0, WAIT)
    for _ in range(100):
        assert breaker.ready_at(0.0) == 0.0
        breaker.settle(breaker.admit(0.0), Outcome.LOST, 0.0)
    assert breaker.state is BreakerState.CLOSED


def test_a_wait_of_zero_probes_at_once() -> None:
    """Probes still go one at a time, and the next goes once the first has no report."""
    breaker = Breaker(1, 0.0)
    breaker.settle(breaker.admit(5.0), Outcome.LOST, 5.0)
    assert breaker.ready_at(5.0) == 5.0
    breaker.admit(5.0)
    assert breaker.state is BreakerState.HALF_OPEN


def _status(status: int, retry_after: float | None = None) -> Failure:
    return Failure(kind=FailureKind.HTTP_STATUS, status=status, retry_after=retry_after)


@each(
    ("failure", "outcome"),
    [
        *((Failure(kind=FailureKind.WATCHDOG, limit=limit), Outcome.LOST) for limit in ("connect", "headers", "ttfb")),
        (Failure(kind=FailureKind.WATCHDOG, limit="send"), Outcome.FAILED),
        (Failure(kind=FailureKind.WATCHDOG, limit="deadline"), Outcome.ABANDONED),
        (Failure(kind=FailureKind.CONNECT_REFUSED), Outcome.LOST),
        (Failure(kind=FailureKind.CONNECT_UNREACHABLE), Outcome.LOST),
        (Failure(kind=FailureKind.CONNECT_RESET), Outcome.LOST),
        (Failure(kind=FailureKind.DNS_TEMPORARY), Outcome.FAILED),
        (Failure(kind=FailureKind.TLS_CONNECT), Outcome.ABANDONED),
        (Failure(kind=FailureKind.CUT), Outcome.FAILED),
        *((_status(status), Outcome.LOST) for status in (502, 503, 504, 529)),
        *((_status(status), Outcome.FAILED) for status in (408, 425, 429, 500, 520, 524, 527)),
        *((_status(status, 2.0), Outcome.REFUSED) for status in (429, 500)),
        (_status(503, 2.0), Outcome.LOST),
        *((_status(status), Outcome.ANSWERED) for status in (400, 401, 403, 404, 409, 413, 422)),
        (Failure(kind=FailureKind.STREAM_ERROR), Outcome.ANSWERED),
        (Failure(kind=FailureKind.CANCELLED_USER), Outcome.ABANDONED),
        (Failure(kind=FailureKind.UNKNOWN, limit="ttfb"), Outcome.ABANDONED),
    ],
)
def test_only_silence_and_proxy_errors_count_as_loss(failure: Failure, outcome: Outcome) -> None:
    """An attempt is lost when no server answered, or a proxy in place of the provider.

    A status that may pass shows nothing.
    """
    assert outcome_of(failure) is outcome


def test_a_503_of_a_loading_model_is_no_loss() -> None:
    """Its 503 is no loss."""
    loading = ProviderError("Loading model", status=503, loading=True)
    assert outcome_of(_status(503), loading) is Outcome.ANSWERED


@given(
    st.lists(st.tuples(st.sampled_from(["ask", "settle"]), st.sampled_from(Outcome), st.integers(0, 40)), max_size=60)
)
@settings(deadline=None)
def test_the_next_attempt_goes_out_within_the_longest_wait(steps: list[tuple[str, Outcome, int]]) -> None:
    """The rule holds however attempts come and go."""
    breaker, now, out = Breaker(2, WAIT), 0.0, list[Permit]()
    for action, outcome, passed in steps:
        now += passed
        if action == "ask" and breaker.ready_at(now) <= now:
            out.append(breaker.admit(now))
        elif out:
            breaker.settle(out.pop(0), outcome, now)
        assert breaker.ready_at(now) - now <= WAIT
