"""Whether somebody has exchanged the threads of this process, and too late.

gevent and eventlet turn threads into greenlets, in which all that is imported afterwards runs. What was imported before
keeps locks and thread-local data of the other kind: all greenlets of one thread share the latter, so that two calls
meet each other's sockets, and a supervisor of before is woken by nothing of after.
"""

from __future__ import annotations

import threading

from llmwatch.errors import ConfigError

__all__ = ["check"]

_PATCH = {"gevent": "gevent.monkey.patch_all()", "eventlet": "eventlet.monkey_patch()"}


def _maker() -> str | None:
    """The package whose locks are threading's, ``None`` for Python's own. Nothing is imported for it."""
    module: str = getattr(threading.Lock, "__module__", None) or ""
    package = module.partition(".")[0]
    return package if package in _PATCH else None


_at_import = _maker()


def check() -> None:
    """Raises :class:`~llmwatch.ConfigError` where threads are not what they were when llmwatch was imported."""
    maker = _maker()
    if maker is not None and maker != _at_import:
        raise ConfigError(
            f"{maker} has patched the threads of this process after llmwatch was imported, whose locks and thread-local"
            f" data are still those of before: calls would hang, or end each other. Call {_PATCH[maker]} first, before"
            " llmwatch and requests are imported. Nothing was sent.",
            field=maker,
        )
