"""Signals at random instants of calls of every entry point.

What their handlers raise comes out as it is.
"""

from __future__ import annotations

import logging
import signal
import threading

import pytest

from tests.bench import interrupts

COUNT = 300
SEED = 11


@pytest.mark.skipif(
    not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread(),
    reason="the main thread gets the signals",
)
def test_an_exception_of_a_signal_handler_comes_out_and_leaves_no_trace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No exception is replaced or lost, and no caller is stuck.

    No worker, thread or attempt is left, and the client is usable afterwards.
    """
    # A handler of Python's logging swallows whatever is raised while it formats a line.
    caplog.set_level(logging.CRITICAL + 1, "llmwatch")
    found = interrupts.interrupt(COUNT, SEED)
    wrong = {name: [*one.replaced, *one.lost, *one.left] for name, one in found.items() if one.wrong}
    assert wrong == {}
    assert all(one.raised for one in found.values())
    places = {place.split(":")[0] for one in found.values() for place in one.places}
    assert {"watch/clock.py", "watch/launch.py"} <= places
