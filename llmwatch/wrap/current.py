"""The reports of a wrapped function while it runs: signs of life, abort callbacks, pauses.

A context variable holds the attempt. So threads that were started with a copy of the context find it, and so does a
function that a wrapped function calls through llmwatch. A thread pool inside a wrapped function copies no context: its
work is outside the watch, unless it is submitted as ``contextvars.copy_context().run``.

Every step here takes the lock of one attempt and releases it before it takes the next.
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

# By kind of beat: whether it is an event, and whether it moves the work forward.
_KINDS = {"content": (True, True), "event": (True, False), "keepalive": (False, False)}


class Frame:
    """One running wrapped function: its attempt, its abort callbacks, and the wrapped function around it.
    A frame belongs to one attempt: a frame that outlives its attempt reaches no other.
    """

    __slots__ = ("_handles", "attempt", "outer")

    def __init__(self, attempt: Attempt[Any], outer: Frame | None) -> None:
        self.attempt = attempt
        self.outer = outer
        self._handles: list[AbortHandle] = []

    def beat(self, *, event: bool, content: bool) -> None:
        """Count a sign of life for this function and for every function around it."""
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
        """Like :meth:`adopt`; calls ``callback`` at once if the function was killed or cancelled already."""
        try:
            self.adopt(callback)
        except Aborted:
            verdict = self.attempt.verdict
            if verdict is not None and verdict.kind in (VerdictKind.KILLED, VerdictKind.CANCELLED):
                call_soon(callback, contextvars.copy_context())

    def leave(self) -> None:
        """The function has come back: forget its callbacks."""
        while self._handles:
            self.attempt.disown(self._handles.pop())


_frame: contextvars.ContextVar[Frame | None] = contextvars.ContextVar("llmwatch_frame", default=None)


@in_child
def _forget_frame() -> None:
    """In a forked child no function of the parent is watched."""
    _frame.set(None)


def enter(attempt: Attempt[Any]) -> Frame:
    """Make this context that of a function which ``attempt`` runs.
    A worker has a context of its own, so there is no way back.
    """
    frame = Frame(attempt, _frame.get())
    _frame.set(frame)
    return frame


def beat(kind: str = "content") -> None:
    """Report that the wrapped function around this code is alive, and reset its limits.

    * ``"content"``: the work has moved on. Resets ``stale`` and ``progress``, and ends ``ttfb`` and the other limits on
      beginnings.
    * ``"event"``: something came, but the work has not moved on. Resets ``stale``.
    * ``"keepalive"``: only the other side is there. Resets ``stale``.

    A beat also resets the limits of the functions around this one. A function that has beaten counts as having done
    something: after a kill it is not run again, unless ``Retry(resend_with_tools=True)`` allows it. So beat before the
    first side effect.

    A beat outside a wrapped function, or after the function was given up, does nothing; it does not stop such a
    function. Raises :class:`~llmwatch.ConfigError` for another ``kind``.
    """
    meaning = _KINDS.get(kind) if isinstance(kind, str) else None
    if meaning is None:
        raise ConfigError(f"beat({kind!r}): it takes one of {', '.join(map(repr, _KINDS))}.", field="kind", value=kind)
    frame = _frame.get()
    if frame is not None:
        frame.beat(event=meaning[0], content=meaning[1])


def on_abort(callback: Callable[[], object]) -> None:
    """Call ``callback`` when the wrapped function around this code is killed by a limit or cancelled.

    The callback runs once, without arguments, in a daemon thread of its own. It should make the function come back:
    close what the function waits for, or terminate the process that it runs. Its errors are logged to the ``llmwatch``
    logger. It runs at once if the function was given up already, and is forgotten once the function has returned.
    Outside a wrapped function ``on_abort`` does nothing. Raises ``TypeError`` for an object that cannot be called.
    """
    if not callable(callback):
        raise TypeError(f"callback must be a function without arguments, not {callback!r}")
    frame = _frame.get()
    if frame is not None:
        frame.on_abort(callback)


def around() -> list[Attempt[Any]]:
    """The attempts that this code works for, found by thread and by context.
    The thread knows every entry point; other threads may share the context.
    """
    attempts: dict[int, Attempt[Any]] = {}
    attempt: Attempt[Any] | None = serving()
    frame = _frame.get()
    while True:
        while attempt is not None:
            attempts.setdefault(id(attempt), attempt)
            attempt = attempt.outer
        if frame is None:
            return list(attempts.values())
        attempt, frame = frame.attempt, frame.outer


class Paused:
    """The block in which every limit but the deadline stands still. Can be entered again inside itself."""

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
    """``with paused():`` stops every limit but ``deadline``, for instance while a person is asked.

    It also stops the limits of the functions around this one, and of a call that waits for this code (in an
    authentication hook, for instance). Blocks may be nested: the limits resume with their remaining seconds when the
    outermost block ends. Beats inside the block do not resume them. Outside watched work it does nothing. It does not
    keep a connection open, and does not outlast a cancellation.
    """
    return Paused()
