"""A token with which somebody else can give a call up."""

from __future__ import annotations

import threading
from collections.abc import Callable

from llmwatch import at_fork

__all__ = ["CancelToken"]


class CancelToken:
    """Give one call or many up from any thread: pass it as ``cancel=`` and call :meth:`cancel`.

    The call ends at once with :class:`~llmwatch.Cancelled`, whether it connects, waits, reads or backs off, and sends
    nothing more. A token that is set stays set: a call that gets one sends nothing at all. It does not undo what the
    provider has already done.
    """

    def __init__(self) -> None:
        # Protects the three fields below. Callbacks run after it is released, so it is a leaf. A signal handler may
        # cancel in the middle of another method of the same thread, so it can be taken again.
        self._lock = threading.RLock()
        self._cancelled = False
        self._serial = 0
        self._callbacks: dict[int, Callable[[], None]] = {}
        at_fork.follow(self)

    def after_fork(self) -> None:
        """In a forked child: the calls that hold the token are the parent's, whose threads may have held the lock."""
        self._lock = threading.RLock()
        self._callbacks = {}

    @property
    def cancelled(self) -> bool:
        """Whether :meth:`cancel` was called."""
        return self._cancelled

    def cancel(self) -> None:
        """Give up every call that holds this token. Calling it again does nothing."""
        self._cancelled = True
        failed: BaseException | None = None
        while True:
            try:
                with self._lock:
                    # One at a time: whoever takes it out is the one who calls it.
                    _, callback = self._callbacks.popitem()
            except KeyError:
                break
            try:
                callback()
            except BaseException as error:  # one that fails must not keep another call alive
                failed = failed or error
        if failed is not None:
            raise failed

    def subscribe(self, callback: Callable[[], None]) -> int:
        """Have ``callback`` called once on cancellation, at once if it has happened; the number returned ends that."""
        with self._lock:
            self._serial += 1
            key = self._serial
            self._callbacks[key] = callback
            mine = self._cancelled and self._callbacks.pop(key, None) is not None
        if mine:
            callback()
        return key

    def unsubscribe(self, key: int) -> None:
        """Forget a callback; unknown numbers are ignored."""
        with self._lock:
            self._callbacks.pop(key, None)
