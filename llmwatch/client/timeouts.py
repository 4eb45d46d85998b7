"""requests' ``timeout=``, in the words of limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from llmwatch.errors import ConfigError
from llmwatch.policy import UNSET, Limits

__all__ = ["with_timeout"]


def _pair(timeout: object) -> tuple[object, object]:
    if isinstance(timeout, tuple) and len(timeout) == 2:
        return timeout
    if hasattr(timeout, "connect_timeout"):
        # urllib3's own kind, whose defaults are marker objects. Its read_timeout can be asked only once its clock runs.
        total, read = timeout.total, timeout._read  # type: ignore[attr-defined]
        return _least(timeout.connect_timeout, total), _least(read, total)
    return timeout, timeout


def _least(*values: object) -> float | None:
    return min((value for value in values if isinstance(value, (int, float))), default=None)


def with_timeout(limits: Limits | None, timeout: object) -> Limits | None:
    """``limits`` with what a ``timeout=`` argument adds where they say nothing.

    A number, a pair (connect, read), or urllib3's Timeout, in seconds: the first is ``connect``, the second ``ttfb``
    and ``stale``, which is what a read time-out is: silence. ``None`` adds nothing, and neither does ``None`` inside a
    pair. Raises :class:`~llmwatch.ConfigError` for values that cannot be meant.
    """
    if timeout is None:
        return limits
    connect, read = _pair(timeout)
    limits = Limits() if limits is None else limits
    given: dict[str, Any] = {"connect": connect, "ttfb": read, "stale": read}
    for value in (connect, read):
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise ConfigError(
                f"timeout={timeout!r} must be a number of seconds, a pair (connect, read) of such, or None.",
                field="timeout",
                value=timeout,
            )
    added = {name: value for name, value in given.items() if value is not None and limits.get(name) is UNSET}
    return replace(limits, **added)
