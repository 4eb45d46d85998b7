"""What a fault server reports while it runs: connections, requests, and how each of them ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from llmwatch.faults.link import LinkOver
from llmwatch.faults.request import Request

__all__ = ["Observation", "Observer", "ending"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One thing that a fault server saw.

    * ``what``: ``opened`` and ``closed`` are of a connection, ``request`` and ``answered`` of a request.
    * ``connection``: the number of the connection, from 1; ``request``: what came, ``None`` for a connection.
    * ``ending``: how the answer or the connection ended; empty for ``opened`` and ``request``.
    * ``sent``: number of bytes of the answer that the kernel took, headers and framing included; ``answer``: the first
      MiB of them. ``began``: the time just before the first of them, ``None`` without an answer or a clock.
    * ``at``: the time of the server's ``clock``, ``None`` without a clock.
    """

    what: Literal["opened", "request", "answered", "closed"]
    connection: int
    request: Request | None = None
    ending: str = ""
    sent: int = 0
    answer: bytes = field(default=b"", repr=False)
    began: float | None = None
    at: float | None = None


Observer = Callable[[Observation], None]
"""Gets each observation, in the thread of its connection.

It must not block; what it raises fails the server.
"""


def ending(error: BaseException | None) -> str:
    """How an answer or a connection ended that ``error`` ended; ``None`` is the end in good order."""
    if error is None:
        return "in good order"
    if isinstance(error, LinkOver):
        return str(error).replace("the peer", "the client")
    return f"the fault server failed: {type(error).__name__}"
