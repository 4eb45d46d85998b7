"""The demo's comparison: plain requests and llmwatch on the same server and faults."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import requests

from llmwatch import LLMWatchError, WatchTimeout
from llmwatch.cli.demo_script import BODY, LOOK_EVERY, Pace, make_client
from llmwatch.cli.timeline import Mark, Timeline
from llmwatch.faults import FaultServer
from llmwatch.policy.values import shown

__all__ = ["Comparison", "PlainCall", "compare"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One measured call: its entry point, the server's fault, and the outcome.

    ``waiting``: the call was not ended by its own limits. It had not returned after ``seconds``, or returned something
    else. ``reads`` counts the pieces of body that it had read by then; ``result`` is how it ended.
    """

    entry_point: str
    fault: str
    waiting: bool
    seconds: float
    reads: int = 0
    result: str = ""

    @property
    def words(self) -> str:
        """The outcome as text for a person."""
        if self.waiting and self.entry_point == "requests":
            pings = f", {self.reads} pings and no answer" if self.reads else ""
            return f"still waiting after {self.seconds:.1f} s{pings}; gave up watching"
        return f"ended after {self.seconds:.1f} s, {self.result}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "entry_point": self.entry_point,
            "fault": self.fault,
            "still_waiting": self.waiting,
            "seconds": self.seconds,
            "reads": self.reads,
            "result": self.result or None,
        }


def compare(server: FaultServer, pace: Pace, timeline: Timeline, now: Callable[[], float]) -> tuple[Comparison, ...]:
    """Measure a silent and a pinging server with requests, and the pinging one with llmwatch too.

    Each call of requests is observed for ``pace.bound`` seconds.
    """
    silent = PlainCall("silent", server.chat_url, None, now)
    server.wait_for_requests(3)
    pinged = PlainCall("keepalive-only", server.chat_url, (3.0, pace.read_timeout), now)
    server.wait_for_requests(4)
    plain = (silent, pinged)

    def tick() -> None:
        for call in plain:
            if call.waiting:
                timeline.counting(f"{call}: waiting", now() - call.began, pace.bound, key=call.fault)

    watched = _watched_pings(server, pace, now, tick)
    good = not watched.waiting
    timeline.moment(Mark.GOOD if good else Mark.KILLED, f"llmwatch, pings only: {watched.words}", key="llmwatch")
    measured = []
    for call in plain:
        comparison = call.result(pace.bound, tick)
        measured.append(comparison)
        mark = Mark.KILLED if comparison.waiting else Mark.GOOD
        timeline.moment(mark, f"{call}: {comparison.words}", key=call.fault)
    return (*measured, watched)


def _watched_pings(server: FaultServer, pace: Pace, now: Callable[[], float], tick: Callable[[], None]) -> Comparison:
    began = now()
    result, limit = "an answer", ""
    with make_client(pace, lambda notice: tick()) as client:
        try:
            with client.stream("POST", server.chat_url, json=BODY) as stream:
                for _ in stream:
                    pass
        except WatchTimeout as timeout:
            result, limit = f"WatchTimeout ({timeout.limit})", timeout.limit
        except LLMWatchError as error:
            result = type(error).__name__
    return Comparison(
        entry_point="llmwatch",
        fault="keepalive-only",
        waiting=limit != "first_content",
        seconds=now() - began,
        result=result,
    )


@dataclass(slots=True)
class PlainCall:
    """``requests.post(url, json=..., stream=True)``, read to its end, in a thread of its own."""

    fault: str
    url: str
    timeout: tuple[float, float] | None
    now: Callable[[], float]
    reads: int = 0
    outcome: str = ""
    began: float = 0.0
    _thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.now()
        self._thread = threading.Thread(target=self._run, name="llmwatch-demo-requests", daemon=True)
        self._thread.start()

    def __str__(self) -> str:
        if self.timeout is None:
            return "plain requests, silent provider"
        return f"plain requests, pings only, read timeout {shown(self.timeout[1])}"

    @property
    def waiting(self) -> bool:
        """Whether the call has not returned."""
        return self._thread.is_alive()

    def _run(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            try:
                with session.post(self.url, json=BODY, stream=True, timeout=self.timeout) as response:
                    for _ in response.iter_content(chunk_size=None):
                        self.reads += 1
                self.outcome = "the end of the body"
            except requests.RequestException as error:
                self.outcome = type(error).__name__

    def result(self, bound: float, tick: Callable[[], None]) -> Comparison:
        """The outcome. Waits until the call returns, at most until ``bound`` seconds after its start."""
        while self.waiting and (left := self.began + bound - self.now()) > 0:
            tick()
            self._thread.join(min(left, LOOK_EVERY))
        seconds, waiting = self.now() - self.began, self.waiting
        return Comparison(
            entry_point="requests",
            fault=self.fault,
            waiting=waiting,
            seconds=seconds,
            reads=self.reads,
            result="" if waiting else self.outcome,
        )
