"""The memory of a call."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

__all__ = ["peak_of"]


def peak_of(call: Callable[[], object]) -> int:
    """The bytes that Python's objects have at most while ``call`` runs.

    Those that were there before do not count.
    """
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
