"""The examples on the SDKs, as their reader would run them."""

from __future__ import annotations

from llmwatch.faults.catalogue import ANSWER
from tests.examples.running import run
from tests.examples.test_examples import BEGINNING, requests_in, scenes


def test_the_openai_example_recovers_or_explains() -> None:
    """Recovered where nothing had been said.

    Where something had, the SDK's own exception with the reason.
    """
    silent, responses, busy, stalled, ended = scenes(run("openai_sdk.py")).values()
    for scene in (silent, responses, busy):
        assert repr(ANSWER) in scene
        assert requests_in(scene) == 2
    for scene in (stalled, ended):
        assert f"{BEGINNING!r}\n" in scene
        assert "continue: " in scene
        assert requests_in(scene) == 1
    assert "APITimeoutError, caused by WatchTimeout: The stream from" in stalled
    assert "APIConnectionError, caused by StreamTruncated: " in ended


def test_the_anthropic_example_recovers_or_explains() -> None:
    """Recovered where nothing had been said, and the SDK's own exception where something had.

    This holds in mid-stream too.
    """
    silent, early, late, stalled, always = scenes(run("anthropic_sdk.py")).values()
    for scene in (silent, early):
        assert repr(ANSWER) in scene
        assert requests_in(scene) == 2
    for scene in (late, stalled):
        assert f"{BEGINNING!r}\n" in scene
        assert "continue: " in scene
        assert requests_in(scene) == 1
    assert "APIStatusError, caused by ProviderError" in late
    assert "APITimeoutError, caused by WatchTimeout" in stalled
    assert "OverloadedError, caused by ProviderError" in always
    assert requests_in(always) == 3
