"""What a client lends to its calls, checked when it is made and not at the first call; and how one call differs."""

from __future__ import annotations

import os
import random as randomness
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from llmwatch.engine.hosts import Hosts
from llmwatch.engine.notices import NoticeCallback
from llmwatch.engine.request import CallRequest
from llmwatch.engine.timeouts import Timeouts
from llmwatch.errors import ConfigError
from llmwatch.payload import IDEMPOTENT, is_model_call
from llmwatch.policy import (
    Limits,
    Retry,
    check_profile,
    resolve_keepalive,
    resolve_max_body,
    resolve_max_event,
    resolve_override,
)
from llmwatch.records import Sink
from llmwatch.recovery import Door
from llmwatch.transport.retries import AdapterRetries
from llmwatch.watch.attempt import Attempt
from llmwatch.watch.cancel import CancelToken
from llmwatch.watch.clock import SYSTEM, Clock
from llmwatch.wire import MAX_EVENT, check_dialect

__all__ = ["CallOptions", "RequestKind", "Settings", "checked_settings"]


class RequestKind(Enum):
    """What the far side does until it is finished.

    ``STREAM`` sends events as they come about. ``PLAIN`` is a model call that is silent and at work until it answers
    whole, so a kill after sent means slow but alive. ``OTHER`` is anything else: its limits are those of a plain call,
    but nothing says that it is at work.
    """

    STREAM = "stream"
    PLAIN = "plain"
    OTHER = "other"


def _nobody(attempt: Attempt[Any]) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a client lends to each of its calls. Seconds throughout; what is ``None`` is for the environment to say."""

    limits: Limits | None = None
    retry: Retry | None = None
    profile: str | None = None
    dialect: str = "auto"
    keepalive: float | None = None
    max_event: int | None = None
    max_body: int | None = None
    override_timeouts: bool = False
    sinks: tuple[Sink, ...] = ()
    on_notice: NoticeCallback | None = None
    notice_every: float = 1.0
    started: Callable[[Attempt[Any]], None] = _nobody
    hosts: Hosts = field(default_factory=Hosts)
    clock: Clock = SYSTEM
    random: Callable[[], float] = randomness.random

    @property
    def heeds_timeouts(self) -> bool:
        """Whether the time-outs that a request carries count. Reads the environment."""
        return not resolve_override(self.override_timeouts, os.environ)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """How a call differs from its client.

    ``whole``: the caller gets nothing before the end, whatever the door. ``documents_whole``: nor anything of a
    document that answers a plain call. ``strict``: what is wrong with an answer that is handed on as it came ends it.
    ``redirected``: it is what a session makes of a redirected model call, and its answer has the bounds of that call.
    ``adapter_retries`` are asked where nothing else sends again. ``timeouts`` are those of the request. ``caps`` may
    lower the limits that apply, and never raises one: seconds by name, from ``caps_source``. ``ends_at``: where it goes
    on with a call that was redirected, the end of that by its ``deadline``.
    """

    request: CallRequest
    door: Door
    request_kind: RequestKind = RequestKind.STREAM
    whole: bool = False
    documents_whole: bool = False
    strict: bool = False
    redirected: bool = False
    limits: Limits | None = None
    retry: Retry | None = None
    cancel: CancelToken | None = None
    adapter_retries: AdapterRetries | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    caps: Mapping[str, float] = field(default_factory=dict)
    caps_source: str = ""
    ends_at: float | None = None

    @property
    def plain(self) -> bool:
        """A model call that is silent until it is finished."""
        return self.request_kind is RequestKind.PLAIN

    @property
    def telling(self) -> bool:
        """Whether the request's body says what comes of it at the far side. That of a model call does, whose tools it
        names. Of anything else only the method says something, whatever ``on_retry`` may make of the body.
        """
        request = self.request
        if self.door is Door.REQUEST:
            known = is_model_call(request.method, request.url, request.body)
        else:
            known = self.door is not Door.SESSION or self.request_kind is not RequestKind.OTHER
        return known or request.method in IDEMPOTENT

    @property
    def decides_as(self) -> Door:
        """The door by whose rules a failure is judged."""
        return Door.COLLECT if self.whole else self.door


def checked_settings(
    *,
    limits: Limits | None = None,
    retry: Retry | None = None,
    profile: str | None = None,
    dialect: str = "auto",
    keepalive: float | None = None,
    max_event: int | None = None,
    max_body: int | None = None,
    override_timeouts: bool = False,
    sinks: Sequence[Sink] = (),
    on_notice: NoticeCallback | None = None,
    notice_every: float = 1.0,
    random: Callable[[], float] = randomness.random,
) -> Settings:
    """The arguments as :class:`Settings`. Raises :class:`~llmwatch.ConfigError` for values that cannot be meant, and
    :class:`TypeError` for arguments of a wrong type.
    """
    if limits is not None and not isinstance(limits, Limits):
        raise TypeError(f"limits must be a Limits, such as Limits(ttfb=45), not {limits!r}")
    if retry is not None and not isinstance(retry, Retry):
        raise TypeError(f"retry must be a Retry, such as Retry(max_attempts=3), not {retry!r}")
    called = () if callable(sinks) else tuple(sinks)
    if callable(sinks) or not all(map(callable, called)):
        raise TypeError(f"sinks must be a sequence of functions of a record, such as [print], not {sinks!r}")
    if on_notice is not None and not callable(on_notice):
        raise TypeError(f"on_notice must be a function of a notice, such as print, not {on_notice!r}")
    check_dialect(dialect)
    if isinstance(notice_every, bool) or not isinstance(notice_every, (int, float)) or not 0 < notice_every < 1e6:
        raise ConfigError(
            f"notice_every must be a number of seconds above 0, not {notice_every!r}.",
            field="notice_every",
            value=notice_every,
        )
    if profile is not None:
        check_profile(profile)
    resolve_keepalive(keepalive, {})
    resolve_max_event(max_event, {}, default=MAX_EVENT)
    resolve_max_body(max_body, {})
    resolve_override(override_timeouts, {})
    return Settings(
        limits=limits,
        retry=retry,
        profile=profile,
        dialect=dialect,
        keepalive=keepalive,
        max_event=max_event,
        max_body=max_body,
        override_timeouts=override_timeouts,
        sinks=called,
        on_notice=on_notice,
        notice_every=notice_every,
        random=random,
    )
