"""The settings of a client or of any other door, checked when they are made and not at the first call."""

from __future__ import annotations

import random as randomness
from collections.abc import Callable, Sequence

from llmwatch.client.notices import NoticeCallback
from llmwatch.client.settings import Settings
from llmwatch.errors import ConfigError
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
from llmwatch.wire import MAX_EVENT, check_dialect

__all__ = ["checked_settings"]


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
