"""Regular expressions that are compiled with their first use.

Compiling all of the package's would take a tenth of its import, and a call that succeeds uses few of them.
"""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast

__all__ = ["lazy"]


class _Lazy:
    def __init__(self, *given: Any) -> None:
        self._given = given

    def __getattr__(self, name: str) -> Any:
        # Kept, so that the next use finds it without a call.
        value = getattr(re.compile(*self._given), name)
        setattr(self, name, value)
        return value


def lazy(source: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """The pattern of ``re.compile``; an error in ``source`` is raised with the first use."""
    return cast("re.Pattern[AnyStr]", _Lazy(source, flags))
