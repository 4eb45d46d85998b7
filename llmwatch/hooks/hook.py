"""The base of every hook: its settings, patches that come with an import, connections to close.

**The lock** protects a hook's settings, patches and connections, and is a leaf: no import is made under it. A call
reads the settings without it.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

from llmwatch import at_fork
from llmwatch.engine.settings import Settings
from llmwatch.hooks.imports import FirstImport
from llmwatch.hooks.patches import Patches

__all__ = ["Hook", "Makers"]

Makers = dict[tuple[type[Any], str], Callable[[Any], Any]]
"""What makes the replacement of an attribute, by owner and name."""


class Hook:
    """Watches every client of one library, existing or future, once its ``modules`` are imported.

    A module that is imported anew after it was taken out of ``sys.modules`` has classes of its own: they are patched by
    the next :meth:`watch`.
    """

    def __init__(self, *modules: str) -> None:
        self._modules = modules
        self._lock = threading.RLock()  # see the module's docstring
        self._settings: Settings | None = None
        self._patched: list[tuple[ModuleType, Patches]] = []
        # Never emptied: an import that a signal kept from being taken back is taken back by the next call.
        self._imports: dict[str, FirstImport] = {}
        self._made: weakref.WeakSet[Any] = weakref.WeakSet()
        """What has connections for calls of the library, and is closed when they are watched no longer."""
        at_fork.follow(self)

    def after_fork(self) -> None:
        """In a forked child: a thread of the parent may have held the lock."""
        self._lock = threading.RLock()

    def watch(self, settings: Settings) -> None:
        """Watch with ``settings``, from the next call on. Imports nothing."""
        with self._lock:
            self._settings = settings
            self._apply()
            awaited = self._awaited()
        # Without the lock: the importing thread takes it while it holds the lock of its import.
        for module in awaited:
            module.begin()

    def unwatch(self) -> None:
        """Put back what is still llmwatch's, and close idle connections. Calls in progress stay watched."""
        with self._lock:
            self._settings = None
            self._undo()
            awaited, made = list(self._imports.values()), list(self._made)
        for module in awaited:
            module.leave()
        for adapter in made:
            adapter.close()

    def _makers(self, module: ModuleType) -> Makers:
        """The attributes to replace for ``module``, one of the hook's modules."""
        raise NotImplementedError

    # Loops, which may not stand in the block of the lock themselves: Python 3.13 takes signals at their jumps.

    def _apply(self) -> None:
        for _, patches in self._patched:
            patches.apply()

    def _undo(self) -> None:
        for _, patches in self._patched:
            patches.undo()

    def _awaited(self) -> list[FirstImport]:
        """The imports to wait for: one of each module whose present classes are not patched."""
        awaited = []
        for name in self._modules:
            if self._knows(sys.modules.get(name)):
                continue
            if name not in self._imports or self._imports[name].over:
                self._imports[name] = FirstImport(name, self._loaded)
            awaited.append(self._imports[name])
        return awaited

    def _knows(self, module: ModuleType | None) -> bool:
        return any(known is module for known, _ in self._patched)

    def _loaded(self, module: ModuleType) -> None:
        makers = self._makers(module)
        with self._lock:
            if self._knows(module):
                return
            patches = Patches(makers)
            self._patched.append((module, patches))
            if self._settings is not None:
                patches.apply()
