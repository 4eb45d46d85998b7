"""Notices to a waiting caller: signs of life for a terminal, not a basis for decisions."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from llmwatch.interruption import is_interruption
from llmwatch.records import AttemptRecord
from llmwatch.records.attempt import BACKING_OFF
from llmwatch.records.log import say_seldom
from llmwatch.redaction import redact
from llmwatch.watch.attempt import Attempt
from llmwatch.watch.clock import SYSTEM, Clock

__all__ = [
    "WITHOUT_CALLBACK",
    "DelayNotice",
    "Notice",
    "NoticeCallback",
    "Notifier",
    "ProgressNotice",
    "RetryNotice",
    "WaitNotice",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitNotice:
    """Nothing has come for a while. All times are in seconds.

    ``phase`` is one of :data:`llmwatch.records.PHASES`; ``backing_off`` means that the call waits before ``attempt``.
    ``limit`` is the limit that expires next, in ``expires_in`` seconds; both are ``None`` if no limit runs.
    """

    attempt: int
    waited: float
    phase: str
    limit: str | None
    expires_in: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryNotice:
    """An attempt has failed, and another follows after ``wait`` seconds.

    ``of`` is the number of attempts allowed, ``phase`` where the failed attempt stood, ``limit`` the limit that ended
    it (``None`` if none did), ``cause`` the failure in one word (the limit's name if there is one), ``record`` the
    record of the failed attempt.
    """

    attempt: int
    of: int
    phase: str
    limit: str | None
    wait: float
    cause: str
    message: str
    record: AttemptRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayNotice:
    """An attempt has to wait before it is sent, for up to ``wait`` seconds until the next check.

    ``cause`` is ``pace`` (the provider told another call to wait, or refuses calls that come too fast), ``breaker``
    (the origin answers no call) or ``budget`` (too many resends). ``message`` explains it. ``attempt`` is the next
    attempt, and ``phase`` is ``backing_off``.
    """

    attempt: int
    cause: str
    wait: float
    message: str
    phase: str = BACKING_OFF


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressNotice:
    """Something came: the earlier notice no longer holds."""

    attempt: int


Notice = WaitNotice | RetryNotice | DelayNotice | ProgressNotice
"""The argument of a callback."""

NoticeCallback = Callable[[Notice], None]
"""The type of ``on_notice``."""


class _Telling(threading.local):
    """The callbacks that run in this thread."""

    callbacks: tuple[NoticeCallback, ...] = ()


_telling = _Telling()


class Notifier:
    """Waits for an attempt on behalf of its caller, and calls the callback at intervals."""

    def __init__(self, callback: NoticeCallback | None, every: float, clock: Clock) -> None:
        self._callback = callback
        self._every = every
        self._clock = clock
        self._told = False

    def tell(self, notice: Notice) -> None:
        """Call the callback. Its exceptions are logged, once a minute, and do not affect the call.

        A callback is not called about calls that it makes itself.
        """
        callback = self._callback
        if callback is None or any(running is callback for running in _telling.callbacks):
            return
        self._told = not isinstance(notice, ProgressNotice)
        _telling.callbacks = (*_telling.callbacks, callback)
        try:
            callback(notice)
        except Exception as failed:
            if is_interruption(failed):
                raise
            kind = ("notice", getattr(callback, "__qualname__", None), type(failed))
            message = "llmwatch: the notice callback raised %s; the call is not affected"
            say_seldom(kind, self._clock.now(), logging.ERROR, message, redact.described(failed))
        finally:
            _telling.callbacks = _telling.callbacks[:-1]

    def until(self, at: float) -> float:
        """When to interrupt a wait until ``at``, for a notice."""
        return at if self._callback is None else min(at, self._clock.now() + self._every)

    def backing_off(self, number: int, *, since: float, deadline_at: float | None) -> None:
        """Tell that the call still waits before attempt ``number``; the wait began at ``since``."""
        now = self._clock.now()
        self.tell(
            WaitNotice(
                attempt=number,
                waited=now - since,
                phase=BACKING_OFF,
                limit=None if deadline_at is None else "deadline",
                expires_in=None if deadline_at is None else max(0.0, deadline_at - now),
            )
        )

    def take(self, attempt: Attempt[T], number: int) -> list[T] | None:
        """The result of ``attempt.take()``, with a notice for each interval of waiting."""
        if self._callback is None:
            return attempt.take()
        began = self._clock.now()
        while True:
            batch = attempt.take(self._clock.now() + self._every)
            if batch is not None or attempt.verdict is not None:
                if self._told and batch is not None:
                    self.tell(ProgressNotice(attempt=number))
                return batch
            due, now = attempt.counting(), self._clock.now()
            self.tell(
                WaitNotice(
                    attempt=number,
                    waited=now - began,
                    phase=attempt.phase.public,
                    limit=None if due is None else due.limit,
                    expires_in=None if due is None else max(0.0, due.at - now),
                )
            )


WITHOUT_CALLBACK = Notifier(None, 0.0, SYSTEM)
"""The notifier of calls without a callback. It keeps no state, and its clock decides nothing."""
