"""Values as JSON text: what each of them adds to its dictionary."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, TypeVar

__all__ = ["JsonRecord", "JsonText"]

T = TypeVar("T", bound="JsonRecord")


class JsonText:
    """A value that has a dictionary of itself, and so its text."""

    __slots__ = ()

    @abstractmethod
    def to_dict(self) -> Mapping[str, Any]:
        """Plain JSON values: dicts, lists, text, numbers, true, false, null."""

    def to_json(self) -> str:
        """The dictionary of :meth:`to_dict` as JSON text: one line of ASCII, without the line end."""
        return json.dumps(self.to_dict(), allow_nan=False, separators=(",", ":"))


class JsonRecord(JsonText):
    """A value that can be read back as well."""

    __slots__ = ()

    @classmethod
    @abstractmethod
    def from_dict(cls: type[T], source: object) -> T:
        """The value that :meth:`to_dict` gave. Raises :class:`ValueError` for anything else."""

    @classmethod
    def from_json(cls: type[T], text: str | bytes) -> T:
        """The value whose text :meth:`to_json` gave.

        Raises :class:`ValueError` for text that is no JSON, or that is not of such a value, and :class:`TypeError` for
        what is no text: a dictionary is for :meth:`from_dict`.
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
