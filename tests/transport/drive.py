"""Driving one attempt through the transport in the way of the client's own loop.

Every step is in view.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from llmwatch.transport.context import RequestContext
from llmwatch.transport.errors import translate
from llmwatch.transport.sender import Reply, Sender
from llmwatch.watch.attempt import Attempt, BatchMeaning
from llmwatch.watch.clock import SYSTEM
from llmwatch.watch.interfaces import Aborted, Handle, Observer
from llmwatch.watch.machine import Verdict, VerdictKind
from tests.conftest import SCALE

__all__ = [
    "FREE",
    "GONE",
    "LAG",
    "LIMIT",
    "PATIENCE",
    "SCALE",
    "STREAM",
    "Call",
    "SpyLine",
    "assert_killed",
    "assert_over",
    "assert_prompt",
]

LIMIT = 0.2 * SCALE
"""The limit under test."""
LAG = 5.0 * SCALE
"""How late a verdict may be on a machine that lets threads wait for their turn.

A verdict comes at its limit, not at a backstop. How late it is when nothing is in the way is a figure, and shown where
kills are measured.
"""
FREE = 2 * LAG
"""How late its caller may be free then."""
GONE = 10.0 * SCALE
"""How long a worker may take to leave after its attempt is over, on such a machine."""
PATIENCE = 10.0 * SCALE
"""How long a test waits for what must happen; never reached when all is well."""

STREAM = b'{"stream": true}'
"""A body that asks the fault server for a stream."""

_BACKSTOP = 40.0 * SCALE
_DRAIN = 1.0

Reading = Callable[["Call", Reply], None]


class SpyLine:
    """The observer of an attempt with a look at every report.

    ``before`` and ``after`` are called with the report's name. What they raise comes out of the report, and they may
    end the attempt.
    """

    def __init__(
        self,
        attempt: Attempt[bytes],
        *,
        before: Callable[[str], None] | None = None,
        after: Callable[[str], None] | None = None,
    ) -> None:
        self._attempt = attempt
        self._before = before or (lambda name: None)
        self._after = after or (lambda name: None)

    def _pass_on(self, name: str, *args: Any, **kwargs: Any) -> Any:
        self._before(name)
        result = getattr(self._attempt, name)(*args, **kwargs)
        self._after(name)
        return result

    def check(self) -> None:
        self._pass_on("check")

    def adopt(self, handle: Handle, *, reused: bool | None = None, idle: float | None = None) -> None:
        self._pass_on("adopt", handle, reused=reused, idle=idle)

    def disown(self, handle: Handle) -> bool:
        return bool(self._pass_on("disown", handle))

    def connected(self) -> None:
        self._pass_on("connected")

    def sending(self, size: int) -> None:
        self._pass_on("sending", size)

    def pause(self) -> None:
        self._pass_on("pause")

    def unpause(self) -> None:
        self._pass_on("unpause")

    def sent(self) -> None:
        self._pass_on("sent")

    def answering(self) -> None:
        self._pass_on("answering")

    def headers(self, status: int, *, refused: bool, request_id: str | None = None) -> None:
        self._pass_on("headers", status, refused=refused, request_id=request_id)

    def time_left(self, limit: str) -> float | None:
        left: float | None = self._pass_on("time_left", limit)
        return left


class Call:
    """One attempt at one request.

    ``limits`` and ``deadline`` (from the start) are in seconds, a limit that is not named is off. ``mark`` are bytes
    that stand for the terminal event, ``observer`` wraps what the transport reports to, ``reading`` replaces the loop
    over the body, ``kwargs`` go to requests. ``backstop`` is the time-out of its sockets, ``backstops`` that
    of single phases.

    The fields are what the worker saw: ``seen`` every byte that a read returned, before any look at the verdict;
    ``ended`` whether a read returned the end of the body; ``foreign`` the whole print of what a read or the sending
    raised, ``error`` its translation.
    """

    def __init__(
        self,
        sender: Sender,
        url: str,
        *,
        limits: Mapping[str, float | None] | None = None,
        deadline: float | None = None,
        keepalive: float = 10.0,
        backstop: float | None = _BACKSTOP,
        backstops: Mapping[str, float | None] | None = None,
        method: str = "POST",
        data: Any = STREAM,
        mark: bytes | None = None,
        observer: Callable[[Attempt[bytes]], Observer] | None = None,
        reading: Reading | None = None,
        streaming: bool = True,
        **kwargs: Any,
    ) -> None:
        at = None if deadline is None else SYSTEM.now() + deadline
        self.attempt: Attempt[bytes] = Attempt({"drain": _DRAIN, **(limits or {})}, deadline_at=at)
        self.seen = bytearray()
        self.ended = False
        self.foreign = ""
        self.error: BaseException | None = None
        self.reply: Reply | None = None
        self.freed_at = 0.0
        self._sender = sender
        self._url = url
        self._method = method
        self._kwargs = {"data": data, **kwargs}
        self._keepalive = keepalive
        self._backstops = {"connect": backstop, "send": backstop, "read": backstop, **(backstops or {})}
        self._mark = mark
        self._observer = observer
        self._reading = reading or Call.read
        self._streaming = streaming

    # -- the caller ---------------------------------------------------------

    def start(self) -> Call:
        self.attempt.start(self._work)
        return self

    def take(self) -> bytes:
        """All that is handed over until the attempt is over."""
        pieces: list[bytes] = []
        while (batch := self.attempt.take(SYSTEM.now() + PATIENCE)) is not None:
            pieces.extend(batch)
        self.freed_at = SYSTEM.now()
        assert self.attempt.verdict is not None, "the attempt is not over"
        return b"".join(pieces)

    def run(self) -> bytes:
        """Start, and wait for the end of it and of its worker."""
        taken = self.start().take()
        assert self.attempt.join(PATIENCE)
        return taken

    @property
    def verdict(self) -> Verdict:
        verdict = self.attempt.verdict
        assert verdict is not None
        return verdict

    @property
    def status(self) -> int:
        assert self.reply is not None
        return self.reply.status

    # -- the worker ---------------------------------------------------------

    def _work(self, attempt: Attempt[bytes]) -> None:
        context = RequestContext(
            observer=attempt if self._observer is None else self._observer(attempt),
            keepalive=self._keepalive,
            connect_backstop=self._backstops["connect"],
            send_backstop=self._backstops["send"],
            read_backstop=self._backstops["read"],
        )
        try:
            self.reply = self._sender.open(context, self._method, self._url, self._kwargs, streaming=self._streaming)
            self._reading(self, self.reply)
        except Aborted:
            raise
        except Exception as foreign:
            self.foreign = "".join(traceback.format_exception(foreign))
            stats = attempt.stats
            self.error = translate(foreign, host="the provider", sent=stats.sent, sockets=stats.sockets)
        finally:
            if self.reply is not None:
                self.reply.close()
        if self.error is not None:
            # Outside the block above, in which it would get the foreign exception as its context.
            raise self.error

    def read_once(self, reply: Reply) -> bytes:
        data = reply.read()
        self.seen += data
        self.ended = self.ended or not data
        return data

    def read(self, reply: Reply) -> None:
        """The product's loop: report each read, hand its bytes over, go back to reading."""
        attempt = self.attempt
        while True:
            data = self.read_once(reply)
            attempt._received(len(data))
            if not data:
                return
            terminal = self._mark is not None and self._mark in self.seen
            if terminal:
                reply.answered()
            attempt.deliver([data], len(data), BatchMeaning(content=True, terminal=terminal))
            attempt._read_on()

    def read_blindly(self, reply: Reply) -> None:
        """A loop that forgets to ask whether its attempt is over, and trusts the end of the body."""
        while self.read_once(reply):
            pass


def assert_over(call: Call) -> None:
    """The worker is gone, none of its sockets is left, and no worker was counted as stuck."""
    assert call.attempt.join(GONE), "the worker is still there"
    assert not call.attempt.orphaned
    assert call.attempt._handles == []
    assert not [thread for thread in threading.enumerate() if thread is call.attempt._thread]


def assert_prompt(verdict: Verdict) -> None:
    """The kill came after its expiry, and at most :data:`LAG` after."""
    assert verdict.lag is not None
    assert 0 < verdict.lag < LAG


def assert_killed(call: Call, *, limit: str, phase: str) -> None:
    """The attempt was killed by ``limit`` in ``phase``.

    Its caller was free at once and its worker is gone.
    """
    verdict = call.verdict
    assert (verdict.kind, verdict.limit, verdict.phase.value) == (VerdictKind.KILLED, limit, phase), verdict
    assert_prompt(verdict)
    assert verdict.lag is not None
    assert verdict.elapsed is not None
    assert verdict.seconds is not None
    assert verdict.elapsed == pytest.approx(verdict.seconds + verdict.lag, abs=0.001)
    assert call.freed_at - verdict.at < FREE
    assert_over(call)
