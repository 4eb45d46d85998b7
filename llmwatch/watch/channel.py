"""The bounded channel between a worker and its caller.

The channel has no lock of its own. The attempt's lock covers it, so both sides see batches and verdict together.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from llmwatch.watch.clock import WaitList

T = TypeVar("T")

__all__ = ["Bounds", "Channel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The items, and their bytes, that may wait for the caller at most. A larger item passes alone.
    ``held``: bytes that are held back at most; ``None``: as many as may wait.
    """

    items: int = 1024
    size: int = 4 * 1024 * 1024
    held: int | None = None


class Channel(Generic[T]):
    """Batches on their way from the worker to the caller.
    Until :meth:`open` the caller sees no batch: batches are *held back*. Held batches that outgrow the bounds are let
    through, since the worker would wait for room for ever.
    """

    __slots__ = ("_batches", "_bounds", "_count", "_held", "_size", "changed", "closed", "opened", "room", "silent")

    def __init__(self, bounds: Bounds) -> None:
        self.changed = WaitList()  # the caller waits here for a batch or a verdict
        self.room = WaitList()  # the worker waits here for the caller
        self._bounds = bounds
        self._batches: deque[tuple[list[T], int]] = deque()
        self._held: list[tuple[list[T], int]] = []
        self._count = 0
        self._size = 0
        self.opened = False
        self.closed = False
        self.silent = False

    @property
    def full(self) -> bool:
        """Whether the channel has no room until the caller takes a batch."""
        return self._count >= self._bounds.items or self._size >= self._bounds.size

    def put(self, batch: list[T], size: int) -> None:
        """Add a batch. The worker has made sure that there is room."""
        if self.closed:
            return
        self._count += len(batch)
        self._size += size
        if self.opened:
            self._batches.append((batch, size))
            self.changed.wake()
        else:
            self._held.append((batch, size))
            held = self._bounds.held
            if self.full or (held is not None and self._size > held):
                self.open()

    def open(self) -> None:
        """Let the held batches through in order, and every later batch."""
        if self.opened:
            return
        self.opened = True
        if self._held:
            self._batches.extend(self._held)
            self._held.clear()
            self.changed.wake()

    def take(self) -> list[T] | None:
        """The oldest batch that is visible, or ``None``."""
        if not self._batches:
            return None
        bounds = self._bounds
        was_full = self._count >= bounds.items or self._size >= bounds.size
        batch, size = self._batches.popleft()
        self._count -= len(batch)
        self._size -= size
        if was_full and not self.full:
            self.room.wake()
        return batch

    def drop_held(self) -> None:
        """Discard the held batches: the attempt failed, and the caller must not see them."""
        for batch, size in self._held:
            self._count -= len(batch)
            self._size -= size
        self._held.clear()

    def close(self) -> None:
        """Discard everything and wake both sides: the call was cancelled."""
        self.closed = True
        self._batches.clear()
        self._held.clear()
        self._count = self._size = 0
        self.wake()

    def silence(self) -> None:
        """Wake no thread any more: while the interpreter exits, a daemon thread could only print a traceback."""
        self.silent = True

    def wake(self) -> None:
        """Have both sides look again."""
        if self.silent:
            return
        self.changed.wake()
        self.room.wake()
