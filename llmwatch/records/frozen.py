"""Immutable mappings and sequences for the fields of a record.

An error, a stream and any number of sinks share a record, so a record must not change. ``MappingProxyType`` is
immutable too, but cannot be pickled.
"""

from __future__ import annotations

import math
from collections.abc import ItemsView, Iterator, KeysView, Mapping, Sequence, Set, ValuesView
from enum import Enum
from typing import Any

__all__ = ["FrozenMap", "freeze", "freeze_map", "thaw"]

_MOST_DEPTH = 12


class FrozenMap(Mapping[str, Any]):
    """An immutable mapping that can be hashed, copied and pickled. Equal to a dict of the same items."""

    __slots__ = ("_is_deep", "_items")

    def __init__(self, items: Mapping[str, Any] | None = None) -> None:
        self._items: dict[str, Any] = dict(items or {})
        self._is_deep = False  # true where the values are known to be frozen too

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    # A dict's own views are read-only too. The views of Mapping call __getitem__ for every item.

    def keys(self) -> KeysView[str]:
        return self._items.keys()

    def values(self) -> ValuesView[Any]:
        return self._items.values()

    def items(self) -> ItemsView[str, Any]:
        return self._items.items()

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenMap, (dict(self._items),)


# Most values are of these classes. A record is made while the caller waits, so these cost no call of a function.
_AS_THEY_ARE = frozenset({str, int, bool, type(None)})


def freeze(value: object, depth: int = 0) -> Any:
    """``value`` in an immutable form that can be pickled and survives a round trip through JSON.

    Mappings become a :class:`FrozenMap` with text keys, sequences and sets a tuple, enum members their value. NaN and
    infinity become ``None``. Any other object, and any container below 12 levels, becomes ``"[omitted: <class>]"``.
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
        if isinstance(value, Mapping):
            return _freeze_items(value, depth + 1)
        if isinstance(value, (Sequence, Set)) and not isinstance(value, (bytes, bytearray, memoryview)):
            return tuple(freeze(item, depth + 1) for item in value)
    return f"[omitted: {type(value).__name__}]"


def _freeze_items(items: Mapping[Any, Any], depth: int) -> FrozenMap:
    frozen: dict[str, Any] = {}
    for key, value in items.items():
        name = key if key.__class__ is str else str(freeze(key))
        kind = value.__class__
        if kind in _AS_THEY_ARE or (kind is float and math.isfinite(value)):
            frozen[name] = value
        elif kind is dict and depth < _MOST_DEPTH:
            frozen[name] = _freeze_items(value, depth + 1)
        else:
            frozen[name] = freeze(value, depth)
    made = FrozenMap.__new__(FrozenMap)
    made._items, made._is_deep = frozen, True
    return made


def freeze_map(value: Mapping[str, Any]) -> FrozenMap:
    """``value`` as a :class:`FrozenMap`; ``value`` itself where it is frozen already."""
    if value.__class__ is FrozenMap and value._is_deep:
        return value
    return _freeze_items(value, 1)


def thaw(value: object) -> Any:
    """The inverse of :func:`freeze`: plain dicts and lists for ``json.dumps``."""
    if isinstance(value, Mapping):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [thaw(item) for item in value]
    return value
