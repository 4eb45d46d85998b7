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


def test_an_abort_callback_is_called_once() -> None:
    """The callback is called once however often the handle is shut, and in no thread that shuts it."""
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
def test_a_released_handle_calls_no_callback(end: str) -> None:
    """A handle that was given back calls no callback.

    The function has ended, or belongs to the parent process.
    """
    called: list[int] = []
    handle = AbortHandle(lambda: called.append(1))
    getattr(handle, end)()
    handle.shutdown()
    assert called == []
    assert all(thread.name != "llmwatch-abort" for thread in threading.enumerate())


def test_a_callback_sees_the_context_of_its_registration() -> None:
    """The callback does not see the context variables of the thread that shuts the handle."""
    seen: list[str] = []
    NAME.set("maker")
    handle = AbortHandle(lambda: seen.append(NAME.get()))
    NAME.set("killer")
    handle.shutdown()
    eventually(lambda: seen == ["maker"], "the callback was called")


def test_shutting_a_handle_does_not_wait_for_its_callback() -> None:
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


def test_an_exception_of_a_callback_is_logged_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """The log has its class and scrubbed text, also of a ``BaseException``."""
    for error in (ValueError("api_key=abcdefghijklmnop"), SystemExit("api_key=abcdefghijklmnop")):

        def broken(error: BaseException = error) -> None:
            raise error

        with caplog.at_level(logging.ERROR, "llmwatch"):
            call_soon(broken, contextvars.copy_context())
            eventually(lambda error=error: type(error).__name__ in caplog.text, "it is logged")  # type: ignore[misc]
    assert "abcdefghijklmnop" not in caplog.text


def test_callback_threads_leave_no_dummy_thread() -> None:
    """``threading.current_thread()`` in a callback leaves no dummy thread behind."""
    before = set(threading.enumerate())
    done = threading.Event()

    def asks() -> None:
        threading.current_thread()
        done.set()

    call_soon(asks, contextvars.copy_context())
    assert done.wait(PATIENCE)
    eventually(lambda: set(threading.enumerate()) == before, "the thread is gone")
