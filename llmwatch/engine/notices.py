"""What a caller can be told while it waits: for a terminal that shows signs of life, never for decisions."""

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
from llmwatch.watch.clock import Clock

__all__ = ["DelayNotice", "Notice", "NoticeCallback", "Notifier", "ProgressNotice", "RetryNotice", "WaitNotice"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitNotice:
    """Nothing has come for a while. Seconds throughout.

    ``phase`` is where the call stands, one of :data:`llmwatch.records.PHASES`: ``backing_off`` while it waits before
    ``attempt``, which is to come then. ``limit`` is the limit that expires next and ``expires_in`` the time until then;
    both are ``None`` where no limit runs.
    """

    attempt: int
    waited: float
    phase: str
    limit: str | None
    expires_in: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryNotice:
    """An attempt has failed and will be followed by another after ``wait`` seconds.

    ``of`` is how many attempts are allowed, ``phase`` where the failed one stood, ``limit`` the limit that ended it
    (``None`` if none did), ``cause`` the failure in one word, which is the limit's name where there is one, ``record``
    what happened.
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
    """An attempt has to wait before it goes out, for up to ``wait`` seconds until it is looked at again.

    ``cause``: ``pace`` (another call was told to wait by the provider, or calls were refused as they came too fast),
    ``breaker`` (the origin answers nobody) or ``budget`` (too many resends); ``message`` says it in words. ``attempt``
    is the one to come, and ``phase`` is ``backing_off``.
    """

    attempt: int
    cause: str
    wait: float
    message: str
    phase: str = BACKING_OFF


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressNotice:
    """Something came: an earlier notice no longer holds."""

    attempt: int


Notice = WaitNotice | RetryNotice | DelayNotice | ProgressNotice
"""What a callback is told of."""

NoticeCallback = Callable[[Notice], None]
"""What ``on_notice`` takes."""


class _Telling(threading.local):
    """The callbacks that are at work in this thread."""

    callbacks: tuple[NoticeCallback, ...] = ()


_telling = _Telling()


class Notifier:
    """Waits for an attempt on behalf of its caller, and tells about it every now and then."""

    def __init__(self, callback: NoticeCallback | None, every: float, clock: Clock) -> None:
        self._callback = callback
        self._every = every
        self._clock = clock
        self._told = False

    def tell(self, notice: Notice) -> None:
        """Call the callback. What it raises is logged, once a minute, and harms nobody. It is told nothing of calls
        that it makes itself.
        """
        callback = self._callback
        if callback is None or any(one is callback for one in _telling.callbacks):
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
        """The end of the next stretch of waiting for ``at``, after which there may be something to tell."""
        return at if self._callback is None else min(at, self._clock.now() + self._every)

    def backing_off(self, number: int, *, since: float, deadline_at: float | None) -> None:
        """The call still waits before its attempt ``number``, as it has ``since`` then."""
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
        """What ``attempt.take()`` returns, with a notice for each stretch of waiting."""
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
