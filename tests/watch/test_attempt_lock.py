"""The lock of an attempt: every method that needs it runs under it."""

from __future__ import annotations

import ast
import inspect
import textwrap

import pytest

from llmwatch.watch.attempt import Attempt
from tests.watch.held import marked
from tests.watch.scripted import Stage

_FREE = {"_run": "hands everything to methods that take the lock, and reads a count when its worker is through"}
"""Private methods that neither take the lock nor need it, each with its reason."""


def test_a_method_that_needs_the_lock_fails_without_it() -> None:
    """Every method that is marked as called under the lock asserts in these tests that it is."""
    one = Stage()
    assert len(marked()) > 10
    for name in marked():
        with pytest.raises(AssertionError, match="without the attempt's lock"):
            getattr(one.attempt, name)()


def test_each_private_method_takes_the_lock_or_says_that_it_is_held() -> None:
    """Every private method of an attempt takes the lock itself or is marked as called under it."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(Attempt))).body[0]
    assert isinstance(tree, ast.ClassDef)
    private = {
        node.name: ast.unparse(node)
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("_") and not node.name.startswith("__")
    }
    open_ones = {name for name, source in private.items() if "self._lock" not in source and name not in marked()}
    assert open_ones == set(_FREE)
    assert not set(_FREE) & set(marked())
