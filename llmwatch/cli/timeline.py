"""The timeline of the demo: the events of each attempt, redrawn on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from rich.live import Live
from rich.table import Table
from rich.text import Text

from llmwatch.cli.terminal import Terminal
from llmwatch.policy.values import shown

__all__ = ["LiveTimeline", "Mark", "NoTimeline", "PlainTimeline", "Timeline"]

_BAR = 16


class Mark(Enum):
    """The kind of a line: its sign and its colour on a terminal."""

    GOOD = ("✓", "green")
    KILLED = ("✗", "red")
    WAITING = ("●", "yellow")
    AGAIN = ("↻", "yellow")
    WORDS = ("▶", "cyan")


class Timeline(Protocol):
    """The output of the demo while it runs."""

    def section(self, title: str) -> None:
        """Write a heading."""

    def moment(self, mark: Mark, text: str, *, key: str = "") -> None:
        """Write the line of an event. On a redrawn timeline it replaces the line with the same ``key``."""

    def counting(self, text: str, elapsed: float, limit: float, *, key: str) -> None:
        """Write the line of a wait; only a redrawn timeline shows it."""

    def words(self, text: str) -> None:
        """Write a piece of the answer."""

    def close(self) -> None:
        """End the timeline."""


class NoTimeline:
    """No output, for ``--json``."""

    def section(self, title: str) -> None:
        pass

    def moment(self, mark: Mark, text: str, *, key: str = "") -> None:
        pass

    def counting(self, text: str, elapsed: float, limit: float, *, key: str) -> None:
        pass

    def words(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass


class PlainTimeline:
    """One line for each event, written at once; ``now`` gives the seconds since the demo began."""

    def __init__(self, terminal: Terminal, now: Callable[[], float]) -> None:
        self._terminal = terminal
        self._now = now
        self._speaking = False
        self._begun = False

    def section(self, title: str) -> None:
        self._hush()
        self._terminal.write(f"\n{title}\n" if self._begun else f"{title}\n")
        self._begun = True

    def moment(self, mark: Mark, text: str, *, key: str = "") -> None:
        self._hush()
        self._terminal.write(f"{self._now():7.2f} s  {text}\n")

    def counting(self, text: str, elapsed: float, limit: float, *, key: str) -> None:
        pass

    def words(self, text: str) -> None:
        margin = " " * 11
        self._terminal.write((margin if not self._speaking else "") + text.replace("\n", f"\n{margin}"))
        self._speaking = True

    def close(self) -> None:
        self._hush()

    def _hush(self) -> None:
        if self._speaking:
            self._speaking = False
            self._terminal.write("\n")


@dataclass(slots=True)
class _Line:
    key: str
    mark: Mark | None
    at: float
    text: Text


class LiveTimeline:
    """One section in a redrawn region; a finished section stays in the terminal's history."""

    def __init__(self, terminal: Terminal, now: Callable[[], float]) -> None:
        self._terminal = terminal
        self._now = now
        self._lines: list[_Line] = []
        self._answer = ""
        self._live: Live | None = None

    def section(self, title: str) -> None:
        if self._live is not None:
            self.close()
            self._terminal.show()
        self._terminal.show(Text(title, style="bold"))
        self._lines, self._answer = [], ""
        self._live = Live(console=self._terminal.out, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        self._live.start()

    def moment(self, mark: Mark, text: str, *, key: str = "") -> None:
        self._put(_Line(key, mark, self._now(), Text(text)))

    def counting(self, text: str, elapsed: float, limit: float, *, key: str) -> None:
        full = min(_BAR, round(_BAR * elapsed / limit))
        line = Text(f"{text} ").append("━" * full, style="yellow").append("━" * (_BAR - full), style="dim")
        self._put(_Line(key, Mark.WAITING, self._now(), line.append(f" {elapsed:.1f} s of {shown(limit)}")))

    def words(self, text: str) -> None:
        self._answer += text
        self._put(_Line("words", None, self._now(), Text(self._answer, style="italic")))

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _put(self, line: _Line) -> None:
        at = next((at for at, old in enumerate(self._lines) if line.key and old.key == line.key), len(self._lines))
        self._lines[at : at + 1] = [line]
        if self._live is not None:
            self._live.update(self._drawn(), refresh=True)

    def _drawn(self) -> Table:
        drawn = Table.grid(padding=(0, 1))
        for _ in range(3):
            drawn.add_column()
        for line in self._lines:
            if line.mark is None:
                drawn.add_row("", "", line.text)
            else:
                sign, style = line.mark.value
                drawn.add_row(Text(sign, style=style), Text(f"{line.at:6.2f} s ", style="dim"), line.text)
        return drawn
