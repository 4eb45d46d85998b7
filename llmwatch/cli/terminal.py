"""Standard output and standard error of one command: their abilities, and the writing to them.

A standard output that is not a terminal gets text only: no escape sequence and no redrawn region, whatever the value
of ``FORCE_COLOR``. rich honours ``NO_COLOR`` and ``TERM=dumb``.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

__all__ = ["OutputFailed", "Terminal", "advance", "printable", "table"]

_PLAIN_WIDTH = 1000
"""Columns without a terminal, so many that a line of a table is a line of the file."""

_TAB = 8
# A model's text must not move the cursor, set the title, clear the screen or, by a CR, overwrite its own line.
_CONTROLS: dict[int, str | None] = {
    **{code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"},
    0x0D: None,
}


class OutputFailed(Exception):
    """Standard output cannot be written, for the reason given: a full disk, for example."""


class Terminal:
    """The two streams of a command, as they are now.

    ``out`` and ``err`` are rich consoles; ``live`` says whether standard output, ``talking`` whether standard error
    can be redrawn. ``column`` is the cursor's column after the last write to standard output, 0 without a terminal.
    """

    def __init__(self) -> None:
        self.out = _console(sys.stdout)
        self.err = _console(sys.stderr)
        self.column = 0

    @property
    def live(self) -> bool:
        return self.out.is_terminal and not self.out.is_dumb_terminal

    @property
    def talking(self) -> bool:
        return self.err.is_terminal and not self.err.is_dumb_terminal

    def write(self, text: str, *, dim: bool = False) -> None:
        """Write text at once, without a line break. ``dim`` has an effect on a terminal only.

        Raises ``BrokenPipeError`` if the reader has left, :class:`OutputFailed` if writing fails otherwise.
        """
        if self.out.is_terminal:
            text = printable(text)
            self.column = advance(self.column, text, self.out.width)
        with _writing():
            # Not through rich, which expands tabs and answers a broken pipe by exiting.
            self.out.file.write(f"\x1b[2m{text}\x1b[0m" if dim and self.live else text)
            self.out.file.flush()

    def show(self, renderable: RenderableType = "") -> None:
        """Write a table or a line to standard output. Raises the errors of :meth:`write`."""
        if self.live:
            with _writing():
                self.out.print(renderable)
            return
        # rich pads the lines that it writes with blanks, and its capture flushes standard output: so it draws apart.
        drawn = io.StringIO()
        console = _console(drawn, width=self.out.width)
        console.print(renderable, soft_wrap=isinstance(renderable, (str, Text)))
        self.write("".join(f"{line.rstrip()}\n" for line in drawn.getvalue().splitlines()))

    def document(self, document: object) -> None:
        """Write JSON to standard output, in ASCII for any encoding. Raises the errors of :meth:`write`."""
        self.write(json.dumps(document, indent=2, allow_nan=False) + "\n")

    def note(self, text: str) -> None:
        """Write a line to standard error, broken between words on a terminal. Errors of writing are ignored."""
        if self.err.is_terminal:
            lines = Text(printable(text)).wrap(self.err, self.err.width)
            text = "\n".join(line.plain.rstrip() for line in lines)
        self.scribble(text + "\n")

    def scribble(self, text: str) -> None:
        """Write text to standard error as it is, escape sequences included. Errors of writing are ignored."""
        try:
            self.err.file.write(text)
            self.err.file.flush()
        except (OSError, ValueError):
            # A notice that cannot be shown must not cost the answer.
            pass


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputFailed(error.strerror or type(error).__name__) from None


def table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, header: bool = True) -> Table:
    """A table whose columns are separated by blanks, without lines, for a terminal and a file alike."""
    made = Table(
        show_header=header,
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style="dim",
    )
    for name in columns:
        made.add_column(name, overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    return made


def printable(text: str) -> str:
    """``text`` without the control characters of a terminal."""
    return text.translate(_CONTROLS)


def advance(column: int, text: str, width: int) -> int:
    """The cursor's column after ``text``, printed from ``column`` on a terminal of ``width`` columns.

    The result at the right margin is ``width``, because terminals differ in when they wrap.
    """
    *before, last = text.split("\n")
    if before:
        column = 0
    first, *tabbed = last.split("\t")
    column += cell_len(first)
    for piece in tabbed:
        column = min(column + _TAB - column % _TAB, width) + cell_len(piece)
    return (column - 1) % width + 1 if column > 0 else 0


def _console(stream: TextIO, width: int = _PLAIN_WIDTH) -> Console:
    reconfigure: Any = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        # An answer may hold characters that the terminal's encoding lacks.
        reconfigure(errors="replace")
    is_terminal = stream.isatty()
    return Console(
        file=stream,
        force_terminal=is_terminal,
        force_jupyter=False,
        width=None if is_terminal else width,
        highlight=False,
        markup=False,
        emoji=False,
    )
