"""The package as others see it."""

from __future__ import annotations

import ast
import inspect
from types import FunctionType, GenericAlias

from llmwatch import policy


def test_every_public_name_is_there_once() -> None:
    """__all__ is sorted, holds no name twice, and each of its names exists."""
    assert len(set(policy.__all__)) == len(policy.__all__)
    assert all(hasattr(policy, name) for name in policy.__all__)


def test_everything_public_is_documented() -> None:
    """Each public class and function has a docstring."""
    for name in policy.__all__:
        thing = getattr(policy, name)
        # On Python 3.10 inspect takes a Callable with its types for a class.
        if isinstance(thing, FunctionType) or (inspect.isclass(thing) and not isinstance(thing, GenericAlias)):
            assert inspect.getdoc(thing), name


def test_the_package_holds_no_logic() -> None:
    """The package file imports and lists, nothing else."""
    tree = ast.parse(inspect.getsource(policy))
    assert {type(node) for node in tree.body} <= {ast.Expr, ast.ImportFrom, ast.Assign}
