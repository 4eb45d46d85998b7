"""Resolves a call's limits and settings, and warns about them. Pure: the environment is an argument.

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
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, TypeAlias

from llmwatch.payload.prompt_size import SMALLEST_GROWTH, growth, prompt_tokens
from llmwatch.policy import environment, overrides
from llmwatch.policy.contradictions import BOUNDED_BY
from llmwatch.policy.limit_table import EVENT_LIMITS, FROM_SENT, LIMITS, NAMES, SINGLE
from llmwatch.policy.limits import Limits
from llmwatch.policy.profiles import PASSTHROUGH_FINISH, PLAIN_TTFB, PROFILES, check_profile, detect_profile
from llmwatch.policy.retry import EffectiveRetry, Retry
from llmwatch.policy.values import BYTES_ALLOWED, SECONDS_ALLOWED, UNSET, Unset, flag, refused, seconds, shown, whole
from llmwatch.records.frozen import FrozenMap, freeze_map
from llmwatch.records.json_text import JsonText

__all__ = [
    "DEFAULT_KEEPALIVE",
    "DEFAULT_MAX_BODY",
    "TIMEOUT_SOURCE",
    "EffectiveLimit",
    "EffectiveLimits",
    "EffectiveRetry",
    "advise",
    "overridden_limits",
    "resolve_keepalive",
    "resolve_limits",
    "resolve_max_body",
    "resolve_max_event",
    "resolve_override",
    "resolve_retry",
]

TIMEOUT_SOURCE = "timeout of the request"
"""The source of a limit that a request's own time-out sets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveLimit(JsonText):
    """One limit in force: ``value`` in seconds, ``None`` for off.

    ``source`` is text for a reader: ``"argument of the call"``, ``"LLMWATCH_STALE_TIMEOUT_SECONDS"``,
    ``"profile hosted, scaled for 32,000 prompt tokens"``. ``explicit`` is true for a value from an argument, the
    environment or a time-out, which is used as given. ``timeout`` is the request's own time-out for this limit, in
    force or not. If it is in force, ``instead_of`` is the limit that it replaces: seconds, ``None`` for off.
    """

    name: str
    value: float | None
    source: str
    explicit: bool
    timeout: float | None = None
    instead_of: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and text; ``timeout`` and ``instead_of`` only if a time-out says something."""
        values: dict[str, Any] = {"value": self.value, "source": self.source, "explicit": self.explicit}
        if self.timeout is not None:
            values["timeout"] = self.timeout
        if self.source == TIMEOUT_SOURCE:
            values["instead_of"] = self.instead_of
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveLimits(JsonText):
    """Every limit of one attempt with its source, and warnings about the combination.

    ``profile_source`` says how the ``profile`` was chosen: ``"argument"``, ``"LLMWATCH_PROFILE"`` or ``"detected"``.
    ``limits`` maps each name to an :class:`EffectiveLimit`, in the order in which a call meets them. ``warnings`` are
    sentences for a person. The value holds no secret and can be pickled.
    """

    profile: str
    profile_source: str
    limits: Mapping[str, EffectiveLimit]
    warnings: tuple[str, ...] = ()
    _seconds: dict[str, float | None] = field(default_factory=dict, init=False, repr=False, compare=False)
    _recorded: FrozenMap | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def recorded(self) -> Mapping[str, Any]:
        """Each limit by name as a record keeps it, see :meth:`EffectiveLimit.to_dict`. Computed once."""
        if self._recorded is None:
            made = freeze_map({name: limit.to_dict() for name, limit in self.limits.items()})
            object.__setattr__(self, "_recorded", made)
            return made
        return self._recorded

    def value(self, name: str) -> float | None:
        """The limit ``name`` in seconds, ``None`` for off. Raises :class:`KeyError` for an unknown name."""
        return self.limits[name].value

    @property
    def seconds(self) -> dict[str, float | None]:
        """All limits, by name, in seconds, ``None`` for off."""
        if not self._seconds:
            self._seconds.update({name: limit.value for name, limit in self.limits.items()})
        return self._seconds.copy()

    def lowered(self, caps: Mapping[str, float], source: str) -> EffectiveLimits:
        """A copy with each limit at most its cap in ``caps`` (seconds); a limit that is off takes the cap."""
        if not caps:
            return self
        limits = {
            name: EffectiveLimit(name=name, value=caps[name], source=source, explicit=True)
            if name in caps and (limit.value is None or caps[name] < limit.value)
            else limit
            for name, limit in self.limits.items()
        }
        return replace(self, limits=limits)

    def scaled(self, factor: float) -> EffectiveLimits:
        """A copy with each limit multiplied by ``factor``; one that is off stays off."""
        limits = {
            name: limit
            if limit.value is None
            else replace(limit, value=limit.value * factor, source=f"{limit.source}, scaled by {factor:g} for tests")
            for name, limit in self.limits.items()
        }
        return replace(self, limits=limits)

    def with_timeouts(
        self, timeouts: Mapping[str, float | None], *, stand: bool, heeded: bool = True
    ) -> EffectiveLimits:
        """A copy with the request's own ``timeouts`` applied: seconds by limit, ``None`` for no time-out.

        An explicit limit is lowered to its time-out, never raised; one that is off takes it. A default is replaced by
        it, up or down, if the time-outs ``stand`` for the limit, else lowered. Time-outs that are not ``heeded`` are
        only recorded.
        """
        if not timeouts:
            return self
        changed = {
            name: _with_timeout(limit, timeouts[name], stand=stand and not limit.explicit, heeded=heeded)
            for name, limit in self.limits.items()
            if name in timeouts
        }
        return replace(self, limits={**self.limits, **changed}) if changed else self

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists, numbers and text."""
        return {
            "profile": self.profile,
            "profile_source": self.profile_source,
            "limits": {name: limit.to_dict() for name, limit in self.limits.items()},
            "warnings": list(self.warnings),
        }


def _with_timeout(limit: EffectiveLimit, timeout: float | None, *, stand: bool, heeded: bool) -> EffectiveLimit:
    lower = timeout is not None and (limit.value is None or timeout < limit.value)
    if heeded and (stand or lower):
        return EffectiveLimit(
            name=limit.name,
            value=timeout,
            source=TIMEOUT_SOURCE,
            explicit=True,
            timeout=timeout,
            instead_of=limit.value,
        )
    return replace(limit, timeout=timeout)


DEFAULT_KEEPALIVE = 10.0
"""Seconds, well below the 60 s after which load balancers reportedly drop idle connections silently."""

DEFAULT_MAX_BODY = 1 << 30
"""Decoded bytes: far above any answer, pictures and audio included, and below what fills a machine."""

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
        retry = _DEFAULTS
    else:
        retry = EffectiveRetry.of((call or _SAYS_NOTHING, client or _SAYS_NOTHING, there or _SAYS_NOTHING))
    return _overridden_retry(retry) if overrides.ACTIVE else retry


def overridden_limits(limits: EffectiveLimits) -> EffectiveLimits:
    """``limits`` as the overrides of a test run change them."""
    factor = next((one.factor for one in reversed(tuple(overrides.ACTIVE)) if one.factor is not None), None)
    return limits if factor is None else limits.scaled(factor)


def _overridden_retry(retry: EffectiveRetry) -> EffectiveRetry:
    active = tuple(overrides.ACTIVE)
    if any(one.without_waits for one in active):
        # Each barrier in front of an attempt is a wait: without a wait, none lets it through later.
        retry = replace(retry, waits=False, backoff=0.0, breaker=0, budget=0, pace=False)
    most = next((one.most_attempts for one in reversed(active) if one.most_attempts is not None), None)
    return retry if most is None else replace(retry, max_attempts=min(most, retry.max_attempts))


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
    size = environment.bytes_from(environ, variable)
    if value is not None:
        try:
            size = whole(value)
        except ValueError:
            raise refused(name, value, f"{name}={{}}", BYTES_ALLOWED) from None
    return default if size is None else size or sys.maxsize


def resolve_override(value: bool, environ: Mapping[str, str]) -> bool:
    """Whether the time-outs of requests are ignored, by the client's argument or by the environment.

    Raises :class:`~llmwatch.errors.ConfigError` if either is not a switch.
    """
    set_there = environment.override_from(environ) if environment.OVERRIDE_VARIABLE in environ else False
    try:
        return (value if value.__class__ is bool else flag(value)) or set_there
    except ValueError:
        allowed = "it takes True or False"
        raise refused("override_timeouts", value, "override_timeouts={}", allowed) from None


# Limits and the name of their source; None for the environment, where each limit has a variable of its own.
_Source: TypeAlias = tuple[Limits, str | None]


def _sources(call: Limits | None, client: Limits | None, there: Limits | None) -> list[_Source]:
    given = ((call, "argument of the call"), (client, "argument of the client"), (there, None))
    return [(limits, label) for limits, label in given if limits is not None]


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


def advise(limits: Mapping[str, EffectiveLimit], *, first_attempt: bool = True) -> tuple[str, ...]:
    """The warnings about ``limits`` that work together oddly, a sentence each; empty if there are none.

    They are not errors: between sources the shorter limit simply expires first.

    A sentence names each explicit value that never takes effect because other limits expire before it. For the
    ``first_attempt`` another sentence reports a ``deadline`` without room for a second attempt: one not longer than
    ``connect`` plus the shortest limit that ends a silent attempt. An explicit value that cuts a default short is not
    reported: that is its purpose.
    """
    return (*_without_effect(limits), *(_second_attempt(limits) if first_attempt else ()))


def _without_effect(limits: Mapping[str, EffectiveLimit]) -> list[str]:
    # The single knob sets four limits, which may meet the same obstacle: one sentence covers them.
    groups: dict[tuple[float, str, tuple[str, ...]], list[str]] = {}
    for name, outers in BOUNDED_BY.items():
        limit = limits[name]
        if limit.value is None or not limit.explicit:
            continue
        first = tuple(outer for outer in outers if _shorter(limits[outer], limit))
        if first:
            groups.setdefault((limit.value, limit.source, first), []).append(name)
    sentences = []
    for (value, source, first), names in groups.items():
        never = "never expires" if len(names) == 1 else "never expire"
        before = "expires" if len(first) == 1 else "expire"
        obstacles = _listed([_described(limits[outer]) for outer in first])
        sentences.append(
            f"{_listed(names)} {shown(value)} ({source}) {never}: {obstacles} {before} first;"
            f" raise {_listed(list(first))} as well."
        )
    return sentences


def _shorter(outer: EffectiveLimit, inner: EffectiveLimit) -> bool:
    return outer.value is not None and inner.value is not None and inner.value > outer.value


def _second_attempt(limits: Mapping[str, EffectiveLimit]) -> list[str]:
    deadline = limits["deadline"]
    if deadline.value is None:
        return []
    start = f"deadline {shown(deadline.value)} ({deadline.source}) leaves no room for a second attempt: "
    waits = [(limit.value, name) for name in FROM_SENT if (limit := limits[name]).value is not None]
    if not waits:
        return [f"{start}no other limit ends an attempt in which the provider is silent; set ttfb."]
    wait, name = min(waits)
    connect = limits["connect"].value or 0.0
    if deadline.value > connect + wait:
        return []
    path = f"connect {shown(connect)} and then {_described(limits[name])}" if connect else _described(limits[name])
    return [
        f"{start}a silent provider is given up after {path};"
        f" lower {name}, or raise deadline above {shown(connect + wait)}."
    ]


def _described(limit: EffectiveLimit) -> str:
    assert limit.value is not None
    return f"{limit.name} {shown(limit.value)} ({limit.source})"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
