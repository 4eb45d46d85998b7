"""A token with which another thread cancels a call."""

from __future__ import annotations

import threading
from collections.abc import Callable

from llmwatch import at_fork

__all__ = ["CancelToken"]


class CancelToken:
    """Cancels any number of calls from any thread: pass it as ``cancel=`` and call :meth:`cancel`.

    Each call ends at once with :class:`~llmwatch.Cancelled`, whether it connects, waits, reads or backs off, and sends
    nothing more. A token stays cancelled: a call that gets it later sends nothing at all. Cancelling does not undo what
    the provider has already done.
    """

    def __init__(self) -> None:
        # Protects the three fields below. Callbacks run after its release, so it is a leaf. It is re-entrant: a signal
        # handler may cancel in the middle of another method of the same thread.
        self._lock = threading.RLock()
        self._cancelled = False
        self._serial = 0
        self._callbacks: dict[int, Callable[[], None]] = {}
        at_fork.follow(self)

    def after_fork(self) -> None:
        """In a forked child: forget the parent's calls, whose threads may have held the lock."""
        self._lock = threading.RLock()
        self._callbacks = {}

    @property
    def cancelled(self) -> bool:
        """Whether :meth:`cancel` was called."""
        return self._cancelled

    def cancel(self) -> None:
        """Cancel every call that holds this token. A second call does nothing."""
        self._cancelled = True
        failed: BaseException | None = None
        while True:
            try:
                with self._lock:
                    # The thread that takes a callback out calls it, so each runs once.
                    _, callback = self._callbacks.popitem()
            except KeyError:
                break
            try:
                callback()
            except BaseException as error:  # a failing callback must not keep another call alive
                failed = failed or error
        if failed is not None:
            raise failed

    def subscribe(self, callback: Callable[[], None]) -> int:
        """Call ``callback`` once on cancellation, or now if it has happened.
        Returns a key for :meth:`unsubscribe`.
        """
        with self._lock:
            self._serial += 1
            key = self._serial
            self._callbacks[key] = callback
            cancelled = self._cancelled and self._callbacks.pop(key, None) is not None
        if cancelled:
            callback()
        return key

    def unsubscribe(self, key: int) -> None:
        """Forget a callback. Unknown keys are ignored."""
        with self._lock:
            self._callbacks.pop(key, None)
