"""Arguments that come as assignments."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmwatch.wire.assignments import Assignments
from tests.rows import each


def put_together(*pieces: Any) -> str:
    """The text of these assignments, one after the other."""
    assignments = Assignments()
    for piece in pieces:
        assignments.add([piece])
    return assignments.text()


def at(path: Any, **value: Any) -> dict[str, Any]:
    """One assignment."""
    return {"jsonPath": path, **value}


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([at("$.a", stringValue="x")], {"a": "x"}),
        ([at("$.a", numberValue=50)], {"a": 50}),
        ([at("$.a", numberValue=0.5)], {"a": 0.5}),
        ([at("$.a", boolValue=False)], {"a": False}),
        ([at("$.a", nullValue="NULL_VALUE")], {"a": None}),
        ([at("$.a", stringValue="")], {"a": ""}),
        ([at("$.a", stringValue="x", willContinue=True), at("$.a", stringValue="y")], {"a": "xy"}),
        ([at("$.a", stringValue="x", willContinue=True), at("$['a']")], {"a": "x"}),
        ([at("$.a", willContinue=True), at("$.a", stringValue="é")], {"a": "é"}),
        (
            [
                at("$.a", stringValue="x", willContinue=True),
                at("$.b", stringValue="1", willContinue=True),
                at("$.a", stringValue="y"),
                at("$.b", stringValue="2"),
            ],
            {"a": "xy", "b": "12"},
        ),
        ([at("$.a.b", numberValue=1), at("$.a.c", numberValue=2)], {"a": {"b": 1, "c": 2}}),
        ([at("$.a[0]", numberValue=1), at("$.a[1]", numberValue=2)], {"a": [1, 2]}),
        ([at("$.a[0]", stringValue="x", willContinue=True), at("$.a[0]", stringValue="y")], {"a": ["xy"]}),
        ([at("$.a[0].b", numberValue=1), at("$.a[0].c[0][0]", numberValue=2)], {"a": [{"b": 1, "c": [[2]]}]}),
        ([at("$['a b'][\"c.d\"]", numberValue=1)], {"a b": {"c.d": 1}}),
    ],
)
def test_assignments_are_joined_by_their_path(pieces: list[Any], expected: dict[str, Any]) -> None:
    """Texts are joined by their path, everything else is set, objects and lists come about on the way."""
    assert json.loads(put_together(*pieces)) == expected


@each(
    "pieces",
    [
        [at("$.a")],
        [at("$.a", stringValue="x", willContinue=True)],
        [at("$.a", numberValue=1, willContinue=True), at("$.a", stringValue="x")],
        [at("$.a", stringValue="x", willContinue=True), at("$.a", numberValue=1)],
        [at("$.a", stringValue="x"), at("$.a", stringValue="y")],
        [at("$.a", numberValue=1), at("$.a.b", numberValue=1)],
        [at("$.a", numberValue=1), at("$.a[0]", numberValue=1)],
        [at("$.a[1]", numberValue=1)],
        [at("$.a[0]", numberValue=1), at("$.a[0]", numberValue=2)],
        [at("$.a[0]", numberValue=1), at("$.a.b", numberValue=2)],
        [at("$.a[99999999]", numberValue=1)],
        [at("$.a[-1]", numberValue=1)],
        [at("$.a[*]", numberValue=1)],
        [at("$..a", numberValue=1)],
        [at("$['a\\'b']", numberValue=1)],
        [at("$", stringValue="x")],
        [at("a", stringValue="x")],
        [at("", stringValue="x")],
        [at(None, stringValue="x")],
        [at(["$.a"], stringValue="x")],
        [at("$.a" * 1, stringValue=["x"])],
        [at("$" + ".a" * 200, numberValue=1)],
        [at("$.a", numberValue=float("nan"))],
        [at("$.a", numberValue=True)],
        [at("$.a", numberValue="1")],
        [{"stringValue": "x"}],
        ["$.a"],
        [None],
    ],
)
def test_incomplete_assignments_make_no_arguments(pieces: list[Any]) -> None:
    """Nothing, half of a text, and two values for one place make no arguments.

    Paths that are not understood make none either.
    """
    assert put_together(*pieces) == ""


def test_one_bad_assignment_discards_the_call() -> None:
    """The good assignments of the call are not delivered without the bad one."""
    assert put_together(at("$.a", numberValue=1), at("$..b", numberValue=1)) == ""
