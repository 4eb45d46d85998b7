"""Between an error in the stream, which the worker has read, and the exception that it makes of it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from llmwatch import Limits, ProviderError
from llmwatch.engine.exchange import Exchange
from tests.end_to_end.calls import eventually
from tests.end_to_end.manual import GRACE, LATE
from tests.end_to_end.times import PATIENCE
from tests.engine.fakes import DONE, Answer, Studio, chunk

ERROR = b'data: {"error": {"message": "no more"}}\n\n'
SAID = {
    "after text": chunk("a") + ERROR,
    "after a finish mark": chunk("a") + chunk(finish_reason="stop") + ERROR,
    "an end mark and nothing else": DONE,
    "an end mark after a role": chunk(role="assistant") + DONE,
}


class Held:
    """A worker that has read an error and waits before it says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.go = threading.Event(), threading.Event()
        scrubbed = Exchange._scrubbed

        def held(*args: Any) -> Any:
            self.reached.set()
            assert self.go.wait(PATIENCE)
            return scrubbed(*args)

        monkeypatch.setattr(Exchange, "_scrubbed", held)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    return Held(monkeypatch)


@pytest.mark.parametrize("name", SAID)
def test_a_call_closed_between_error_event_and_exception_is_no_success(studio: Studio, held: Held, name: str) -> None:
    """Its caller has closed it before any mark said that the answer is whole."""
    call, _ = studio.call(Answer(pieces=[SAID[name]]))
    call.begin()
    assert held.reached.wait(PATIENCE)
    call.close()
    held.go.set()
    assert call.record is not None
    assert (call.record.outcome, call.record.attempts[-1].end) == ("cancelled", None)


def test_a_finish_mark_before_an_error_event_is_no_success(studio: Studio, held: Held) -> None:
    """The error behind the mark is known, however late the worker is."""
    call, _ = studio.call(Answer(pieces=[SAID["after a finish mark"]]), limits=Limits(finish=1))
    call.begin()
    assert held.reached.wait(PATIENCE)
    assert call.next_batch() is not None
    studio.time.advance(1 + LATE)
    studio.time.advance(GRACE)
    held.go.set()
    eventually(lambda: call._attempt is not None and call._attempt.verdict is not None, "the attempt is over")
    with pytest.raises(ProviderError, match="no more"):
        call.next_batch()
