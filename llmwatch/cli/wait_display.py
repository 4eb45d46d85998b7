"""The display of a wait on standard error: the limit that counts, and how much of it is over."""

from __future__ import annotations

from collections.abc import Callable

from rich.cells import cell_len, set_cell_size

from llmwatch import DelayNotice, ProgressNotice, RetryNotice, WaitNotice
from llmwatch.cli.terminal import Terminal
from llmwatch.engine import Notice
from llmwatch.policy import EffectiveLimits
from llmwatch.policy.values import shown

__all__ = ["Waiting", "counted", "waiting_for"]

_WORDS = {
    "idle": "starting",
    "connecting": "connecting",
    "sending": "sending the request",
    "waiting": "waiting for the first byte",
    "headers": "waiting for the first byte",
    "body": "the provider is alive, waiting for an event",
    "events": "the provider is alive, waiting for the answer",
    "content": "waiting for more",
    "finishing": "waiting for the end",
    "draining": "waiting for the end",
    "refused": "reading the error",
    "backing_off": "waiting to send again",
}

_FIRST = 0.5
"""Seconds of waiting before the terminal shows the wait."""
_FIRST_BETWEEN = 2.0
"""The same in the middle of an answer, where short pauses are normal."""
_FIRST_LINE = 1.0
"""Seconds before the first line without a terminal. Each further line comes at twice the last wait."""
_ROOM = 16
"""Free columns behind an unfinished line; with no more than these nothing is written there."""

_ERASE_LINE = "\r\x1b[2K"
# The cursor returns to the end of the answer, and the text behind it is erased.
_SAVE, _RESTORE = "\x1b7", "\x1b8\x1b[K"


class Waiting:
    """A notice callback: one transient line on a terminal, erased by :meth:`clear`; else plain lines.

    ``limits`` gives the limits of the attempt under way, to compute the elapsed time from the remaining time.
    """

    def __init__(self, terminal: Terminal, limits: Callable[[], EffectiveLimits | None]) -> None:
        self._terminal = terminal
        self._limits = limits
        self._erase = ""
        self._next_line = _FIRST_LINE

    def __call__(self, notice: Notice) -> None:
        if isinstance(notice, WaitNotice):
            self._wait(notice)
        elif isinstance(notice, RetryNotice):
            self.clear()
            self._terminal.note(_retrying(notice))
        elif isinstance(notice, DelayNotice):
            self.clear()
            self._terminal.note(notice.message[:1].upper() + notice.message[1:])
        elif isinstance(notice, ProgressNotice):
            self.clear()

    def clear(self) -> None:
        """Erase the transient line, because the wait has ended or other output follows."""
        self._next_line = _FIRST_LINE
        if self._erase:
            self._terminal.scribble(self._erase)
            self._erase = ""

    def _wait(self, notice: WaitNotice) -> None:
        text = waiting_for(notice, self._limits())
        if not self._terminal.talking:
            if notice.waited >= self._next_line:
                self._next_line = max(self._next_line, notice.waited) * 2
                self._terminal.note(text)
            return
        if notice.waited < (_FIRST_BETWEEN if notice.phase == "content" else _FIRST):
            return
        column, width = self._terminal.column, self._terminal.err.width
        if column == 0:
            self._terminal.scribble(f"{_ERASE_LINE}\x1b[2m{_fit(text, width - 1)}\x1b[0m")
            self._erase = _ERASE_LINE
        elif (room := width - column - 4) > _ROOM:
            # Only the numbers, if the whole text does not fit.
            shorter = text if cell_len(text) <= room else text.partition("... ")[2]
            self._terminal.scribble(f"{self._erase}{_SAVE}\x1b[2m [{_fit(shorter, room)}]\x1b[0m")
            self._erase = _RESTORE


def waiting_for(notice: WaitNotice, limits: EffectiveLimits | None) -> str:
    """The wait and the limit that counts: ``waiting for the first byte... 12 s of 120 s (ttfb)``."""
    what = _WORDS.get(notice.phase, "waiting")
    attempt = f", attempt {notice.attempt}" if notice.attempt > 1 else ""
    counting = counted(notice, limits)
    if counting is None:
        return f"{what}... {_seconds(notice.waited, None)} (no limit is counting{attempt})"
    elapsed, limit = counting
    return f"{what}... {_seconds(elapsed, limit)} of {shown(limit)} ({notice.limit}{attempt})"


def counted(notice: WaitNotice, limits: EffectiveLimits | None) -> tuple[float, float] | None:
    """The elapsed and the whole seconds of the limit that counts; ``None`` if no limit counts."""
    if notice.limit is None or notice.expires_in is None or limits is None:
        return None
    known = limits.limits.get(notice.limit)
    if known is None or known.value is None:
        return None
    return max(0.0, known.value - notice.expires_in), known.value


def _retrying(notice: RetryNotice) -> str:
    number = f"attempt {notice.attempt} of {notice.of}"
    wait = "at once" if notice.wait <= 0 else f"in {notice.wait:.1f} s"
    return f"{number} failed ({notice.cause}); resending {wait} on a fresh connection"


def _seconds(value: float, limit: float | None) -> str:
    return f"{value:.1f} s" if limit is not None and limit < 10 else f"{value:,.0f} s"


def _fit(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, max(width, 0))
