"""The package as others see it."""

from __future__ import annotations

import ast
import inspect
import pathlib
from enum import EnumMeta

from llmwatch import records


def test_every_public_name_is_there_once_and_documented() -> None:
    """__all__ holds no name twice, each of its names exists, and each class and function has a docstring."""
    assert len(set(records.__all__)) == len(records.__all__)
    for name in records.__all__:
        thing = getattr(records, name)
        if inspect.isfunction(thing) or type(thing) is type or isinstance(thing, EnumMeta):
            # Sink is a type alias, which is told from a class by its type alone up to Python 3.10.
            assert inspect.getdoc(thing), name


def test_the_package_holds_no_logic() -> None:
    """The package file imports and lists, nothing else."""
    tree = ast.parse(inspect.getsource(records))
    assert {type(node) for node in tree.body} <= {ast.Expr, ast.ImportFrom, ast.Assign}


_BELOW = ("llmwatch.records", "llmwatch.redaction", "llmwatch.at_fork", "llmwatch.interruption")


def test_records_import_redaction_and_interruption_alone() -> None:
    """Records stand near the bottom of the package.

    Below them are redaction, and the module that tells what a signal handler has raised. None of their modules imports
    another package of llmwatch, or time.
    """
    for path in pathlib.Path(records.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            for name in names:
                assert not name.startswith("llmwatch") or name.startswith(_BELOW), (path.name, name)
                assert name != "time", path.name
