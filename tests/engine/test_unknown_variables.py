"""``llmwatch.engine.settings``: a misspelt variable is told once in a process."""

from __future__ import annotations

import logging
import threading

import pytest

from llmwatch.engine import settings
from llmwatch.engine.settings import log_unknown
from tests.conftest import SCALE

PATIENCE = 50.0 * SCALE
TOLD = "llmwatch: {} has no effect: llmwatch knows no variable of that name; did you mean {}?"


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_told", {})


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    assert {one.name for one in caplog.records} <= {"llmwatch"}
    assert {one.levelno for one in caplog.records} <= {logging.WARNING}
    return [one.getMessage() for one in caplog.records]


def test_each_unknown_name_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """The log names the nearest variable; another value of the same name logs nothing, another name does."""
    log_unknown({"LLMWATCH_TTFB_SECONDS": "45", "PATH": "/bin", "LLMWATCH_STALE_TIMEOUT_SECONDS": "60"})
    log_unknown({"LLMWATCH_TTFB_SECONDS": "46"})
    log_unknown({"LLMWATCH_TTFB_SECONDS": "45", "LLMWATCH_PROFIL": "local"})
    assert said(caplog) == [
        TOLD.format("LLMWATCH_TTFB_SECONDS", "LLMWATCH_TTFB_TIMEOUT_SECONDS"),
        TOLD.format("LLMWATCH_PROFIL", "LLMWATCH_PROFILE"),
    ]


def test_known_blank_and_foreign_variables_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A variable that exists, a blank one, and one of another program are no mistakes."""
    log_unknown({"LLMWATCH_MAX_ATTEMPTS": "nonsense", "LLMWATCH_ZZZ": "  ", "LLMWATCHER": "1", "llmwatch_x": "1"})
    assert said(caplog) == []


def test_many_threads_log_a_name_once(caplog: pytest.LogCaptureFixture) -> None:
    """Threads that make their first call at once tell a name once."""
    start = threading.Barrier(16)

    def look() -> None:
        start.wait(PATIENCE)
        log_unknown({f"LLMWATCH_TTFB_{number}": "1" for number in range(20)})

    threads = [threading.Thread(target=look) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    found = said(caplog)
    assert len(found) == len(set(found)) == 20


def test_a_flood_of_unknown_names_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """A program that makes variables up neither fills the log nor the memory."""
    for number in range(1000):
        log_unknown({f"LLMWATCH_X{number}": "1"})
    assert len(said(caplog)) == len(settings._told) == 100


def test_a_log_handler_that_raises_ends_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception of a log handler does not reach the call, and the handler is called once."""

    class Broken(logging.Handler):
        asked = 0

        def emit(self, record: logging.LogRecord) -> None:
            self.asked += 1
            raise RuntimeError("the log is full")

    handler, log = Broken(), logging.getLogger("llmwatch")
    log.addHandler(handler)
    try:
        log_unknown({"LLMWATCH_ZZZ": "1"})
        log_unknown({"LLMWATCH_ZZZ": "1"})
    finally:
        log.removeHandler(handler)
    assert handler.asked == 1
