"""A local server that still loads its model is asked again, for as long as it might have been silent."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from llmwatch import Limits, ProviderError, Retry
from tests.end_to_end.calls import eventually, in_thread
from tests.engine.fakes import Answer, Studio, caught_by, whole

LOADING = Answer(
    status=503,
    headers={"content-type": "application/json"},
    pieces=[b'{"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}'],
)
JITTER = 1.0


def asked(studio: Studio, *answers: Answer, profile: str = "local", **retry: Any) -> tuple[Any, Any]:
    studio.random = [JITTER] * 50
    settings = studio.settings(on_notice=studio.notices.append, profile=profile, limits=Limits(ttfb=60))
    return studio.call(*answers, retry=Retry(backoff=1, max_backoff=8, **retry), settings=settings)


def test_a_loading_server_is_asked_until_its_model_is_there(studio: Studio) -> None:
    """The requests have the back-off, and count outside the number of attempts."""
    call, sender = asked(studio, *[LOADING] * 6, whole())
    calling = in_thread(studio.drain, call)
    for number, wait in enumerate((1, 2, 4, 8, 8, 8), 1):
        eventually(lambda number=number: len(studio.retries) == number, "the wait begins")
        studio.elapse(wait)
    calling.result()
    assert len(sender.opened_at) == 7
    assert call.record.outcome == "recovered"


def test_a_loading_server_is_given_up_after_ttfb(studio: Studio) -> None:
    """Once ``ttfb`` has passed since the first such answer, attempts count as usual."""
    call, sender = asked(studio, LOADING)
    calling = in_thread(caught_by, call, ProviderError)
    for number in itertools.count(1):
        eventually(lambda number=number: len(studio.retries) >= number or call.record is not None, "a wait or the end")
        if len(studio.retries) < number:
            break
        studio.elapse(studio.retries[number - 1].wait)
    error = calling.result()
    assert error.recovery.reason == "attempts_exhausted"
    assert sender.opened_at[-1] - sender.opened_at[0] == 60
    assert len(sender.opened_at) == 11


def test_a_failure_after_the_loading_has_all_attempts(studio: Studio) -> None:
    """A call that fails once the model is there has all its attempts.

    Its back-off starts from the beginning.
    """
    call, sender = asked(studio, *[LOADING] * 4, Answer(status=500))
    calling = in_thread(caught_by, call, ProviderError)
    for number, wait in enumerate((1, 2, 4, 8, 1, 2), 1):
        eventually(lambda number=number: len(studio.retries) == number, "the wait begins")
        assert studio.retries[-1].wait == wait
        studio.elapse(wait)
    assert calling.result().status == 500
    assert len(sender.opened_at) == 7


def test_a_short_ttfb_leaves_all_attempts_to_a_loading_server(studio: Studio) -> None:
    """If ``ttfb`` is over before the attempts are used up, the attempts decide."""
    studio.random = [JITTER] * 9
    settings = studio.settings(on_notice=studio.notices.append, profile="local", limits=Limits(ttfb=0.5))
    call, sender = studio.call(LOADING, retry=Retry(backoff=1), settings=settings)
    calling = in_thread(caught_by, call, ProviderError)
    for number, wait in enumerate((0.5, 1), 1):
        eventually(lambda number=number: len(studio.retries) == number, "the wait begins")
        assert studio.retries[-1].wait == wait
        studio.elapse(wait)
    calling.result()
    assert len(sender.opened_at) == 3


@pytest.mark.parametrize(
    ("profile", "answer", "retry", "requests"),
    [
        ("hosted", LOADING, {}, 3),
        ("local", Answer(status=503, pieces=[b'{"error": {"message": "busy"}}']), {}, 3),
        ("local", LOADING, {"max_attempts": 1}, 1),
    ],
)
def test_any_other_503_has_the_usual_attempts(
    studio: Studio, profile: str, answer: Answer, retry: dict[str, Any], requests: int
) -> None:
    """A hosted provider, another 503, and a user that allows no resend."""
    call, sender = asked(studio, answer, profile=profile, **retry)
    calling = in_thread(caught_by, call, ProviderError)
    for number in range(1, requests):
        eventually(lambda number=number: len(studio.retries) == number, "the wait begins")
        studio.elapse(8)
    calling.result()
    assert len(sender.opened_at) == requests
