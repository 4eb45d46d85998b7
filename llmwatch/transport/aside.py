"""Runs a caller's work where no signal handler can interrupt it.

The idle connections of urllib3 lie in queues whose locks are taken in Python code. A signal handler that raises there
leaves a lock held for ever. A handler that closes the same client waits for itself. Python runs handlers only in the
main thread.
"""

from __future__ import annotations

import _thread
import sys
import threading
from collections.abc import Callable

from llmwatch.watch.clock import SYSTEM, Waiter

__all__ = ["aside"]


def aside(work: Callable[[], object]) -> None:
    """Do ``work`` and return, or raise what ``work`` raises.

    In the main thread another thread does the work. An exception of a signal handler ends the wait, and the work goes
    on to its end. Where no thread can start, as the interpreter exits, the caller's thread does the work.
    """
    if threading.get_ident() != threading.main_thread().ident or sys.is_finalizing():
        work()
        return
    outcome: list[BaseException | None] = []
    waiter = Waiter()

    def do() -> None:
        try:
            work()
        except BaseException as error:
            outcome.append(error)
        else:
            outcome.append(None)
        waiter.put()

    try:
        # Thread.start would wait in Python code, too.
        _thread.start_new_thread(do, ())
    except RuntimeError:
        work()
        return
    while not outcome:
        # In slices: a bare lock would sleep over a signal that comes just before.
        SYSTEM.wait(waiter, None)
    if outcome[0] is not None:
        raise outcome[0]
