"""The modules of the package have no circle of imports.

No two modules of different meaning have one file name.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import llmwatch

_ROOT = Path(llmwatch.__file__).parent

SEEN_FROM_TWO_SIDES = {
    "attempt.py": {"records", "watch"},
    "call.py": {"engine", "records"},
    "decision.py": {"records", "recovery"},
    "errors.py": {".", "transport"},
    "instrument.py": {"transport", "wrap"},
    "limits.py": {"cli", "policy"},
    "request.py": {"engine", "faults"},
    "timeouts.py": {"engine", "sdk"},
    "tool_calls.py": {"faults", "wire"},
}
"""File names that stand in two packages: the same subject, seen from two sides."""

_DIALECTS = {"wire/dialects", "faults/shapes"}
"""A dialect is read by the one and spoken by the other."""


def _modules() -> dict[str, Path]:
    """Every module of the package by its name; a package is one as well."""
    modules = {}
    for path in _ROOT.rglob("*.py"):
        parts = path.relative_to(_ROOT.parent).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def _imports(name: str, path: Path, modules: dict[str, Path]) -> set[str]:
    """The imports of a module from the package, inside functions and for type checkers too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} imports from where it stands"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in modules else str(node.module))
    return found & modules.keys() - {name}


def _external_imports(path: Path) -> set[str]:
    """The first part of the name of every module that is imported."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in names}


def test_no_package_escapes_what_its_neighbours_may_not_import() -> None:
    """The fault server and the rest know nothing of each other, but for commands and aids for tests.

    Transport alone has urllib3.

    The import contracts name packages. This covers every module, those of new packages too.
    """
    modules = _modules()
    for name, path in modules.items():
        package = name.split(".")[1:2]
        for imported in _imports(name, path, modules):
            of_faults = imported.startswith("llmwatch.faults")
            uses_faults = of_faults and package in (["cli"], ["testing"])
            assert of_faults == (package == ["faults"]) or uses_faults, (name, imported)
        assert "urllib3" not in _external_imports(path) or package in (["transport"], ["hooks"]), name


def test_there_is_no_circle_of_imports() -> None:
    """Modules can be put in an order in which each imports only those before it."""
    modules = _modules()
    imports = {name: _imports(name, path, modules) for name, path in modules.items()}
    assert len(imports) > 200
    while free := [name for name, needed in imports.items() if not needed]:
        for name in free:
            del imports[name]
        for needed in imports.values():
            needed.difference_update(free)
    assert not imports, f"each of these imports another of them: {sorted(imports)}"


def test_no_two_modules_of_different_meaning_share_a_file_name() -> None:
    """No file name stands twice but where the two look at the same thing from two sides."""
    places = defaultdict(set)
    for path in _ROOT.rglob("*.py"):
        places[path.name].add(path.parent.relative_to(_ROOT).as_posix())
    del places["__init__.py"]
    twice = {name: found for name, found in places.items() if len(found) > 1 and found != _DIALECTS}
    assert twice == SEEN_FROM_TWO_SIDES
