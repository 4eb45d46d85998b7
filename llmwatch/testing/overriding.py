"""Overrides of every call in this process: no waits between attempts, fewer attempts, shorter limits."""

from __future__ import annotations

import math
from types import TracebackType

from llmwatch.policy.overrides import ACTIVE, Override
from llmwatch.policy.values import refused

__all__ = ["Overriding", "no_waiting", "scaled_limits"]


class Overriding:
    """An override that is in force, until :meth:`undo` or the end of its ``with`` block.

    It is made by :func:`no_waiting` or :func:`scaled_limits`, holds in every thread, and in processes that are forked.
    It changes no environment variable. Overrides may be nested, and may end in any order.
    """

    def __init__(self, override: Override) -> None:
        self._override = override
        ACTIVE[override] = None

    def undo(self) -> None:
        """End the override for calls that begin later. May be called again."""
        ACTIVE.pop(self._override, None)

    def __enter__(self) -> Overriding:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.undo()


def no_waiting(*, max_attempts: int | None = None) -> Overriding:
    """Have every call send its next attempt at once, from here on, or inside a ``with`` block alone.

    Which attempts follow stays as it is: a ``Retry-After`` above ``max_retry_after`` still ends the call, one below it
    is not waited for. Circuit breaker, retry budget and pacing are off, because all they do is wait. A record's
    ``wait`` is 0. A local server that loads its model gets no more attempts than any other.

    ``max_attempts`` bounds the attempts of each call; 1 turns retries off (but for a dead pooled connection). The
    innermost bound counts. ``None`` leaves the number as it is.

    It does not shorten limits, and not the waits of other libraries or of the program's own loops. Raises
    :class:`~llmwatch.ConfigError` for a bound that is not a whole number above 0.
    """
    if max_attempts is not None and (
        isinstance(max_attempts, bool) or not isinstance(max_attempts, int) or max_attempts < 1
    ):
        allowed = "it takes a whole number of attempts, 1 or more"
        raise refused("max_attempts", max_attempts, "no_waiting(max_attempts={})", allowed)
    return Overriding(Override(without_waits=True, most_attempts=max_attempts))


def scaled_limits(factor: float) -> Overriding:
    """Multiply every limit of every call by ``factor``, from here on, or inside a ``with`` block alone.

    All limits are scaled, whatever set them: an argument, the environment, the profile or a request's time-out. So a
    call stalls in a test as it does in production, and sooner; with 0.01 the default ``ttfb`` of a hosted provider is
    1.2 s. A limit that is off stays off. The innermost factor counts. ``finish`` and ``drain`` are limits as well.

    It does not scale the waits between attempts: see :func:`no_waiting`. Raises :class:`~llmwatch.ConfigError` for a
    factor that is not a finite number above 0.
    """
    if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not 0 < factor < math.inf:
        raise refused("factor", factor, "scaled_limits({})", "it takes a finite number above 0")
    return Overriding(Override(factor=float(factor)))
