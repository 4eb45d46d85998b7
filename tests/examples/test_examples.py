"""Every example runs by itself, says what it promises, and sends exactly the requests that it should."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llmwatch.faults import FaultServer
from llmwatch.faults.catalogue import ANSWER
from tests.examples.running import EXAMPLES, run

BEGINNING = "A watchdog counts"  # the first three words of ANSWER


def scenes(printed: str) -> dict[str, str]:
    """The output, by the line with which each scene begins."""
    found = {}
    for scene in printed.strip().split("\n\n"):
        title, _, rest = scene.partition("\n")
        found[title] = rest
    return found


def requests_in(scene: str) -> int:
    """How many requests the provider had, as the example counts them."""
    (count,) = re.findall(r"requests at the provider: (\d+)", scene)
    return int(count)


def test_every_example_is_run_without_arguments() -> None:
    """No script lies in the folder that no test runs as its reader would: by its name and nothing else."""
    tests = [*Path(__file__).parent.glob("test_*.py"), Path(__file__).parents[1] / "sdk" / "test_examples.py"]
    run_here = {name for test in tests for name in re.findall(r'\brun\("(\w+\.py)"\)', test.read_text("utf-8"))}
    assert run_here == {path.name for path in EXAMPLES.iterdir() if path.suffix == ".py"}
    assert len(run_here) >= 14


def test_before_hangs_until_it_is_given_up() -> None:
    """Plain requests waits for ever, without a time-out and with one that pings reset."""
    silent, pings = scenes(run("sync_before.py")).values()
    assert "still waiting after" in silent
    assert "still waiting after" in pings


def test_after_recovers_from_silence_and_ends_a_stream_of_pings() -> None:
    """A silent attempt is killed at ttfb, and the second one gives the whole answer.

    A provider that only pings ends at first_content, and is not asked twice.
    """
    recovered, pings, *_ = scenes(run("sync_after.py")).values()
    assert recovered.startswith(ANSWER + "\n")
    assert "attempt 1: ttfb_kill" in recovered
    assert "attempt 2: done" in recovered
    assert requests_in(recovered) == 2
    assert "WatchTimeout" in pings
    assert "LLMWATCH_FIRST_CONTENT_TIMEOUT_SECONDS" in pings
    assert requests_in(pings) == 1


@pytest.mark.parametrize("name", ["sync_before.py", "sync_after.py"])
@pytest.mark.parametrize("way", ["argument", "variable"])
def test_both_stream_from_an_endpoint_that_is_named(name: str, way: str) -> None:
    """With a base URL both scripts print the answer of that endpoint.

    They use the key and the model that are set.
    """
    with FaultServer("healthy") as server:
        base_url = f"{server.url}/v1/"
        settings = {"OPENAI_API_KEY": "a-key", "OPENAI_MODEL": "a-model"}
        if way == "argument":
            printed = run(name, base_url, **settings)
        else:
            printed = run(name, OPENAI_BASE_URL=base_url, **settings)
        (request,) = server.requests
    assert printed == ANSWER + "\n"
    assert request.path == "/v1/chat/completions"
    assert request.header("Authorization") == "Bearer a-key"
    assert b'"a-model"' in request.body


def test_variables_change_the_calls() -> None:
    """Each scene shows the limit that its variable sets, and what the limit does to the call.

    The variable stands there as the limit's source.
    """
    own, ttfb, single, once, profile, nonsense = scenes(run("tuning_by_environment.py")).values()
    assert re.search(r"ttfb +900 s +profile local", own)
    assert re.search(r"ttfb +1 s +LLMWATCH_TTFB_TIMEOUT_SECONDS", ttfb)
    assert "recovered, attempts: 2" in ttfb
    assert re.search(r"first_content +0\.8 s +LLMWATCH_TIMEOUT_SECONDS", single)
    assert re.search(r"stale +5 s +LLMWATCH_STALE_TIMEOUT_SECONDS", single)
    assert "killed at ttfb in phase waiting after" in once
    assert re.search(r"ttfb +120 s +profile hosted", profile)
    assert "did you mean LLMWATCH_TTFB_TIMEOUT_SECONDS?" in profile
    assert "ConfigError: LLMWATCH_TTFB_TIMEOUT_SECONDS='soon'" in nonsense
    assert [requests_in(scene) for scene in (own, ttfb, single, once, profile)] == [1, 2, 2, 1, 1]


def test_the_shell_is_heard_first() -> None:
    """The first scene of the tuning example shows what the reader's own environment sets."""
    own = next(iter(scenes(run("tuning_by_environment.py", LLMWATCH_STALE_TIMEOUT_SECONDS="77")).values()))
    assert re.search(r"stale +77 s +LLMWATCH_STALE_TIMEOUT_SECONDS", own)


def test_an_own_loop_decides_by_the_error() -> None:
    """The loop asks again after silence, and gives up after three.

    It never asks again after text or for a provider at work.
    """
    once, sentence, alive, always = scenes(run("own_retry_loop.py")).values()
    assert f"answer: {ANSWER!r}" in once
    assert "retryable: True; safe: True (attempts_exhausted)" in once
    assert requests_in(once) == 2
    assert f"answer: {BEGINNING!r}" in sentence
    assert "retryable: True; safe: False (output_delivered)" in sentence
    assert requests_in(sentence) == 1
    assert "retryable: True; safe: False (slow_but_alive)" in alive
    assert requests_in(alive) == 1
    assert always.count("killed at ttfb in phase waiting") == 3
    assert "given up: " in always
    assert requests_in(always) == 3


def test_a_cancelled_reader_is_free_at_once() -> None:
    """The reader keeps what came, and the next call sends nothing.

    The reader is free within a second and not within minutes.
    """
    printed = run("cancel_from_another_thread.py")
    (milliseconds,) = re.findall(r"cancelled by the user, (\d+) ms after the button", printed)
    assert int(milliseconds) < 1000
    assert f"so far: {BEGINNING!r}" in printed
    assert "the next call that holds it ended before it began" in printed
    assert requests_in(printed) == 1


def test_a_cut_tool_call_is_asked_for_again() -> None:
    """Only the whole tool call comes out; the cut one is in the record alone."""
    printed = run("collect_tools.py")
    assert printed.count("tool call ") == 1
    assert "look_up({'city': 'Malmö', 'days': [0, 1, 2, 3]})" in printed
    assert "attempt 1: failed" in printed
    assert "attempt 2: done" in printed
    assert "after attempt 1: retry (partial_discarded), recovered" in printed
    assert requests_in(printed) == 2


def test_an_sdk_stream_is_watched_from_outside() -> None:
    """A bare SDK client recovers from silence where that is allowed, and is free when its stream stalls."""
    healthy, silent, stalled = scenes(run("wrapped_sdk_stream.py")).values()
    assert repr(ANSWER) in healthy
    assert repr(ANSWER) in silent
    assert "WatchTimeout stale" in stalled
    assert "confirm: function_has_beaten" in stalled
    assert repr(BEGINNING) in stalled
    assert [requests_in(scene) for scene in (healthy, silent, stalled)] == [1, 2, 1]


def test_a_function_without_sockets_is_watched() -> None:
    """The function lives while it beats or is paused, and is told to stop when it does neither."""
    beating, paused, *stuck = run("watched_function.py").splitlines()
    assert beating.endswith("6 sheep")
    assert paused.endswith("the person said yes")
    assert stuck[0] == "Stuck at the third: WatchTimeout stale, confirm"
