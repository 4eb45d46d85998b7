"""Errors that belong to llmwatch and to another library at once.

Code that catches the library's exception still catches them, and they carry what llmwatch knows (limit, phase, record,
recovery). Tracebacks and logs show the name of llmwatch's class, which its documentation explains.
"""

from __future__ import annotations

import importlib
from typing import Any

from llmwatch.errors import LLMWatchError, rebuilt

__all__ = ["also", "copy_of"]

_LEFT_BEHIND = frozenset({"request", "_request", "response", "pool", "conn"})
"""Attributes that are not pickled: they hold credentials or open connections."""


def also(error: LLMWatchError, module: str, *names: str) -> LLMWatchError:
    """``error``, with its cause, in a class derived from its own and the ``names`` of ``module``."""
    return _like(error, _combined(type(error), module, names))


def copy_of(error: LLMWatchError) -> LLMWatchError:
    """``error`` without its traceback, and so without the frames that raised it."""
    return _like(error, type(error))


def _like(error: LLMWatchError, cls: type[LLMWatchError]) -> LLMWatchError:
    made = rebuilt(cls, error.message, error.__dict__)
    made.__cause__ = error.__cause__
    made.__suppress_context__ = True
    return made


class _Combined:
    """Pickles as llmwatch's class and the names of the library's."""

    _parts: tuple[type[LLMWatchError], str, tuple[str, ...]]

    def __reduce__(self) -> tuple[Any, ...]:
        assert isinstance(self, LLMWatchError)
        state = {name: None if name in _LEFT_BEHIND else value for name, value in self.__dict__.items()}
        return _unpickled, (*self._parts, self.message, state)


def _unpickled(
    ours: type[LLMWatchError], module: str, names: tuple[str, ...], message: str, state: dict[str, Any]
) -> LLMWatchError:
    try:
        cls = _combined(ours, module, names)
    except (ImportError, AttributeError):
        # Unpickled where the library is not installed.
        return rebuilt(ours, message, {name: value for name, value in state.items() if name not in _LEFT_BEHIND})
    return rebuilt(cls, message, state)


_classes: dict[tuple[type[LLMWatchError], str, tuple[str, ...]], type[LLMWatchError]] = {}


def _combined(ours: type[LLMWatchError], module: str, names: tuple[str, ...]) -> type[LLMWatchError]:
    """The class that combines them. It is made once: two such classes would not catch each other."""
    parts = (ours, module, names)
    known = _classes.get(parts)
    if known is not None:
        return known
    library = importlib.import_module(module)
    members = {
        "__module__": ours.__module__,
        "__qualname__": ours.__qualname__,
        "__doc__": f":class:`llmwatch.{ours.__name__}` that is a ``{module}.{' and '.join(names)}`` too.",
        "_parts": parts,
    }
    made = type(ours.__name__, (_Combined, ours, *(getattr(library, name) for name in names)), members)
    # Another thread may have made the class first.
    return _classes.setdefault(parts, made)
