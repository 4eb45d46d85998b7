"""The script of the demo: a provider that goes silent, and the call that survives it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import requests

from llmwatch import (
    CallRecord,
    Client,
    ConfigError,
    Limits,
    LLMWatchError,
    Retry,
    RetryNotice,
    Stream,
    WaitNotice,
)
from llmwatch.cli.timeline import Mark, Timeline
from llmwatch.cli.wait_display import counted
from llmwatch.engine import Notice
from llmwatch.faults import FaultServer
from llmwatch.policy.values import shown

__all__ = ["BODY", "LOOK_EVERY", "Pace", "Recovered", "make_client", "make_server", "recover"]

BODY = {"model": "demo", "stream": True, "messages": [{"role": "user", "content": "What does a watchdog do?"}]}
"""The request's body in every call of the demo."""

LOOK_EVERY = 0.05
"""Seconds between two notices of a wait."""

_SILENT = ("waiting", "headers")
_CONNECTED = ("waiting", "headers", "body", "events", "content", "finishing", "draining", "refused")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The demo's times in seconds: ``ttfb`` limits the call, ``token`` is the pause after each token.

    The other times follow from the limit. Pings always come within ``read_timeout``, the read time-out of plain
    requests; ``bound``, for which plain requests is observed, is longer than all others.
    """

    ttfb: float
    token: float

    @classmethod
    def of(cls, ttfb: float | None, *, fast: bool) -> Pace:
        """The usual or the ``fast`` pace; ``ttfb`` overrides its limit."""
        return cls(ttfb=ttfb or (0.3 if fast else 1.5), token=0.01 if fast else 0.06)

    @property
    def ping(self) -> float:
        return min(0.25, self.ttfb / 6)

    @property
    def read_timeout(self) -> float:
        return self.ttfb * 2 / 3

    @property
    def first_content(self) -> float:
        return self.ttfb * 4 / 3

    @property
    def bound(self) -> float:
        return self.ttfb * 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """How the watched call ended, and how many requests and connections the server got."""

    answer: str
    record: CallRecord | None
    error: LLMWatchError | None
    requests: int
    connections: int
    elapsed: float


def make_server(pace: Pace) -> FaultServer:
    """The provider: silent, then healthy, then the faults of the comparison, one for each request."""
    pings = f"keepalive-only:every={pace.ping}"
    return FaultServer(["silent", f"healthy:delay={pace.token}", "silent", pings, pings])


def make_client(pace: Pace, on_notice: Callable[[Notice], None]) -> Client:
    """A client that ignores the environment and proxies, so that the demo is the same everywhere."""
    session = requests.Session()
    session.trust_env = False
    limits = Limits(
        connect=5,
        send=5,
        headers=None,
        ttfb=pace.ttfb,
        first_event=None,
        first_content=pace.first_content,
        stale=60,
        progress=60,
        drain=1,
        total=None,
        deadline=None,
    )
    retry = Retry(max_attempts=3, slow_but_alive=False, resend_with_tools=False, backoff=0.5, max_backoff=8, breaker=0)
    return Client(limits=limits, retry=retry, session=session, on_notice=on_notice, notice_every=LOOK_EVERY)


class Narrator:
    """Turns notices into moments of the timeline. It is the client's notice callback."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._attempt = 1
        self._connected = 0
        self._speaking = False
        self.stream: Stream | None = None

    def __call__(self, notice: Notice) -> None:
        if isinstance(notice, WaitNotice):
            self._waits(notice)
        elif isinstance(notice, RetryNotice):
            self._timeline.moment(Mark.KILLED, _fate(notice), key=_key(notice.attempt))
            self._timeline.moment(Mark.AGAIN, f"back-off: {notice.wait:.2f} s")
            self._attempt = notice.attempt + 1

    def connected(self) -> None:
        """The attempt under way has sent its request."""
        if self._connected < self._attempt:
            self._connected = self._attempt
            how = "connected, request sent" if self._attempt == 1 else "resent on a fresh connection"
            self._timeline.moment(Mark.GOOD, f"attempt {self._attempt}: {how}")

    def speaks(self, text: str) -> None:
        """A piece of the answer has come."""
        self.connected()
        if not self._speaking:
            self._speaking = True
            self._timeline.moment(Mark.WORDS, f"attempt {self._attempt}: streaming", key=_key(self._attempt))
        self._timeline.words(text)

    def _waits(self, notice: WaitNotice) -> None:
        if notice.phase not in _CONNECTED or self._speaking:
            return
        self.connected()
        counting = counted(notice, self.stream.limits if self.stream is not None else None)
        if counting is not None and notice.phase in _SILENT:
            self._timeline.counting(f"attempt {notice.attempt}: silent", *counting, key=_key(notice.attempt))


def recover(server: FaultServer, pace: Pace, timeline: Timeline, now: Callable[[], float]) -> Recovered:
    """Make the call that the server leaves without an answer at first, and show what happens."""
    narrator = Narrator(timeline)
    answer, error, began = "", None, now()
    with make_client(pace, narrator) as client:
        stream = client.stream("POST", server.chat_url, json=BODY)
        narrator.stream = stream
        try:
            with stream:
                for event in stream:
                    if event.text:
                        answer += event.text
                        narrator.speaks(event.text)
        except ConfigError:
            # The user has to correct the settings; this is no outcome of the call.
            raise
        except LLMWatchError as failure:
            error = failure
            timeline.moment(Mark.KILLED, f"failed: {failure}")
        elapsed = now() - began
    record = stream.record
    if error is None:
        timeline.moment(Mark.GOOD, "done: the answer is complete")
    seen = server.requests
    return Recovered(
        answer=answer,
        record=record,
        error=error,
        requests=len(seen),
        connections=len({request.connection for request in seen}),
        elapsed=elapsed,
    )


def _key(attempt: int) -> str:
    return f"silence {attempt}"


def _fate(notice: RetryNotice) -> str:
    record = notice.record
    if record.limit is None or record.limit_seconds is None:
        return f"attempt {notice.attempt}: failed ({notice.cause})"
    lag = "" if record.kill_lag is None else f", {record.kill_lag * 1000:.1f} ms after it"
    return f"attempt {notice.attempt}: killed at the limit ({record.limit} {shown(record.limit_seconds)}){lag}"
