"""An exception of a signal handler is distinguished from one of the interrupted code."""

from __future__ import annotations

import fcntl
import gc
import gzip
import logging
import os
import signal
import ssl
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from urllib3.exceptions import DecodeError

from llmwatch.auth.refreshing import _put_aside
from llmwatch.engine import settings
from llmwatch.engine.notices import Notifier, ProgressNotice
from llmwatch.hooks.imports import on_import
from llmwatch.interruption import is_interruption
from llmwatch.records.log import say
from llmwatch.records.sinks import JsonLinesSink, notify
from llmwatch.sdk import trust
from llmwatch.transport.body import BodyReader, StreamedResponse
from llmwatch.watch.clock import SYSTEM
from llmwatch.wire import Kind, register_dialect, unregister_dialect
from llmwatch.wire.dialects.detect import detected

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a signal that a process may send itself")


class Alarm(TimeoutError):
    """The exception of a signal handler: an ``OSError``, as that of the ``SIGALRM`` recipe is."""


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
    "partial": partial(lambda prefix, number, frame: raising(number, frame), "prefix"),
}


@pytest.fixture
def handle() -> Iterator[Callable[[Any], None]]:
    """Sets a handler for a signal."""
    before = signal.getsignal(signal.SIGUSR1)
    yield lambda handler: signal.signal(signal.SIGUSR1, handler) and None
    signal.signal(signal.SIGUSR1, before)


def is_signalled(*_: object, **__: object) -> None:
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


@pytest.mark.parametrize("code", [own, with_its_callers_frame, partial(raising, 14, sys._getframe(0))])
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


def a_detector() -> None:
    register_dialect("interrupted", lambda event: Kind.TEXT, detect=is_signalled)  # type: ignore[arg-type]
    try:
        detected("http://127.0.0.1/", None)
    finally:
        unregister_dialect("interrupted")


def an_import() -> None:
    on_import("json", is_signalled)


def a_refused_token() -> None:
    refusal = requests.Response()
    refusal.raw = SimpleNamespace(read=is_signalled, close=int)
    _put_aside(refusal)


@pytest.mark.parametrize("place", [a_sink, a_notice, a_log, a_detector, an_import, a_refused_token])
def test_a_handlers_exception_in_a_callback_comes_out(handle: Callable[[Any], None], place: Callable[[], None]) -> None:
    """An exception of the user's callback is only logged.

    One of a signal handler during the callback is raised.
    """
    handle(raising)
    with pytest.raises(Alarm):
        place()


def response(headers: dict[str, str], *pieces: bytes) -> StreamedResponse:
    """The response over a body of ``pieces``, whose reader is interrupted once, behind the last."""
    steps = iter([*(partial(bytes, piece) for piece in pieces), is_signalled])
    reader = BodyReader(lambda: next(steps, int)() or None)
    return StreamedResponse(reader, SimpleNamespace(headers=headers, decode_content=True), promptly=False)


def test_a_handlers_exception_comes_out_of_a_decoder(handle: Callable[[Any], None]) -> None:
    """urllib3 takes every ``OSError`` that its decoder raises for broken data."""
    handle(raising)
    body = response({"content-encoding": "gzip"}, gzip.compress(b"content"))
    body._init_decoder()
    body._decoder = SimpleNamespace(decompress=is_signalled, has_unconsumed_tail=False)
    with pytest.raises(Alarm) as caught:
        body.read(4)
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_broken_data_stays_an_error_of_the_decoder() -> None:
    """An ``OSError`` of the decoder itself is urllib3's error, as without llmwatch."""
    body = response({"content-encoding": "gzip"}, b"no gzip")
    with pytest.raises(DecodeError):
        body.read(4)


def test_a_handlers_exception_between_two_pieces_comes_out(handle: Callable[[Any], None]) -> None:
    """The read that was interrupted raises it, and does not return the piece that it has."""
    handle(raising)
    with pytest.raises(Alarm):
        response({}, b"one").read(4)


@pytest.mark.parametrize(
    ("owner", "function", "step"),
    [
        (os.path, "abspath", lambda file: settings._absolute(file.name)),
        (os, "open", lambda file: JsonLinesSink._ends_whole(SimpleNamespace(path=file.name), file.fileno())),
        (os, "lseek", lambda file: JsonLinesSink(file.name)._ends_whole(file.fileno())),
        (fcntl, "flock", lambda file: JsonLinesSink(file.name)._write(b"a line")),
        (ssl.SSLContext, "load_cert_chain", lambda file: trust._load(ssl.create_default_context(), file.name)),
    ],
    ids=["abspath", "open", "lseek", "flock", "load_cert_chain"],
)
def test_a_handlers_exception_in_a_step_with_a_file_comes_out(
    handle: Callable[[Any], None],
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    function: str,
    step: Callable[[Any], object],
) -> None:
    """An error of the file system is dealt with in each of these steps, and a signal handler's is not."""
    handle(raising)
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"a line")
        file.flush()
        monkeypatch.setattr(owner, function, is_signalled)
        with pytest.raises(Alarm):
            step(file)


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
