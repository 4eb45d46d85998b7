"""Abort callbacks as handles of an attempt."""

from __future__ import annotations

import contextvars
import logging
import threading

import pytest

from llmwatch.wrap.aborting import AbortHandle, call_soon
from tests.end_to_end.calls import eventually
from tests.end_to_end.times import PATIENCE

NAME = contextvars.ContextVar("name", default="nobody")


def test_it_is_called_once() -> None:
    """However often the handle is shut, and in no thread that shuts it."""
    called: list[threading.Thread] = []
    handle = AbortHandle(lambda: called.append(threading.current_thread()))
    assert not handle.waiting()
    for _ in range(3):
        handle.shutdown()
    eventually(lambda: called, "the callback was called")
    handle.shutdown()
    assert len(called) == 1
    assert called[0] is not threading.current_thread()
    assert called[0].daemon


@pytest.mark.parametrize("end", ["release", "detach_in_child"])
def test_it_is_forgotten(end: str) -> None:
    """A handle that was given back calls nobody: the function is through, or belongs to the parent process."""
    called: list[int] = []
    handle = AbortHandle(lambda: called.append(1))
    getattr(handle, end)()
    handle.shutdown()
    assert called == []
    assert all(thread.name != "llmwatch-abort" for thread in threading.enumerate())


def test_it_sees_the_context_in_which_it_was_made() -> None:
    """Not that of whoever shuts it."""
    seen: list[str] = []
    NAME.set("maker")
    handle = AbortHandle(lambda: seen.append(NAME.get()))
    NAME.set("killer")
    handle.shutdown()
    eventually(lambda: seen == ["maker"], "the callback was called")


def test_nobody_waits_for_it() -> None:
    """Shutting returns although the callback blocks, and although its thread may not even have begun."""
    free, locked = threading.Event(), threading.Lock()

    def callback() -> None:
        with locked:
            assert free.wait(PATIENCE)

    handles = [AbortHandle(callback) for _ in range(20)]
    with locked:
        for handle in handles:
            handle.shutdown()
    free.set()
    eventually(lambda: all(one.name != "llmwatch-abort" for one in threading.enumerate()), "all have returned")


def test_an_exception_is_logged_without_its_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """Its class and its scrubbed text; one that is no Exception too."""
    for error in (ValueError("api_key=abcdefghijklmnop"), SystemExit("api_key=abcdefghijklmnop")):

        def broken(error: BaseException = error) -> None:
            raise error

        with caplog.at_level(logging.ERROR, "llmwatch"):
            call_soon(broken, contextvars.copy_context())
            eventually(lambda error=error: type(error).__name__ in caplog.text, "it is logged")  # type: ignore[misc]
    assert "abcdefghijklmnop" not in caplog.text


def test_no_thread_is_left_registered() -> None:
    """Threads that ask who they are leave no dummy behind."""
    before = set(threading.enumerate())
    done = threading.Event()

    def asks() -> None:
        threading.current_thread()
        done.set()

    call_soon(asks, contextvars.copy_context())
    assert done.wait(PATIENCE)
    eventually(lambda: set(threading.enumerate()) == before, "the thread is gone")
