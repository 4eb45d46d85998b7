"""What a user can decide about resending, as frozen values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from llmwatch.errors import ConfigError
from llmwatch.policy.values import SECONDS_ALLOWED, UNSET, Seconds, Unset, flag, refused, seconds, whole

__all__ = ["RETRY_FIELDS", "EffectiveRetry", "OnRetry", "Retry", "check_backoff", "read_setting"]

MAX_BACKOFF = 8.0
"""Seconds; the cap on a wait where nobody sets another."""

OnRetry: TypeAlias = "Callable[[Any], Any]"
"""Is called with a :class:`llmwatch.Resend`, and returns what is to change, or ``None``."""

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
    """``value`` as the field ``name`` of :class:`Retry` keeps it. Raises :class:`ValueError` for the wrong kind."""
    if name == "max_attempts":
        return max(1, whole(value))
    if name in ("breaker", "budget"):
        return 0 if value is None else whole(value)
    if name in ("max_backoff", "max_retry_after"):
        return seconds(value)
    if name in ("backoff", "breaker_wait"):
        return seconds(value) or 0.0
    if name == "max_wait":
        # Here 0 is not the same as None.
        return None if value is None else seconds(value) or 0.0
    if name == "on_retry":
        if value is not None and not callable(value):
            raise ValueError
        return value
    return flag(value)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Retry:
    """When a failed attempt is sent again. A field that is not given falls through to the client, then to the
    environment, then to the default.

    * ``max_attempts`` (3): requests of one call, the first included. 0 is kept as 1. One more request can come on
      top, when a reused socket turns out to be dead before a single byte of an answer. Redirects that are followed (307
      and 308 of a POST: five at most) are not counted.
    * ``backoff`` (0.5) and ``max_backoff`` (8): seconds before the second attempt, doubled for each further one, with
      full jitter, up to the cap. ``backoff=0`` does not wait; ``max_backoff`` 0 or ``None`` removes the cap, and so
      does a longer ``backoff`` where nobody sets one.
    * ``max_retry_after`` (120): the longest wait, in seconds, that a provider may ask for. Above it the call fails at
      once, with the wait attached. 0 or ``None`` removes the cap; ``deadline`` still holds.
    * ``slow_but_alive`` (False): also resend an attempt whose bytes flowed. The provider is working, and bills both.
    * ``resend_with_tools`` (False): also resend where tools may have had side effects on the provider's side.
    * ``breaker`` (5) and ``breaker_wait`` (30): after so many attempts in a row that an origin lost (``connect``,
      ``headers``, ``ttfb``, a refused connection, 502, 503, 504, 529) calls to it wait, and one attempt at a time
      probes after 1, 2, 4, ... seconds, at most ``breaker_wait``. Where as many failed in a row in any other way that
      may pass (500, 429, a reset), the last attempt of a call waits up to 8 s for an answer to another call, and while
      others are on their way for up to 8 s more.
      ``breaker`` 0 or ``None`` turns it off.
    * ``budget`` (10): the tokens that a client holds for one origin, and 3 more for each call in flight; a resend costs
      one unless the provider named its wait, a success returns a tenth and a second returns one. Without a token a
      resend waits. A call's first attempt is free. 0 or ``None``: no such bound.
    * ``pace`` (True): an error status that names a wait (429, 503, 529, ...) holds back the client's other calls with
      that model and credential. Where calls are refused behind that again, they go out one after the other, as many a
      second as the provider accepts, until none is refused for a minute.
    * ``max_wait`` (300): seconds that a call may wait for breaker, budget and pace together; each single wait is
      bounded by ``max_retry_after`` as well. A call that would wait longer ends at once. 0 never waits, for programs
      that turn to another provider; ``None`` removes the cap; ``deadline`` still holds.
    * ``on_retry``: a function of the failed attempt, called before each resend, and before a call waits that has sent
      nothing yet; ``None`` for none, which beats the client's.

    Raises :class:`~llmwatch.errors.ConfigError` for a value of the wrong kind, and for ``backoff`` above
    ``max_backoff``. It never makes an unsafe resend safe: after output was delivered nothing here brings one about.
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
        """No resend by llmwatch but the one on top of ``max_attempts``, for a reused socket that turns out to be dead:
        the error goes straight to the caller, whose own loop handles it.

        The circuit breaker and pacing are off as well: what to wait for is for that loop to decide.
        """
        return cls(max_attempts=1, breaker=0, pace=False)

    def __repr__(self) -> str:
        given = (f"{name}={value!r}" for name in RETRY_FIELDS if (value := getattr(self, name)) is not UNSET)
        return f"Retry({', '.join(given)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveRetry:
    """What a call uses: every field of :class:`Retry` decided. ``EffectiveRetry()`` holds the defaults.

    ``max_attempts`` is at least 1; a cap that was removed is ``math.inf``; ``breaker`` and ``budget`` are 0 when off.
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

    @classmethod
    def of(cls, sources: tuple[Retry, ...]) -> EffectiveRetry:
        """The first of the ``sources`` that speaks decides a field; the default where none does."""
        fields: dict[str, Any] = {}
        for name in RETRY_FIELDS:
            for source in sources:
                value = getattr(source, name)
                if value is not UNSET:
                    removed = value is None and name in ("max_backoff", "max_retry_after", "max_wait")
                    fields[name] = math.inf if removed else value
                    break
        if fields.get("backoff", 0.0) > MAX_BACKOFF and "max_backoff" not in fields:
            # Somebody set the wait, and nobody the cap.
            fields["max_backoff"] = math.inf
        return cls(**fields)


def check_backoff(backoff: Seconds, cap: Seconds, name: str, cap_name: str) -> None:
    """Raise :class:`ConfigError` if one source sets a back-off above its cap. The names are what the user wrote."""
    if backoff and cap and backoff > cap:
        raise ConfigError(
            f"{name}={backoff:g} and {cap_name}={cap:g} contradict each other: the first wait may not be"
            f" longer than the cap. Lower {name} or raise {cap_name} (0 removes the cap).",
            field=name,
            value=backoff,
        )
