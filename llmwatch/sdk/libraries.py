"""httpx and httpx2, which are alike: a request belongs to one of them, and so does its response.

No library is imported before it is asked for by name. A request has imported its own.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["LIBRARIES", "Library", "library_of"]

LIBRARIES = ("httpx", "httpx2")
"""The names of both."""


@dataclass(frozen=True, slots=True)
class Library:
    """One of the two libraries, by its ``name``."""

    name: str

    def get(self, attribute: str) -> Any:
        """The library's ``attribute``: ``Response``, ``ReadTimeout``, ..."""
        return getattr(sys.modules.get(self.name) or importlib.import_module(self.name), attribute)

    def stream(self, pieces: Callable[[], Iterator[bytes]], close: Callable[[], None]) -> Any:
        """A byte stream of this library that iterates ``pieces()`` and is closed by ``close``."""
        return _stream_class(self.name)(pieces, close)


def library_of(request: object) -> Library:
    """The library of ``request``. Raises :class:`TypeError` for anything but a request of either library."""
    for kind in type(request).__mro__:
        name = kind.__module__.partition(".")[0]
        if kind.__name__ == "Request" and name in LIBRARIES:
            return Library(name)
    raise TypeError(f"llmwatch.sdk.Transport takes requests of httpx or httpx2, not {type(request).__name__}")


class _Pieces:
    """llmwatch's part of a byte stream."""

    def __init__(self, pieces: Callable[[], Iterator[bytes]], close: Callable[[], None]) -> None:
        self._pieces = pieces
        self._close = close

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces()

    def close(self) -> None:
        self._close()


@functools.cache
def _stream_class(name: str) -> type[Any]:
    # Each library accepts only subclasses of its own class.
    return type("WatchedStream", (_Pieces, Library(name).get("SyncByteStream")), {"__module__": __name__})
