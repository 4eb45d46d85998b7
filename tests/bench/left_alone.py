"""What does ``install()`` cost a request of httpx or httpx2 that is no model call?

Each kind of request is handed to the hooked ``HTTPTransport.handle_request`` and to the one beneath, which does
nothing: microseconds of the hook alone, the two in turn. The dearest kind of both libraries counts.
"""

from __future__ import annotations

import importlib
import timeit
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import llmwatch
from tests.bench.measure import Figure, Result, Spread

FIGURES = (
    Figure(
        name="left_alone.request",
        what="us that a request which is no model call costs more, worst kind",
        goal=5,
        unit="us",
    ),
)
URL = "https://example.com/v1/orders"


def requests_of(library: Any) -> dict[str, Any]:
    """A request of each kind that is left alone."""
    return {
        "GET": library.Request("GET", URL),
        "JSON": library.Request("POST", URL, json={"car": "a", "count": 2}),
        "form": library.Request("POST", URL, data={"a": "b"}),
        "multipart": library.Request("POST", URL, files={"file": ("name", b"x" * 1000)}),
        "generator": library.Request("POST", URL, content=iter([b"a"])),
    }


def _nothing(transport: Any, request: Any) -> None:
    """In the place of a transport that sends."""


@contextmanager
def sending_nothing(library: Any) -> Iterator[Any]:
    """A transport whose class's ``handle_request`` does nothing.

    It is a function of the library's own module.
    """
    owner = library.HTTPTransport
    original = owner.handle_request
    owner.handle_request = FunctionType(_nothing.__code__, original.__globals__)
    try:
        with owner() as transport:
            yield transport
    finally:
        owner.handle_request = original


def microseconds(transport: Any, request: Any) -> float:
    """The least of some rounds."""
    number = 5_000
    return min(timeit.repeat(lambda: transport.handle_request(request), number=number, repeat=5)) / number * 1e6


def measure(names: Sequence[str], quick: bool) -> list[Result]:
    """Each kind without and with ``install()``, in turn."""
    values, ours, theirs, notes = [], [], [], []
    for name in ("httpx", "httpx2"):
        library = importlib.import_module(name)
        with sending_nothing(library) as transport:
            for kind, request in requests_of(library).items():
                bare, hooked = [], []
                for _ in range(2 if quick else 9):
                    bare.append(microseconds(transport, request))
                    llmwatch.install()
                    hooked.append(microseconds(transport, request))
                    llmwatch.uninstall()
                more = Spread.of([one - other for one, other in zip(hooked, bare, strict=True)])
                notes.append(f"{name}, {kind}: {more.median:.2f} us more")
                values.append(more)
                ours.append(Spread.of(hooked))
                theirs.append(Spread.of(bare))
    worst = max(range(len(values)), key=lambda index: values[index].median)
    return [
        Result(
            figure=FIGURES[0],
            value=values[worst],
            ours=ours[worst],
            theirs=theirs[worst],
            unit="us",
            notes=tuple(notes),
        )
    ]
