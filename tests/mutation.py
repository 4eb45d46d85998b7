"""Changes the product one step at a time and counts the changes that a test notices.

``python -m tests.mutation llmwatch/recovery [llmwatch/watch/machine.py ...] [--most 40] [--seed 1] [--seconds 900]``
needs the extra ``mutation``. The changes are those of cosmic-ray: operators, comparisons, numbers, decorators, loops,
``not`` and so on. Cosmic-ray's own runner starts a new interpreter for each of them and writes them to the disk. Here
each runs in a fork of one process, in which only the changed module is another, so the tree stays as it is and several
runs may share it. One change at a time is tried, with the tests of its package (:func:`chosen_tests`), the module's own
ones first, until the first failure.

A change counts as *killed* if a test fails, if the module cannot be imported, or if the tests take longer than
:data:`SLOWEST` times as long as without it. ``--most`` draws that many changes from each module, with ``--seed``.
"""

from __future__ import annotations

import argparse
import ast
import importlib.abc
import importlib.machinery
import importlib.util
import io
import os
import random
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parent.parent
PACKAGES = ("watch", "wire", "recovery", "payload")
SLOWEST = 5.0
LEAST = 20.0
"""Seconds that the tests of a change get at least."""
# Each of the others replaces one arithmetic operator by any other; one or two are enough. The last three need arguments
# or add a name.
LEFT_OUT = re.compile(
    r"core/(ReplaceBinaryOperator_(?!(Add_Sub|Sub_Add|Mul_Div|Div_Mul|FloorDiv_Mul|Mod_Mul|Pow_Mul)$)"
    r"|ReplaceComparisonOperator_(Is_Eq|IsNot_NotEq|Eq_Is|NotEq_IsNot)$|VariableReplacer|VariableInserter)"
)
# The tests that show what a module does on its own, where the folder of its package has slower ones as well.
NARROW = {
    "watch/machine": "test_machine*.py",
    "watch/states": "test_machine*.py",
    "watch/channel": "test_channel.py test_attempt_channel.py test_interleavings.py",
    "watch/workers": "test_workers.py test_interleavings.py",
    "watch/launch": "test_launch.py",
    "watch/cancel": "test_cancel.py",
    "watch/clock": "test_clock.py test_wait_list.py",
    "watch/attempt": "test_attempt.py test_attempt_[chlops]*.py test_interleavings.py",
    "watch/supervisor": "test_supervisor.py test_supervisor_watched.py test_registry.py test_interleavings.py",
}


@dataclass(frozen=True)
class Mutant:
    """One change of one module."""

    module: Path
    operator: str
    occurrence: int
    line: int
    source: str

    @property
    def name(self) -> str:
        """The place and the kind of the change."""
        return f"{self.module.relative_to(ROOT)}:{self.line} {self.operator.removeprefix('core/')} {self.occurrence}"

    @property
    def change(self) -> str:
        """The changed line."""
        lines = self.source.splitlines()
        return lines[self.line - 1].strip() if self.line <= len(lines) else ""


def modules_of(place: Path) -> list[Path]:
    """The modules that stand at ``place``, a file or a folder."""
    found = [place] if place.is_file() else sorted(place.rglob("*.py"))
    return [path for path in found if path.name != "__init__.py"]


def chosen_tests(module: Path) -> list[str]:
    """The tests that a change of ``module`` is tried with, those of the module itself first."""
    inside = module.relative_to(ROOT / "llmwatch").with_suffix("")
    folder = ROOT / "tests" / inside.parts[0]
    patterns = NARROW.get(inside.as_posix())
    if patterns is not None:
        return sorted(str(path) for pattern in patterns.split() for path in folder.glob(pattern))
    own = sorted(path for path in folder.rglob("test_*.py") if path.stem == f"test_{inside.name}")
    rest = sorted(path for path in folder.rglob("test_*.py") if path not in own)
    return [str(path) for path in (*own, *rest)]


def _meaning(source: str) -> str | None:
    """The syntax tree without annotations and the marks of parameters; ``None`` if it has a syntax error."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.arguments):
            node.args, node.posonlyargs, node.kwonlyargs = [*node.posonlyargs, *node.args, *node.kwonlyargs], [], []
            node.defaults, node.kw_defaults = [*node.defaults, *filter(None, node.kw_defaults)], []
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
    return ast.dump(tree)


def mutants_of(module: Path) -> Iterator[Mutant]:
    """Every change of a module that cosmic-ray knows."""
    from cosmic_ray.ast import ast_nodes, get_ast  # type: ignore[import-untyped]
    from cosmic_ray.mutating import mutate_code  # type: ignore[import-untyped]
    from cosmic_ray.plugins import get_operator, operator_names  # type: ignore[import-untyped]

    source = module.read_text()
    tree, meaning = get_ast(source), _meaning(source)
    for name in operator_names():
        if LEFT_OUT.match(name) or get_operator(name).arguments():
            continue
        operator = get_operator(name)()
        places = (start for node in ast_nodes(tree) for start, _ in operator.mutation_positions(node))
        for occurrence, (line, _) in enumerate(places):
            changed = mutate_code(source, operator, occurrence)
            if changed is not None and _meaning(changed) not in (None, meaning):
                yield Mutant(module, name, occurrence, line, changed)


class _Changed(importlib.abc.MetaPathFinder):
    """Finds the changed module in place of the one on the disk."""

    def __init__(self, mutant: Mutant) -> None:
        self._path = str(mutant.module)
        self._source = mutant.source.encode()
        self._name = ".".join(mutant.module.relative_to(ROOT).with_suffix("").parts)

    def find_spec(self, name: str, path: object, target: ModuleType | None = None) -> Any:
        if name != self._name:
            return None
        source = self._source

        class Loader(importlib.machinery.SourceFileLoader):
            def get_code(self, fullname: str) -> Any:
                return compile(source, self.path, "exec", dont_inherit=True)

        return importlib.util.spec_from_loader(name, Loader(name, self._path))


def _run(tests: Sequence[str], mutant: Mutant | None) -> int:
    """In a forked child: the exit code of pytest."""
    import pytest

    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if mutant is not None:
        sys.meta_path.insert(0, _Changed(mutant))
    return int(pytest.main(["-q", "-x", "-n0", "-p", "no:cacheprovider", "--timeout", "30", *tests]))


def outcome(tests: Sequence[str], mutant: Mutant | None, most: float) -> tuple[str, float]:
    """``survived``, ``killed`` or ``killed by time``, and the seconds that it took."""
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        code = 3
        try:
            os.setsid()
            code = _run(tests, mutant)
        finally:
            os._exit(code)
    while time.monotonic() - began < most:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            survived = os.waitstatus_to_exitcode(status) == 0
            return "survived" if survived else "killed", time.monotonic() - began
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "killed by time", time.monotonic() - began


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("places", nargs="*", type=Path, default=[ROOT / "llmwatch" / name for name in PACKAGES])
    parser.add_argument("--most", type=int, help="changes of each module that are tried")
    parser.add_argument("--seed", type=int, default=1, help="the draw of --most")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="after which no further change is tried")
    chosen = parser.parse_args(arguments)
    until = time.monotonic() + chosen.seconds
    import pytest  # noqa: F401  (the children have it then)

    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    table, survivors = [], []
    for module in [module for place in chosen.places for module in modules_of(place.resolve())]:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            mutants = list(mutants_of(module))
        every, tests = len(mutants), chosen_tests(module)
        if chosen.most is not None and chosen.most < every:
            mutants = random.Random(f"{chosen.seed} {module.name}").sample(mutants, chosen.most)
        if time.monotonic() > until or not mutants:
            continue
        healthy, seconds = outcome(tests, None, 600.0)
        if healthy != "survived":
            print(f"{module.relative_to(ROOT)}: its tests fail without any change", flush=True)
            continue
        most, tried, killed = max(LEAST, SLOWEST * seconds), 0, 0
        for mutant in mutants:
            if time.monotonic() > until:
                break
            found, _ = outcome(tests, mutant, most)
            tried += 1
            killed += found != "survived"
            if found == "survived":
                survivors.append(mutant)
                print(f"survived: {mutant.name}: {mutant.change}", flush=True)
        if tried:
            table.append((str(module.relative_to(ROOT)), every, tried, killed))
            print(f"{table[-1][0]}: {killed} of {tried} killed, {every} in all", flush=True)
    print(f"\n{'module':40} {'changes':>8} {'tried':>6} {'killed':>7} {'score':>6}")
    for name, every, tried, killed in table:
        print(f"{name:40} {every:8} {tried:6} {killed:7} {killed / tried:6.0%}")
    tried, killed = sum(row[2] for row in table), sum(row[3] for row in table)
    if tried:
        print(f"{'together':40} {sum(row[1] for row in table):8} {tried:6} {killed:7} {killed / tried:6.0%}")
    return int(bool(survivors))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
