"""The names of ``llmwatch`` are loaded when they are used, and are those that a type checker sees."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import llmwatch

FRESH = """
import json, sys
import llmwatch
{code}
print(json.dumps(sorted(name for name in sys.modules if name.startswith("llmwatch."))))
"""
THREADS = """
import threading
barrier, found = threading.Barrier(8), []
def use(at):
    barrier.wait()
    found.append(getattr(llmwatch, ("Client", "Session", "Limits", "install")[at % 4]))
threads = [threading.Thread(target=use, args=(at,)) for at in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(found) == 8 and len(set(found)) == 4, found
"""
FORKS = """
import importlib, os, signal, sys, threading
import llmwatch

reached, go = threading.Event(), threading.Event()


class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "llmwatch.policy":
            reached.set()
            go.wait(60)


sys.meta_path.insert(0, Slow())
# What is registered last runs first: the fork begins, and the other thread goes on loading.
os.register_at_fork(before=go.set)
thread = threading.Thread(target=lambda: llmwatch.Limits)
thread.start()
assert reached.wait(60)
child = os.fork()
if not child:
    signal.alarm(30)
    llmwatch.Limits(ttfb=1)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
thread.join()
"""


LOADERS = ["llmwatch.at_fork", "llmwatch.lazy_names"]


def loaded(code: str) -> list[str]:
    """The modules of llmwatch that a fresh process has after ``code``."""
    ended = subprocess.run([sys.executable, "-c", FRESH.format(code=code)], capture_output=True, text=True, check=True)
    modules: list[str] = json.loads(ended.stdout)
    return modules


def declared() -> dict[str, object]:
    """What the imports for type checkers say that each name is."""
    found: dict[str, object] = {}
    for block in ast.parse(Path(llmwatch.__file__).read_text()).body:
        if isinstance(block, ast.If):
            for statement in block.body:
                assert isinstance(statement, ast.ImportFrom)
                assert statement.module is not None
                module = importlib.import_module(statement.module)
                found |= {alias.name: getattr(module, alias.name) for alias in statement.names}
    return found


def test_every_name_is_what_a_type_checker_sees() -> None:
    names = declared()
    assert sorted(names) == sorted(llmwatch.__all__)
    for name, value in names.items():
        assert getattr(llmwatch, name) is value, name


def test_a_name_loads_what_it_needs() -> None:
    """Nothing is loaded for the module's own sake, and no connection's code for an error's class."""
    assert loaded("") == LOADERS
    errors = loaded("llmwatch.WatchTimeout")
    assert "llmwatch.errors" in errors
    assert not [name for name in errors if name.startswith(("llmwatch.engine", "llmwatch.transport"))]
    assert "llmwatch.client" in loaded("from llmwatch import *\nstream")


@pytest.mark.parametrize("name", ["errors", "faults", "records", "sdk", "testing"])
def test_a_public_module_is_there_without_an_import_of_it(name: str) -> None:
    assert f"llmwatch.{name}" in loaded(f"llmwatch.{name}.__all__")


def test_what_is_not_public_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'llmwatch' has no attribute 'Clients'"):
        llmwatch.Clients  # noqa: B018
    # What asks every module for a name loads nothing.
    assert loaded("assert not hasattr(llmwatch, '__wrapped__')\nassert not hasattr(llmwatch, 'engine')") == LOADERS
    with pytest.raises(ImportError, match="cannot import name 'Clients'"):
        exec("from llmwatch import Clients")


def test_all_names_are_listed() -> None:
    assert {*llmwatch.__all__, "__version__", "errors", "faults", "records", "sdk", "testing"} <= set(dir(llmwatch))


def test_threads_may_use_their_first_names_at_once() -> None:
    for _ in range(5):
        assert "llmwatch.session" in loaded(THREADS)


def test_a_child_does_not_wait_for_a_module_that_its_parent_was_loading() -> None:
    """A fork waits until a name is loaded that another thread uses for the first time."""
    subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKS], check=True, timeout=100)
