"""The one table of limits, and that no other place spells limits out."""

from __future__ import annotations

import ast
import dataclasses
import pathlib
from collections.abc import Iterator

import llmwatch
from llmwatch.policy.limit_table import LIMITS, NAMES, Expiry, LimitRow
from llmwatch.policy.limits import Limits
from llmwatch.watch.states import ATTEMPT_LIMITS, STEPS
from tests.rows import each

ROOT = pathlib.Path(llmwatch.__path__[0])
MACHINE = ROOT / "watch" / "states.py"
TABLE = ROOT / "policy" / "limit_table.py"


def test_the_fields_of_limits_are_the_rows() -> None:
    """Each limit that can be set is a field, in the same order, beside the single knob."""
    assert tuple(field.name for field in dataclasses.fields(Limits)) == (*NAMES, "single_seconds")
    assert set(LIMITS) - set(NAMES) == {"error_body"}


def test_the_machine_has_a_rule_for_each_limit() -> None:
    """Every limit but the call's own starts somewhere and ends somewhere."""
    cells = [cell for row in STEPS.values() for cell in row.values()]
    assert {*ATTEMPT_LIMITS, "deadline"} == set(LIMITS)
    assert {limit for cell in cells for limit in cell.starts} == set(ATTEMPT_LIMITS)
    assert {limit for cell in cells for limit in cell.ends} == set(ATTEMPT_LIMITS)


@each("row", LIMITS.values())
def test_every_row_of_the_table_is_complete(row: LimitRow) -> None:
    """Every limit that can be set has a meaning, and its bounds are limits.

    The limits of a call come last.
    """
    assert bool(row.meaning) is row.setting
    assert set(row.bounded_by.split()) <= set(NAMES) - {row.name}
    assert bool(row.function_expired) is bool(row.function_advice)
    assert not row.scaled or None not in row.defaults
    assert row.after_sent or row.expiry in (Expiry.SILENT, Expiry.OVER)


def _strings(path: pathlib.Path) -> Iterator[tuple[int, list[str]]]:
    """Line and words of each display and each text that could be a list of limits."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Dict):
            items = node.keys
        elif isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            items = list(node.elts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value.split()
            continue
        else:
            continue
        yield node.lineno, [item.value for item in items if isinstance(item, ast.Constant)]


def _is_list_of_limits(words: list[str]) -> bool:
    return len(set(words) & set(LIMITS)) >= 3 and len([word for word in words if word not in LIMITS]) < len(words) / 2


def test_no_other_place_spells_limits_out() -> None:
    """Three limits in a row anywhere else are a second table; only the machine's rules name them."""
    found = {
        f"{path.relative_to(ROOT)}:{line}"
        for path in ROOT.rglob("*.py")
        if path not in (TABLE, MACHINE)
        for line, words in _strings(path)
        if _is_list_of_limits(words)
    }
    assert found == set()


def test_the_search_finds_a_second_table() -> None:
    """The look finds the lists that are the machine's own."""
    assert any(_is_list_of_limits(words) for _, words in _strings(MACHINE))
    assert any(_is_list_of_limits(words) for _, words in _strings(TABLE))
