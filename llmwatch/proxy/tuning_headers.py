"""The limits that a request sets for itself, in seconds: ``x-llmwatch-ttfb: 45``."""

from __future__ import annotations

from collections.abc import Mapping

from llmwatch.errors import ConfigError
from llmwatch.policy import LIMITS, Limits
from llmwatch.policy.limits import NAMES
from llmwatch.proxy.admission import TOKEN_HEADER
from llmwatch.transport.header_lines import HeaderLines

__all__ = ["PREFIX", "limits_of"]

PREFIX = "x-llmwatch-"
"""The start of the names of the headers that are for the proxy. None is sent on."""

_FIELDS: Mapping[str, str] = {PREFIX + name.replace("_", "-"): name for name in NAMES}


def limits_of(headers: HeaderLines) -> Limits | None:
    """The limits that ``headers`` set, ``None`` for none. A value is in seconds; 0 is off.

    Raises :class:`~llmwatch.ConfigError` for another value, an unknown name, a name that stands twice, and limits that
    contradict each other.
    """
    given: dict[str, float] = {}
    for header, value in headers:
        name = header.lower().replace("_", "-")
        if not name.startswith(PREFIX) or name == TOKEN_HEADER:
            continue
        field = _FIELDS.get(name)
        if field is None:
            raise ConfigError(f"There is no header {name[:60]}; those for limits are {', '.join(_FIELDS)}.")
        if field in given:
            raise ConfigError(f"The header {name} stands twice.", field=field)
        given[field] = _seconds(name, value)
    if not given:
        return None
    assert given.keys() <= LIMITS.keys()
    return Limits(**given)


def _seconds(name: str, value: str) -> float:
    try:
        seconds = float(value) if value.isascii() and "_" not in value else -1.0
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ConfigError(
            f"The header {name} must be a finite number of seconds, 0 or more, not {value[:40]!r}; 0 turns the limit"
            " off."
        )
    return seconds
