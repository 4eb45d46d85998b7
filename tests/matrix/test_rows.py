"""The data of the matrix: each fault has a row, each row a test, and the page says what they say."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from llmwatch.faults import catalogue
from tests.matrix.page import PATH, page
from tests.matrix.row import NAMES, TRANSPORTS, Cell
from tests.matrix.rows import ROWS

ROOT = Path(__file__).parents[2]

# The scripts that several rows are about, and those that only the name of a row differs from.
OTHERS = {"status", "fin-before-response"}


def test_every_script_of_the_catalogue_has_a_row() -> None:
    """A fault that the server can play and that no row is about would be a fault without an expectation."""
    assert set(catalogue.SCRIPTS) - OTHERS <= {row.name for row in ROWS}


def test_no_row_stands_twice() -> None:
    """A name is one row's alone."""
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_every_row_has_a_test() -> None:
    """A row has cases that are played, or tests that exist and the reason why none of its cases is."""
    for row in ROWS:
        assert row.cases or (row.tests and row.apart), row.name
        assert row.does, row.name
        assert row.observe, row.name


def test_every_case_says_what_happens_everywhere() -> None:
    """Each entry point and transport has an expectation or a reason why it has none, and some have one."""
    for row in ROWS:
        for case in row.cases:
            assert set(case.cells) == set(NAMES), row.name
            assert all(case.cells.values()), row.name
            assert any(isinstance(cell, Cell) for cell in case.cells.values()), row.name
            assert set(case.transports) < set(TRANSPORTS), row.name


def test_every_test_that_a_row_names_exists() -> None:
    """A test that was renamed or removed leaves its row without one."""
    known: dict[str, set[str]] = {}
    for row in ROWS:
        for test in row.tests:
            file, _, name = test.partition("::")
            if file not in known:
                known[file] = set(_tests_in(ROOT / file))
            assert name in known[file], f"{row.name}: {test}"


def _tests_in(path: Path) -> Iterator[str]:
    """The tests of a file, those of a class behind its name."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.ClassDef):
            yield from (f"{node.name}::{method.name}" for method in node.body if isinstance(method, ast.FunctionDef))


def test_the_page_is_up_to_date() -> None:
    """The page is what ``python -m tests.matrix.page`` writes."""
    assert PATH.read_text() == page(), "run python -m tests.matrix.page"
