"""The limits that a user can set on a call, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass

from llmwatch.policy import contradictions
from llmwatch.policy.limit_table import LIMITS, NAMES, SINGLE, ZERO
from llmwatch.policy.values import SECONDS_ALLOWED, UNSET, Seconds, Unset, refused, seconds

__all__ = ["NAMES", "SINGLE", "UNSET", "Limits", "Unset"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Limits:
    """The maximum time of each part of a call, in seconds.

    A field that is not given falls through to the client's limits, then the environment, then the profile. ``None``
    or 0 turns a limit off and is kept as ``None``; whole numbers become floats. Explicit values are used as given:
    neither the size of the prompt nor an earlier kill changes them.

    ================= ====================================================== =========================================
    field             counts                                                 ended or reset by
    ================= ====================================================== =========================================
    ``connect``       hooks, pool slot, DNS, TCP, proxy, TLS                 ends when the request can be sent
    ``send``          writing the request                                    ends when the kernel has its last byte
    ``headers``       from sent to the response's headers                    ends at the headers
    ``ttfb``          from sent to the first byte of the *body*              ends there; headers do not stop it
    ``first_event``   from sent to the first event of any kind               ends there; comments do not stop it
    ``first_content`` from sent to the first piece of an answer              ends there; pings do not stop it
    ``stale``         silence: no byte at all, after the first one           reset by any byte, keep-alives included
    ``progress``      no content, after the first content                    reset by content only
    ``finish``        after a finish mark, without an end mark               reset by every event but keep-alives;
                                                                             its expiry is a success
    ``drain``         the body left open after the end of the answer         nothing; its expiry is a success
    ``total``         one attempt, from sent                                 nothing
    ``deadline``      the whole call: every attempt and every wait           nothing, and nothing pauses it
    ================= ====================================================== =========================================

    ``finish`` concerns an answer whose provider gives the reason for its end (``finish_reason``) and then neither sends
    ``[DONE]`` nor closes the body. It replaces ``stale`` and ``progress``. 0 or ``None`` waits for the real end: these
    two then continue, and their expiry is a success as well.

    ``drain`` is the exception to "0 turns it off": 0 or ``None`` means *do not drain at all*. The connection is then
    closed at the end of the answer and not reused. An unlimited drain would tie a thread to a server that never closes.

    ``single_seconds`` is the single knob; :meth:`single` is the readable way to set it.

    Raises :class:`~llmwatch.errors.ConfigError` for a value that is NaN, infinite, negative or not a number (booleans
    and text are not), and for two values given here of which one always ends before the other (``ttfb=90, total=60``).
    It fills in no defaults; :func:`llmwatch.effective_limits` does. :attr:`llmwatch.Stream.limits` tells a call's own.
    """

    connect: Seconds = UNSET
    send: Seconds = UNSET
    headers: Seconds = UNSET
    ttfb: Seconds = UNSET
    first_event: Seconds = UNSET
    first_content: Seconds = UNSET
    stale: Seconds = UNSET
    progress: Seconds = UNSET
    finish: Seconds = UNSET
    drain: Seconds = UNSET
    total: Seconds = UNSET
    deadline: Seconds = UNSET
    single_seconds: Seconds = UNSET

    def __post_init__(self) -> None:
        for name in (*NAMES, "single_seconds"):
            value = getattr(self, name)
            if value is UNSET:
                continue
            try:
                object.__setattr__(self, name, seconds(value))
            except ValueError:
                spelling = f"Limits({name}={{}})" if name in NAMES else "Limits.single({})"
                zero = LIMITS[name].zero if name in NAMES else ZERO
                raise refused(name, value, spelling, f"{SECONDS_ALLOWED}, and 0 or None {zero}") from None
        contradictions.check({name: getattr(self, name) for name in NAMES})

    @classmethod
    def single(cls, seconds: float | None, **specific: Seconds) -> Limits:
        """One number for ``ttfb``, ``first_content``, ``stale`` and ``progress``; ``None`` or 0: all off.

        ``specific`` are fields of :class:`Limits` by name. They beat the number: ``Limits.single(900, ttfb=30)``.
        The number counts as explicit, and moves limits up as well as down. It beats every source of lower precedence,
        specific values included.
        """
        return cls(single_seconds=seconds, **specific)

    def get(self, name: str) -> Seconds:
        """The value of the limit ``name``, the single knob included; UNSET if neither is given."""
        value: Seconds = getattr(self, name)
        if value is UNSET and name in SINGLE:
            return self.single_seconds
        return value

    def __repr__(self) -> str:
        given = [f"{name}={value!r}" for name in NAMES if (value := getattr(self, name)) is not UNSET]
        if self.single_seconds is UNSET:
            return f"Limits({', '.join(given)})"
        return f"Limits.single({', '.join([repr(self.single_seconds), *given])})"
