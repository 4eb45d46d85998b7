"""A call inside a call: work that an attempt's worker waits for ends together with the attempt.

The inner call's locks are taken under the outer attempt's. They nest as the calls do, so there is no way back up: what
an inner call does never takes the lock of an outer one while it holds its own.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["ChildCallHandle"]


class ChildCallHandle:
    """A :class:`~llmwatch.watch.interfaces.Handle` that stands for an inner call; ``end`` gives that call up, at
    once.
    """

    def __init__(self, end: Callable[[str], object]) -> None:
        self._end = end

    def shutdown(self) -> None:
        """Give the inner call up; its worker is woken by its own sockets."""
        self._end("lifecycle")

    def waiting(self) -> bool:
        """What the inner call has in its sockets says nothing about the outer one."""
        return False

    def release(self) -> None:
        """The inner call is over."""

    def detach_in_child(self) -> None:
        """In a forked child: the inner attempt is inert by itself."""
