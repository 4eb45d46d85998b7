"""Starting a thread completely or not at all, and refusing threads that were patched too late.

``Thread.start`` waits in Python code for the new thread to come up. An exception of a signal handler there can leave a
lock held that the new thread needs for its first step, or can make ``start`` fail although the thread runs. Only the
main thread runs signal handlers. So the main thread starts a bare thread, which is one step of the interpreter, and the
bare thread calls ``Thread.start``.

gevent and eventlet turn threads into greenlets for all code that is imported after their patch. Code that was imported
before keeps locks and thread-local data of the other kind. All greenlets of one thread then share the thread-local
data, so two calls meet each other's sockets, and nothing wakes a supervisor from before the patch.
"""

from __future__ import annotations

import _thread
import threading

from llmwatch.errors import ConfigError, TooManyThreads

__all__ = ["Launch", "check_threads"]


class Launch:
    """The start of one thread.
    Taking the thread out of ``_waiting`` is one step, and decides. The launcher takes it out and starts it, or
    :meth:`withdraw` takes it out and the thread never runs.
    """

    __slots__ = ("_error", "_known", "_settled", "_up", "_waiting")

    def __init__(self, thread: threading.Thread) -> None:
        self._waiting = [thread]
        self._error: BaseException | None = None
        self._up = False
        self._settled = False  # the same, for callers that must not wait
        self._known = threading.Lock()  # held until the start has succeeded or failed
        self._known.acquire()

    def start(self) -> None:
        """Start the thread and wait until it is up. To be called once.
        Raises :class:`~llmwatch.TooManyThreads` where the system has no thread left. After any other exception the
        thread may run or still come up: :meth:`withdraw` tells.
        """
        if threading.get_ident() != threading.main_thread().ident:
            self._start()
        else:
            try:
                _thread.start_new_thread(self._start, ())
            except RuntimeError as error:
                raise _too_many(error) from None
            with self._known:
                pass
        failure = self._error
        if isinstance(failure, RuntimeError):
            raise _too_many(failure) from None
        if failure is not None:
            raise failure

    def withdraw(self) -> bool:
        """Keep the thread from running; ``False`` if it runs, has run, or is being started right now."""
        try:
            self._waiting.pop()
        except IndexError:
            return False
        return True

    def came_up(self) -> bool:
        """Whether the thread runs or has run. A thread that was not started yet never will be."""
        if self._waiting and self.withdraw():
            return False
        if not self._settled:
            # Only until then: a signal handler that interrupts this very block would wait for itself.
            with self._known:
                pass
        return self._up

    def _start(self) -> None:
        try:
            thread = self._waiting.pop()
            try:
                thread.start()
                self._up = True
            except BaseException as error:
                self._error = error
                self._waiting.append(thread)
        except IndexError:
            pass  # withdrawn
        finally:
            self._settled = True
            self._known.release()


def _too_many(error: RuntimeError) -> TooManyThreads:
    return TooManyThreads(
        f"No thread could be started for this call ({error}); this process has {threading.active_count()}. Nothing was"
        " sent. Make fewer calls at once, or allow more threads: the limits are those of the user (ulimit -u), of the"
        " container (pids), and of its memory."
    )


_PATCH = {"gevent": "gevent.monkey.patch_all()", "eventlet": "eventlet.monkey_patch()"}


def _maker() -> str | None:
    """The package that makes threading's locks; ``None`` for Python's own. Imports nothing."""
    module: str = getattr(threading.Lock, "__module__", None) or ""
    package = module.partition(".")[0]
    return package if package in _PATCH else None


_at_import = _maker()


def check_threads() -> None:
    """Raise :class:`~llmwatch.ConfigError` if threads were patched since llmwatch was imported."""
    maker = _maker()
    if maker is not None and maker != _at_import:
        raise ConfigError(
            f"{maker} has patched the threads of this process after llmwatch was imported, whose locks and thread-local"
            f" data are still those of before: calls would hang, or end each other. Call {_PATCH[maker]} first, before"
            " llmwatch and requests are imported. Nothing was sent.",
            field=maker,
        )
