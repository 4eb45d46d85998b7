"""From the user's settings to the limits of a call. Pure: the environment is an argument, and no state is kept.

Precedence goes by source: argument of the call, argument of the client, environment, profile. Each source has its own
single knob. Profile, size scaling and patience change default values only, never an explicit one.

* Size: the default ``ttfb`` and ``first_content`` grow by 3.5 s for every full 1,000 tokens of estimated prompt, at
  most by 1,800 s.
* Patience: each earlier kill before the first content doubles these two, growth included: ``(default + growth) * 2 **
  kills``. The bound of 1,800 s holds for the growth alone.
* A passthrough, which hands the bytes on as they come, has its own default ``finish``.
* A plain call has its own default ``ttfb``, which is scaled too. Its event limits are off, whatever the source.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import TypeAlias

from llmwatch.payload.prompt_size import SMALLEST_GROWTH, growth, prompt_tokens
from llmwatch.policy import environment
from llmwatch.policy.advice import advise
from llmwatch.policy.limit_table import EVENT_LIMITS, LIMITS, NAMES, SINGLE
from llmwatch.policy.limits import Limits
from llmwatch.policy.profiles import PASSTHROUGH_FINISH, PLAIN_TTFB, PROFILES, check_profile, detect_profile
from llmwatch.policy.resolved import EffectiveLimit, EffectiveLimits
from llmwatch.policy.retry import EffectiveRetry, Retry
from llmwatch.policy.values import BYTES_ALLOWED, SECONDS_ALLOWED, UNSET, Unset, flag, refused, seconds, whole
from llmwatch.records.frozen import FrozenMap

__all__ = [
    "DEFAULT_KEEPALIVE",
    "DEFAULT_MAX_BODY",
    "EffectiveLimit",
    "EffectiveLimits",
    "EffectiveRetry",
    "resolve_keepalive",
    "resolve_limits",
    "resolve_max_body",
    "resolve_max_event",
    "resolve_override",
    "resolve_retry",
]

DEFAULT_KEEPALIVE = 10.0
"""Seconds; well below the 60 s after which load balancers are reported to drop an idle connection silently."""

DEFAULT_MAX_BODY = 1 << 30
"""Decoded bytes; far above any answer of a model, pictures and audio included, and below what fills a machine."""

_SAYS_NOTHING, _DEFAULTS = Retry(), EffectiveRetry()

# 2 ** 16 times 120 s is 91 days, so further doubling has no meaning; far beyond that a float overflows.
_MOST_DOUBLINGS = 16


def resolve_limits(
    *,
    call: Limits | None = None,
    client: Limits | None = None,
    environ: Mapping[str, str],
    profile: str | None = None,
    url: str | None = None,
    body: object = None,
    body_bytes: int = 0,
    plain: bool = False,
    passthrough: bool = False,
    patience: int = 0,
) -> EffectiveLimits:
    """The limits of one attempt.

    ``call`` and ``client`` are the limits given to each; ``environ`` is read now. Without a ``profile`` the environment
    decides, else ``url`` and ``body`` (the parsed JSON, ``None`` if unknown). ``body_bytes`` is the length of the body
    as sent. ``plain`` marks a call that does not stream, ``passthrough`` one whose bytes are handed on as they come.
    ``patience`` counts the earlier attempts of this call that were killed before their first content.

    Raises :class:`~llmwatch.errors.ConfigError` for an invalid environment or ``profile``, and :class:`TypeError` for
    limits that are not a :class:`Limits`. The values are not checked here: :class:`Limits` checks them.
    """
    for given in (call, client):
        if given is not None and not isinstance(given, Limits):
            raise TypeError(f"limits must be a Limits, such as Limits(ttfb=45) or Limits.single(9), not {given!r}")
    settings = environment.settings(environ)
    chosen, chooser = _profile(profile, settings, url, body)
    tokens = prompt_tokens(body, body_bytes) if body_bytes >= SMALLEST_GROWTH else 0
    return _resolved(
        call,
        client,
        tuple(settings.items()),
        profile=chosen,
        chooser=chooser,
        plain=plain,
        passthrough=passthrough,
        tokens=tokens if tokens and growth(tokens) else 0,
        patience=max(0, patience),
    )


@lru_cache(maxsize=256)
def _resolved(
    call: Limits | None,
    client: Limits | None,
    settings: tuple[tuple[str, str], ...],
    *,
    profile: str,
    chooser: str,
    plain: bool,
    passthrough: bool,
    tokens: int,
    patience: int,
) -> EffectiveLimits:
    """The limits that result. Cached: they are the same for most calls of a process, and immutable."""
    variables = dict(settings)
    sources = _sources(call, client, environment.limits_from(variables))
    defaults = _Defaults(profile=profile, plain=plain, passthrough=passthrough, tokens=tokens, patience=patience)
    limits = {}
    for name in NAMES:
        if plain and name in EVENT_LIMITS:
            limits[name] = EffectiveLimit(name=name, value=None, source="off in a plain call", explicit=False)
        else:
            limits[name] = _explicit(name, sources) or defaults.limit(name)
    warnings = advise(limits, first_attempt=patience < 1) + environment.unknown(variables)
    return EffectiveLimits(profile=profile, profile_source=chooser, limits=FrozenMap(limits), warnings=warnings)


def resolve_retry(
    *, call: Retry | None = None, client: Retry | None = None, environ: Mapping[str, str]
) -> EffectiveRetry:
    """The retry settings of a call: every field decided, by the same precedence, field by field.

    Raises :class:`~llmwatch.errors.ConfigError` for an invalid environment, and :class:`TypeError` for settings that
    are not a :class:`Retry`.
    """
    for given in (call, client):
        if given is not None and not isinstance(given, Retry):
            raise TypeError(f"retry must be a Retry, such as Retry(max_attempts=3), and not {given!r}")
    settings = environment.settings(environ)
    there = environment.retry_from(settings) if settings else None
    if call is None and client is None and there is None:
        return _DEFAULTS
    return EffectiveRetry.of((call or _SAYS_NOTHING, client or _SAYS_NOTHING, there or _SAYS_NOTHING))


def resolve_keepalive(value: float | None, environ: Mapping[str, str]) -> float:
    """Seconds for which an idle pooled connection may be reused; 0 means never.

    ``value`` is the client's argument. If it is ``None`` the environment decides, else 10 s. Raises
    :class:`~llmwatch.errors.ConfigError` if either is not a finite number of at least 0.
    """
    variable = environment.KEEPALIVE_VARIABLE
    set_there = environment.seconds_from(environ, variable) if variable in environ else UNSET
    if value is not None:
        try:
            return seconds(value) or 0.0
        except ValueError:
            allowed = f"{SECONDS_ALLOWED}, and 0 never reuses a connection"
            raise refused("keepalive", value, "keepalive={}", allowed) from None
    return DEFAULT_KEEPALIVE if set_there is UNSET else set_there or 0.0


def resolve_max_event(value: int | None, environ: Mapping[str, str], *, default: int) -> int:
    """The most bytes of one event of a stream; ``sys.maxsize`` if the cap is removed.

    ``value`` is the client's argument. If it is ``None`` the environment decides, else ``default``. 0 removes the cap.
    Raises :class:`~llmwatch.errors.ConfigError` if either is not a whole number of at least 0.
    """
    return _resolve_bytes("max_event", value, environ, environment.MAX_EVENT_VARIABLE, default)


def resolve_max_body(value: int | None, environ: Mapping[str, str]) -> int:
    """The most decoded bytes of the body of an answer, by the rules of :func:`resolve_max_event`."""
    return _resolve_bytes("max_body", value, environ, environment.MAX_BODY_VARIABLE, DEFAULT_MAX_BODY)


def _resolve_bytes(name: str, value: int | None, environ: Mapping[str, str], variable: str, default: int) -> int:
    if value is None and variable not in environ:
        return default
    found = environment.bytes_from(environ, variable)
    if value is not None:
        try:
            found = whole(value)
        except ValueError:
            raise refused(name, value, f"{name}={{}}", BYTES_ALLOWED) from None
    return default if found is None else found or sys.maxsize


def resolve_override(value: bool, environ: Mapping[str, str]) -> bool:
    """Whether the time-outs that requests carry are ignored, by the client's argument or by the environment.

    Raises :class:`~llmwatch.errors.ConfigError` if either is not a switch.
    """
    set_there = environment.override_from(environ) if environment.OVERRIDE_VARIABLE in environ else False
    try:
        return (value if value.__class__ is bool else flag(value)) or set_there
    except ValueError:
        allowed = "it takes True or False"
        raise refused("override_timeouts", value, "override_timeouts={}", allowed) from None


# Limits and the name of their source; None for the environment, where each limit has a variable of its own.
_Source: TypeAlias = "tuple[Limits, str | None]"


def _sources(call: Limits | None, client: Limits | None, there: Limits | None) -> list[_Source]:
    found: list[_Source] = []
    for limits, label in ((call, "argument of the call"), (client, "argument of the client"), (there, None)):
        if limits is not None:
            found.append((limits, label))
    return found


def _explicit(name: str, sources: list[_Source]) -> EffectiveLimit | None:
    for limits, label in sources:
        value = getattr(limits, name)
        if value is not UNSET:
            source = label or environment.LIMIT_VARIABLES[name]
            return EffectiveLimit(name=name, value=value, source=source, explicit=True)
        if name in SINGLE and not isinstance(limits.single_seconds, Unset):
            source = f"{label}, single knob" if label else environment.SINGLE_VARIABLE
            return EffectiveLimit(name=name, value=limits.single_seconds, source=source, explicit=True)
    return None


def _profile(given: str | None, settings: Mapping[str, str], url: str | None, body: object) -> tuple[str, str]:
    there = environment.profile_from(settings) if settings else None
    if given is not None:
        return check_profile(given), "argument"
    if there is not None:
        return there, environment.PROFILE_VARIABLE
    return detect_profile(url, body), "detected"


class _Defaults:
    """The default values: profile, size scaling and patience."""

    __slots__ = ("_passthrough", "_patience", "_plain", "_profile", "_tokens")

    def __init__(self, *, profile: str, plain: bool, passthrough: bool, tokens: int, patience: int) -> None:
        self._profile = profile
        self._plain = plain
        self._passthrough = passthrough
        self._tokens = tokens
        self._patience = patience

    def limit(self, name: str) -> EffectiveLimit:
        value, source = PROFILES[self._profile][name], f"profile {self._profile}"
        if name == "ttfb" and self._plain:
            value, source = PLAIN_TTFB[self._profile], f"{source}, plain call"
        if name == "finish" and self._passthrough:
            value, source = PASSTHROUGH_FINISH, f"{source}, passthrough"
        if value is not None and LIMITS[name].scaled:
            value, source = self._moved(value, source)
        return EffectiveLimit(name=name, value=value, source=source, explicit=False)

    def _moved(self, value: float, source: str) -> tuple[float, str]:
        grown = growth(self._tokens)
        if grown:
            value, source = value + grown, f"{source}, scaled for {self._tokens:,} prompt tokens"
        if self._patience > 0:
            value *= 2 ** min(self._patience, _MOST_DOUBLINGS)
            source += ", doubled once" if self._patience == 1 else f", doubled {self._patience} times"
        return value, source
