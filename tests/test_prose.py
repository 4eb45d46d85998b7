"""Docstrings, comments and the README: a short first line, and subjects that are named."""

from __future__ import annotations

import ast
import re
import tokenize
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILES = [path for folder in ("llmwatch", "examples", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
VAGUE = re.compile(r"\b(nobody|whoever|somebody|cannot be meant|what is no|of this house)\b", re.IGNORECASE)


def docstrings(path: Path) -> list[tuple[str, str]]:
    """The place and the text of each docstring in ``path``, those of attributes included."""
    nodes = (node.value for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Expr))
    strings = (node for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return [(f"{path.relative_to(ROOT)}:{node.lineno}", str(node.value)) for node in strings]


def comments(path: Path) -> list[tuple[str, str]]:
    with path.open("rb") as source:
        tokens = [token for token in tokenize.tokenize(source.readline) if token.type == tokenize.COMMENT]
    return [(f"{path.relative_to(ROOT)}:{token.start[0]}", token.string) for token in tokens]


def test_the_first_line_of_a_docstring_is_short() -> None:
    """The first line has fewer than 100 characters."""
    lines = [(place, text.splitlines()[0]) for path in FILES for place, text in docstrings(path)]
    assert len(lines) > 1_000
    assert [place for place, line in lines if len(line) >= 100] == []


def test_prose_has_no_vague_subjects() -> None:
    """Docstrings, comments and the README name their subject."""
    texts = [prose for path in FILES for prose in docstrings(path) + comments(path)]
    texts.append(("README.md", (ROOT / "README.md").read_text(encoding="utf-8")))
    found = [(place, VAGUE.findall(" ".join(text.split()))) for place, text in texts]
    assert [(place, words) for place, words in found if words] == []
