"""The package as others see it."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import pathlib

import pytest

from llmwatch import recovery
from llmwatch.recovery import BreakerState, Context, EntryPoint, Outcome, Reason, Sent

ALLOWED = (
    "llmwatch.errors",
    "llmwatch.payload",
    "llmwatch.policy",
    "llmwatch.wire",
    "llmwatch.records",
    "llmwatch.recovery",
)


def test_every_public_name_is_there_once_and_documented() -> None:
    """__all__ holds no name twice, each of its names exists, and each class and function has a docstring."""
    assert len(set(recovery.__all__)) == len(recovery.__all__)
    for name in recovery.__all__:
        assert inspect.getdoc(getattr(recovery, name)), name


def test_the_package_holds_no_logic() -> None:
    """The package file imports and lists, nothing else."""
    tree = ast.parse(inspect.getsource(recovery))
    assert {type(node) for node in tree.body} <= {ast.Expr, ast.ImportFrom, ast.Assign}


def test_the_package_imports_nothing_above_it() -> None:
    """The package imports no limit, no network, and no randomness of its own."""
    for path in pathlib.Path(recovery.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            for name in names:
                assert not name.startswith("llmwatch") or name.startswith((*ALLOWED, "llmwatch.errors")), (
                    path.name,
                    name,
                )
                assert name.partition(".")[0] not in ("time", "socket", "requests", "urllib3", "random"), path.name


@pytest.mark.parametrize("enum", [BreakerState, EntryPoint, Outcome, Reason, Sent])
def test_enums_read_as_their_words(enum: type) -> None:
    """In text a member is its plain word, on every version of Python.

    The word is its name in lower case.
    """
    for member in enum:  # type: ignore[attr-defined]
        assert f"{member}" == str(member) == member.value == member.name.lower()


def test_every_field_of_a_context_is_documented() -> None:
    """Each stands in the docstring by name."""
    for field in dataclasses.fields(Context):
        if field.name != "entry_point":
            assert f"``{field.name}``" in (Context.__doc__ or ""), field.name


def test_which_entry_points_hand_over() -> None:
    """Two entry points deliver nothing before the end."""
    assert {entry_point for entry_point in EntryPoint if not entry_point.hands_over} == {
        EntryPoint.COLLECT,
        EntryPoint.REQUEST,
    }
