"""What is called when a function is given up, so that it comes back: nothing else can wake a thread.

``shutdown`` runs under the attempt's lock, maybe on the supervisor's time, and must return at once. It starts a thread
without waiting for it to come up, which ``threading.Thread.start`` would: on a busy machine that takes as long as
every other thread's turn.
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
    """Call ``callback`` in a fresh daemon thread, in ``context``. What it raises is logged. Returns at once.

    Raises ``RuntimeError`` where no thread can be started any more.
    """
    _thread.start_new_thread(_launch, (callback, context))


def _launch(callback: Callable[[], object], context: contextvars.Context) -> None:
    # A bare thread is unknown to threading, and would stay there for ever as a dummy if user code asked who it is.
    threading.Thread(target=context.run, args=(_run, callback), name="llmwatch-abort", daemon=True).start()


def _run(callback: Callable[[], object]) -> None:
    try:
        callback()
    except BaseException as error:
        say(logging.ERROR, "llmwatch: an abort callback raised %s", redact.described(error))


class AbortHandle:
    """A :class:`~llmwatch.watch.interfaces.Handle` that calls ``callback``, once, when its attempt is killed or
    cancelled.

    The callback sees the context variables of the moment in which the handle was made. Once the handle is released the
    callback is forgotten.
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
        """Nothing is known about what the function waits for."""
        return False

    def release(self) -> None:
        """The function is through, or the callback was called."""
        self._callback = None

    def detach_in_child(self) -> None:
        """In a forked child: what the callback would end belongs to the parent."""
        self._callback = None
