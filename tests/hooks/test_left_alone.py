from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from llmwatch.hooks import left_alone
from llmwatch.hooks.left_alone import OTHER, LeftAlone, count_other, counts, leave, tell_with

REMEDY = "Do otherwise."


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What is said, in place of the logger."""
    said: list[str] = []
    tell_with(said.append)
    yield said
    tell_with(None)


def test_requests_are_counted_by_library_and_reason(lines: list[str]) -> None:
    """Numbers are kept for each library and reason, and the first of each model call is said."""
    count_other("one")
    count_other("one")
    count_other("two", "a body that is read once")
    for _ in range(3):
        leave("one", LeftAlone("HTTP/2"), remedy=REMEDY)
    leave("two", LeftAlone("HTTP/2", remedy="Do this."), remedy=REMEDY)
    leave("two", LeftAlone("a mock", said=False), remedy=REMEDY)
    assert counts() == {
        "one": {OTHER: 2, "HTTP/2": 3},
        "two": {"a body that is read once": 1, "HTTP/2": 1, "a mock": 1},
    }
    assert lines == [
        "a model call through one is not watched: HTTP/2. Do otherwise.",
        "a model call through two is not watched: HTTP/2. Do this.",
    ]


def test_the_logger_has_the_line_unless_another_way_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """The line is one warning on the logger."""
    leave("one", LeftAlone("HTTP/2"), remedy=REMEDY)
    leave("one", LeftAlone("HTTP/2"), remedy=REMEDY)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "llmwatch: a model call through one is not watched: HTTP/2. Do otherwise.")
    ]


def test_what_the_notifier_raises_stays_there_unless_a_signal_raised_it() -> None:
    """A failure to write harms no call; Ctrl-C goes through."""

    def fails(line: str) -> None:
        raise OSError(line)

    def interrupted(line: str) -> None:
        raise KeyboardInterrupt

    tell_with(fails)
    leave("one", LeftAlone("HTTP/2"), remedy=REMEDY)
    tell_with(interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            leave("one", LeftAlone("SOCKS"), remedy=REMEDY)
    finally:
        tell_with(None)
    assert counts() == {"one": {"HTTP/2": 1, "SOCKS": 1}}


def test_no_request_of_many_threads_is_lost(lines: list[str]) -> None:
    """The numbers are exact, and one thread says the line."""
    begin = threading.Barrier(8)

    def work() -> None:
        begin.wait()
        for _ in range(2000):
            count_other("one")
            leave("one", LeftAlone("HTTP/2"), remedy=REMEDY)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts() == {"one": {OTHER: 16_000, "HTTP/2": 16_000}}
    assert len(lines) == 1


def test_a_forked_child_counts_for_itself_and_repeats_nothing(lines: list[str]) -> None:
    """The child starts at zero with a free lock, although a thread of the parent holds it."""
    count_other("one")
    leave("one", LeftAlone("HTTP/2"), remedy=REMEDY)
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with left_alone._lock:
            held.set()
            over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if not child:
        code = 1
        try:
            leave("one", LeftAlone("HTTP/2"), remedy=REMEDY)
            count_other("two")
            code = 0 if (counts(), len(lines)) == ({"one": {"HTTP/2": 1}, "two": {OTHER: 1}}, 1) else 2
        finally:
            os._exit(code)
    over.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert counts() == {"one": {OTHER: 1, "HTTP/2": 1}}
