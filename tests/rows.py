"""Tables whose rows take no time of their own: one test looks at all of them.

A test of pytest's own costs some five milliseconds in collection and reports, whatever it does, and each worker
collects all of them. A table of a hundred rows of which each is a comparison is one test here, and names its rows.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import pytest


def each(names: str, rows: Iterable[Any], *, ids: Iterable[str] | Callable[[Any], Any] | None = None) -> Any:
    """As ``pytest.mark.parametrize``, in one test.

    Every row is looked at, and those that failed are named together.

    Fixtures are shared by all rows, so a test that changes one is no table for this. The error of the first row that
    failed is the cause of the one that is raised.
    """
    fields = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    namer = ids if ids is None or callable(ids) else list(ids)
    table = [_row(fields, row, namer, number) for number, row in enumerate(rows)]

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def all_rows(*args: Any, **more: Any) -> None:
            assert table, "a table without rows tests nothing"
            failed: dict[str, BaseException] = {}
            for name, values in table:
                try:
                    test(*args, **values, **more)
                except (Exception, pytest.fail.Exception) as error:  # the second where pytest.raises saw nothing
                    failed[name] = error
            if failed:
                lines = "\n".join(f"  {name}: {error!r}"[:300] for name, error in failed.items())
                raise AssertionError(f"{len(failed)} of {len(table)} rows failed:\n{lines}") from next(
                    iter(failed.values())
                )

        signature = inspect.signature(test)
        kept = [one for name, one in signature.parameters.items() if name not in fields]
        all_rows.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
        return all_rows

    return decorate


def _row(fields: list[str], row: Any, ids: Any, number: int) -> tuple[str, dict[str, Any]]:
    name = None
    if hasattr(row, "marks"):  # a pytest.param
        assert not row.marks, "a row with a mark needs a test of its own"
        name, row = row.id, row.values
    elif len(fields) == 1:
        row = (row,)
    assert len(row) == len(fields), f"row {number} has {len(row)} values for {fields}"
    if name is None and ids is not None:
        name = "-".join(str(ids(value)) for value in row) if callable(ids) else ids[number]
    return name or f"{number} {row!r}"[:120], dict(zip(fields, row, strict=True))
