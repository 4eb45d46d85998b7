"""The end of the interpreter with attempts that are alive."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from llmwatch.watch.machine import VerdictKind
from tests.calibration import VARIABLE
from tests.watch.exiting import SCENARIOS
from tests.watch.scripted import PATIENCE, SCALE, Caller, Stage

CASES = [(scenario.__name__, code) for scenario, code in SCENARIOS.items()]


@pytest.mark.parametrize(("scenario", "code"), CASES)
def test_the_process_exits_at_once_with_its_own_code(scenario: str, code: int) -> None:
    """The attempt is cancelled, its socket shut, and nothing is printed about it."""
    environment = {**os.environ, VARIABLE: str(SCALE)}
    command = [sys.executable, "-m", "tests.watch.exiting", scenario]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment, check=False)
    assert done.returncode == code, done.stderr
    words = done.stdout.split()
    assert words[:3] == ["cancelled", "lifecycle", "shutdown"]
    if scenario == "with_a_traceback":
        assert done.stderr.count("Traceback") == 1
        assert done.stderr.endswith("RuntimeError: the program's own\n")
    else:
        assert done.stderr == ""


def test_a_thread_that_takes_after_the_exit_blocks(stage: Callable[..., Stage]) -> None:
    """A thread that takes after the exit blocks; it would only print a traceback otherwise.

    It was busy when the attempts ended. It still takes the items it was given before.
    """
    one = stage()
    one.open()
    one.receive("a")
    one.attempt.end_at_exit()
    assert Caller(one.attempt.take).result() == ["a"]
    one.clock.forget_waits()  # type: ignore[attr-defined]
    caller = Caller(one.attempt.take)
    one.clock.next_waiter()  # type: ignore[attr-defined]
    assert not caller.returned
    one.attempt._channel.silent = False
    one.clock.advance(1.0)  # type: ignore[attr-defined]
    assert caller.result() is None


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="that thread alone runs at exit")
def test_the_main_thread_gets_the_verdict_at_exit(stage: Callable[..., Stage]) -> None:
    """A function that runs at exit may read a stream that was left open; it gets the verdict."""
    one = stage()
    one.open()
    one.attempt.end_at_exit()
    assert one.attempt.take() is None
    assert one.verdict.kind is VerdictKind.CANCELLED
