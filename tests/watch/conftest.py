"""What the tests of the watchdog share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.watch.scripted import PATIENCE, Stage


@pytest.fixture
def stage() -> Iterator[Callable[..., Stage]]:
    """Makes stages, and ends their attempts and workers at the end of the test.

    No rule of a stage's sockets may be broken by then.
    """
    stages: list[Stage] = []

    def make(*args: Any, **settings: Any) -> Stage:
        stages.append(Stage(*args, **settings))
        return stages[-1]

    yield make
    for one in stages:
        one.attempt.cancel("user")
        one.leave()
        assert [socket.broken for socket in one.sockets if socket.broken] == []


@pytest.fixture(autouse=True)
def no_worker_is_left() -> Iterator[None]:
    """No test leaves a worker behind."""
    before = set(threading.enumerate())
    yield
    for thread in threading.enumerate():
        if thread.name == "llmwatch-worker" and thread not in before:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a worker is still there"
