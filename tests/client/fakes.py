"""A sender that plays answers without a network, and calls on time that only a test moves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from llmwatch import Event, Limits, Retry
from llmwatch.client.loop import Call
from llmwatch.client.request import CallRequest
from llmwatch.client.settings import Settings, Start
from llmwatch.recovery import Door
from llmwatch.transport.errand import Errand
from llmwatch.watch.cancel import CancelToken
from tests.end_to_end.manual import ManualTime
from tests.end_to_end.times import PATIENCE

__all__ = ["CHUNK", "DONE", "URL", "Answer", "FakeSender", "Studio", "chunk", "whole"]

URL = "https://api.provider.test/v1/chat/completions"
DONE = b"data: [DONE]\n\n"


def chunk(text: str = "", **choice: Any) -> bytes:
    """One event of a chat completion."""
    import json

    said = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None, **choice}]}
    return b"data: " + json.dumps(said).encode() + b"\n\n"


CHUNK = chunk("one ")


def whole(text: str = "Yes.") -> Answer:
    """A healthy answer."""
    return Answer(pieces=[chunk(text), chunk(finish_reason="stop"), DONE])


@dataclass(slots=True, kw_only=True)
class Answer:
    """What comes of one request. ``error`` is raised in place of a response, ``unsent`` before the request is sent.

    ``pieces`` are returned by the reads; behind them comes the end of the body, or nothing (``silent``) until the
    attempt is shut, or ``cut`` is raised.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces: Sequence[bytes] = ()
    error: Exception | None = None
    unsent: Exception | None = None
    silent: bool = False
    cut: Exception | None = None
    reused: bool | None = None


class FakeHandle:
    """The socket that there is not: shutting it wakes the reader."""

    def __init__(self) -> None:
        self.shut_down = threading.Event()
        self.released = False

    def shut(self) -> None:
        self.shut_down.set()

    def waiting(self) -> bool:
        return False

    def release(self) -> None:
        self.released = True

    def disinherit(self) -> None:
        self.released = True


class FakeReply:
    """The response to one request."""

    location: str | None = None
    encoding = ""

    def __init__(self, answer: Answer, handle: FakeHandle) -> None:
        self._answer = answer
        self._handle = handle
        self._left = list(answer.pieces)
        self.status = answer.status
        self.headers = requests.structures.CaseInsensitiveDict(answer.headers)
        self.closed = False

    def read(self) -> bytes:
        if self._left:
            return self._left.pop(0)
        if self._answer.cut is not None:
            raise self._answer.cut
        if self._answer.silent:
            # As on a body that ends with its connection: a shutdown looks like a clean end.
            self._handle.shut_down.wait(PATIENCE * 3)
        return b""

    def load(self, body: bytes) -> requests.Response:
        response = requests.Response()
        response.status_code = self.status
        response.headers = self.headers
        response._content = body
        return response

    def answered(self) -> None:
        """Nothing waits for the connection."""

    def close(self) -> None:
        self.closed = True


class FakeSender:
    """Plays one answer a request, the last over and over; notes when, where and with what each was sent."""

    def __init__(self, now: Callable[[], float], answers: Sequence[Answer]) -> None:
        self._now = now
        self._answers = list(answers)
        self._sent = threading.Condition()
        self.opened_at: list[float] = []
        self.asked: list[tuple[str, str, Mapping[str, Any]]] = []
        self.handles: list[FakeHandle] = []
        self.replies: list[FakeReply] = []

    def open(
        self, errand: Errand, method: str, url: str, kwargs: Mapping[str, Any], *, streaming: bool, **more: Any
    ) -> FakeReply:
        answer = self._answers[min(len(self.asked), len(self._answers) - 1)]
        line = errand.line
        with self._sent:
            self.opened_at.append(self._now())
            self.asked.append((method, url, dict(kwargs)))
            self._sent.notify_all()
        if answer.unsent is not None:
            raise answer.unsent
        handle = FakeHandle()
        self.handles.append(handle)
        line.adopt(handle, reused=answer.reused)
        line.connected()
        line.sending(100)
        line.sent()
        if answer.error is not None:
            line.disown(handle)
            raise answer.error
        line.headers(answer.status, refused=answer.status >= 400, request_id=answer.headers.get("x-request-id"))
        reply = FakeReply(answer, handle)
        self.replies.append(reply)
        return reply

    def wait_for(self, count: int) -> None:
        """Return once ``count`` requests were made."""
        with self._sent:
            assert self._sent.wait_for(lambda: len(self.asked) >= count, PATIENCE), f"{len(self.asked)} of {count}"

    def close(self) -> None:
        """Nothing is open."""


class Studio:
    """Makes calls that a :class:`FakeSender` answers, on time that only the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = ManualTime(monkeypatch)
        self.records: list[Any] = []
        self.notices: list[Any] = []
        self.random: list[float] = []

    def _draw(self) -> float:
        return self.random.pop(0) if self.random else 1.0

    def settings(self, **more: Any) -> Settings:
        """A client's settings, on this clock, with sinks and notices that are kept."""
        return Settings(
            **{
                "profile": "hosted",
                "clock": self.time.clock,
                "random": self._draw,
                "sinks": (self.records.append,),
                **more,
            }
        )

    def call(
        self,
        *answers: Answer,
        door: Door = Door.STREAM,
        retry: Retry | None = None,
        limits: Limits | None = None,
        cancel: CancelToken | None = None,
        settings: Settings | None = None,
        **kwargs: Any,
    ) -> tuple[Call[Event], FakeSender]:
        """A call that was not begun, and the sender that answers it."""
        sender = FakeSender(self.time.clock.now, answers)
        request = CallRequest.build("POST", URL, {"json": {"stream": True}, **kwargs})
        start = Start(request=request, door=door, retry=retry, limits=limits, cancel=cancel)
        call: Call[Event] = Call(sender, settings or self.settings(), start)  # type: ignore[arg-type]
        return call, sender

    @staticmethod
    def drain(call: Call[Event]) -> list[Event]:
        """Begin the call and take everything that comes out of it."""
        events: list[Event] = []
        call.begin()
        while (batch := call.next_batch()) is not None:
            events += batch
        return events

    def elapse(self, seconds: float) -> None:
        """Let time pass for a caller that waits in a back-off as well."""
        self.time.advance(seconds)
