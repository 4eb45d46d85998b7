"""Reading a record back from JSON, field by field.

Other processes and other versions write to an incident log, and the last line may be incomplete. A field of the wrong
shape raises a :class:`ValueError` that names the field, so that no :class:`AttributeError` follows later.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["Reader"]


class Reader:
    """Typed access to the fields of one JSON object. A missing field takes the given default, if any."""

    def __init__(self, source: object, what: str) -> None:
        if not isinstance(source, Mapping):
            raise ValueError(f"{what}: expected a JSON object, got {_name(source)}")
        self._source = source
        self._what = what

    def _get(self, field: str, types: tuple[type, ...], words: str, default: tuple[Any, ...]) -> Any:
        if field not in self._source:
            if default:
                return default[0]
            raise ValueError(f"{self._what}.{field} is missing")
        value = self._source[field]
        # bool is a subclass of int; a flag in place of a number is a mistake.
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise ValueError(f"{self._what}.{field}: expected {words}, got {_name(value)}")
        return value

    def text(self, field: str, *default: str) -> str:
        """A string."""
        return str(self._get(field, (str,), "text", default))

    def maybe_text(self, field: str) -> str | None:
        """A string or null."""
        value: str | None = self._get(field, (str, type(None)), "text or null", (None,))
        return value

    def whole(self, field: str, *default: int) -> int:
        """A whole number."""
        return int(self._get(field, (int,), "a whole number", default))

    def maybe_whole(self, field: str) -> int | None:
        """A whole number or null."""
        value: int | None = self._get(field, (int, type(None)), "a whole number or null", (None,))
        return value

    def number(self, field: str, *default: float) -> float:
        """A finite number."""
        value: float = self._get(field, (int, float), "a number", default)
        return self._finite(field, value)

    def maybe_number(self, field: str) -> float | None:
        """A finite number or null."""
        value: float | None = self._get(field, (int, float, type(None)), "a number or null", (None,))
        return None if value is None else self._finite(field, value)

    def flag(self, field: str, *default: bool) -> bool:
        """True or false."""
        return bool(self._get(field, (bool,), "true or false", default))

    def maybe_flag(self, field: str) -> bool | None:
        """True, false or null."""
        value: bool | None = self._get(field, (bool, type(None)), "true, false or null", (None,))
        return value

    def mapping(self, field: str) -> Mapping[str, Any]:
        """A JSON object; an empty one if it is missing."""
        value: Mapping[str, Any] = self._get(field, (Mapping,), "a JSON object", ({},))
        return value

    def maybe_mapping(self, field: str) -> Mapping[str, Any] | None:
        """A JSON object or null."""
        value: Mapping[str, Any] | None = self._get(field, (Mapping, type(None)), "a JSON object or null", (None,))
        return value

    def items(self, field: str) -> list[Any]:
        """A JSON list; an empty one if it is missing."""
        return list(self._get(field, (list, tuple), "a list", ((),)))

    def schema(self, newest: int) -> int:
        """The version of the schema. Raises :class:`ValueError` for a version above ``newest``."""
        version = self.whole("schema")
        if not 1 <= version <= newest:
            raise ValueError(
                f"{self._what}.schema is {version}; this version of llmwatch reads 1 to {newest}."
                " A newer one wrote it, or it is damaged."
            )
        return version

    def _finite(self, field: str, value: float) -> float:
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{self._what}.{field}: expected a finite number, got {value}")
        return value


def _name(value: object) -> str:
    return "null" if value is None else type(value).__name__
