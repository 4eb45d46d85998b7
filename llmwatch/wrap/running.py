"""The work of a wrapped function's worker.

A function has no connection phase: it counts as sent when it is called, and ``ttfb`` and similar limits begin there.
The caller gets its exceptions unchanged. An llmwatch error that a function raises belongs to an inner call that the
function made. A :class:`FunctionRaised` carries it past the retry gate, so that it is neither judged nor changed a
second time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from llmwatch.errors import LLMWatchError
from llmwatch.transport import context as contexts
from llmwatch.transport.context import RequestContext
from llmwatch.watch.attempt import WHOLE, Attempt, BatchMeaning
from llmwatch.watch.channel import Bounds
from llmwatch.watch.interfaces import Aborted
from llmwatch.wrap import current, instrument
from llmwatch.wrap.current import Frame
from llmwatch.wrap.observer import FunctionObserver, FunctionOver
from llmwatch.wrap.stream_socket import socket_of

T = TypeVar("T")

__all__ = ["FunctionRaised", "Made", "mark", "run_function", "run_iterator", "running"]

Made = Iterable[T] | AbstractContextManager[Iterable[T]]
"""The object to iterate: an iterable, or a context manager that yields one."""

# The size of an item is unknown; with this value at most 64 items wait for the caller.
_ITEM_SIZE = Bounds().size // 64
_ITEM = BatchMeaning(content=True)


class FunctionRaised(Exception):
    """Carries a function's llmwatch error past the call's loop, which would take it for its own failure."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(type(error).__name__)
        self.error = error


def mark(attempt: Attempt[Any]) -> None:
    """Mark an attempt, before its worker starts, as running a function of which nothing is known yet."""
    attempt.stats.function = attempt.stats.opaque = True


@contextlib.contextmanager
def running(attempt: Attempt[Any], keepalive: float, *, max_body: int | None = None) -> Iterator[Frame]:
    """In this block the thread runs a function for ``attempt``: its sockets and beats are found."""
    frame = current.enter(attempt)
    context = RequestContext(
        observer=FunctionObserver(attempt, max_body),
        keepalive=keepalive,
        connect_backstop=None,
        send_backstop=None,
        read_backstop=None,
        own=False,
        lenient=True,
    )
    instrument.start()
    try:
        with contexts.running(context):
            yield frame
    except FunctionOver:
        raise Aborted from None
    except (LLMWatchError, Aborted) as error:
        attempt.check()
        raise FunctionRaised(error) from None
    finally:
        instrument.end()
        frame.leave()


def _begin(attempt: Attempt[Any], frame: Frame, abort: Callable[[], object] | None) -> None:
    if abort is not None:
        frame.adopt(abort)
    attempt.connected()
    attempt.sent()


def run_function(
    function: Callable[[], T], abort: Callable[[], object] | None, keepalive: float, attempt: Attempt[T]
) -> None:
    """Call ``function`` and hand over its value."""
    with running(attempt, keepalive) as frame:
        _begin(attempt, frame, abort)
        value = function()
    attempt.deliver([value], 0, WHOLE, kinds=("result",))


def run_iterator(
    make_iterator: Callable[[], Made[T]], abort: Callable[[], object] | None, keepalive: float, attempt: Attempt[T]
) -> None:
    """Hand over the iterator's items one by one, and close the iterator here, in the thread it ran in."""
    with running(attempt, keepalive) as frame:
        _begin(attempt, frame, abort)
        try:
            _iterate(make_iterator, attempt, frame)
        except StopIteration as stop:
            # Outside of next() it is a mistake, and would look like the end of the items to the caller.
            raise RuntimeError("the function that makes the iterator raised StopIteration") from stop
    attempt.check()


def _iterate(make_iterator: Callable[[], Made[T]], attempt: Attempt[T], frame: Frame) -> None:
    with contextlib.ExitStack() as stack:
        made = make_iterator()
        source = stack.enter_context(made) if isinstance(made, AbstractContextManager) else made
        iterator = iter(source)
        close = getattr(iterator, "close", None)
        if callable(close):
            stack.callback(close)
        handle = socket_of(made) or socket_of(source)
        if handle is not None:
            attempt.adopt(handle)
            # Before the connection is closed, or is back in a pool.
            stack.callback(attempt.disown, handle)
            # An SDK that has a response was answered.
            attempt.stats.beaten = True
        with contextlib.suppress(Aborted):
            # An attempt that is over leaves as "break" does: no exception is thrown into the user's blocks.
            for item in iterator:
                frame.beat(event=True, content=True)
                attempt.deliver([item], _ITEM_SIZE, _ITEM, kinds=("item",))
