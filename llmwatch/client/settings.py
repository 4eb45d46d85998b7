"""What a client lends to its calls, and how one call differs."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from llmwatch.client.notices import NoticeCallback
from llmwatch.client.origins import Origins
from llmwatch.client.request import CallRequest
from llmwatch.policy import Limits, Retry
from llmwatch.records import Sink
from llmwatch.recovery import Door
from llmwatch.watch.attempt import Attempt
from llmwatch.watch.cancel import CancelToken
from llmwatch.watch.clock import SYSTEM, Clock

__all__ = ["Settings", "Start"]


def _nobody(attempt: Attempt[Any]) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a client lends to each of its calls. Seconds throughout."""

    limits: Limits | None = None
    retry: Retry | None = None
    profile: str | None = None
    dialect: str = "auto"
    keepalive: float = 10.0
    sinks: tuple[Sink, ...] = ()
    on_notice: NoticeCallback | None = None
    notice_every: float = 1.0
    started: Callable[[Attempt[Any]], None] = _nobody
    origins: Origins = field(default_factory=Origins)
    clock: Clock = SYSTEM
    random: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a call differs from its client."""

    request: CallRequest
    door: Door
    limits: Limits | None = None
    retry: Retry | None = None
    cancel: CancelToken | None = None

    @property
    def plain(self) -> bool:
        """Not streaming: silent until it is finished."""
        return self.door is Door.REQUEST
