"""The set-up of a wrapped call: limits, their sources, and invalid settings."""

from __future__ import annotations

import json

import pytest

import llmwatch
from llmwatch import ConfigError, Limits, Retry, WatchTimeout
from llmwatch.wrap import call, iterate
from llmwatch.wrap.starting import Options, make_call
from tests.end_to_end.times import LIMIT
from tests.wrap.conftest import Hang


def _limits(method: str, limits: Limits | None = None) -> dict[str, tuple[float | None, str]]:
    made = make_call(method, len, lambda *details: None, Options(limits=limits))
    return {name: (one.value, one.source) for name, one in made.limits.limits.items()}


def test_a_function_has_the_limits_of_a_plain_call() -> None:
    """A function has those of a plain call, an iterator those of a stream, both to a hosted model."""
    assert {name: value for name, (value, _) in _limits("CALL").items() if value is not None} == {
        "connect": 10,
        "send": 60,
        "ttfb": 600,
        "stale": 360,
        "drain": 1,
    }
    assert {name: value for name, (value, _) in _limits("ITERATE").items() if value is not None} == {
        "connect": 10,
        "send": 60,
        "ttfb": 120,
        "first_content": 300,
        "stale": 360,
        "progress": 600,
        "finish": 5,
        "drain": 1,
    }


def test_content_limits_of_a_function_count_where_they_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """By an argument, by the environment, by the single knob; the argument goes first."""
    assert _limits("CALL", Limits(progress=7))["progress"] == (7, "set explicitly")
    assert _limits("CALL", Limits(progress=0))["progress"][0] is None
    assert _limits("CALL", Limits.single(9))["first_content"][0] == 9
    monkeypatch.setenv("LLMWATCH_PROGRESS_TIMEOUT_SECONDS", "8")
    assert _limits("CALL")["progress"][0] == 8
    assert _limits("CALL", Limits(progress=7))["progress"][0] == 7
    assert _limits("CALL")["first_event"][0] is None


def test_the_profile_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrapped call uses the profile of the environment."""
    monkeypatch.setenv("LLMWATCH_PROFILE", "local")
    assert _limits("CALL")["ttfb"][0] == 1800
    assert _limits("ITERATE")["ttfb"][0] == 900


@pytest.mark.parametrize("name", ["LLMWATCH_TTFB_TIMEOUT_SECONDS", "LLMWATCH_PROFILE", "LLMWATCH_KEEPALIVE_SECONDS"])
def test_an_invalid_environment_is_a_config_error(hang: Hang, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A ConfigError that names the variable, and nothing is called."""
    monkeypatch.setenv(name, "nonsense")
    function = hang()
    with pytest.raises(ConfigError, match=name):
        call(function)
    with pytest.raises(ConfigError, match=name):
        next(iterate(function))
    assert function.calls == 0


def test_a_function_has_no_breaker_and_no_budget(hang: Hang, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function is no host: however often it hung, it is called, and run again."""
    monkeypatch.setenv("LLMWATCH_BREAKER", "2")
    monkeypatch.setenv("LLMWATCH_RETRY_BUDGET", "2")
    function = hang()
    for _ in range(8):
        with pytest.raises(WatchTimeout):
            call(function, limits=Limits(ttfb=LIMIT / 10), abort=function.abort, retry=Retry(backoff=0, max_attempts=2))
    assert function.calls == 16


def test_an_explicit_budget_is_shared_by_the_calls_of_a_function(hang: Hang, monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls of one function share the budget."""
    monkeypatch.setattr("llmwatch.recovery.budget._EACH_SECOND", 1e-9)
    function = hang()

    def mine() -> None:
        function()

    for _ in range(4):
        with pytest.raises(WatchTimeout) as caught:
            call(
                mine,
                limits=Limits(ttfb=LIMIT / 10),
                abort=function.abort,
                retry=Retry(backoff=0, max_attempts=99, budget=2, max_wait=0),
            )
    # Two and three for the call in flight, and then three for each.
    assert function.calls == 4 + 5 + 3 * 3
    assert caught.value.recovery is not None
    assert caught.value.recovery.reason == "budget_empty"


def test_contradicting_limits_of_a_function_are_a_config_error() -> None:
    """The error is that of every entry point."""
    with pytest.raises(ConfigError):
        call(len, "", limits=Limits(ttfb=90, total=60))


def test_an_incident_of_a_function_is_logged(hang: Hang, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """The incident goes to the log that the environment names, like that of every call."""
    path = f"{tmp_path}/incidents.jsonl"
    monkeypatch.setenv("LLMWATCH_INCIDENT_LOG", path)
    function = hang()
    with pytest.raises(WatchTimeout) as caught:
        call(function, limits=Limits(ttfb=LIMIT))
    with open(path) as lines:
        (line,) = lines
    assert json.loads(line)["entry_point"] == "wrap"
    assert caught.value.record is not None
    assert caught.value.record.call_id in line
    assert llmwatch.stats()["live_attempts"] == 0
