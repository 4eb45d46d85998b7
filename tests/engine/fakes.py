"""A sender that plays answers without a network, and calls on time that only a test moves."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from llmwatch import Event, Limits, Retry, RetryNotice
from llmwatch.engine.answering import ResponseCall
from llmwatch.engine.call import Call
from llmwatch.engine.collecting import CollectingCall
from llmwatch.engine.exchange import exchanges
from llmwatch.engine.request import CallRequest
from llmwatch.engine.settings import CallOptions, RequestKind, Settings
from llmwatch.recovery import EntryPoint
from llmwatch.transport.context import RequestContext
from llmwatch.watch.cancel import CancelToken
from tests.end_to_end.manual import ManualTime
from tests.end_to_end.times import PATIENCE

__all__ = [
    "BUSY",
    "CHUNK",
    "DONE",
    "URL",
    "Answer",
    "FakeSender",
    "Studio",
    "asks",
    "caught_by",
    "chunk",
    "whole",
]

URL = "https://api.provider.test/v1/chat/completions"
DONE = b"data: [DONE]\n\n"


def chunk(text: str = "", **choice: Any) -> bytes:
    """One event of a chat completion."""
    said = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None, **choice}]}
    return b"data: " + json.dumps(said).encode() + b"\n\n"


CHUNK = chunk("one ")


def whole(text: str = "Yes.") -> Answer:
    """A healthy answer."""
    return Answer(pieces=[chunk(text), chunk(finish_reason="stop"), DONE])


@dataclass(slots=True, kw_only=True)
class Answer:
    """The outcome of one request.

    ``error`` is raised in place of a response, ``unsent`` before the request is sent. ``pieces`` are returned by the
    reads; behind them comes the end of the body, or nothing (``silent``) until the attempt is shut, or ``cut`` is
    raised. Closing the response takes ``slow_close`` seconds.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces: Sequence[bytes] = ()
    error: Exception | None = None
    unsent: Exception | None = None
    silent: bool = False
    cut: Exception | None = None
    reused: bool | None = None
    slow_close: float = 0.0


BUSY = Answer(status=503, headers={"content-type": "application/json"}, pieces=[b'{"error": {"message": "busy"}}'])
"""A refusal that may pass."""


def asks(**headers: str) -> Answer:
    """A refusal that says when to come back."""
    return Answer(status=429, headers=headers)


class FakeHandle:
    """The handle of a socket that does not exist: shutting it wakes the reader."""

    def __init__(self) -> None:
        self.shut_down = threading.Event()
        self.released = False

    def shutdown(self) -> None:
        self.shut_down.set()

    def waiting(self) -> bool:
        return False

    def release(self) -> None:
        self.released = True

    def detach_in_child(self) -> None:
        self.released = True


class FakeReply:
    """The response to one request."""

    location: str | None = None
    encoding = ""
    decoded = False
    forced = False

    def __init__(self, answer: Answer, handle: FakeHandle) -> None:
        self._answer = answer
        self._handle = handle
        self._left = list(answer.pieces)
        self.status = answer.status
        self.headers = requests.structures.CaseInsensitiveDict(answer.headers)
        self.refused = answer.status >= 400
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

    def load(self, body: bytes, most: int, *, cut: bool = False) -> requests.Response:
        response = requests.Response()
        response.status_code = self.status
        response.headers = self.headers
        response._content = body
        return response

    def answered(self) -> None:
        """Nothing waits for the connection."""

    def close(self) -> None:
        if self._answer.slow_close:
            threading.Event().wait(self._answer.slow_close)
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
        self, context: RequestContext, method: str, url: str, kwargs: Mapping[str, Any], *, streaming: bool, **more: Any
    ) -> FakeReply:
        answer = self._answers[min(len(self.asked), len(self._answers) - 1)]
        observer = context.observer
        with self._sent:
            self.opened_at.append(self._now())
            self.asked.append((method, url, dict(kwargs)))
            self._sent.notify_all()
        if answer.unsent is not None:
            raise answer.unsent
        handle = FakeHandle()
        self.handles.append(handle)
        observer.adopt(handle, reused=answer.reused)
        observer.connected()
        observer.sending(100)
        observer.sent()
        if answer.error is not None:
            observer.disown(handle)
            raise answer.error
        observer.headers(answer.status, refused=answer.status >= 400, request_id=answer.headers.get("x-request-id"))
        reply = FakeReply(answer, handle)
        self.replies.append(reply)
        return reply

    def workers(self, kwargs: Mapping[str, Any]) -> None:
        """Each attempt has a thread of its own."""

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
        entry_point: EntryPoint = EntryPoint.STREAM,
        retry: Retry | None = None,
        limits: Limits | None = None,
        cancel: CancelToken | None = None,
        settings: Settings | None = None,
        url: str = URL,
        **kwargs: Any,
    ) -> tuple[Call[Event], FakeSender]:
        """A call that was not begun, and the sender that answers it."""
        sender = FakeSender(self.time.clock.now, answers)
        request = CallRequest.build("POST", url, {"json": {"stream": True}, **kwargs})
        request_kind = RequestKind.PLAIN if entry_point is EntryPoint.REQUEST else RequestKind.STREAM
        options = CallOptions(
            request=request,
            entry_point=entry_point,
            request_kind=request_kind,
            retry=retry,
            limits=limits,
            cancel=cancel,
        )
        settings = settings or self.settings()
        work = exchanges(sender, settings, options)  # type: ignore[arg-type]
        kinds: dict[EntryPoint, type[Call[Event]]] = {
            EntryPoint.REQUEST: ResponseCall,
            EntryPoint.COLLECT: CollectingCall,
        }
        call = kinds.get(entry_point, Call)(work, settings, options)
        return call, sender

    @staticmethod
    def drain(call: Call[Event]) -> list[Event]:
        """Begin the call and take all of its items."""
        events: list[Event] = []
        call.begin()
        while (batch := call.next_batch()) is not None:
            events += batch
        return events

    @property
    def retries(self) -> list[RetryNotice]:
        """The resends that were told of, in the notices that are kept."""
        return [one for one in self.notices if isinstance(one, RetryNotice)]

    def elapse(self, seconds: float) -> None:
        """Let time pass for a caller that waits in a back-off as well."""
        self.time.advance(seconds)


def caught_by(call: Call[Event], kind: type[BaseException]) -> Any:
    """The error of this class that a call ends with."""
    with pytest.raises(kind) as caught:
        Studio.drain(call)
    return caught.value
