"""A call inside a call: work that an attempt's worker waits for ends together with the attempt.

The inner call's locks are taken under the outer attempt's lock. An inner call never takes an outer lock while it holds
its own.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["ChildCallHandle"]


class ChildCallHandle:
    """A :class:`~llmwatch.watch.interfaces.Handle` for an inner call, which ``end`` cancels at once."""

    def __init__(self, end: Callable[[str], object]) -> None:
        self._end = end

    def shutdown(self) -> None:
        """Cancel the inner call; its own sockets wake its worker."""
        self._end("lifecycle")

    def waiting(self) -> bool:
        """``False``: bytes in the inner call's sockets say nothing about the outer call."""
        return False

    def release(self) -> None:
        """The inner call is over."""

    def detach_in_child(self) -> None:
        """In a forked child: nothing, since the inner attempt detaches itself."""
