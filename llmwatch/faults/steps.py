"""The steps of a script: small actions on a connection, one after the other.

A step is a frozen dataclass with a :meth:`~Step.play` method; a test can define its own. ``Chunk``, ``Trickle`` and
``End`` write the body in the framing of the last ``Head``; ``Send`` writes raw bytes.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from llmwatch.faults.link import Gate, Link, LinkOver
from llmwatch.faults.request import Incoming

__all__ = [
    "ANSWER_KEPT",
    "Burst",
    "Chunk",
    "Close",
    "DontRead",
    "End",
    "Exchange",
    "Framing",
    "HalfClose",
    "Hang",
    "Head",
    "ReadBody",
    "ReadSlowly",
    "Repeat",
    "Reset",
    "Send",
    "Step",
    "Trickle",
    "Wait",
    "WaitFor",
    "paced",
]

Framing = Literal["chunked", "length", "close"]

ANSWER_KEPT = 1 << 20
"""Maximum number of bytes that are kept of an answer. Further bytes are only counted."""

_REASONS = {
    520: "Web Server Returned an Unknown Error",
    521: "Web Server Is Down",
    522: "Connection Timed Out",
    523: "Origin Is Unreachable",
    524: "A Timeout Occurred",
    527: "Railgun Error",
    529: "Site Is Overloaded",
}


class Exchange:
    """One request and its answer, on which the steps of a script are played.

    ``gate`` returns a named gate of the server; ``record`` records the request at the server as far as it has come.
    ``sent`` is the number of bytes that the kernel took of the answer, ``answer`` the first ``ANSWER_KEPT`` of them.
    """

    def __init__(self, link: Link, incoming: Incoming) -> None:
        self.link = link
        self.incoming = incoming
        self.framing: Framing | None = None
        self.ended = False
        self.sent = 0
        self.answer = bytearray()
        self._held: list[bytes] | None = None

    def gate(self, name: str) -> Gate:
        raise NotImplementedError

    def record(self) -> None:
        raise NotImplementedError

    def send(self, data: bytes) -> None:
        if self._held is not None:
            self._held.append(data)
        elif data:
            self.link.send(data)
            self.sent += len(data)
            self.answer += data[: max(0, ANSWER_KEPT - len(self.answer))]

    def send_body(self, data: bytes) -> None:
        if data:
            self.send(b"%x\r\n%b\r\n" % (len(data), data) if self.framing == "chunked" else data)

    def hold(self) -> None:
        """Collect sent bytes until :meth:`release` writes them at once."""
        self._held = []

    def release(self) -> None:
        held, self._held = self._held or [], None
        self.send(b"".join(held))


@dataclass(frozen=True, slots=True)
class Step:
    """The base of all steps."""

    def play(self, exchange: Exchange) -> None:
        raise NotImplementedError

    def body_length(self) -> float:
        """The number of body bytes that this step writes; ``math.inf`` for an endless step."""
        return 0


@dataclass(frozen=True, slots=True)
class Send(Step):
    """Write raw bytes, outside any framing."""

    data: bytes

    def play(self, exchange: Exchange) -> None:
        exchange.send(self.data)


@dataclass(frozen=True, slots=True)
class Head(Step):
    """Write a status line and headers, and set the framing of the body that follows.

    ``length`` is the Content-Length for the framing ``"length"``. With ``"close"`` the body ends with the connection.
    ``None`` announces no body (for 204 and 304).
    """

    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    framing: Framing | None = "chunked"
    length: int = 0

    def play(self, exchange: Exchange) -> None:
        lines = [f"HTTP/1.1 {self.status} {reason(self.status)}", *(f"{key}: {value}" for key, value in self.headers)]
        if self.framing == "chunked":
            lines.append("Transfer-Encoding: chunked")
        elif self.framing == "length":
            lines.append(f"Content-Length: {self.length}")
        elif self.framing == "close":
            lines.append("Connection: close")
        exchange.framing = self.framing
        exchange.send("\r\n".join([*lines, "", ""]).encode("latin-1"))


@dataclass(frozen=True, slots=True)
class Chunk(Step):
    """Write a piece of the body, in one write."""

    data: bytes

    def play(self, exchange: Exchange) -> None:
        exchange.send_body(self.data)

    def body_length(self) -> float:
        return len(self.data)


@dataclass(frozen=True, slots=True)
class End(Step):
    """End the body according to its framing: by the last chunk, nothing, or the end of the connection."""

    def play(self, exchange: Exchange) -> None:
        if exchange.framing == "chunked":
            exchange.send(b"0\r\n\r\n")
        if exchange.framing == "close":
            exchange.link.close()
            raise LinkOver("the body ended with its connection")
        exchange.ended = True


@dataclass(frozen=True, slots=True)
class Wait(Step):
    """Send nothing for ``seconds`` (resolution 1 ms). A peer that leaves ends the script."""

    seconds: float

    def play(self, exchange: Exchange) -> None:
        exchange.link.wait(self.seconds)


@dataclass(frozen=True, slots=True)
class WaitFor(Step):
    """Send nothing until a gate opens: an event, or the name of a gate of ``server.gate(name)``."""

    gate: threading.Event | str

    def play(self, exchange: Exchange) -> None:
        exchange.link.wait_for(exchange.gate(self.gate) if isinstance(self.gate, str) else self.gate)


@dataclass(frozen=True, slots=True)
class Hang(Step):
    """Send nothing until the peer leaves or the server is stopped."""

    def play(self, exchange: Exchange) -> None:
        exchange.link.wait(None)


@dataclass(frozen=True, slots=True)
class Trickle(Step):
    """Write a piece of the body, ``size`` bytes every ``every`` seconds."""

    data: bytes
    size: int = 1
    every: float = 0.0

    def play(self, exchange: Exchange) -> None:
        for start in range(0, len(self.data), self.size):
            exchange.send_body(self.data[start : start + self.size])
            if self.every:
                exchange.link.wait(self.every)

    def body_length(self) -> float:
        return len(self.data)


@dataclass(frozen=True, slots=True)
class Repeat(Step):
    """Play steps repeatedly, ``times`` times or forever, with a wait of ``every`` seconds."""

    steps: Sequence[Step]
    times: int | None = None
    every: float = 0.0

    def play(self, exchange: Exchange) -> None:
        done = 0
        while self.times is None or done < self.times:
            for step in self.steps:
                step.play(exchange)
            exchange.link.wait(self.every)
            done += 1

    def body_length(self) -> float:
        return math.inf if self.times is None else self.times * sum(step.body_length() for step in self.steps)


@dataclass(frozen=True, slots=True)
class Burst(Step):
    """Play steps and send their bytes in one write."""

    steps: Sequence[Step]

    def play(self, exchange: Exchange) -> None:
        exchange.hold()
        for step in self.steps:
            step.play(exchange)
        exchange.release()

    def body_length(self) -> float:
        return sum(step.body_length() for step in self.steps)


@dataclass(frozen=True, slots=True)
class Reset(Step):
    """End the connection with a RST."""

    def play(self, exchange: Exchange) -> None:
        exchange.link.reset()
        raise LinkOver("reset by the script")


@dataclass(frozen=True, slots=True)
class HalfClose(Step):
    """Send a FIN and keep reading; over TLS after a close_notify, unless ``notify`` is false."""

    notify: bool = True

    def play(self, exchange: Exchange) -> None:
        exchange.link.half_close(notify=self.notify)


@dataclass(frozen=True, slots=True)
class Close(Step):
    """Close the connection with a FIN; over TLS after a close_notify, unless ``notify`` is false."""

    notify: bool = True

    def play(self, exchange: Exchange) -> None:
        exchange.link.close(notify=self.notify)
        raise LinkOver("closed by the script")


@dataclass(frozen=True, slots=True)
class ReadBody(Step):
    """Read the rest of the request's body. Sends ``100 Continue`` if the client expects it."""

    def play(self, exchange: Exchange) -> None:
        _read(exchange, size=1 << 18, every=0.0)


@dataclass(frozen=True, slots=True)
class ReadSlowly(Step):
    """Read the request's body, ``size`` bytes every ``every`` seconds."""

    size: int = 1 << 18
    every: float = 0.01

    def play(self, exchange: Exchange) -> None:
        _read(exchange, size=self.size, every=self.every)


@dataclass(frozen=True, slots=True)
class DontRead(Step):
    """Never read the request's body.

    The server notices a client that leaves by a RST, or by a FIN if no bytes are held back in full buffers before it.
    """

    def play(self, exchange: Exchange) -> None:
        exchange.record()
        exchange.link.wait(None)


def reason(status: int) -> str:
    """The reason phrase of a status, including the statuses of content delivery networks."""
    return _REASONS.get(status) or (HTTPStatus(status).phrase if status in _KNOWN else "Unknown")


_KNOWN = frozenset(HTTPStatus)


def paced(blocks: Iterable[bytes], every: float = 0.0) -> Iterator[Step]:
    """Each block as a chunk, with a wait of ``every`` seconds after it."""
    for block in blocks:
        yield Chunk(block)
        if every:
            yield Wait(every)


def _read(exchange: Exchange, *, size: int, every: float) -> None:
    if exchange.incoming.expects_continue and not exchange.incoming.complete:
        exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    while exchange.incoming.pull(size):
        if every:
            exchange.link.wait(every)
