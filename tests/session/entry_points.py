"""The entry points for existing code, opened one by one.

Each is compared with plain requests.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import requests

import llmwatch
from llmwatch import CallRecord
from llmwatch.faults import FaultServer, Script
from llmwatch.wire import Decoder
from tests.end_to_end.calls import QUICK, in_thread
from tests.session.times import PATIENCE

__all__ = ["WAYS", "Action", "Way", "caught", "plain", "record_of", "seen_at", "text_of", "together"]

WAYS = ("Session", "mount", "install")

E = TypeVar("E", bound=BaseException)
R = TypeVar("R")
T = TypeVar("T")

Action = Callable[[requests.Session, FaultServer], Any]


@contextlib.contextmanager
def plain() -> Iterator[requests.Session]:
    """A session of plain requests."""
    with requests.Session() as session:
        yield session


@dataclass(frozen=True)
class Way:
    """One of the entry points, by name."""

    name: str

    @contextlib.contextmanager
    def session(self, prepared: requests.Session | None = None, **settings: Any) -> Iterator[requests.Session]:
        """A watched session that resends without waiting for long.

        ``prepared`` is a plain session to be used, where the entry point takes one; otherwise its adapters are mounted
        on a :class:`llmwatch.Session`.
        """
        settings = {"retry": QUICK, **settings}
        with contextlib.ExitStack() as stack:
            if self.name == "Session":
                session: requests.Session = stack.enter_context(llmwatch.Session(**settings))
                for prefix, adapter in (prepared.adapters if prepared is not None else {}).items():
                    if prefix in session.adapters:
                        session.adapters[prefix].close()
                    session.mount(prefix, adapter)
            else:
                session = stack.enter_context(prepared or requests.Session())
            if self.name == "mount":
                assert llmwatch.mount(session, **settings) is session
            if self.name == "install":
                llmwatch.install(**settings)
                stack.callback(llmwatch.uninstall)
            yield session

    def alike(
        self,
        action: Action,
        *scripts: str | Script,
        ignoring: tuple[str, ...] = (),
        settings: Any = None,
        **server: Any,
    ) -> Any:
        """What ``action`` returns with plain requests, once this entry point is shown to do the same.

        ``action`` returns the same through this entry point, and the server sees the same requests. Each of the two has
        a server of its own, and both servers do the same. ``ignoring`` names headers of requests that may differ.
        """
        results = []
        for opened in (plain, lambda: self.session(**(settings or {}))):
            with FaultServer(scripts or "healthy", **server) as played, opened() as session:
                result = action(session, played)
                results.append((result, seen_at(played, ("host", *ignoring))))
        (expected, at_plain), (found, at_ours) = results
        assert found == expected
        assert at_ours == at_plain
        return expected


def caught(kind: type[E], call: Callable[..., Any], *args: Any, **kwargs: Any) -> E:
    """The exception of ``call``, which has to be of this kind.

    It is returned without its traceback, whose frames hold connections.
    """
    try:
        result = call(*args, **kwargs)
    except kind as error:
        return error.with_traceback(None)
    raise AssertionError(f"nothing was raised, but returned: {result!r}")


def together(call: Callable[[T], R], each: Iterable[T]) -> list[R]:
    """The results of ``call`` for each, called at the same time.

    Each call has a thread of its own, because all of them wait.
    """
    return [running.result(PATIENCE) for running in [in_thread(call, one) for one in each]]


def seen_at(server: FaultServer, ignoring: tuple[str, ...] = ("host",)) -> list[Any]:
    """The requests that came, without what differs from server to server."""
    return [
        (
            one.method,
            one.target.replace(server.url, ""),
            [(name, value) for name, value in one.headers if name.lower() not in ignoring],
            one.body,
            one.body_bytes,
        )
        for one in server.requests
    ]


def text_of(response: requests.Response, shape: str = "openai-chat") -> str:
    """The text of a streamed answer, as a separate decoder reads it from the response's body."""
    decoder = Decoder(shape)
    events = decoder.feed(response.content) + decoder.end()
    assert decoder.error is None
    assert decoder.verdict_at_end() is None
    return "".join(event.text for event in events)


def record_of(response: requests.Response) -> CallRecord:
    """The record of the call behind a response that was read to its end."""
    record: CallRecord | None = response.llmwatch_record  # type: ignore[attr-defined]
    assert record is not None
    return record
