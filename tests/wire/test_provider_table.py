"""The table of what providers send, beside the dialects that there are."""

from __future__ import annotations

import re
from pathlib import Path

import llmwatch.wire
from llmwatch.wire import names


def test_every_dialect_has_its_row() -> None:
    """Each built-in dialect stands in the table, and nothing else does."""
    text = (Path(llmwatch.wire.__file__).parent / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z-]+)`.*?\|(?:.*\|){7}$", text, re.MULTILINE)
    assert set(rows) == set(names()) - {"auto"}
    assert len(rows) == len(set(rows)) + 2, "two dialects have two rows each"
