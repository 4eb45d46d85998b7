"""What has to be put right in a forked child before anything else runs there.

Only the forking thread lives on in the child: a lock that another thread held at that moment is held for ever, and
what belongs to the parent (connections, above all) must be given up without a word to the other side. Whoever keeps a
lock or a connection beyond one call :func:`follow`\\ s here.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from typing import Protocol

__all__ = ["Forkable", "follow"]


class Forkable(Protocol):
    """Has something to put right in a forked child."""

    def after_fork(self) -> None:
        """Make new locks and give up what the parent owns. Runs in the child, before any other thread is started
        there.
        """


_members: weakref.WeakSet[Forkable] = weakref.WeakSet()


def follow(member: Forkable) -> None:
    """Call ``member.after_fork()`` in every child that is forked while it is alive."""
    _members.add(member)


def _after_fork_in_child() -> None:
    for member in list(_members):
        # One that fails must not leave the others as they are.
        with contextlib.suppress(Exception):
            member.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
