"""Learns of the first import of a module, without importing it.

A finder stands first on ``sys.meta_path``. It finds nothing by itself: it asks the finders behind it, and wraps
``exec_module`` of the loader that they give for its one module, on that loader alone. Once the module has been executed
the finder leaves ``sys.meta_path`` and the loader is as it was. Whatever fails here fails no import: the module is then
imported as if there were no finder, and the callback is not called.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any

from llmwatch.interruption import is_interruption
from llmwatch.records.log import say

__all__ = ["FirstImport", "on_import"]

Loaded = Callable[[ModuleType], object]


def on_import(name: str, loaded: Loaded) -> Callable[[], None]:
    """Call ``loaded`` with the module ``name``, now if it is imported, else right after its first import.

    ``loaded`` runs in the importing thread, before the import statement returns. What it raises is logged once, unless
    it ends the process (Ctrl-C). Returns a function that takes the finder back; it does nothing where the module came.
    """
    first = FirstImport(name, loaded)
    first.begin()
    return first.leave


def _imported(name: str) -> ModuleType | None:
    """The module ``name`` if it is imported. Waits for a thread that is importing it at this moment."""
    module = sys.modules.get(name)
    if getattr(getattr(module, "__spec__", None), "_initializing", False):
        try:
            importlib.import_module(name)
        except Exception as error:
            if is_interruption(error):
                raise
        module = sys.modules.get(name)
    return module


def _tell(loaded: Loaded, module: ModuleType) -> None:
    try:
        loaded(module)
    except Exception as error:
        if is_interruption(error):
            raise
        say(logging.WARNING, "llmwatch: %s is not watched: %s", module.__name__, error)


class FirstImport:
    """The finder of the module ``name``.

    Python's lock on the module keeps two threads from executing it at once. A finder behind this one may ask all
    finders again, in the same thread; that nested search passes this one by. :meth:`begin` and :meth:`leave` may be
    called in any order, by any thread, and again after a signal broke them off.
    """

    def __init__(self, name: str, loaded: Loaded) -> None:
        self._name = name
        self._loaded = loaded
        self._searching: set[int] = set()  # the threads inside find_spec
        self._left = False

    @property
    def over(self) -> bool:
        """Whether the module came, or the finder was taken back."""
        return self._left

    def begin(self) -> None:
        """Wait for the module, unless it is imported already, or the finder was taken back."""
        module = _imported(self._name)
        if module is None:
            if self not in sys.meta_path:
                sys.meta_path.insert(0, self)
            if self._left:
                self.leave()
            # Another thread may have begun its import before the finder stood there.
            module = _imported(self._name)
        if module is not None:
            self._tell(module)

    def _tell(self, module: ModuleType) -> None:
        if not self._left:
            self.leave()
            _tell(self._loaded, module)

    def leave(self) -> None:
        """Leave ``sys.meta_path``. A loader that was found before tells nothing."""
        self._left = True
        with suppress(ValueError):
            sys.meta_path.remove(self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of the other finders, with a loader that tells; ``None`` for every other module."""
        thread = threading.get_ident()
        if name != self._name or self._left or thread in self._searching:
            return None
        self._searching.add(thread)
        try:
            # What another finder raises is what the import raises without this one.
            spec = self._search(name, path, target)
        finally:
            self._searching.discard(thread)
        if spec is not None:
            # A loader that takes no attribute is used as it is.
            with suppress(Exception):
                self._wrap(spec.loader)
        return spec

    def _search(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> importlib.machinery.ModuleSpec | None:
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            if find is None or finder is self:
                continue
            spec: importlib.machinery.ModuleSpec | None = find(name, path, target)
            if spec is not None:
                return spec
        return None

    def _wrap(self, loader: Any) -> None:
        if loader is None or isinstance(loader, type):
            # A namespace, or a loader that all its modules share: frozen, built in.
            return
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            """Execute ``module`` as its loader does."""
            if module.__name__ == self._name:
                # First, so that nothing that executes the module comes back here.
                with suppress(AttributeError):
                    del loader.exec_module
            execute(module)
            if module.__name__ == self._name:
                self._tell(module)

        loader.exec_module = exec_module
