"""The headers of a request as another library would write them, those of one name apart.

requests and urllib3 keep one value for each name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

__all__ = ["HeaderLines", "HeaderWriter", "joined"]

HeaderLines = tuple[tuple[str, str], ...]
"""Names and values in their order."""

_ADDED = frozenset({"user-agent", "accept-encoding"})
"""Headers that urllib3 and http.client add to a request that has none of them."""


def joined(lines: Iterable[tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Name and value by the name in lower case, with the values of one name in one."""
    values: dict[str, tuple[str, str]] = {}
    for header, value in lines:
        name, before = values.get(header.lower(), (header, None))
        if before is not None:
            value = f"{before}{';' if name.lower() == 'cookie' else ','} {value}"
        values[name.lower()] = (name, value)
    return values


class HeaderWriter:
    """Stands for ``put``, which writes a header, and writes those of ``lines`` before the first.

    ``headers`` are the request's, with one value for each name. A value that is not that of the lines together has been
    changed on the way, and is written in their place. Headers of other names are written as they come, but for those
    that urllib3 and http.client add by themselves.
    """

    def __init__(self, put: Callable[..., None], headers: Mapping[str, Any], lines: HeaderLines) -> None:
        self._put = put
        self._own = {name.lower(): value for name, value in headers.items()}
        self._lines = lines
        self._written: set[str] = set()

    def __call__(self, header: str, *values: Any) -> None:
        """Write the lines, if they are not written yet, and then this header if it is none of them."""
        lines, self._lines = self._lines, ()
        if lines:
            self._write(lines)
        name = header.lower()
        if name in self._own:
            if name in self._written or values != (self._own[name],):
                return
            self._written.add(name)
        elif name in _ADDED:
            return
        self._put(header, *values)

    def _write(self, lines: HeaderLines) -> None:
        whole = joined(lines)
        # h11 writes the host first, wherever it stands.
        for header, value in sorted(lines, key=lambda line: line[0].lower() != "host"):
            name = header.lower()
            if name in self._own and whole[name][1] == self._own[name]:
                self._put(header, value)
            elif name in self._own and name not in self._written:
                self._put(header, self._own[name])
            self._written.add(name)
