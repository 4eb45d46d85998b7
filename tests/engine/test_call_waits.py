"""``llmwatch.engine.call``: the wait before a resend, to the instant, and what ends it early."""

from __future__ import annotations

from typing import Any

import pytest

from llmwatch import Cancelled, CancelToken, Decision, Limits, ProviderError, Retry
from tests.end_to_end.calls import eventually, in_thread
from tests.engine.fakes import BUSY, Studio, asks, caught_by, whole


def test_waits_double_up_to_their_cap_and_are_exact(studio: Studio) -> None:
    """The wait is the drawn share of 0.5, 1, 2, ... up to the cap.

    The next request leaves at the very end of the wait.
    """
    studio.random = [1.0, 0.5, 0.25, 1.0]
    retry = Retry(max_attempts=5, backoff=0.5, max_backoff=3)
    call, sender = studio.call(BUSY, retry=retry, settings=studio.settings(on_notice=studio.notices.append))
    calling = in_thread(caught_by, call, ProviderError)
    waits = [0.5, 0.5, 0.5, 3.0]
    for number, wait in enumerate(waits, 1):
        sender.wait_for(number)
        eventually(lambda number=number: len(studio.retries) == number, "the wait begins")
        studio.elapse(wait)
    error = calling.result()
    assert [one.wait for one in studio.retries] == waits
    gaps = [after - before for before, after in zip(sender.opened_at, sender.opened_at[1:], strict=False)]
    assert gaps == waits
    assert [one.wait for one in error.record.decisions] == [*waits, None]
    assert error.recovery.reason == "attempts_exhausted"


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "7.25"}, 7.25),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "90", "retry-after-ms": "250"}, 0.25),
    ],
)
def test_a_named_wait_is_kept_to_the_instant(studio: Studio, headers: dict[str, str], wait: float) -> None:
    """The provider's wait replaces the back-off: no jitter, no lower cap, no earlier resend."""
    retry = Retry(backoff=0.1, max_backoff=0.1)
    settings = studio.settings(on_notice=studio.notices.append)
    call, sender = studio.call(asks(**headers), whole(), retry=retry, settings=settings)
    calling = in_thread(studio.drain, call)
    eventually(lambda: len(studio.retries) == 1, "the wait begins")
    studio.elapse(wait - 0.01)
    studio.elapse(0.01)
    calling.result()
    assert sender.opened_at[1] - sender.opened_at[0] == pytest.approx(wait, abs=1e-9)
    assert studio.random == []


def test_the_cap_on_retry_after_does_not_cap_the_back_off(studio: Studio) -> None:
    """``max_retry_after`` caps the wait that a provider names; the back-off has a cap of its own."""
    retry = Retry(max_retry_after=0.001, backoff=0.5)
    settings = studio.settings(on_notice=studio.notices.append)
    call, sender = studio.call(BUSY, whole(), retry=retry, settings=settings)
    calling = in_thread(studio.drain, call)
    eventually(lambda: studio.retries, "the wait begins")
    studio.elapse(0.5)
    calling.result()
    assert len(sender.asked) == 2


@pytest.mark.parametrize(("asked", "attempts_made"), [("119.9", 2), ("120", 2), ("120.1", 1), ("86400", 1)])
def test_a_named_wait_above_the_cap_fails_at_once(studio: Studio, asked: str, attempts_made: int) -> None:
    """Above 120 s the call fails at once with the value; at 120 s it waits."""
    settings = studio.settings(on_notice=studio.notices.append)
    call, sender = studio.call(asks(**{"retry-after": asked}), whole(), settings=settings)
    if attempts_made == 1:
        error = caught_by(call, ProviderError)
        assert error.retry_after == float(asked)
        assert error.recovery.reason == "retry_after_too_long"
    else:
        calling = in_thread(studio.drain, call)
        eventually(lambda: studio.retries, "the wait begins")
        studio.elapse(float(asked))
        calling.result()
    assert len(sender.asked) == attempts_made


def test_max_retry_after_of_zero_removes_the_cap(studio: Studio) -> None:
    """``max_retry_after=0`` waits for a day if the provider names a day."""
    settings = studio.settings(on_notice=studio.notices.append)
    call, sender = studio.call(
        asks(**{"retry-after": "86400"}), whole(), retry=Retry(max_retry_after=0), settings=settings
    )
    calling = in_thread(studio.drain, call)
    eventually(lambda: studio.retries, "the wait begins")
    studio.elapse(86_400)
    calling.result()
    assert len(sender.asked) == 2


@pytest.mark.parametrize(("deadline", "attempts_made"), [(30.0, 1), (29.0, 1), (30.1, 2)])
def test_no_wait_reaches_the_deadline(studio: Studio, deadline: float, attempts_made: int) -> None:
    """A wait that would end with the deadline or after it is not begun; one that ends before it is."""
    settings = studio.settings(on_notice=studio.notices.append)
    call, sender = studio.call(
        asks(**{"retry-after": "30"}), whole(), limits=Limits(deadline=deadline), settings=settings
    )
    if attempts_made == 1:
        error = caught_by(call, ProviderError)
        assert error.recovery.reason == "no_time_left"
        assert error.retry_after == 30.0
        (decision,) = error.record.decisions
        assert (decision.decision, decision.wait, decision.carried_out) == (Decision.STOP, None, False)
    else:
        calling = in_thread(studio.drain, call)
        eventually(lambda: studio.retries, "the wait begins")
        studio.elapse(30)
        calling.result()
    assert len(sender.asked) == attempts_made


@pytest.mark.parametrize("how", ["token", "call"])
def test_a_cancellation_in_a_wait_ends_it(studio: Studio, how: str) -> None:
    """The planned resend stays in the record, not carried out.

    The decision that follows it is the one that counts.
    """
    token = CancelToken()
    settings = studio.settings(on_notice=studio.notices.append)
    call, sender = studio.call(asks(**{"retry-after": "60"}), whole(), cancel=token, settings=settings)
    calling = in_thread(caught_by, call, Cancelled)
    eventually(lambda: studio.retries, "the wait begins")
    token.cancel() if how == "token" else call.cancel("lifecycle")
    error = calling.result()
    assert error.by == ("user" if how == "token" else "lifecycle")
    planned, derived = error.record.decisions
    assert (planned.decision, planned.carried_out, planned.outcome) == (Decision.RETRY, False, "stopped")
    assert (derived.decision, derived.carried_out) == (Decision.STOP, False)
    assert len(sender.asked) == 1
    assert studio.records == [error.record]


def test_the_first_cancellation_is_the_one_in_the_error(studio: Studio) -> None:
    """A cancellation of the user stays one when the client is closed afterwards."""
    settings = studio.settings(on_notice=studio.notices.append)
    call, _ = studio.call(asks(**{"retry-after": "60"}), settings=settings)
    calling = in_thread(caught_by, call, Cancelled)
    eventually(lambda: studio.retries, "the wait begins")
    with call._lock:
        call.cancel("user")
        call.cancel("lifecycle")
    assert calling.result().by == "user"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_a_resend_is_not_carried_out_when_its_wait_is_interrupted(studio: Studio, kind: type[BaseException]) -> None:
    """Ctrl-C before the wait is over is raised as it is.

    The record shows a resend that did not take place.
    """

    def interrupt(notice: Any) -> None:
        raise kind

    call, sender = studio.call(BUSY, whole(), settings=studio.settings(on_notice=interrupt))
    with pytest.raises(kind):
        studio.drain(call)
    assert call.record is not None
    assert call.record.outcome == "cancelled"
    assert [(one.decision, one.carried_out) for one in call.record.decisions] == [(Decision.RETRY, False)]
    assert len(sender.asked) == 1
