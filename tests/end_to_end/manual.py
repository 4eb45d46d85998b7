"""Calls on time that only a test moves, over real sockets."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import pytest

from llmwatch import Client
from llmwatch.watch import supervisor as supervisors
from llmwatch.watch.attempt import Attempt
from llmwatch.watch.clock import ManualClock
from llmwatch.watch.machine import Action
from llmwatch.watch.supervisor import Supervisor, _Shift
from tests.end_to_end.times import PATIENCE

__all__ = ["GRACE", "LATE", "ManualTime"]

LATE = 0.1
"""A limit has expired after its instant, not at it."""
GRACE = 1.5
"""A time beyond the second that a late supervisor gives."""


class _Probe:
    """An attempt that is never due, and tells that the supervisor has looked at it."""

    armed = float("inf")

    def __init__(self) -> None:
        self.examined = threading.Event()

    def examine(self, now: float) -> tuple[Action, float | None]:
        self.examined.set()
        return Action.NOTHING, None

    def abort(self) -> None:
        raise AssertionError("never due")


class _Supervisor(Supervisor):
    """A supervisor that a test can end."""

    over = False

    def _run(self, shift: _Shift) -> None:
        while not self.over:
            self.turn()
        shift.over = True


class ManualTime:
    """A clock and a supervisor that goes by it, for every attempt that is made while the test runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = ManualClock()
        self._supervisor = _Supervisor(clock=self.clock)
        monkeypatch.setattr(supervisors, "_current", self._supervisor)

    def end(self) -> None:
        """End the supervisor, which has no end of its own."""
        self._supervisor.over = True
        self.clock.advance(0)
        if self._supervisor._shift is not None:
            self._supervisor._shift.thread.join(PATIENCE)

    def on(self, client: Client) -> Client:
        """Have the calls of ``client`` go by this clock too."""
        client._settings = dataclasses.replace(client._settings, clock=self.clock)
        return client

    def advance(self, seconds: float) -> None:
        """Let time pass, until the supervisor has judged everything by the new time."""
        self.clock.advance(seconds)
        # The turn that examines the first probe began after the advance, and is over when the second is examined.
        for _ in range(2):
            probe = _Probe()
            self._supervisor.look_at(probe)
            assert probe.examined.wait(PATIENCE)

    def pass_by(self, seconds: float) -> None:
        """Let every expiry up to ``seconds`` from now be over.

        Expiries to which a late supervisor gives its grace are included.
        """
        self.advance(seconds + LATE)
        self.advance(GRACE)

    def attempts(self) -> list[Attempt[Any]]:
        """The attempts that have no verdict."""
        return [one for one in self._supervisor.registry.live() if one.verdict is None]

    @property
    def live(self) -> int:
        """The number of attempts without a verdict."""
        return self._supervisor.registry.counts()["live_attempts"]
