"""Signal handlers that return: the interrupted call goes on, however long they took."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from llmwatch import CancelToken, Client, Retry, RetryNotice
from llmwatch.faults import FaultServer
from llmwatch.watch.clock import SYSTEM, Waiter
from tests.end_to_end.calls import asking
from tests.end_to_end.times import LIMIT, PATIENCE

pytestmark = pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"),
    reason="the main thread gets the signals",
)


@pytest.fixture
def handled() -> Iterator[list[int]]:
    """The alarms that a handler has dealt with, each for longer than a back-off of ``LIMIT``."""
    numbers: list[int] = []

    def handle(number: int, frame: object) -> None:
        SYSTEM.wait(Waiter(), SYSTEM.now() + 2 * LIMIT)
        numbers.append(number)

    before = signal.signal(signal.SIGALRM, handle)
    yield numbers
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_a_back_off_ends_though_a_handler_outlasts_it(handled: list[int]) -> None:
    """The resend goes out when the handler has returned, and does not wait for another wake-up."""

    def tell(notice: object) -> None:
        if isinstance(notice, RetryNotice):
            signal.setitimer(signal.ITIMER_REAL, LIMIT / 2)

    token = CancelToken()
    late = threading.Timer(PATIENCE, token.cancel)
    late.start()
    try:
        with (
            FaultServer([f"retry-after:value={LIMIT}", "healthy"]) as server,
            Client(retry=Retry(max_attempts=2), on_notice=tell) as client,
        ):
            answer = client.collect("POST", server.chat_url, json=asking(), cancel=token)
            assert len(answer.record.attempts) == len(server.requests) == 2
            assert handled
    finally:
        late.cancel()
        late.join()
