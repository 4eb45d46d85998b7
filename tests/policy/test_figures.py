"""What users report of healthy calls, against the default limits: none of these calls is killed.

A case is how long a healthy call kept silent, in which part of the call, with how much prompt, to what kind of model.
What must hold is that every limit that counts during that silence is longer. A token is four bytes here, as in the
estimate.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from llmwatch.policy.effective import DEFAULT_KEEPALIVE, EffectiveLimits
from llmwatch.policy.limits import SINGLE, Limits
from llmwatch.policy.profiles import PROFILES
from tests.policy.resolving import resolve
from tests.rows import each

HOSTED = "https://api.example.com/v1/chat/completions"
LOCAL = "http://127.0.0.1:11434/v1/chat/completions"
# The limits that run while nothing has come yet, and those that run in a gap after the first content.
BEFORE_FIRST_BYTE = ("headers", "ttfb", "first_event", "first_content", "total", "deadline")
IN_A_GAP = ("stale", "progress", "total", "deadline")
AFTER_AN_OPENING = ("first_content", "stale", "total", "deadline")


@dataclass(frozen=True)
class Healthy:
    """A healthy call of the reports: ``silent`` seconds while the limits ``during`` count."""

    what: str
    silent: float
    during: tuple[str, ...]
    tokens: int = 0
    model: str = "gpt-4o"
    url: str = HOSTED
    patience: int = 0

    def limits(self) -> EffectiveLimits:
        """The default limits of this call."""
        body = {"model": self.model, "stream": True}
        return resolve(url=self.url, body=body, body_bytes=4 * self.tokens, patience=self.patience)

    def __str__(self) -> str:
        return self.what


CASES = [
    Healthy("hosted, first event p50, low", 1.6, BEFORE_FIRST_BYTE),
    Healthy("hosted, first event p50, high", 3.5, BEFORE_FIRST_BYTE),
    Healthy("hosted, first event p95, low", 2, BEFORE_FIRST_BYTE),
    Healthy("hosted, first event p95, high", 16, BEFORE_FIRST_BYTE),
    Healthy("130k tokens, first event p90", 35, BEFORE_FIRST_BYTE, tokens=130_000),
    Healthy("130k tokens, first event p95", 53, BEFORE_FIRST_BYTE, tokens=130_000),
    Healthy("130k tokens, p95, size unknown", 53, BEFORE_FIRST_BYTE),
    Healthy("130k tokens, longest success, reasoning", 564, BEFORE_FIRST_BYTE, tokens=130_000, model="o3"),
    Healthy("130k tokens, longest success, local", 564, BEFORE_FIRST_BYTE, tokens=130_000, url=LOCAL),
    Healthy("130k tokens, longest success, hosted", 564, BEFORE_FIRST_BYTE, tokens=130_000),
    Healthy("130k tokens, longest success, second attempt", 564, BEFORE_FIRST_BYTE, tokens=130_000, patience=1),
    Healthy("130k tokens, longest success after an opening, reasoning", 564, AFTER_AN_OPENING, 130_000, "o3"),
    Healthy("Opus, 100k tokens, low", 180, BEFORE_FIRST_BYTE, tokens=100_000, model="claude-opus-4-1"),
    Healthy("Opus, 100k tokens, high", 300, BEFORE_FIRST_BYTE, tokens=100_000, model="claude-opus-4-1"),
    Healthy("Opus, 100k tokens, after an opening", 300, AFTER_AN_OPENING, tokens=100_000, model="claude-opus-4-1"),
    Healthy("Opus under a name of its own, 100k tokens", 300, BEFORE_FIRST_BYTE, tokens=100_000, model="my-deployment"),
    Healthy("Opus under a name of its own, after an opening", 300, AFTER_AN_OPENING, 100_000, "my-deployment"),
    Healthy("local prefill of 150k tokens", 1180, BEFORE_FIRST_BYTE, tokens=150_000, model="qwen3", url=LOCAL),
    *(
        Healthy(f"gap of {gap} s in a stream, {kind}", gap, IN_A_GAP, model=model, url=url)
        for gap in (32, 91, 329)
        for kind, model, url in (("hosted", "gpt-4o", HOSTED), ("reasoning", "o3", HOSTED), ("local", "qwen3", LOCAL))
    ),
    Healthy("a dead connection's recovery on a new one", 3, ("connect", *BEFORE_FIRST_BYTE)),
    *(
        Healthy(f"a call that a first-event limit of {limit} s would kill", limit, BEFORE_FIRST_BYTE)
        for limit in (12, 30, 60)
    ),
]


@each("call", CASES, ids=str)
def test_a_healthy_call_is_not_killed(call: Healthy) -> None:
    """Every limit that counts while a reported healthy call is silent is longer than that silence."""
    limits = call.limits()
    for name in call.during:
        limit = limits.value(name)
        assert limit is None or limit > call.silent, f"{name} {limit} s"


@pytest.mark.parametrize("profile", PROFILES)
def test_no_default_is_among_the_limits_known_to_kill(profile: str) -> None:
    """No limit that waits for an answer is 60 s or shorter, which is documented to kill healthy calls."""
    limits = resolve(profile=profile)
    for name in (*SINGLE, "headers", "first_event", "total", "deadline"):
        value = limits.value(name)
        assert value is None or value > 60


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("idle", [60, 100, 350])
def test_a_dropped_flow_is_not_mistaken(profile: str, idle: float) -> None:
    """The limit on silence is above the time after which infrastructure drops an idle flow by itself."""
    stale = resolve(profile=profile).value("stale")
    assert stale is not None
    assert stale > idle


def test_pooled_connections_are_younger_than_any_idle_timeout() -> None:
    """A pooled connection is given up long before the shortest idle time-out of a load balancer."""
    assert DEFAULT_KEEPALIVE == 10.0 < 60


def test_the_single_knob_keeps_a_long_prefill_alive() -> None:
    """The single knob at 900 keeps a prefill of 400 s alive on every limit that counts by then."""
    limits = resolve(client=Limits.single(900), url=HOSTED, body={"model": "gpt-4o"})
    assert all((limits.value(name) or 1e9) > 400 for name in (*BEFORE_FIRST_BYTE, *IN_A_GAP))
