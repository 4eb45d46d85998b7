"""The answer of a chat, and its way to standard output."""

from __future__ import annotations

from llmwatch import Event
from llmwatch.cli.terminal import Terminal
from llmwatch.wire import Collector, Kind

__all__ = ["Answer"]


class Answer:
    """The answer so far. ``aloud`` writes it to standard output as it comes.

    Of the reasoning only a terminal shows anything, dimmed and apart from the text.
    """

    def __init__(self, terminal: Terminal, *, aloud: bool) -> None:
        self._terminal = terminal
        self._aloud = aloud
        self._last = ""
        self._reasoned = False
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._marks = Collector()

    @property
    def text(self) -> str:
        """The whole text so far."""
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        """The whole reasoning so far."""
        return "".join(self._reasoning)

    @property
    def reason_why_empty(self) -> str | None:
        """The provider's reason for an empty answer; ``None`` if it gave none."""
        return self._marks.reason_why_empty

    def add(self, event: Event) -> None:
        """Add the content of one event."""
        if event.finish or event.kind in (Kind.TERMINAL, Kind.USAGE):
            self._marks.add(event)
        if event.reasoning:
            self._reasoning.append(event.reasoning)
            if self._aloud and self._terminal.live:
                self._reasoned = True
                self._write(event.reasoning, dim=True)
        if event.text:
            self._text.append(event.text)
            if self._aloud:
                if self._reasoned:
                    self._reasoned = False
                    self.end_line()
                    self._write("\n")
                self._write(event.text)

    def end_line(self) -> None:
        """Write a line break, unless the output is empty or ends with one."""
        if self._last and not self._last.endswith("\n"):
            self._write("\n")

    def _write(self, text: str, *, dim: bool = False) -> None:
        self._terminal.write(text, dim=dim)
        self._last = text
