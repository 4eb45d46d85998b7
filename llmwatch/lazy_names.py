"""How the public names of the package are loaded when they are first used.

A process that makes no call pays for none of the modules behind them. Two threads may use their first names at once. A
fork waits until a name is loaded: a child would wait for ever for a module that another thread was loading.

``_loading`` is held while a name is loaded, and by every fork. It is the first lock of its thread; below it are the
locks of imports, and logging's.
"""

from __future__ import annotations

# logging holds a lock of its own at a fork. It has to be loaded, and to register that lock, before the one below.
import logging  # noqa: F401
import sys
import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from llmwatch import at_fork

__all__ = ["functions"]

_MODULES = ("errors", "faults", "records", "sdk", "testing")
"""Public modules, which are there without an import of theirs."""

_PACKAGES = (
    "errors",
    "records",
    "payload",
    "wire",
    "policy",
    "watch",
    "recovery",
    "engine",
    "client",
    "wrap",
    "session",
    "auth",
    "hooks",
)
"""Where the public names are, from the ground up."""

_loading = threading.RLock()
at_fork.hold(_loading)


def functions(package: str, names: Sequence[str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and the ``__dir__`` of a package that has ``names``."""

    def load(name: str) -> Any:
        if name in _MODULES:
            # Without the lock, since a module that is being loaded may ask for it.
            return import_module(f"{package}.{name}")
        if name in names:
            with _loading:
                for place in _PACKAGES:
                    module = import_module(f"{package}.{place}")
                    if name in module.__all__:
                        value = getattr(module, name)
                        setattr(sys.modules[package], name, value)
                        return value
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def listed() -> list[str]:
        return sorted({*vars(sys.modules[package]), *names, *_MODULES})

    return load, listed
