"""Abort callbacks, which make a cancelled function come back: nothing else can wake its thread.

``shutdown`` runs under the attempt's lock, possibly in the supervisor's thread, and must return at once. So it starts a
thread without ``threading.Thread.start``, which waits for the new thread to come up: on a busy machine that takes as
long as every other thread's turn.
"""

from __future__ import annotations

import _thread
import contextvars
import logging
import threading
from collections.abc import Callable

from llmwatch.records.log import say
from llmwatch.redaction import redact

__all__ = ["AbortHandle", "call_soon"]


def call_soon(callback: Callable[[], object], context: contextvars.Context) -> None:
    """Call ``callback`` in a new daemon thread, in ``context``; its errors are logged. Returns at once.
    Raises ``RuntimeError`` where no thread can be started any more.
    """
    _thread.start_new_thread(_launch, (callback, context))


def _launch(callback: Callable[[], object], context: contextvars.Context) -> None:
    # threading does not know a bare thread, and would keep a dummy for it if user code asked for the current thread.
    threading.Thread(target=context.run, args=(_run, callback), name="llmwatch-abort", daemon=True).start()


def _run(callback: Callable[[], object]) -> None:
    try:
        callback()
    except BaseException as error:
        say(logging.ERROR, "llmwatch: an abort callback raised %s", redact.described(error))


class AbortHandle:
    """A :class:`~llmwatch.watch.interfaces.Handle` that calls ``callback`` once, on kill or cancellation.
    The callback sees the context variables of the moment in which the handle was made. A released handle forgets it.
    """

    __slots__ = ("_callback", "_context")

    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback: Callable[[], object] | None = callback
        self._context = contextvars.copy_context()

    def shutdown(self) -> None:
        """Have the callback called."""
        callback, self._callback = self._callback, None
        if callback is not None:
            call_soon(callback, self._context)

    def waiting(self) -> bool:
        """``False``: what the function waits for is unknown."""
        return False

    def release(self) -> None:
        """The function has come back, or the callback was called."""
        self._callback = None

    def detach_in_child(self) -> None:
        """In a forked child: forget the callback, which would end what belongs to the parent."""
        self._callback = None
