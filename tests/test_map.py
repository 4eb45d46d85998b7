"""The map in the package's docstring is that of the code."""

from __future__ import annotations

import re
from pathlib import Path

import llmwatch
from tests.test_public_types import PUBLIC

PACKAGE = Path(llmwatch.__file__).parent
ROOT = PACKAGE.parent
MAP = llmwatch.__doc__ or ""
ENTRIES = re.findall(r"^ {4}(\w+) +(\S.*)$", MAP, re.MULTILINE)
"""The packages and modules of the map, each with its question."""

LONGEST = 60


def test_every_package_is_on_the_map() -> None:
    """Each package, and each module that stands beside them, has its question."""
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert sorted(name for name, _ in ENTRIES) == sorted(packages | modules)
    assert [name for name, question in ENTRIES if not question.endswith("?") and name != "faults"] == []


def test_the_order_of_the_map_is_that_of_imports() -> None:
    """The map lists the packages as the contract on imports does, which is checked before a commit."""
    contract = re.search(r"^layers = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M | re.S)
    assert contract
    assert [name for name, _ in ENTRIES if name != "faults"] == re.findall(r"\w+", contract[1])


def test_every_file_of_the_map_exists() -> None:
    """A file that the map names is there, and defines the class that is named with it."""
    paths = re.findall(r"\b\w+/\w+\.py\b", MAP)
    assert len(paths) > 10
    assert [path for path in paths if not (PACKAGE / path).is_file()] == []
    classes = re.findall(r"``(\w+)`` \((\w+/\w+\.py)\)", MAP)
    assert len(classes) >= 3
    for name, path in classes:
        assert f"\nclass {name}" in (PACKAGE / path).read_text(encoding="utf-8")


def test_the_public_modules_are_named() -> None:
    """The package's docstring and the README say which modules are public."""
    named = re.findall(r"``(llmwatch[.\w]*)``", MAP)
    assert tuple(named) == PUBLIC
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"Public are {', '.join(f'`{name}`' for name in PUBLIC)} and the command line." in readme


def test_the_map_stays_short() -> None:
    """A reader has it on one screen."""
    assert len(MAP.splitlines()) <= LONGEST
