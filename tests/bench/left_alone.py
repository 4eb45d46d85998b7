"""What does ``install()`` cost a request that is no model call, through each library?

Each kind of request is handed to the hooked function and to the one beneath, which does nothing: microseconds of the
hook alone, the two in turn. The dearest kind of all libraries counts.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import timeit
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import urllib3

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
JSON = b'{"car": "a", "count": 2}'

Call = Callable[[], object]


def requests_of(library: Any) -> dict[str, Any]:
    """A request of each kind that is left alone."""
    return {
        "GET": library.Request("GET", URL),
        "JSON": library.Request("POST", URL, json={"car": "a", "count": 2}),
        "form": library.Request("POST", URL, data={"a": "b"}),
        "multipart": library.Request("POST", URL, files={"file": ("name", b"x" * 1000)}),
        "generator": library.Request("POST", URL, content=iter([b"a"])),
    }


def _nothing(*args: Any, **kwargs: Any) -> None:
    """In the place of a function that sends."""


@contextmanager
def sending_nothing(owner: type[Any], name: str) -> Iterator[None]:
    """The function ``name`` of ``owner`` does nothing; it is a function of the library's own module."""
    original = vars(owner)[name]
    setattr(owner, name, FunctionType(_nothing.__code__, original.__globals__))
    try:
        yield
    finally:
        setattr(owner, name, original)


@contextmanager
def calls_of(name: str) -> Iterator[dict[str, Call]]:
    """Each kind of request of the library, as a call that looks for the hooked function anew."""
    with contextlib.ExitStack() as stack:
        calls: dict[str, Call]
        if name == "urllib3":
            stack.enter_context(sending_nothing(urllib3.PoolManager, "urlopen"))
            manager = stack.enter_context(urllib3.PoolManager())
            bodies: dict[str, Any] = {"JSON": JSON, "form": b"a=b", "generator": iter([b"a"])}
            calls = {kind: functools.partial(_posted, manager, body) for kind, body in bodies.items()}
            calls["GET"] = lambda: manager.urlopen("GET", URL)
        elif name == "urllib":
            stack.enter_context(sending_nothing(urllib.request.AbstractHTTPHandler, "do_open"))
            handler: Any = urllib.request.HTTPSHandler()
            data = {"GET": None, "JSON": JSON, "form": b"a=b", "generator": iter([b"a"])}
            calls = {
                kind: functools.partial(_opened, handler, urllib.request.Request(URL, data=body))
                for kind, body in data.items()
            }
        else:
            library = importlib.import_module(name)
            stack.enter_context(sending_nothing(library.HTTPTransport, "handle_request"))
            transport = stack.enter_context(library.HTTPTransport())
            calls = {
                kind: functools.partial(_handled, transport, request) for kind, request in requests_of(library).items()
            }
        yield calls


def _posted(manager: Any, body: Any) -> None:
    manager.urlopen("POST", URL, body=body)


def _opened(handler: Any, request: Any) -> None:
    handler.do_open(None, request)


def _handled(transport: Any, request: Any) -> None:
    transport.handle_request(request)


def microseconds(call: Call) -> float:
    """The least of some rounds."""
    number = 5_000
    return min(timeit.repeat(call, number=number, repeat=5)) / number * 1e6


def measure(names: Sequence[str], quick: bool) -> list[Result]:
    """Each kind without and with ``install()``, in turn."""
    values, ours, theirs, notes = [], [], [], []
    for name in ("httpx", "httpx2", "urllib3", "urllib"):
        with calls_of(name) as calls:
            for kind, call in calls.items():
                bare, hooked = [], []
                for _ in range(2 if quick else 9):
                    bare.append(microseconds(call))
                    llmwatch.install()
                    hooked.append(microseconds(call))
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
