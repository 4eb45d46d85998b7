"""The answer of a chat, and its way to standard output."""

from __future__ import annotations

from llmwatch import Event
from llmwatch.cli.terminal import Terminal
from llmwatch.wire import Collector, Kind

__all__ = ["Answer"]


class Answer:
    """What came so far, and its way to standard output.

    ``aloud`` writes it as it comes: the text, and on a terminal the reasoning, dimmed and apart from it.
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
        """All of the text."""
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        """All of the reasoning."""
        return "".join(self._reasoning)

    @property
    def reason_why_empty(self) -> str | None:
        """Why there is nothing in it, as its provider says; ``None`` where it does not."""
        return self._marks.reason_why_empty

    def add(self, event: Event) -> None:
        """Take what one event carries."""
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
        """A line break, unless the last line has its own or there is none."""
        if self._last and not self._last.endswith("\n"):
            self._write("\n")

    def _write(self, text: str, *, dim: bool = False) -> None:
        self._terminal.write(text, dim=dim)
        self._last = text
