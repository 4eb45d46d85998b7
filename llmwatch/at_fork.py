"""The steps in a forked child before any other code runs there.

Only the forking thread lives on in the child. A lock that another thread held at that moment is held for ever. The
parent's belongings, connections above all, must be given up without any bytes to the server. Only this module registers
with ``os.register_at_fork``. The child runs these in turn, each in the order of registration:

1. :func:`renew_in_child` renews names of modules, first since everything else may take a lock;
2. the objects passed to :func:`follow`;
3. the functions marked :func:`in_child`.

A step that fails stops none of the others.

Before the fork, and until it is over, the forking thread has each lock that was passed to :func:`hold`.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

__all__ = ["Forkable", "follow", "hold", "in_child", "renew_in_child"]


class Forkable(Protocol):
    """An object that has to change in a forked child."""

    def after_fork(self) -> None:
        """Make new locks and give up what the parent owns. Runs before another thread starts in the child."""


_renewals: list[tuple[dict[str, Any], str, Callable[[], object]]] = []
_members: weakref.WeakSet[Forkable] = weakref.WeakSet()
_functions: list[Callable[[], object]] = []


def renew_in_child(module: dict[str, Any], name: str, make: Callable[[], object]) -> None:
    """Replace ``name`` in a module's ``globals()`` by ``make()`` in every forked child.
    The value is a lock, which another thread may have held, or data of a thread of the parent.
    """
    _renewals.append((module, name, make))


def follow(member: Forkable) -> None:
    """Call ``member.after_fork()`` in every child that is forked while ``member`` is alive."""
    _members.add(member)


def hold(lock: Any) -> None:
    """Have every fork take ``lock``, which is re-entrant, and release it in the parent and in the child."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)


def in_child(function: Callable[[], None]) -> Callable[[], None]:
    """Decorator: call ``function`` in every forked child."""
    _functions.append(function)
    return function


def _renew(module: dict[str, Any], name: str, make: Callable[[], object]) -> None:
    module[name] = make()


def _after_fork_in_child() -> None:
    steps: list[Callable[[], object]] = [partial(_renew, *renewal) for renewal in _renewals]
    steps += [member.after_fork for member in list(_members)]
    for step in steps + _functions:
        with contextlib.suppress(Exception):
            step()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
