from __future__ import annotations

import io
import json

import pytest

from llmwatch.cli.terminal import Terminal, advance, printable, table


@pytest.mark.parametrize(
    ("column", "text", "after"),
    [
        (0, "", 0),
        (0, "abc", 3),
        (5, "abc", 8),
        (5, "abc\n", 0),
        (5, "abc\nde", 2),
        (0, "語", 2),
        (8, "abc", 1),
        (0, "a" * 10, 10),
        (0, "a" * 20, 10),
        (10, "b", 1),
        (3, "\tx", 9),
        (9, "\tx", 1),
    ],
)
def test_the_column_after_any_text_is_known(column: int, text: str, after: int) -> None:
    """The cursor's column is known after any text: wrapped lines, wide characters, tabs."""
    assert advance(column, text, 10) == after


def test_only_printable_text_comes_through() -> None:
    """Control characters of a terminal are removed; text, line breaks and tabs stay."""
    assert printable("a\x1b[2Jb\x07\x9b1mc\r\nd\te\x00é語🐕") == "a\ufffd[2Jb\ufffd\ufffd1mc\nd\te\ufffdé語🐕"


def _piped(monkeypatch: pytest.MonkeyPatch, encoding: str = "utf-8") -> tuple[Terminal, io.BytesIO]:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding=encoding))
    return Terminal(), raw


def test_text_goes_out_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal, every character is written as it came, at once."""
    terminal, raw = _piped(monkeypatch)
    terminal.write("a\x1b[1m\r\nb")
    assert raw.getvalue() == b"a\x1b[1m\r\nb"
    assert not terminal.live


def test_characters_of_no_encoding_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A character that the encoding has not is replaced, lone surrogates included.

    JSON loses nothing.
    """
    terminal, raw = _piped(monkeypatch, "ascii")
    terminal.write("naïve \ud83d")
    assert raw.getvalue() == b"na?ve ?"
    raw.seek(0)
    raw.truncate()
    terminal.document({"text": "naïve 🐕"})
    assert json.loads(raw.getvalue()) == {"text": "naïve 🐕"}


def test_table_without_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table in a file has one line a row, however long, no trailing blanks and no escape sequence."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    terminal, raw = _piped(monkeypatch)
    terminal.show(table(("name", "meaning"), [("a", "word " * 60), ("bb", "[x]")]))
    lines = raw.getvalue().decode().splitlines()
    assert [line.split(maxsplit=1)[0] for line in lines] == ["name", "a", "bb"]
    assert lines[2] == "bb    [x]"
    assert all(line == line.rstrip() and "\x1b" not in line for line in lines)


def test_notes_never_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    """A note to a standard error that is gone costs nothing."""
    gone = io.StringIO()
    gone.close()

    class Gone(io.TextIOWrapper):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stderr", Gone(io.BytesIO()))
    Terminal().note("x")
