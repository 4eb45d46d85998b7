"""The table of what providers send, beside the dialects that there are."""

from __future__ import annotations

import re
from pathlib import Path

import llmwatch.wire
from llmwatch.wire import names

ROOT = Path(__file__).parents[2]
NOTED = re.compile(r"([a-z][a-z0-9._-]*) (\d+(?:\.\d+)+)(?: and (\d+(?:\.\d+)+))?")


def noted() -> dict[str, set[str]]:
    """The libraries and versions that the second table names."""
    _, _, table = (Path(llmwatch.wire.__file__).parent / "README.md").read_text("utf-8").partition("| library")
    found: dict[str, set[str]] = {}
    for row in re.findall(r"^\| `[a-z-]+` \|(.*)\|$", table, re.MULTILINE):
        for name, *versions in NOTED.findall(row):
            found.setdefault(name, set()).update(filter(None, versions))
    return found


def test_the_versions_that_are_noted_are_those_that_are_run() -> None:
    """Each library of the second table is pinned at that version for the tests that run it."""
    lines = (ROOT / "tests/providers/requirements.txt").read_text("utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    # Which brings it along, in the same version.
    pinned["botocore"] = pinned.pop("boto3")
    seen = noted()
    assert set(seen) == set(pinned)
    for name, version in pinned.items():
        assert version in seen[name], name


def test_every_dialect_has_its_row() -> None:
    """Each built-in dialect stands in the table, and nothing else does."""
    text = (Path(llmwatch.wire.__file__).parent / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z-]+)`.*?\|(?:.*\|){7}$", text, re.MULTILINE)
    assert set(rows) == set(names()) - {"auto"}
    assert len(rows) == len(set(rows)) + 2, "two dialects have two rows each"
