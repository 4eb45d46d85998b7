"""A batch of calls over threads, and the provider that answers them, on simulated time.

The time jumps from event to event. The planner and the gate of each call are the product's own, and so is what the
caller's loop does with them. Threads, sockets and clocks are simulated: a thread is a generator that says until when it
sleeps.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

from llmwatch import ConnectFailed, Decision, LLMWatchError, ProviderError, Retry, WatchTimeout
from llmwatch.engine.hosts import Hosts
from llmwatch.engine.planner import History, Planner
from llmwatch.engine.request import CallRequest
from llmwatch.engine.settings import CallOptions, Settings
from llmwatch.payload import ToolExposure
from llmwatch.policy import EffectiveRetry
from llmwatch.recovery import EntryPoint, Facts, Sent
from tests.engine.fakes import URL

__all__ = ["HEALTHY", "Batch", "Reply"]

SENT = Facts(sent=Sent.YES, terminal=False, socket_reused=False, since_sent=1.0, tools=ToolExposure(), replayable=True)
UNSENT = Facts(sent=Sent.NO, terminal=False, tools=ToolExposure(), replayable=True)


@dataclass(frozen=True, slots=True)
class Reply:
    """The outcome of one request: an error, or an answer.

    An error comes after so many seconds; an answer has its first byte and its end.
    """

    error: LLMWatchError | None = None
    after: float = 0.02
    first_byte: float = 0.5
    whole: float = 2.0

    @classmethod
    def silent(cls) -> Reply:
        """Silence for ``ttfb``."""
        return cls(WatchTimeout("silence", limit="ttfb", limit_seconds=30.0, phase="waiting", elapsed=30.0), 30.0)

    @classmethod
    def refused(cls) -> Reply:
        """No server listens."""
        return cls(ConnectFailed("refused", cause="refused"))

    @classmethod
    def status(cls, status: int, retry_after: float | None = None) -> Reply:
        """An error status."""
        return cls(ProviderError("no", status=status, retry_after=retry_after, retryable=True))


HEALTHY = Reply()


class Time:
    """A clock that is set."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        return self.at

    def wall(self) -> float:
        return self.at


@dataclass
class Batch:
    """``calls`` prompts over so many ``threads`` on one client.

    ``provider`` is asked with the time, the number of the call and that of its attempt.
    """

    provider: Callable[[float, int, int], Reply]
    threads: int
    calls: int = 2000
    seed: int = 0
    retry: Retry = field(default_factory=Retry)
    lost: list[LLMWatchError] = field(default_factory=list)
    answered: int = 0
    sent_at: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._time = Time()
        settings: Any = {"clock": self._time, "random": self._chance.random, "hosts": Hosts()}
        self._settings = Settings(**settings)
        self._retry = EffectiveRetry.of((self.retry,))
        self._queue: list[tuple[float, int, int]] = []
        self._ticket: dict[int, int] = {}  # the wake-up of each thread that counts
        self._order = itertools.count()

    def run(self) -> Batch:
        """Until every prompt is answered or lost."""
        prompts = iter(range(self.calls))
        running = {thread: self._thread(thread, prompts) for thread in range(self.threads)}
        for thread in running:
            # As they come up, one after the other.
            self._sleep(thread, self._chance.random() * 2.0)
        while self._queue:
            at, ticket, thread = heapq.heappop(self._queue)
            if self._ticket.get(thread) != ticket:
                continue
            self._time.at = max(at, self._time.at)
            try:
                self._sleep(thread, next(running[thread]))
            except StopIteration:
                del self._ticket[thread]
        return self

    @property
    def elapsed(self) -> float:
        """Seconds that all of it took."""
        return self._time.at

    def rate(self, second: int) -> int:
        """Requests in one second."""
        return self.rates[second]

    @property
    def rates(self) -> Counter[int]:
        """Requests by second."""
        return Counter(int(at) for at in self.sent_at)

    def _sleep(self, thread: int, until: float) -> None:
        ticket = next(self._order)
        self._ticket[thread] = ticket
        heapq.heappush(self._queue, (until, ticket, thread))

    def _thread(self, thread: int, prompts: Iterator[int]) -> Generator[float]:
        for number in prompts:
            yield from self._call(thread, number)

    def _call(self, thread: int, number: int) -> Generator[float]:
        request = CallRequest.build("POST", URL, {"json": {"model": "m", "stream": True}})
        options, history, time = CallOptions(request=request, entry_point=EntryPoint.COLLECT), History(), self._time
        gate = self._settings.hosts.get(request.origin, self._retry, self._settings.random)
        planner = Planner(settings=self._settings, options=options, retry=self._retry, history=history, gate=gate)
        planner.enter(time.at)
        error: LLMWatchError | None = None
        while True:
            turn = planner.line_up(request, (), lambda: self._sleep(thread, time.at))
            until = began = 0.0
            while (delay := turn.gate.ask(turn, time.at)) is not None:
                if until != delay.until:
                    until, began = delay.until, time.at
                ends = planner.bears_until(delay, began, time.at)
                if ends is None:
                    if planner.goes_anyway(delay, time.at):
                        turn.waits_no_longer()
                        continue
                    self._lose(planner, planner.refuse(delay, error, request, time.at, began))
                    return
                since = time.at
                yield min(ends, delay.look_at)
                planner.waited += time.at - since
            self.sent_at.append(time.at)
            reply = self.provider(time.at, number, history.number)
            error = reply.error
            if error is None:
                yield time.at + self._about(reply.first_byte)
                turn.gate.answered(turn, time.at)
                yield time.at + self._about(reply.whole - reply.first_byte)
                planner.attempt_over(None, cancelled=False)
                planner.over("done")
                self.answered += 1
                return
            yield time.at + self._about(reply.after)
            planner.attempt_over(error, cancelled=False)
            facts = UNSENT if isinstance(error, ConnectFailed) else SENT
            plan, wait = planner.plan(error, facts, request, None)
            if plan.recovery.decision is not Decision.RETRY:
                self._lose(planner, error)
                return
            history.attempts.append(None)  # type: ignore[arg-type]
            yield time.at + wait

    def _lose(self, planner: Planner, error: LLMWatchError) -> None:
        planner.over("failed")
        self.lost.append(error)

    def _about(self, seconds: float) -> float:
        return seconds * (0.75 + 0.5 * self._chance.random())
