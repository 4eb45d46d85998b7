"""Work of the caller's that no signal may come into.

The idle connections of urllib3 lie in queues whose locks are taken in Python code. A signal handler that raises in
there leaves a lock held for ever, and one that closes the same client waits for itself. Python runs handlers in the
main thread alone.
"""

from __future__ import annotations

import _thread
import sys
import threading
from collections.abc import Callable

__all__ = ["aside"]


def aside(work: Callable[[], object]) -> None:
    """Do ``work`` and return, or raise what it raises. In the main thread another does it; what a handler raises ends
    the wait, and ``work`` goes on to its end. Where no thread can be started, as the interpreter exits, the caller's
    does it.
    """
    if threading.get_ident() != threading.main_thread().ident or sys.is_finalizing():
        work()
        return
    failures: list[BaseException] = []
    done = threading.Lock()
    done.acquire()

    def do() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)
        finally:
            done.release()

    try:
        # Thread.start would wait in Python code as well.
        _thread.start_new_thread(do, ())
    except RuntimeError:
        work()
        return
    with done:
        pass
    if failures:
        raise failures[0]
