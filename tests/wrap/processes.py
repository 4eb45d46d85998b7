"""Processes that wrap functions; run as ``python -m tests.wrap.processes NAME [URL]`` by the tests."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading

import requests

import llmwatch
from llmwatch import Cancelled, Limits, Retry
from llmwatch.transport import instrument
from llmwatch.watch.attempt import serving
from llmwatch.wrap import beat, call, iterate, on_abort, paused


def _child(url: str) -> None:
    assert serving() is None
    beat()
    on_abort(lambda: os._exit(9))
    with paused():
        pass
    assert requests.get(url).status_code == 200
    assert call(lambda: requests.get(url).status_code, limits=Limits(ttfb=60)) == 200
    try:
        call(threading.Event().wait, 60, limits=Limits(ttfb=0.05), retry=Retry.none())
    except llmwatch.WatchTimeout:
        pass
    else:
        raise AssertionError("not watched in the child")


def forks(url: str) -> None:
    """A wrapped function that forks, as multiprocessing does: the child works, and so does the parent."""

    def function() -> int | None:
        process = multiprocessing.get_context("fork").Process(target=_child, args=(url,))
        process.start()
        process.join(60)
        assert requests.get(url).status_code == 200
        return process.exitcode

    assert call(function, limits=Limits(ttfb=60)) == 0
    assert not instrument._interceptors


def exits(url: str) -> None:
    """The program ends while functions hang."""

    def hangs() -> None:
        # Python prints what a daemon thread raises that still gets to run at exit.
        with contextlib.suppress(Cancelled):
            call(threading.Event().wait, abort=int)

    for _ in range(3):
        threading.Thread(target=hangs, daemon=True).start()
    hanging = iterate(lambda: iter(threading.Event().wait, None))
    hanging.__enter__()


def interrupts(url: str) -> None:
    """Ctrl-C while a request hangs inside a function."""
    import signal

    signal.signal(signal.SIGINT, signal.default_int_handler)
    main = threading.main_thread().ident
    assert main is not None

    def function() -> None:
        threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGINT)).start()
        requests.get(url)

    try:
        call(function)
    except KeyboardInterrupt:
        return
    raise AssertionError("not interrupted")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
    print("done")
