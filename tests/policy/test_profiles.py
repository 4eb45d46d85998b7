"""The default limits and the choice among them."""

from __future__ import annotations

import math

import pytest

from llmwatch.errors import ConfigError
from llmwatch.policy.limits import NAMES, Limits
from llmwatch.policy.profiles import PLAIN_TTFB, PROFILES, detect_profile
from tests.policy.resolving import resolve
from tests.rows import each

HOSTED = "https://api.example.com/v1/chat/completions"
LOCAL = "http://127.0.0.1:8080/v1/chat/completions"

# limit: hosted, reasoning, local
FIGURES: dict[str, tuple[float | None, float | None, float | None]] = {
    "connect": (10, 10, 10),
    "send": (60, 60, 60),
    "headers": (None, None, None),
    "ttfb": (120, 300, 900),
    "first_event": (None, None, None),
    "first_content": (300, 900, 1800),
    "stale": (360, 600, 900),
    "progress": (600, 900, 900),
    "finish": (5, 5, 5),
    "drain": (1, 1, 1),
    "total": (None, None, None),
    "deadline": (None, None, None),
}


@each("name", NAMES)
@each(("at", "profile"), list(enumerate(("hosted", "reasoning", "local"))))
def test_each_default_is_the_documented_figure(name: str, at: int, profile: str) -> None:
    """Each default is the documented number of seconds, and names its profile as the source."""
    limit = resolve(profile=profile).limits[name]
    assert limit.value == FIGURES[name][at]
    assert limit.source == f"profile {profile}"
    assert not limit.explicit


@pytest.mark.parametrize("profile", ["hosted", "reasoning", "local"])
def test_a_passthrough_waits_longer_after_a_finish_mark(profile: str) -> None:
    """If the bytes are handed on as they come, ``finish`` is 30 s unless it is set.

    Nothing else differs.
    """
    passed_through, plain = (
        resolve(profile=profile, passthrough=True),
        resolve(profile=profile, passthrough=True, plain=True),
    )
    assert passed_through.limits["finish"].value == 30
    assert passed_through.limits["finish"].source == f"profile {profile}, passthrough"
    assert passed_through.seconds == {**resolve(profile=profile).seconds, "finish": 30}
    assert plain.limits["finish"].value is None
    assert resolve(profile=profile, passthrough=True, call=Limits(finish=2)).limits["finish"].value == 2


def test_every_default_is_finite_and_positive() -> None:
    """No default is 0, negative, infinite or NaN."""
    values = [value for profile in PROFILES.values() for value in profile.values() if value is not None]
    assert all(value > 0 and math.isfinite(value) for value in values)


def test_local_is_never_shorter_than_reasoning() -> None:
    """A local host may go before a thinking model in detection, since none of its limits is shorter."""
    for name in NAMES:
        local, thinking = PROFILES["local"][name], PROFILES["reasoning"][name]
        assert (local is None) == (thinking is None)
        assert (local or 0) >= (thinking or 0)
    assert PLAIN_TTFB == {"hosted": 600.0, "reasoning": 1800.0, "local": 1800.0}


@pytest.mark.parametrize(
    ("url", "body", "profile"),
    [
        (None, None, "hosted"),
        (HOSTED, {"model": "gpt-4o"}, "hosted"),
        (HOSTED, {"model": "o3"}, "reasoning"),
        (HOSTED, {"model": "gpt-4o", "reasoning_effort": "high"}, "reasoning"),
        (None, {"model": "claude-sonnet-4-5", "thinking": {"type": "enabled"}}, "reasoning"),
        ("https://g.example.com/v1beta/models/gemini-2.5-pro:streamGenerateContent", {}, "reasoning"),
        (LOCAL, {"model": "llama"}, "local"),
        (LOCAL, {"model": "o3", "think": True}, "local"),
        ("http://ollama:11434/api/chat", None, "local"),
    ],
)
def test_a_local_host_decides_then_thinking_then_hosted(url: str | None, body: object, profile: str) -> None:
    """A local host goes first, then thinking by body or name, else the model is hosted."""
    assert detect_profile(url, body) == profile
    found = resolve(url=url, body=body)
    assert (found.profile, found.profile_source) == (profile, "detected")


def test_a_given_profile_goes_first() -> None:
    """The argument beats the environment, which beats detection."""
    environ = {"LLMWATCH_PROFILE": "reasoning"}
    given = resolve(profile="hosted", environ=environ, url=LOCAL)
    there = resolve(environ=environ, url=LOCAL)
    assert (given.profile, given.profile_source) == ("hosted", "argument")
    assert (there.profile, there.profile_source) == ("reasoning", "LLMWATCH_PROFILE")


@pytest.mark.parametrize("profile", ["", "Hosted", "fast", 3, True])
def test_an_unknown_profile_is_a_config_error(profile: object) -> None:
    """A profile that does not exist is a ConfigError that lists those that do."""
    with pytest.raises(ConfigError, match="it takes one of hosted, reasoning, local") as caught:
        resolve(profile=profile)
    assert caught.value.field == "profile"


def test_an_unknown_profile_of_the_environment_names_its_variable() -> None:
    """The same in the environment names the variable, even where an argument would win."""
    for given in (None, "hosted"):
        with pytest.raises(ConfigError, match=r"LLMWATCH_PROFILE='fast' .* hosted, reasoning, local") as caught:
            resolve(profile=given, environ={"LLMWATCH_PROFILE": "fast"})
        assert caught.value.field == "LLMWATCH_PROFILE"
