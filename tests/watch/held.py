"""The lock of an attempt, asserted: each method that is marked as called under it fails without it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from llmwatch.watch.attempt import Attempt

__all__ = ["assert_lock", "marked"]


def marked() -> dict[str, Callable[..., Any]]:
    """The methods of an attempt that are called with its lock held, by name."""
    return {name: method for name, method in vars(Attempt).items() if getattr(method, "lock_held", False)}


def assert_lock() -> None:
    """From now on, in this process, every such method asserts that its thread holds the lock."""
    for name, method in marked().items():
        if not hasattr(method, "__wrapped__"):
            setattr(Attempt, name, _asserting(name, method))


def _asserting(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def asserting(self: Attempt[Any], *args: Any, **options: Any) -> Any:
        assert self._lock._is_owned(), f"{name} is called without the attempt's lock"  # type: ignore[attr-defined]
        return method(self, *args, **options)

    return asserting
