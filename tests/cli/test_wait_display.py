from __future__ import annotations

from types import SimpleNamespace

import pytest

from llmwatch import AttemptRecord, Limits, ProgressNotice, RetryNotice, WaitNotice
from llmwatch.cli.wait_display import Waiting, waiting_for
from llmwatch.policy import EffectiveLimits, resolve_limits


class FakeTerminal:
    """Remembers what was written to standard error."""

    def __init__(self, *, talking: bool, column: int = 0, width: int = 80) -> None:
        self.talking = talking
        self.column = column
        self.err = SimpleNamespace(width=width)
        self.said: list[str] = []

    def scribble(self, text: str) -> None:
        self.said.append(text)

    def note(self, text: str) -> None:
        self.said.append(text + "\n")


def limits(**given: float) -> EffectiveLimits:
    return resolve_limits(client=Limits(**given), environ={}, profile="hosted")


def wait(
    waited: float, *, limit: str | None = "ttfb", left: float | None = 108.0, phase: str = "waiting", attempt: int = 1
) -> WaitNotice:
    return WaitNotice(attempt=attempt, waited=waited, phase=phase, limit=limit, expires_in=left)


@pytest.mark.parametrize(
    ("notice", "text"),
    [
        (wait(12), "waiting for the first byte... 12 s of 120 s (ttfb)"),
        (wait(12, attempt=2), "waiting for the first byte... 12 s of 120 s (ttfb, attempt 2)"),
        (wait(0.4, limit="connect", left=9.6, phase="connecting"), "connecting... 0 s of 10 s (connect)"),
        (wait(9, limit="stale", left=351, phase="content"), "waiting for more... 9 s of 360 s (stale)"),
        (wait(9, limit=None, left=None), "waiting for the first byte... 9 s (no limit is counting)"),
        (
            wait(9, limit="first_content", left=200, phase="events"),
            "the provider is alive, waiting for the answer... 100 s of 300 s (first_content)",
        ),
        (wait(9, limit="error_body", left=2, phase="refused"), "reading the error... 9 s (no limit is counting)"),
    ],
)
def test_a_notice_names_wait_limit_and_attempt(notice: WaitNotice, text: str) -> None:
    """A notice says what is waited for, and how much of which limit is over.

    From the second attempt on it says which attempt it is.
    """
    assert waiting_for(notice, limits()) == text


def test_short_limits_are_counted_in_tenths() -> None:
    """A limit of a few seconds is counted in tenths."""
    notice = wait(0.7, left=0.8)
    assert waiting_for(notice, limits(ttfb=1.5)) == "waiting for the first byte... 0.7 s of 1.5 s (ttfb)"


def test_lines_come_at_doubling_waits_without_a_terminal() -> None:
    """Without a terminal, each line comes at twice the wait of the last, and progress starts over."""
    terminal = FakeTerminal(talking=False)
    waiting = Waiting(terminal, limits)  # type: ignore[arg-type]
    for tenth in range(1, 100):
        waiting(wait(tenth / 10, left=120 - tenth / 10))
    assert len(terminal.said) == 4  # at 1, 2, 4 and 8 s
    assert all(line.endswith("\n") and "\x1b" not in line for line in terminal.said)
    waiting(ProgressNotice(attempt=1))
    waiting(wait(1.0))
    assert len(terminal.said) == 5


def test_a_terminal_has_one_line_that_is_rewritten() -> None:
    """In a terminal the notice is one line that is rewritten in place, and taken away by progress, once."""
    terminal = FakeTerminal(talking=True)
    waiting = Waiting(terminal, limits)  # type: ignore[arg-type]
    waiting(wait(0.2))
    assert terminal.said == []
    waiting(wait(12))
    waiting(wait(13, left=107))
    assert all("\n" not in said and said.startswith("\r\x1b[2K") for said in terminal.said)
    assert "13 s of 120 s" in terminal.said[-1]
    waiting(ProgressNotice(attempt=1))
    waiting(ProgressNotice(attempt=1))
    assert terminal.said[2:] == ["\r\x1b[2K"]


def test_the_transient_line_fits_the_terminal() -> None:
    """The transient line is never longer than the terminal.

    A longer one would wrap and could not be taken away.
    """
    terminal = FakeTerminal(talking=True, width=30)
    Waiting(terminal, limits)(wait(12))  # type: ignore[arg-type]
    shown = terminal.said[0].replace("\r\x1b[2K", "").replace("\x1b[2m", "").replace("\x1b[0m", "")
    assert len(shown) == 29


def test_a_notice_stands_behind_an_unfinished_line() -> None:
    """In the middle of an answer the notice stands behind the text, which it leaves as it is."""
    terminal = FakeTerminal(talking=True, column=30)
    waiting = Waiting(terminal, limits)  # type: ignore[arg-type]
    waiting(wait(1.0, phase="content", limit="stale", left=359))
    assert terminal.said == []
    waiting(wait(3.0, phase="content", limit="stale", left=357))
    assert "3 s of 360 s (stale)" in terminal.said[0]
    assert "\r" not in terminal.said[0]
    assert "\n" not in terminal.said[0]
    waiting.clear()
    assert terminal.said[1:] == ["\x1b8\x1b[K"]


def test_a_narrow_notice_shows_its_numbers() -> None:
    """A notice that does not fit behind the text is reduced to its numbers."""
    terminal = FakeTerminal(talking=True, column=50)
    Waiting(terminal, limits)(wait(9, phase="content", limit="stale", left=351))  # type: ignore[arg-type]
    assert " [9 s of 360 s (stale)]" in terminal.said[0]


def test_a_full_line_gets_no_notice() -> None:
    """No notice is written behind a line that is almost full."""
    terminal = FakeTerminal(talking=True, column=70)
    Waiting(terminal, limits)(wait(30, phase="content"))  # type: ignore[arg-type]
    assert terminal.said == []


@pytest.mark.parametrize("talking", [True, False])
def test_a_retry_line_stays(talking: bool) -> None:
    """A retry is reported in a line that stays, after the transient line was erased."""
    terminal = FakeTerminal(talking=talking)
    waiting = Waiting(terminal, limits)  # type: ignore[arg-type]
    waiting(wait(12))
    record = AttemptRecord(number=1, started_at=0.0, method="POST", url="http://h.test", origin="http://h.test")
    waiting(
        RetryNotice(attempt=1, of=3, phase="waiting", limit="ttfb", wait=0.42, cause="ttfb", message="", record=record)
    )
    assert terminal.said[-1] == "attempt 1 of 3 failed (ttfb); resending in 0.4 s on a fresh connection\n"
    assert (terminal.said[-2] == "\r\x1b[2K") == talking
