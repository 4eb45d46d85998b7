"""The user's settings for retries, as frozen values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from llmwatch.errors import ConfigError
from llmwatch.policy.values import SECONDS_ALLOWED, UNSET, Seconds, Unset, flag, refused, seconds, whole

__all__ = ["RETRY_FIELDS", "EffectiveRetry", "OnRetry", "Retry", "check_backoff", "read_setting"]

MAX_BACKOFF = 8.0
"""Seconds; the default cap on a wait."""

OnRetry: TypeAlias = Callable[[Any], Mapping[str, Any] | None]
"""Takes a :class:`llmwatch.Resend`. Returns the changes to the request, or ``None`` for none."""

RETRY_FIELDS = (
    "max_attempts",
    "backoff",
    "max_backoff",
    "max_retry_after",
    "slow_but_alive",
    "resend_with_tools",
    "breaker",
    "breaker_wait",
    "budget",
    "max_wait",
    "pace",
    "on_retry",
)

_ALLOWED = {
    "max_attempts": "it takes a whole number of attempts, the first included; 0 and 1 both resend nothing",
    "backoff": f"{SECONDS_ALLOWED}; 0 resends without waiting",
    "max_backoff": f"{SECONDS_ALLOWED}; 0 or None removes the cap",
    "max_retry_after": f"{SECONDS_ALLOWED}; 0 or None removes the cap",
    "slow_but_alive": "it takes True or False",
    "resend_with_tools": "it takes True or False",
    "breaker": "it takes a whole number of attempts; 0 or None turns the circuit breaker off",
    "breaker_wait": f"{SECONDS_ALLOWED}; 0 sends the next probe at once",
    "budget": "it takes a whole number of resends; 0 or None turns the budget off",
    "max_wait": f"{SECONDS_ALLOWED}; 0 raises at once, None removes the cap",
    "pace": "it takes True or False",
    "on_retry": "it takes a function of one argument, or None",
}


def read_setting(name: str, value: object) -> object:
    """``value`` as :class:`Retry` keeps it in ``name``. Raises :class:`ValueError` for the wrong kind."""
    if name == "max_attempts":
        return max(1, whole(value))
    if name in ("breaker", "budget"):
        return 0 if value is None else whole(value)
    if name in ("max_backoff", "max_retry_after"):
        return seconds(value)
    if name in ("backoff", "breaker_wait"):
        return seconds(value) or 0.0
    if name == "max_wait":
        # 0 and None differ for max_wait.
        return None if value is None else seconds(value) or 0.0
    if name == "on_retry":
        if value is not None and not callable(value):
            raise ValueError
        return value
    return flag(value)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Retry:
    """When a failed attempt is sent again.

    A field that is not given falls through to the client, then the environment, then the default (in brackets).

    * ``max_attempts`` (3): requests of one call, the first included. 0 is kept as 1. Not counted are followed redirects
      (307 and 308 of a POST: five at most), and one more request if a reused socket proves dead before the first byte
      of an answer.
    * ``backoff`` (0.5) and ``max_backoff`` (8): seconds before the second attempt, doubled for each further one, with
      full jitter, up to the cap. ``backoff=0`` does not wait. ``max_backoff`` 0 or ``None`` removes the cap; so does a
      longer ``backoff`` if no source sets a cap.
    * ``max_retry_after`` (120): the longest wait, in seconds, that a provider may ask for. Above it the call fails at
      once, with the wait attached. 0 or ``None`` removes the cap; ``deadline`` still holds.
    * ``slow_but_alive`` (False): also resend an attempt whose bytes flowed. The provider is working and bills both.
    * ``resend_with_tools`` (False): also resend if tools may have had side effects on the provider's side.
    * ``breaker`` (5) and ``breaker_wait`` (30): once an origin has lost this many attempts in a row (``connect``,
      ``headers``, ``ttfb``, a refused connection, 502, 503, 504, 529), calls to it wait, and one attempt at a time
      probes after 1, 2, 4, ... seconds, at most ``breaker_wait``. After as many other transient failures in a row (500,
      429, a reset), the last attempt of a call waits up to 8 s for an answer to another call, and up to 8 s more while
      other attempts are under way. ``breaker`` 0 or ``None`` turns it off.
    * ``budget`` (10): the tokens that a client holds for one origin, plus 3 for each call in flight. A resend costs one
      unless the provider named its wait; a success returns a tenth, and a second returns one. Without a token a resend
      waits. A call's first attempt is free. 0 or ``None`` turns it off.
    * ``pace`` (True): an error status that names a wait (429, 503, 529, ...) holds back the client's other calls with
      that model and credential. If calls are refused again after it, they go out one after the other, at the rate that
      the provider accepts, until none is refused for a minute.
    * ``max_wait`` (300): seconds that a call may wait for breaker, budget and pace together; ``max_retry_after`` bounds
      each wait as well. A call that would wait longer ends at once. 0 never waits, for programs that turn to another
      provider; ``None`` removes the cap; ``deadline`` still holds.
    * ``on_retry``: a function that takes a :class:`~llmwatch.Resend` and returns ``None`` or a mapping of changes, with
      any of the keys ``url``, ``headers``, ``json``, ``data``, ``params``, ``auth``, ``cookies``. It is called before
      each resend, and before a call waits that has sent nothing. ``None`` calls none, and beats the client's.

    Raises :class:`~llmwatch.errors.ConfigError` for a value of the wrong kind, and for ``backoff`` above
    ``max_backoff``. No setting makes an unsafe resend safe: after output was delivered there is never a resend.
    """

    max_attempts: int | Unset = UNSET
    backoff: Seconds = UNSET
    max_backoff: Seconds = UNSET
    max_retry_after: Seconds = UNSET
    slow_but_alive: bool | Unset = UNSET
    resend_with_tools: bool | Unset = UNSET
    breaker: int | Unset | None = UNSET
    breaker_wait: Seconds = UNSET
    budget: int | Unset | None = UNSET
    max_wait: Seconds = UNSET
    pace: bool | Unset = UNSET
    on_retry: OnRetry | Unset | None = UNSET

    def __post_init__(self) -> None:
        for name in RETRY_FIELDS:
            value = getattr(self, name)
            if value is UNSET:
                continue
            try:
                object.__setattr__(self, name, read_setting(name, value))
            except ValueError:
                raise refused(name, value, f"Retry({name}={{}})", _ALLOWED[name]) from None
        check_backoff(self.backoff, self.max_backoff, "backoff", "max_backoff")

    @classmethod
    def none(cls) -> Retry:
        """No resend by llmwatch: each error goes straight to the caller, whose own loop handles it.

        The one exception is a reused socket that proves dead. The circuit breaker and pacing are off as well: that
        loop decides what to wait for.
        """
        return cls(max_attempts=1, breaker=0, pace=False)

    def __repr__(self) -> str:
        given = (f"{name}={value!r}" for name in RETRY_FIELDS if (value := getattr(self, name)) is not UNSET)
        return f"Retry({', '.join(given)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveRetry:
    """Every field of :class:`Retry` as decided for a call. ``EffectiveRetry()`` holds the defaults.

    ``max_attempts`` is at least 1; a removed cap is ``math.inf``; ``breaker`` and ``budget`` are 0 when off. ``waits``
    is false in a test run without waits (:mod:`llmwatch.testing`).
    """

    max_attempts: int = 3
    backoff: float = 0.5
    max_backoff: float = MAX_BACKOFF
    max_retry_after: float = 120.0
    slow_but_alive: bool = False
    resend_with_tools: bool = False
    breaker: int = 5
    breaker_wait: float = 30.0
    budget: int = 10
    max_wait: float = 300.0
    pace: bool = True
    on_retry: OnRetry | None = None
    waits: bool = True

    @classmethod
    def of(cls, sources: tuple[Retry, ...]) -> EffectiveRetry:
        """Each field from the first of the ``sources`` that sets it, else the default."""
        fields: dict[str, Any] = {}
        for name in RETRY_FIELDS:
            for source in sources:
                value = getattr(source, name)
                if value is not UNSET:
                    removed = value is None and name in ("max_backoff", "max_retry_after", "max_wait")
                    fields[name] = math.inf if removed else value
                    break
        if fields.get("backoff", 0.0) > MAX_BACKOFF and "max_backoff" not in fields:
            # A source sets the wait, and none the cap.
            fields["max_backoff"] = math.inf
        return cls(**fields)


def check_backoff(backoff: Seconds, cap: Seconds, name: str, cap_name: str) -> None:
    """Raise :class:`ConfigError` for a back-off above its cap in one source. The names are the user's."""
    if backoff and cap and backoff > cap:
        raise ConfigError(
            f"{name}={backoff:g} and {cap_name}={cap:g} contradict each other: the first wait may not be"
            f" longer than the cap. Lower {name} or raise {cap_name} (0 removes the cap).",
            field=name,
            value=backoff,
        )
