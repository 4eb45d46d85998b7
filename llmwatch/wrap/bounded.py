"""A function with one limit only, for work on the way to a call, such as a token refresh.

There is no retry, no record and no sink. While the function runs, the limits of the attempt that waits for it stand
still. The function ends with that attempt.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

from llmwatch.engine.observe import cancelled_error
from llmwatch.errors import WatchTimeout
from llmwatch.policy import resolve_keepalive
from llmwatch.recovery import timeout_message
from llmwatch.watch.attempt import WHOLE, Attempt, serving
from llmwatch.watch.machine import VerdictKind
from llmwatch.watch.nested import ChildCallHandle
from llmwatch.wrap.current import paused
from llmwatch.wrap.instrument import BoundExceeded
from llmwatch.wrap.running import FunctionRaised, mark, running

T = TypeVar("T")

__all__ = ["BoundExceeded", "run_bounded"]


def run_bounded(
    function: Callable[[], T], *, seconds: float | None, limit: str = "refresh", max_body: int | None = None
) -> T:
    """The value of ``function()``, at the latest after ``seconds`` (``None``: no limit).

    The function runs in a watched worker. Its exceptions are raised unchanged. When the time is over,
    :class:`~llmwatch.WatchTimeout` with that ``limit`` is raised at once, and the function's sockets (those of
    requests) are shut down. The body of a response that requests gets inside may have ``max_body`` bytes. A larger body
    raises :class:`BoundExceeded`, a ``requests.RequestException``, into the function.

    Inside another attempt's worker it stops the limits of that attempt and of those around it, but not their deadlines.
    When that attempt is killed or cancelled, the function ends too, and :class:`~llmwatch.watch.interfaces.Aborted` is
    raised. Ctrl-C ends it at once. With 64 orphans nothing starts (:class:`~llmwatch.TooManyOrphans`).
    """
    keepalive = resolve_keepalive(None, os.environ)

    def work(attempt: Attempt[T]) -> None:
        with running(attempt, keepalive, max_body=max_body):
            attempt.connected()
            attempt.sent()
            value = function()
        attempt.deliver([value], 0, WHOLE)

    attempt: Attempt[T] = Attempt({"total": seconds})
    mark(attempt)
    outer = serving()
    inner = ChildCallHandle(attempt.cancel)
    if outer is not None:
        outer.adopt(inner)
    try:
        with paused():
            attempt.start(work)
            batch = attempt.take()
    except BaseException:
        attempt.cancel("user")
        raise
    finally:
        if outer is not None:
            outer.disown(inner)
    return batch[0] if batch else _raise(attempt, outer, limit)


def _raise(attempt: Attempt[Any], outer: Attempt[Any] | None, limit: str) -> Any:
    verdict = attempt.verdict
    assert verdict is not None
    if verdict.kind is VerdictKind.FAILED and verdict.error is not None:
        error = verdict.error
        raise error.error if isinstance(error, FunctionRaised) else error
    if verdict.kind is VerdictKind.CANCELLED:
        if outer is not None:
            outer.check()
        raise cancelled_error(verdict.by or "user")
    seconds, elapsed = verdict.seconds or 0.0, verdict.elapsed or 0.0
    raise WatchTimeout(
        timeout_message(limit, seconds, elapsed, paused=verdict.paused),
        limit=limit,
        limit_seconds=seconds,
        phase=verdict.phase.public,
        elapsed=elapsed,
        paused=verdict.paused,
    )
