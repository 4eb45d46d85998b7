"""What hooks have in common: modules that come late or anew, and calls that a signal breaks off."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from llmwatch.engine.settings import checked_settings
from llmwatch.hooks import imports
from llmwatch.hooks.hook import Hook, Makers
from llmwatch.hooks.imports import FirstImport

NAME = "llmwatch_of_the_test"
SETTINGS = checked_settings()


class _Hook(Hook):
    """Adds one to what the module's function returns."""

    def __init__(self) -> None:
        super().__init__(NAME)

    def _makers(self, module: ModuleType) -> Makers:
        return {(module.Owner, "call"): lambda original: lambda owner: original(owner) + 1}


class _Connections:
    """Connections that were closed ``closed`` times."""

    closed = 0

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A library of the test's own, not imported yet. Finders are as they were afterwards."""
    (tmp_path / f"{NAME}.py").write_text("class Owner:\n    def call(self):\n        return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    finders = list(sys.meta_path)
    yield
    sys.modules.pop(NAME, None)
    assert sys.meta_path == finders


def _fresh() -> Any:
    sys.modules.pop(NAME, None)
    return importlib.import_module(NAME)


def test_a_library_is_watched_from_its_import_on() -> None:
    """It is patched when it comes, and has its own function back afterwards."""
    hook = _Hook()
    hook.watch(SETTINGS)
    library = _fresh()
    ours = vars(library.Owner)["call"]
    assert library.Owner().call() == 2
    hook.watch(SETTINGS)
    assert vars(library.Owner)["call"] is ours
    hook.unwatch()
    assert library.Owner().call() == 1


@pytest.mark.parametrize("before", [True, False], ids=["before", "behind"])
def test_a_library_that_is_imported_anew_is_watched_by_the_next_call(before: bool) -> None:
    """Its classes are others. Those that were patched first stay so until the end."""
    hook = _Hook()
    hook.watch(SETTINGS)
    first = _fresh()
    del sys.modules[NAME]
    if before:
        hook.watch(SETTINGS)
    second = _fresh()
    if not before:
        assert second.Owner().call() == 1
        hook.watch(SETTINGS)
    assert second.Owner is not first.Owner
    assert (first.Owner().call(), second.Owner().call()) == (2, 2)
    hook.unwatch()
    assert (first.Owner().call(), second.Owner().call()) == (1, 1)


def test_no_finder_stays_where_a_signal_broke_the_watch_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handler's exception comes behind the finder's place in the list, before anything else."""

    class Interrupted(list[Any]):
        def insert(self, place: Any, finder: Any) -> None:
            super().insert(place, finder)
            raise KeyboardInterrupt

    hook = _Hook()
    interrupted = Interrupted(sys.meta_path)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "meta_path", interrupted)
        with pytest.raises(KeyboardInterrupt):
            hook.watch(SETTINGS)
        assert len(interrupted) == len(set(map(id, interrupted)))
        assert any(isinstance(finder, FirstImport) for finder in interrupted)
        hook.unwatch()
        assert not any(isinstance(finder, FirstImport) for finder in interrupted)


def test_a_watch_that_a_signal_broke_off_is_completed_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """One finder waits, and the library is watched."""
    hook = _Hook()

    def interrupt(self: FirstImport) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(FirstImport, "begin", interrupt)
        with pytest.raises(KeyboardInterrupt):
            hook.watch(SETTINGS)
    hook.watch(SETTINGS)
    hook.watch(SETTINGS)
    assert sum(isinstance(finder, FirstImport) and not finder.over for finder in sys.meta_path) == 1
    assert _fresh().Owner().call() == 2
    hook.unwatch()


def test_an_unwatch_that_comes_before_the_wait_ends_it() -> None:
    """Another thread takes the import back before the first has begun to wait for it."""
    told: list[ModuleType] = []
    first = FirstImport(NAME, told.append)
    first.leave()
    first.begin()
    _fresh()
    assert first.over
    assert told == []


def test_an_import_beside_the_wait_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread imports the module after the look at it and before the finder stands in its place."""
    look, looked = imports._imported, []

    def imported(name: str) -> ModuleType | None:
        found = look(name)
        if not looked:
            looked.append(_fresh())
        return found

    monkeypatch.setattr(imports, "_imported", imported)
    told: list[ModuleType] = []
    first = FirstImport(NAME, told.append)
    first.begin()
    assert told == looked
    assert first.over


def test_what_was_made_is_closed_with_the_watch() -> None:
    """Connections that calls of the library have used are closed."""
    hook, made = _Hook(), _Connections()
    hook._made.add(made)
    hook.watch(SETTINGS)
    assert made.closed == 0
    hook.unwatch()
    assert made.closed == 1


def test_a_child_does_not_wait_for_the_parents_lock() -> None:
    """A thread of the parent may hold it at the fork."""
    hook = _Hook()
    hook._lock.acquire()
    hook.after_fork()
    held = hook._lock
    assert held.acquire(blocking=False)
    held.release()
