"""Detects a process whose threads were patched after llmwatch was imported.

gevent and eventlet turn threads into greenlets for all code that is imported afterwards. Code that was imported before
keeps locks and thread-local data of the other kind. All greenlets of one thread then share the thread-local data, so
two calls meet each other's sockets, and nothing wakes a supervisor of before the patch.
"""

from __future__ import annotations

import threading

from llmwatch.errors import ConfigError

__all__ = ["check"]

_PATCH = {"gevent": "gevent.monkey.patch_all()", "eventlet": "eventlet.monkey_patch()"}


def _maker() -> str | None:
    """The package that makes threading's locks; ``None`` for Python's own. Imports nothing."""
    module: str = getattr(threading.Lock, "__module__", None) or ""
    package = module.partition(".")[0]
    return package if package in _PATCH else None


_at_import = _maker()


def check() -> None:
    """Raise :class:`~llmwatch.ConfigError` if threads were patched since llmwatch was imported."""
    maker = _maker()
    if maker is not None and maker != _at_import:
        raise ConfigError(
            f"{maker} has patched the threads of this process after llmwatch was imported, whose locks and thread-local"
            f" data are still those of before: calls would hang, or end each other. Call {_PATCH[maker]} first, before"
            " llmwatch and requests are imported. Nothing was sent.",
            field=maker,
        )
