"""Calls through the public entry points, and their outcomes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import llmwatch
from llmwatch import CallRecord, Client, Decision, Event, LLMWatchError, Retry, Stream, WatchTimeout
from llmwatch.records import PHASES
from tests.end_to_end.times import PATIENCE

__all__ = [
    "QUICK",
    "SHAPES",
    "Outcome",
    "asking",
    "collect",
    "endpoint",
    "eventually",
    "in_thread",
    "request",
    "run_stream",
    "stream",
    "timed_out",
    "together",
]

QUICK = Retry(backoff=0.01)
"""Resends without the wait that a provider deserves."""

SHAPES = ("openai-chat", "openai-responses", "anthropic")

_URLS = {"openai-chat": "chat_url", "openai-responses": "responses_url", "anthropic": "messages_url"}

E = TypeVar("E", bound=BaseException)
T = TypeVar("T")


def asking(**more: Any) -> dict[str, Any]:
    """The body of a request for a stream, in a form that every shape takes."""
    return {"model": "test-model", "stream": True, "messages": [{"role": "user", "content": "Say it."}], **more}


def endpoint(server: Any, shape: str) -> str:
    """The server's address for requests of a shape."""
    return str(getattr(server, _URLS[shape]))


@dataclass(slots=True)
class Outcome:
    """The outcome of a call: its events or whole answer, its error if any, and its record.

    ``elapsed`` is the seconds that the caller waited.
    """

    events: list[Event] = field(default_factory=list)
    value: Any = None
    error: BaseException | None = None
    record: CallRecord | None = None
    elapsed: float = 0.0

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events)

    @property
    def kinds(self) -> list[str]:
        return [event.kind.value for event in self.events]

    def failed(self, kind: type[E]) -> E:
        """The error, which has to be of exactly this class."""
        assert type(self.error) is kind, f"not a {kind.__name__}: {self.error!r}, text {self.text!r}"
        assert isinstance(self.error, kind)
        if isinstance(self.error, LLMWatchError):
            assert self.error.record is not None
            assert self.error.recovery is not None
        return self.error

    def done(self, outcome: str = "done") -> CallRecord:
        """The record of a call that has to have gone well."""
        assert self.error is None, repr(self.error)
        assert self.record is not None
        assert self.record.outcome == outcome
        return self.record


def _observed(call: Callable[[Outcome], None]) -> Outcome:
    outcome = Outcome()
    began = time.monotonic()
    try:
        call(outcome)
    except LLMWatchError as error:
        outcome.error = error
        outcome.record = error.record
    finally:
        outcome.elapsed = time.monotonic() - began
    return outcome


def _iterate(made: Stream, outcome: Outcome, take: Callable[[Event], None] | None) -> None:
    with made as entered:
        for event in entered:
            outcome.events.append(event)
            if take is not None:
                take(event)
    outcome.record = made.record


def run_stream(made: Stream, take: Callable[[Event], None] | None = None) -> Outcome:
    """Iterate a stream to its end; ``take`` is called with each event."""
    return _observed(lambda outcome: _iterate(made, outcome, take))


def stream(client: Client, url: Any, **options: Any) -> Outcome:
    """A streamed call, iterated to its end."""
    return _observed(
        lambda outcome: _iterate(client.stream("POST", url, **{"json": asking(), **options}), outcome, None)
    )


def collect(client: Client, url: Any, **options: Any) -> Outcome:
    """A collected call; its value is the :class:`llmwatch.Collected`."""

    def call(outcome: Outcome) -> None:
        outcome.value = client.collect("POST", url, **{"json": asking(), **options})
        outcome.events = list(outcome.value.events)
        outcome.record = outcome.value.record

    return _observed(call)


def request(client: Client, url: Any, **options: Any) -> Outcome:
    """A plain call; its value is the response."""

    def call(outcome: Outcome) -> None:
        outcome.value = client.request("POST", url, **{"json": asking(stream=False), **options})
        outcome.record = outcome.value.llmwatch_record

    return _observed(call)


def timed_out(outcome: Outcome, limit: str, seconds: float, *, attempts: int, decision: Decision) -> WatchTimeout:
    """The time-out that a call has to have ended with, in every one of its ``attempts``."""
    error = outcome.failed(llmwatch.WatchTimeout)
    assert isinstance(error, TimeoutError)
    assert (error.limit, error.limit_seconds, error.retryable) == (limit, seconds, limit != "deadline")
    assert error.elapsed >= seconds
    assert error.recovery is not None
    assert error.recovery.decision is decision
    record = outcome.record
    assert record is not None
    assert (record.outcome, record.cause) == ("failed", "watchdog_timeout")
    assert error.recovery.safe is record.decisions[-1].safe
    assert [one.number for one in record.attempts] == list(range(1, attempts + 1))
    assert error.phase == record.attempts[-1].phase
    for one in record.attempts:
        assert one.phase in PHASES
        assert (one.limit, one.limit_seconds, one.close_reason) == (limit, seconds, f"{limit}_kill")
        assert (one.error, one.cause) == ("WatchTimeout", "watchdog_timeout")
        assert one.kill_lag is not None
        assert one.kill_lag >= 0
        assert not one.orphaned
    return error


@dataclass(slots=True)
class Running:
    """A function in a thread of its own."""

    thread: threading.Thread
    results: list[Any]

    def result(self, timeout: float = PATIENCE) -> Any:
        """The returned value; an exception is raised again."""
        self.thread.join(timeout)
        assert not self.thread.is_alive(), "still running"
        ((raised, result),) = self.results
        if raised:
            raise result
        return result


def in_thread(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Running:
    """Start ``function`` in a thread of its own."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append((False, function(*args, **kwargs)))
        except BaseException as error:
            results.append((True, error))

    thread = threading.Thread(target=run, name="test-caller", daemon=True)
    thread.start()
    return Running(thread, results)


def together(calls: Iterable[Callable[[], T]]) -> list[T]:
    """The results of several calls, in order.

    The calls run at the same time, so that their waits coincide.
    """
    running = [in_thread(call) for call in calls]
    return [one.result() for one in running]


def eventually(condition: Callable[[], T], what: str, timeout: float = PATIENCE) -> T:
    """The first true value of ``condition``, which is evaluated again and again until ``timeout``.

    It serves for changes that nothing announces.
    """
    until, pause = time.monotonic() + timeout, threading.Event()
    while not (value := condition()):
        assert time.monotonic() < until, f"never came about: {what}"
        pause.wait(0.002)
    return value
