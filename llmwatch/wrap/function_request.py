"""A function in the form of a request, for records, messages and decisions."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any

from llmwatch.engine.request import CallRequest

__all__ = ["SCHEME", "FunctionRequest", "name_of"]

SCHEME = "function"
_MOST = 200

_SCOPES = re.compile(r"<(\w+)>")
_OTHER = re.compile(r"[^A-Za-z0-9._-]+")


def name_of(function: object) -> str:
    """``module.qualname`` in letters that a URL allows.
    The inner function names a partial, and its class any other object.
    """
    while isinstance(function, functools.partial):
        function = function.func
    qualname = getattr(function, "__qualname__", None)
    if not isinstance(qualname, str):
        function = type(function)
        qualname = function.__qualname__
    module = getattr(function, "__module__", None)
    whole = f"{module}.{qualname}" if isinstance(module, str) else qualname
    whole = _SCOPES.sub(r"\1", whole.replace(".<locals>", ""))
    return _OTHER.sub("-", whole)[-_MOST:].strip(".-") or "function"


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionRequest(CallRequest):
    """A function in the place of a request. Its arguments are not kept."""

    @classmethod
    def naming(cls, method: str, function: object) -> FunctionRequest:
        """The request for ``function``; ``method`` is ``CALL`` or ``ITERATE``."""
        kwargs: dict[str, Any] = {}
        return cls(method=method, url=f"{SCHEME}://{name_of(function)}", kwargs=kwargs)

    @property
    def host(self) -> str:
        """The function's name, in its own case."""
        return self.url.partition("://")[2]
