"""Values that stay as they were: mappings and sequences inside a record.

A record is shared by an error, a stream and any number of sinks, so nobody may change it. A ``MappingProxyType`` would
say so as well, but it cannot be pickled.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from enum import Enum
from typing import Any

__all__ = ["FrozenMap", "freeze", "freeze_map", "thaw"]

_MOST_DEPTH = 12


class FrozenMap(Mapping[str, Any]):
    """A mapping that cannot be changed, and can be hashed, copied and pickled. Equal to a dict of the same items."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, Any] | None = None) -> None:
        self._items: dict[str, Any] = dict(items or {})

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenMap, (dict(self._items),)


# Most of what is frozen, and a record is made while its caller waits.
_AS_THEY_ARE = frozenset({str, int, bool, type(None)})


def freeze(value: object, depth: int = 0) -> Any:
    """``value`` in a form that cannot change, pickles, and comes back from JSON equal.

    Mappings become a :class:`FrozenMap` with text keys, sequences and sets a tuple, enum members their value. What JSON
    cannot hold is not kept: a NaN or infinity becomes ``None``, any other object ``"[omitted: <its class>]"``.
    """
    if value.__class__ in _AS_THEY_ARE:
        return value
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth < _MOST_DEPTH:
        if value.__class__ is dict or isinstance(value, Mapping):
            return _freeze_items(value, depth + 1)
        if isinstance(value, (Sequence, Set)) and not isinstance(value, (bytes, bytearray, memoryview)):
            return tuple(freeze(item, depth + 1) for item in value)
    return f"[omitted: {type(value).__name__}]"


def _freeze_items(mapping: Mapping[Any, object], depth: int) -> FrozenMap:
    frozen = FrozenMap()
    items = frozen._items
    for key, item in mapping.items():
        name = key if key.__class__ is str else str(freeze(key))
        items[name] = item if item.__class__ in _AS_THEY_ARE else freeze(item, depth)
    return frozen


def freeze_map(value: Mapping[str, Any]) -> FrozenMap:
    """A mapping, frozen."""
    frozen = freeze(value)
    assert isinstance(frozen, FrozenMap)
    return frozen


def thaw(value: object) -> Any:
    """The opposite: plain dicts and lists, for ``json.dumps``."""
    if isinstance(value, Mapping):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [thaw(item) for item in value]
    return value
