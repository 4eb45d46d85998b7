"""The package as others see it."""

from __future__ import annotations

import ast
import inspect
import pathlib

from llmwatch import payload


def test_every_public_name_is_there_once() -> None:
    """__all__ is sorted, holds no name twice, and each of its names exists."""
    assert len(set(payload.__all__)) == len(payload.__all__)
    assert all(hasattr(payload, name) for name in payload.__all__)


def test_everything_public_is_documented() -> None:
    """Each public class and function has a docstring."""
    for name in payload.__all__:
        thing = getattr(payload, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert inspect.getdoc(thing), name


def test_the_package_holds_no_logic() -> None:
    """The package file imports and lists, nothing else."""
    tree = ast.parse(inspect.getsource(payload))
    assert {type(node) for node in tree.body} <= {ast.Expr, ast.ImportFrom, ast.Assign}


def test_the_package_imports_nothing_that_waits_or_talks() -> None:
    """Its modules import the errors, each other, and modules without waits and without a network."""
    for path in pathlib.Path(payload.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                names = [str(node.module)]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            for name in names:
                assert not name.startswith("llmwatch") or name.startswith(
                    (
                        "llmwatch.errors",
                        "llmwatch.at_fork",
                        "llmwatch.lazy_pattern",
                        "llmwatch.payload",
                        "llmwatch.redaction",
                    )
                ), name
                assert name.partition(".")[0] not in ("time", "socket", "requests", "urllib3", "random"), path.name
