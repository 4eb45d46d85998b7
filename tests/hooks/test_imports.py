"""A callback gets a module at the first import of that module, and no import fails for it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from llmwatch.hooks.imports import on_import

NAME = "llmwatch_tests_imported"


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The modules, the finders and the path of this process are the same after a test as before it."""
    finders = list(sys.meta_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop(NAME, None)
    sys.meta_path[:] = finders


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Write the module."""

    def to(text: str = "value = 1\n") -> Path:
        path = tmp_path / f"{NAME}.py"
        path.write_text(text)
        importlib.invalidate_caches()
        return path

    return to


def test_the_first_import_is_told_once(write: Any) -> None:
    """The module is whole when the callback gets it.

    After the import the finder is gone and the loader is as it was.
    """
    write()
    seen: list[tuple[ModuleType, int]] = []
    finders = list(sys.meta_path)
    on_import(NAME, lambda module: seen.append((module, module.value)))
    assert sys.meta_path[1:] == finders
    module = importlib.import_module(NAME)
    assert seen == [(module, 1)]
    assert sys.meta_path == finders
    assert module.__spec__ is not None
    assert "exec_module" not in vars(module.__spec__.loader)
    importlib.reload(module)
    assert len(seen) == 1


def test_an_imported_module_is_told_at_once(write: Any) -> None:
    """The callback gets an imported module at once, and no finder is set up for it."""
    write()
    module = importlib.import_module(NAME)
    seen: list[ModuleType] = []
    finders = list(sys.meta_path)
    on_import(NAME, seen.append)()
    assert seen == [module]
    assert sys.meta_path == finders


def test_nothing_is_imported_for_it(write: Any) -> None:
    """Waiting for a module imports neither it nor another."""
    write()
    before = set(sys.modules)
    on_import(NAME, lambda module: None)
    assert importlib.util.find_spec(NAME) is not None
    assert set(sys.modules) == before


def test_a_module_that_fails_may_be_imported_again(write: Any) -> None:
    """A module that fails raises its own error, and the callback is not called.

    The finder stays until a later import succeeds.
    """
    write("raise LookupError('not today')\n")
    seen: list[ModuleType] = []
    finders = list(sys.meta_path)
    on_import(NAME, seen.append)
    with pytest.raises(LookupError, match="not today"):
        importlib.import_module(NAME)
    assert seen == []
    assert len(sys.meta_path) == len(finders) + 1
    write("value = 22222\n")
    module = importlib.import_module(NAME)
    assert seen == [module]
    assert sys.meta_path == finders


def test_a_module_that_is_missing_is_missing() -> None:
    """A missing module raises the usual error, and the finder goes on waiting."""
    on_import(NAME, lambda module: pytest.fail("there is no module"))
    with pytest.raises(ModuleNotFoundError, match=NAME):
        importlib.import_module(NAME)


def test_a_callback_that_fails_harms_no_import(write: Any, caplog: pytest.LogCaptureFixture) -> None:
    """An exception of the callback is logged, for an import and for a module that is there already."""
    write()

    def fail(module: ModuleType) -> None:
        raise RuntimeError("not as expected")

    on_import(NAME, fail)
    assert importlib.import_module(NAME).value == 1
    on_import(NAME, fail)
    assert [record.getMessage() for record in caplog.records] == [
        f"llmwatch: {NAME} is not watched: not as expected"
    ] * 2


def test_a_finder_that_was_taken_back_tells_nothing(write: Any) -> None:
    """A finder that was taken back calls no callback, even through a loader that was found before."""
    write()
    leave = on_import(NAME, lambda module: pytest.fail("it was taken back"))
    spec = importlib.util.find_spec(NAME)
    assert spec is not None
    assert spec.loader is not None
    finders = list(sys.meta_path)
    leave()
    leave()
    assert sys.meta_path == finders[1:]
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert importlib.import_module(NAME).value == 1


class Asking:
    """A finder that asks all finders, as some instrumentation does, and is then asked by the first."""

    def __init__(self) -> None:
        self.inside = False

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != NAME or self.inside:
            return None
        self.inside = True
        try:
            return importlib.util.find_spec(name)
        finally:
            self.inside = False


def test_other_finders_work_in_any_order(write: Any) -> None:
    """A finder that asks all others may stand in front or behind; the callback is called once."""
    for in_front in (True, False):
        write()
        seen: list[ModuleType] = []
        asking = Asking()
        if not in_front:
            sys.meta_path.insert(0, asking)
        on_import(NAME, seen.append)
        if in_front:
            sys.meta_path.insert(0, asking)
        assert importlib.import_module(NAME).value == 1
        assert len(seen) == 1
        sys.meta_path.remove(asking)
        del sys.modules[NAME]


def test_a_finder_that_raises_raises_as_it_would(write: Any) -> None:
    """An error of another finder is not hidden."""
    write()

    class Raising:
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
            if name == NAME:
                raise ImportError("no entry")

    on_import(NAME, lambda module: pytest.fail("there is no module"))
    sys.meta_path.insert(1, Raising())  # type: ignore[arg-type]
    with pytest.raises(ImportError, match="no entry"):
        importlib.import_module(NAME)


def test_loaders_of_every_kind_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules in a zip file and built-in modules can be imported while llmwatch waits for them.

    The loader of a zip file serves several modules. The loader of a built-in module is a class, and is left alone.
    """
    archive = tmp_path / "modules.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(f"{NAME}.py", f"import {NAME}_other\nvalue = 1\n")
        file.writestr(f"{NAME}_other.py", "value = 2\n")
    monkeypatch.syspath_prepend(str(archive))
    seen: list[ModuleType] = []
    on_import(NAME, seen.append)
    importlib.util.find_spec(NAME)
    module = importlib.import_module(NAME)
    assert seen == [module]
    assert sys.modules.pop(f"{NAME}_other").value == 2

    leave = on_import("xxsubtype", seen.append)
    try:
        monkeypatch.delitem(sys.modules, "xxsubtype", raising=False)
        if "xxsubtype" in sys.builtin_module_names:
            importlib.import_module("xxsubtype")
        assert len(seen) == 1
    finally:
        leave()


def test_threads_that_import_at_once_get_the_module(write: Any) -> None:
    """Each of several threads that import at once has the whole module; the callback is called once."""
    write("import threading\nassert threading.current_thread().ident\nvalue = 1\n")
    seen: list[ModuleType] = []
    on_import(NAME, seen.append)
    start = threading.Barrier(8)

    def get(_: int) -> int:
        start.wait()
        value: int = importlib.import_module(NAME).value
        return value

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(get, range(8))) == [1] * 8
    assert len(seen) == 1


def test_a_module_that_another_thread_imports_is_told_whole(write: Any) -> None:
    """A callback that is named in mid-import waits for the import."""
    write(
        "import threading\n"
        "started, go_on = threading.Event(), threading.Event()\n"
        "started.set()\n"
        "assert go_on.wait(30)\n"
        "value = 1\n"
    )
    seen: list[int] = []
    with ThreadPoolExecutor(2) as threads:
        importing = threads.submit(importlib.import_module, NAME)
        while not hasattr(sys.modules.get(NAME), "go_on"):
            assert not importing.done()
        half = sys.modules[NAME]
        assert half.started.wait(30)
        telling = threads.submit(on_import, NAME, lambda module: seen.append(module.value))
        half.go_on.set()
        assert importing.result(30) is half
        telling.result(30)()
    assert seen == [1]
