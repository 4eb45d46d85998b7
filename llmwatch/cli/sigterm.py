"""SIGTERM as Ctrl-C, for commands that serve until they are ended."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["heeding_sigterm"]


@contextmanager
def heeding_sigterm() -> Iterator[None]:
    """SIGTERM, by which the test harnesses of other languages end a process, is Ctrl-C inside the block."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
