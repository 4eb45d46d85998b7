from __future__ import annotations

import json
import re

import pytest

from llmwatch.cli import demo as module
from llmwatch.cli.demo_script import Pace
from llmwatch.faults import FaultServer
from llmwatch.faults.catalogue import ANSWER
from tests.cli.running import in_terminal, interrupt, invoke, run, started
from tests.cli.times import AFTER, DEMO, DEMO_LONG

FAST = Pace.of(DEMO, fast=True)
QUICKLY = ("demo", "--fast", "--ttfb", str(DEMO))
LIMIT = f"{DEMO:g} s"


def test_the_demo_shows_silence_kill_back_off_resend_and_answer() -> None:
    """The demo shows the silence, the kill, the back-off, the resend and the answer.

    They come in this order, as plain text.
    """
    done = run(*QUICKLY)
    assert (done.code, done.err) == (0, "")
    told = (
        f"accepts the call and goes silent (limit ttfb {LIMIT})",
        "attempt 1: connected",
        f"attempt 1: killed at the limit (ttfb {LIMIT}), ",
        "back-off",
        "attempt 2: resent on a fresh connection",
        "attempt 2: streaming",
        "The end.",
        "done",
        "plain requests, silent provider: still waiting after ",
        f"killed at ttfb {LIMIT}",
        "recovered, equal to what the provider said",
        "2 reached the provider, on 2 connections",
    )
    position = 0
    for words in told:
        assert words in done.out[position:], words
        position = done.out.index(words, position)
    assert "\x1b" not in done.out
    assert "\r" not in done.out


def test_json_prints_one_object_with_the_comparison() -> None:
    """--json prints one object with the record, the numbers, and the comparison that was measured."""
    done = run(*QUICKLY, "--json")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert (found["recovered"], found["problems"], found["error"]) == (True, [], None)
    assert (found["answer"], found["requests"], found["connections"]) == (ANSWER, 2, 2)
    first, second = found["record"]["attempts"]
    assert (first["limit"], first["limit_seconds"]) == ("ttfb", FAST.ttfb)
    assert 0 <= first["kill_lag"] < AFTER
    assert second["error"] is None
    assert found["record"]["outcome"] == "recovered"
    silent, pinged, watched = found["comparison"]
    assert (silent["entry_point"], silent["fault"], silent["still_waiting"]) == ("requests", "silent", True)
    assert (pinged["entry_point"], pinged["fault"], pinged["still_waiting"]) == ("requests", "keepalive-only", True)
    assert silent["reads"] == 0
    assert pinged["reads"] > 1
    assert min(silent["seconds"], pinged["seconds"]) >= FAST.bound
    assert (watched["entry_point"], watched["still_waiting"]) == ("llmwatch", False)
    assert watched["result"] == "WatchTimeout (first_content)"
    assert FAST.first_content <= watched["seconds"] < FAST.first_content + AFTER


def test_environment_and_proxy_do_not_change_the_demo() -> None:
    """Neither limits and retries in the environment nor a proxy have an influence on the demo."""
    env = {
        "LLMWATCH_MAX_ATTEMPTS": "1",
        "LLMWATCH_DEADLINE_SECONDS": "0.1",
        "LLMWATCH_TIMEOUT_SECONDS": "0",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "http_proxy": "http://127.0.0.1:1",
    }
    done = invoke(*QUICKLY, "--json", env=env)
    assert done.code == 0
    assert json.loads(done.out)["recovered"] is True


def test_ttfb_sets_the_limit_of_the_demo() -> None:
    """--ttfb sets the limit at which the silent attempt is killed."""
    done = invoke("demo", "--fast", "--ttfb", str(DEMO / 2), "--json")
    assert done.code == 0
    assert json.loads(done.out)["record"]["attempts"][0]["limit_seconds"] == DEMO / 2


@pytest.mark.parametrize(
    ("arguments", "env", "says"),
    [
        (("--ttfb", "0"), {}, "--ttfb"),
        (("--ttfb", "1000"), {}, "--ttfb"),
        ((), {"LLMWATCH_PROFILE": "quick"}, "LLMWATCH_PROFILE"),
    ],
)
def test_an_invalid_limit_or_environment_ends_with_exit_code_2(
    arguments: tuple[str, ...], env: dict[str, str], says: str
) -> None:
    """A limit that shows nothing, and an invalid environment, end with 2."""
    done = invoke("demo", *arguments, env=env)
    assert (done.code, "Traceback" in done.err) == (2, False)
    assert says in done.err


@pytest.mark.parametrize(
    ("scripts", "says"),
    [
        (["silent"], "the call was not recovered"),
        (["silent", "silent", "healthy"], "3 requests reached the provider, and not 2"),
        (["silent", "healthy:text=something else"], "is not the one that the provider gave"),
        (["healthy"], "1 requests reached the provider, and not 2"),
        (["silent", "healthy", "silent", "keepalive-only", "healthy"], "was not ended at first_content"),
    ],
)
def test_a_failed_demo_ends_with_exit_code_4(monkeypatch: pytest.MonkeyPatch, scripts: list[str], says: str) -> None:
    """The demo ends with 4 and says why whenever what it claims did not happen."""
    monkeypatch.setattr(module, "make_server", lambda pace: FaultServer(scripts))
    done = invoke(*QUICKLY, "--json")
    assert done.code == 4
    found = json.loads(done.out)
    assert found["recovered"] is False
    assert says in " ".join(found["problems"])
    assert says in done.err


def test_a_failed_demo_claims_no_recovery(monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo that went wrong says so in its last lines, and claims no recovery."""
    monkeypatch.setattr(module, "make_server", lambda pace: FaultServer("silent"))
    done = invoke(*QUICKLY)
    assert done.code == 4
    assert "answer    not recovered" in done.out
    assert "recovered, equal" not in done.out
    assert "llmwatch: the demo went wrong: the call was not recovered" in done.err


def test_a_terminal_counts_the_silence_against_its_limit() -> None:
    """In a terminal the silence is counted against its limit while it lasts.

    The kill takes its place.
    """
    done = in_terminal(QUICKLY)
    assert done.code == 0
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", done.out)
    assert re.search(rf"attempt 1: silent ━+ \d+(\.\d)? s of {re.escape(LIMIT)}", shown)
    assert re.search(rf"attempt 1: killed at the limit \(ttfb {re.escape(LIMIT)}\), \d+(\.\d)? m?s after it", shown)
    assert "The end." in shown
    assert "recovered, equal" in shown
    assert "\x1b[" in done.out


@pytest.mark.parametrize(("variable", "coloured"), [("NO_COLOR", False), ("OTHER", True)])
def test_no_color_keeps_the_live_region(variable: str, coloured: bool) -> None:
    """NO_COLOR takes the colours away and leaves the live region."""
    done = in_terminal(QUICKLY, env={variable: "1"})
    assert done.code == 0
    assert "\x1b[?25l" in done.out
    assert bool(re.search(r"\x1b\[(\d;)*3\dm", done.out)) == coloured


def test_ctrl_c_ends_the_demo_with_130() -> None:
    """Ctrl-C ends the demo at once with 130."""
    with started("demo", "--ttfb", str(DEMO_LONG)) as process:
        assert process.stdout is not None
        assert any(b"connected" in line for line in process.stdout)
        done = interrupt(process)
    assert done.code == 130
    assert done.err == ""


def test_ctrl_c_in_the_live_region_restores_the_cursor() -> None:
    """Ctrl-C in the live region gives the cursor back and ends with 130."""
    done = in_terminal(["demo", "--ttfb", str(DEMO_LONG)], until="attempt 1: silent", keys=b"\x03")
    assert done.code == 130
    assert "Traceback" not in done.out
    assert done.out.rindex("\x1b[?25h") > done.out.rindex("\x1b[?25l")
