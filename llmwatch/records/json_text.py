"""Base classes of values that convert to a dictionary and to JSON text."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, TypeVar

__all__ = ["JsonRecord", "JsonText"]

T = TypeVar("T", bound="JsonRecord")


class JsonText:
    """A value that converts to a dictionary and to JSON text."""

    __slots__ = ()

    @abstractmethod
    def to_dict(self) -> Mapping[str, Any]:
        """Plain JSON values: dicts, lists, text, numbers, true, false, null."""

    def to_json(self) -> str:
        """The dictionary of :meth:`to_dict` as JSON: one line of ASCII without a line end."""
        return json.dumps(self.to_dict(), allow_nan=False, separators=(",", ":"))


class JsonRecord(JsonText):
    """A value that can be read back from its dictionary and from its JSON text."""

    __slots__ = ()

    @classmethod
    @abstractmethod
    def from_dict(cls: type[T], source: object) -> T:
        """The value whose :meth:`to_dict` is ``source``. Raises :class:`ValueError` for anything else."""

    @classmethod
    def from_json(cls: type[T], text: str | bytes) -> T:
        """The value whose :meth:`to_json` is ``text``.

        Raises :class:`ValueError` for invalid JSON and for JSON of another value, and :class:`TypeError` for an object
        that is neither ``str`` nor ``bytes``: :meth:`from_dict` takes a dictionary.
        """
        if not isinstance(text, (str, bytes)):
            raise TypeError(
                f"{cls.__name__}.from_json takes JSON text and not {type(text).__name__}; from_dict takes a dictionary"
            )
        try:
            source = json.loads(text)
        except RecursionError:
            raise ValueError(f"{cls.__name__}: JSON that is nested too deeply") from None
        return cls.from_dict(source)
