"""What a row of the matrix is: a fault, its cases, and what each entry point must make of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from llmwatch import LLMWatchError
from llmwatch.faults import Script

__all__ = [
    "ALL",
    "NAMES",
    "SOME",
    "TRANSPORTS",
    "Case",
    "Cell",
    "Cells",
    "Row",
    "Server",
    "answered",
    "cells",
    "failed",
    "handed",
]

NAMES = ("stream", "collect", "request", "Session", "sdk", "httpx")
"""The entry points.

``sdk`` is a provider's SDK by ``llmwatch.sdk``, ``httpx`` an untouched client under ``llmwatch.install()``.
"""

_GROUPS = {
    "everywhere": NAMES,
    "streaming": ("stream", "collect", "Session", "sdk", "httpx"),
    "handing": ("stream", "Session", "sdk", "httpx"),
    "decoding": ("stream", "collect", "sdk"),
    "relays": ("Session", "httpx"),
}

TRANSPORTS = ("plain", "TLS")

ALL = -1
"""The whole text of the answer."""
SOME = -2
"""As much of the text as came, from its beginning."""

Server = Literal["up", "refuses", "up later", "unknown host", "not trusted"]
"""The server at the first attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What one entry point makes of a case, over plain TCP and over TLS.

    * ``error``: llmwatch's class, ``None`` for an answer; ``foreign``: the class of requests, httpx or the SDK that the
      exception is as well, where it is not the usual one, and over TLS another behind a slash; ``attributes``: what the
      error says.
    * ``limit``: the limit that expired; ``reasons``: those that the last decision may have.
    * ``requests``: how many reached the server; ``attempts``: how many are in the record, ``None`` for as many.
    * ``tokens``: how much of the text was handed out; ``events``: how many events, ``None`` for what the tokens make,
      ``SOME`` where that depends on time.
    * ``status`` and ``fault``: the status of a response that was handed out as it came, and the class of llmwatch's
      error in the record.
    """

    error: type[LLMWatchError] | None = None
    foreign: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    limit: str | None = None
    reasons: tuple[str, ...] = ()
    requests: int = 1
    attempts: int | None = None
    tokens: int = 0
    events: int | None = None
    status: int | None = None
    fault: str | None = None


Cells = dict[str, "Cell | str"]


def answered(requests: int = 1, *, events: int | None = None, attempts: int | None = None) -> Cell:
    """A whole answer, after so many requests."""
    return Cell(requests=requests, tokens=ALL, events=events, attempts=attempts)


def handed(
    *, events: int, tokens: int = 0, status: int = 200, requests: int = 1, attempts: int | None = None, fault: str = ""
) -> Cell:
    """A body that the program gets as it came; ``fault`` is what the record names."""
    return Cell(requests=requests, attempts=attempts, tokens=tokens, events=events, status=status, fault=fault or None)


def failed(
    error: type[LLMWatchError],
    reason: str,
    requests: int = 1,
    *,
    limit: str | None = None,
    tokens: int = 0,
    events: int | None = None,
    attempts: int | None = None,
    foreign: str = "",
    **attributes: Any,
) -> Cell:
    """An error of exactly this class, once so much was handed out.

    ``reason`` may be several, with a bar between them.
    """
    return Cell(
        error=error,
        reasons=tuple(reason.split("|")),
        requests=requests,
        attempts=attempts,
        limit=limit,
        tokens=tokens,
        events=events,
        foreign=foreign,
        attributes=attributes,
    )


def cells(**expected: Cell | str) -> Cells:
    """A cell for each entry point.

    A key is the name of one, or a group: ``everywhere``, ``streaming`` (all but ``request``), ``handing`` (what hands
    out events as they come), ``decoding`` (what hands out no bytes), ``relays`` (what does). A later key goes first.
    """
    found: Cells = {}
    for key, cell in expected.items():
        found.update(dict.fromkeys(_GROUPS.get(key, (key,)), cell))
    assert set(found) == set(NAMES), f"these have no cell: {set(NAMES) ^ set(found)}"
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One server, one request and one set of limits; ``cells`` says what follows for each entry point.

    * A cell that is text says why the case does not apply there; so does ``transports`` for one of them.
    * ``scripts`` are played one a request, the last for all further ones. ``warm`` has a request answered on the same
      connection before the one that counts.
    * ``said`` is the text that the server answers with, where it is not the catalogue's; ``text`` that of a whole
      answer, where it is another; ``collects`` what ``collect`` puts together, ``kinds`` and ``names`` how many
      events of each kind and name it has.
    * ``upload`` makes the request so many bytes long; ``longest_gap`` is the least that the record has to show.
    """

    name: str = ""
    scripts: tuple[str | Script, ...]
    cells: Cells
    limits: Mapping[str, float] = field(default_factory=dict)
    retry: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    shape: str = "openai-chat"
    said: str | None = None
    text: str | None = None
    collects: Mapping[str, Any] = field(default_factory=dict)
    kinds: Mapping[str, int] = field(default_factory=dict)
    names: Mapping[str, int] = field(default_factory=dict)
    server: Server = "up"
    warm: bool = False
    upload: int = 0
    max_event: int | None = None
    longest_gap: float = 0.0
    transports: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A fault: what the server does, what a user must observe, and the tests that show it.

    ``cases`` are played by this package's own test. ``tests`` names further ones, as pytest does; a row that no
    script of a server can show has these alone, and ``apart`` says why.
    """

    name: str
    does: str
    observe: str
    cases: tuple[Case, ...] = ()
    tests: tuple[str, ...] = ()
    apart: str = ""
