"""An exception of a signal handler is distinguished from one of the interrupted code."""

from __future__ import annotations

import functools
import gc
import logging
import os
import signal
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from llmwatch.engine.notices import Notifier, ProgressNotice
from llmwatch.interruption import is_interruption
from llmwatch.records.log import say
from llmwatch.records.sinks import notify
from llmwatch.watch.clock import SYSTEM

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a signal that a process may send itself")


class Alarm(Exception):
    """The exception of a signal handler."""


def raising(number: int, frame: object) -> None:
    raise Alarm


def through_another(number: int, frame: object) -> None:
    raising(number, None)


class Handler:
    """A handler may be any callable."""

    def __call__(self, *_: object) -> None:
        raise Alarm

    def method(self, number: int, frame: object) -> None:
        raise Alarm


HANDLERS: dict[str, Callable[[int, Any], object]] = {
    "function": raising,
    "function that calls another": through_another,
    "lambda": lambda *_: raising(0, None),
    "object": Handler(),
    "method": Handler().method,
    "partial": functools.partial(lambda prefix, number, frame: raising(number, frame), "prefix"),
}


@pytest.fixture
def handle() -> Iterator[Callable[[Any], None]]:
    """Sets a handler for a signal."""
    before = signal.getsignal(signal.SIGUSR1)
    yield lambda handler: signal.signal(signal.SIGUSR1, handler) and None
    signal.signal(signal.SIGUSR1, before)


def is_signalled(*_: object) -> None:
    """Code that is interrupted."""
    os.kill(os.getpid(), signal.SIGUSR1)
    for _number in range(1000):
        pass


@pytest.mark.parametrize("name", HANDLERS)
def test_an_exception_of_a_signal_handler_is_recognised(handle: Callable[[Any], None], name: str) -> None:
    """Every kind of callable as the handler, and an exception of a function that the handler calls."""
    handle(HANDLERS[name])
    with pytest.raises(Alarm) as caught:
        is_signalled()
    assert is_interruption(caught.value)


def own() -> None:
    raise Alarm


def with_its_callers_frame() -> None:
    frame = sys._getframe(1)
    assert frame is not None
    raise Alarm


@pytest.mark.parametrize("code", [own, with_its_callers_frame, functools.partial(raising, 14, sys._getframe(0))])
def test_an_exception_of_other_code_is_not_a_handlers(code: Callable[[], None]) -> None:
    """The same exception out of the interrupted code is its own, frames or not."""
    with pytest.raises(Alarm) as caught:
        code()
    assert not is_interruption(caught.value)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), GeneratorExit()], ids=repr)
def test_a_base_exception_counts_as_an_interruption(error: BaseException) -> None:
    """Wherever it comes from."""
    assert is_interruption(error)


class Logs(logging.Handler):
    """A handler of a user's logging, which is interrupted."""

    def emit(self, record: logging.LogRecord) -> None:
        is_signalled()


def a_sink() -> None:
    notify([is_signalled], None, now=SYSTEM.now())  # type: ignore[arg-type,list-item]


def a_notice() -> None:
    Notifier(is_signalled, 1.0, SYSTEM).tell(ProgressNotice(attempt=1))


def a_log() -> None:
    logger, handler = logging.getLogger("llmwatch"), Logs()
    logger.addHandler(handler)
    try:
        say(logging.CRITICAL, "something")
    finally:
        logger.removeHandler(handler)


@pytest.mark.parametrize("place", [a_sink, a_notice, a_log])
def test_a_handlers_exception_in_a_callback_comes_out(handle: Callable[[Any], None], place: Callable[[], None]) -> None:
    """An exception of the user's callback is only logged.

    One of a signal handler during the callback is raised.
    """
    handle(raising)
    with pytest.raises(Alarm):
        place()


@pytest.mark.parametrize("place", [a_sink, a_notice])
def test_an_exception_of_a_callback_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, place: Callable[[], None]
) -> None:
    """Without a signal, the callback's own exception is logged and not raised."""
    monkeypatch.setattr(os, "kill", lambda *_: own())
    place()
    assert "raised Alarm" in caplog.text


def test_looking_at_an_exception_does_not_keep_it_alive() -> None:
    """A look at an exception does not keep the exception.

    It does not keep the variables of the function that has caught it either.
    """

    class Witness:
        """Dies with the last that refers to it."""

    def caught() -> weakref.ref[Witness]:
        witness = Witness()
        try:
            raise OSError
        except OSError as error:
            told = is_interruption(error)
        assert told is False
        return weakref.ref(witness)

    gc.disable()
    try:
        assert caught()() is None
    finally:
        gc.enable()
