"""What a wrapped function can say while it runs: a sign of life, how it can be ended, that a person is asked.

Which attempt is meant stands in a context variable, so that it is found from threads too that were started with a copy
of the context, and from the function that a wrapped function calls through llmwatch. A thread pool inside a wrapped
function copies no context: what is said there is said outside of it, unless the work is handed in as
``contextvars.copy_context().run``.

Locks: every step here takes the lock of one attempt and gives it back before it takes the next.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from llmwatch.at_fork import in_child
from llmwatch.errors import ConfigError
from llmwatch.watch.attempt import Attempt, serving
from llmwatch.watch.interfaces import Aborted
from llmwatch.watch.machine import VerdictKind
from llmwatch.wrap.aborting import AbortHandle, call_soon

__all__ = ["Frame", "Paused", "around", "beat", "enter", "on_abort", "paused"]

# By kind of beat: is it an event, and does it move the work forward?
_KINDS = {"content": (True, True), "event": (True, False), "keepalive": (False, False)}


class Frame:
    """One running wrapped function: its attempt, what can end it, and the wrapped function around it.

    It belongs to one attempt and stays with it: a frame that outlives its attempt reaches no other.
    """

    __slots__ = ("_handles", "attempt", "outer")

    def __init__(self, attempt: Attempt[Any], outer: Frame | None) -> None:
        self.attempt = attempt
        self.outer = outer
        self._handles: list[AbortHandle] = []

    def beat(self, *, event: bool, content: bool) -> None:
        """A sign of life of this function is one of every function around it."""
        frame: Frame | None = self
        while frame is not None:
            frame.attempt.beat(event=event, content=content)
            frame = frame.outer

    def adopt(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` when the attempt is killed or cancelled. Raises ``Aborted`` if it is over."""
        handle = AbortHandle(callback)
        self.attempt.adopt(handle)
        self._handles.append(handle)

    def on_abort(self, callback: Callable[[], object]) -> None:
        """The same; if it was given up already, at once."""
        try:
            self.adopt(callback)
        except Aborted:
            verdict = self.attempt.verdict
            if verdict is not None and verdict.kind in (VerdictKind.KILLED, VerdictKind.CANCELLED):
                call_soon(callback, contextvars.copy_context())

    def leave(self) -> None:
        """The function has come back: its callbacks are forgotten."""
        while self._handles:
            self.attempt.disown(self._handles.pop())


_frame: contextvars.ContextVar[Frame | None] = contextvars.ContextVar("llmwatch_frame", default=None)


@in_child
def _forget_frame() -> None:
    """In a forked child no function of the parent is watched."""
    _frame.set(None)


def enter(attempt: Attempt[Any]) -> Frame:
    """From now on this context belongs to a function that ``attempt`` runs. A worker has a context of its own, so
    nobody has to leave it again.
    """
    frame = Frame(attempt, _frame.get())
    _frame.set(frame)
    return frame


def beat(kind: str = "content") -> None:
    """Say that the wrapped function around this code is alive, and reset its limits.

    ``"content"``: the work has moved on; resets ``stale`` and ``progress``, and ends ``ttfb`` and the other limits on
    beginnings. ``"event"``: something came, but the work has not moved on; resets ``stale``. ``"keepalive"``: only that
    the other side is there; resets ``stale``. A beat resets the functions around this one as well.

    From its first beat on a function counts as having done something: killed afterwards it is not run again, unless
    ``Retry(resend_with_tools=True)`` allows it. So beat before the first side effect.

    Outside of a wrapped function it does nothing, and neither does a beat that comes after the function was given up;
    it does not stop such a function. Raises :class:`~llmwatch.ConfigError` for another ``kind``.
    """
    meaning = _KINDS.get(kind) if isinstance(kind, str) else None
    if meaning is None:
        raise ConfigError(f"beat({kind!r}): it takes one of {', '.join(map(repr, _KINDS))}.", field="kind", value=kind)
    frame = _frame.get()
    if frame is not None:
        frame.beat(event=meaning[0], content=meaning[1])


def on_abort(callback: Callable[[], object]) -> None:
    """Have ``callback`` called when the wrapped function around this code is killed by a limit or cancelled.

    It is called without arguments, once, in a daemon thread of its own; it should make the function come back: close
    what it waits for, terminate the process that it runs. What it raises is logged to the ``llmwatch`` logger. If the
    function was given up already it is called right away. Once the function has returned, it is forgotten. Outside of
    a wrapped function it does nothing. Raises ``TypeError`` for what cannot be called.
    """
    if not callable(callback):
        raise TypeError(f"callback must be a function without arguments, not {callback!r}")
    frame = _frame.get()
    if frame is not None:
        frame.on_abort(callback)


def around() -> list[Attempt[Any]]:
    """The attempts that this code works for: by thread, which knows every entry point, and by context, which other
    threads may have too.
    """
    found: dict[int, Attempt[Any]] = {}
    attempt: Attempt[Any] | None = serving()
    frame = _frame.get()
    while True:
        while attempt is not None:
            found.setdefault(id(attempt), attempt)
            attempt = attempt.outer
        if frame is None:
            return list(found.values())
        attempt, frame = frame.attempt, frame.outer


class Paused:
    """The block in which every limit but the deadline stands. Can be entered again inside itself."""

    __slots__ = ("_entered",)

    def __init__(self) -> None:
        self._entered: list[list[Attempt[Any]]] = []

    def __enter__(self) -> None:
        stopped: list[Attempt[Any]] = []
        self._entered.append(stopped)
        for attempt in around():
            attempt.pause()
            stopped.append(attempt)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for attempt in self._entered.pop():
            attempt.unpause()


def paused() -> AbstractContextManager[None]:
    """``with paused():`` stops every limit but ``deadline`` while a person is asked, say.

    It stops those of the functions around this one too, and of a call that waits for this code (in an authentication
    hook, for instance). Blocks may be nested: the limits run on, with what was left of them, when the outermost ends.
    Beats inside the block do not start them. Outside of any watched work it does nothing. It does not keep a
    connection open, and it does not outlast a cancellation.
    """
    return Paused()
