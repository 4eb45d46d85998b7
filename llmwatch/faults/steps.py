"""What a script is made of: small things done to a connection, one after the other.

A step is a frozen dataclass with a :meth:`~Step.play` method, so a test can bring its own. ``Chunk``, ``Trickle`` and
``End`` write the body in the framing that the last ``Head`` announced; ``Send`` writes bytes as they are.
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
    """One request and its answer while the steps of a script are played on them.

    ``gate`` finds a named gate of the server, ``record`` tells the server that the request has come as far as it will.
    """

    def __init__(self, link: Link, incoming: Incoming) -> None:
        self.link = link
        self.incoming = incoming
        self.framing: Framing | None = None
        self.ended = False
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

    def send_body(self, data: bytes) -> None:
        if data:
            self.send(b"%x\r\n%b\r\n" % (len(data), data) if self.framing == "chunked" else data)

    def hold(self) -> None:
        """Collect what is sent until :meth:`release` writes it at once."""
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
        """How many bytes of body this step writes; ``math.inf`` for one that never ends."""
        return 0


@dataclass(frozen=True, slots=True)
class Send(Step):
    """Write bytes as they are, outside any framing."""

    data: bytes

    def play(self, exchange: Exchange) -> None:
        exchange.send(self.data)


@dataclass(frozen=True, slots=True)
class Head(Step):
    """Write a status line and headers, and set the framing of the body that follows.

    ``length`` is the Content-Length for the framing ``"length"``. ``"close"`` announces no length: the body ends with
    the connection. A framing of ``None`` announces nothing at all (for 204 and 304).
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
    """End the body as its framing wants it: the last chunk, nothing, or the end of the connection."""

    def play(self, exchange: Exchange) -> None:
        if exchange.framing == "chunked":
            exchange.send(b"0\r\n\r\n")
        if exchange.framing == "close":
            exchange.link.close()
            raise LinkOver("the body ended with its connection")
        exchange.ended = True


@dataclass(frozen=True, slots=True)
class Wait(Step):
    """Say nothing for a number of seconds (resolution 1 ms). A peer that leaves meanwhile ends the script."""

    seconds: float

    def play(self, exchange: Exchange) -> None:
        exchange.link.wait(self.seconds)


@dataclass(frozen=True, slots=True)
class WaitFor(Step):
    """Say nothing until a gate opens: an event, or the name of one that ``server.gate(name)`` gives to the test."""

    gate: threading.Event | str

    def play(self, exchange: Exchange) -> None:
        exchange.link.wait_for(exchange.gate(self.gate) if isinstance(self.gate, str) else self.gate)


@dataclass(frozen=True, slots=True)
class Hang(Step):
    """Say nothing for ever: until the peer leaves or the server is stopped."""

    def play(self, exchange: Exchange) -> None:
        exchange.link.wait(None)


@dataclass(frozen=True, slots=True)
class Trickle(Step):
    """Write a piece of the body ``size`` bytes at a time, ``every`` seconds."""

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
    """Play steps over and over, ``times`` times or for ever, ``every`` seconds."""

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
    """Play steps and write all that they send at once, in one write."""

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
    """Cut the connection with a RST."""

    def play(self, exchange: Exchange) -> None:
        exchange.link.reset()
        raise LinkOver("reset by the script")


@dataclass(frozen=True, slots=True)
class HalfClose(Step):
    """Send a FIN and keep reading. Over TLS a close_notify goes before it, unless ``notify`` is false."""

    notify: bool = True

    def play(self, exchange: Exchange) -> None:
        exchange.link.half_close(notify=self.notify)


@dataclass(frozen=True, slots=True)
class Close(Step):
    """Close the connection with a FIN. Over TLS a close_notify goes before it, unless ``notify`` is false."""

    notify: bool = True

    def play(self, exchange: Exchange) -> None:
        exchange.link.close(notify=self.notify)
        raise LinkOver("closed by the script")


@dataclass(frozen=True, slots=True)
class ReadBody(Step):
    """Read the rest of the request's body, as fast as it comes; says ``100 Continue`` where that is waited for."""

    def play(self, exchange: Exchange) -> None:
        _read(exchange, size=1 << 18, every=0.0)


@dataclass(frozen=True, slots=True)
class ReadSlowly(Step):
    """Read the request's body ``size`` bytes at a time, ``every`` seconds."""

    size: int = 1 << 18
    every: float = 0.01

    def play(self, exchange: Exchange) -> None:
        _read(exchange, size=self.size, every=self.every)


@dataclass(frozen=True, slots=True)
class DontRead(Step):
    """Never read the request's body.

    A client that leaves is noticed only if its FIN gets through, which it does not behind bytes that the full buffers
    held back; a RST always does.
    """

    def play(self, exchange: Exchange) -> None:
        exchange.record()
        exchange.link.wait(None)


def reason(status: int) -> str:
    """The reason phrase of a status, also of those that only content delivery networks use."""
    return _REASONS.get(status) or (HTTPStatus(status).phrase if status in _KNOWN else "Unknown")


_KNOWN = frozenset(HTTPStatus)


def paced(blocks: Iterable[bytes], every: float = 0.0) -> Iterator[Step]:
    """Each block as a chunk of its own, with a wait of ``every`` seconds after it."""
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
