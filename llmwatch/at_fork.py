"""What happens in a forked child, before anything else runs there.

Only the forking thread lives on in the child: a lock that another thread held at that moment is held for ever, and
what belongs to the parent (connections, above all) must be given up without a word to the other side. This module is
the only one that registers with ``os.register_at_fork``. In the child come, each in the order of registration:

1. the names of modules that :func:`renew_in_child` renews, since everything else may take a lock;
2. the objects that :func:`follow`;
3. the functions that are marked :func:`in_child`.

One that fails leaves none of the others as it is.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["Forkable", "follow", "in_child", "renew_in_child"]


class Forkable(Protocol):
    """Has something to put right in a forked child."""

    def after_fork(self) -> None:
        """Make new locks and give up what the parent owns. Runs in the child, before any other thread is started
        there.
        """


_renewals: list[tuple[dict[str, Any], str, Callable[[], object]]] = []
_members: weakref.WeakSet[Forkable] = weakref.WeakSet()
_functions: list[Callable[[], object]] = []


def renew_in_child(module: dict[str, Any], name: str, make: Callable[[], object]) -> None:
    """Replace the value ``name`` of a ``module``, given by its ``globals()``, by ``make()`` in every forked child: a
    lock, which another thread of the parent may have held, or what a thread of the parent had of its own.
    """
    _renewals.append((module, name, make))


def follow(member: Forkable) -> None:
    """Call ``member.after_fork()`` in every child that is forked while it is alive."""
    _members.add(member)


def in_child(function: Callable[[], None]) -> Callable[[], None]:
    """Call ``function`` in every forked child. A decorator."""
    _functions.append(function)
    return function


def _after_fork_in_child() -> None:
    for module, name, make in _renewals:
        module[name] = make()
    for step in [*(member.after_fork for member in list(_members)), *_functions]:
        with contextlib.suppress(Exception):
            step()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
