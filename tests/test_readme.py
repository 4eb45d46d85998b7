"""The README is true: its tables equal the code, its programs run, its names exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import llmwatch
from llmwatch.engine.worst_case import worst_case
from llmwatch.faults import FaultServer
from llmwatch.faults.catalogue import ANSWER
from llmwatch.policy import (
    KNOWN_VARIABLES,
    LIMIT_VARIABLES,
    NAMES,
    PROFILES,
    RETRY_VARIABLES,
    EffectiveLimits,
    EffectiveRetry,
    resolve_keepalive,
    resolve_limits,
    resolve_max_body,
)
from llmwatch.wire import MAX_EVENT

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
PLAIN_BLOCKS = [line.strip() for line in re.findall(r"^    .*$", README, re.MULTILINE)]

LONGEST = 210
"""Lines; a user reads no more before the first call."""

# What the programs of the README say, and what they say here, so that no test waits for a minute.
STAND_INS = {"ttfb=45": "ttfb=1.0", "stale=60": "stale=1.0"}


class Scene(NamedTuple):
    """One program of the README: a word in it, what the provider does, what is printed."""

    word: str
    scripts: list[str]
    printed: list[str]


SCENES = [
    Scene("client = Client(", ["silent", "healthy"], [ANSWER]),
    Scene(
        "except WatchTimeout",
        ["stall-after-content:tokens=3"],
        [
            "went silent in the middle",
            "stale 1.0 ",
            "\nA watchdog counts\n",
            "True False continue Keep what",
            '"attempts":[',
        ],
    ),
    Scene("client.request(", ["tool-call-cut:tokens=1,cut=reset", "healthy", "healthy"], [ANSWER, " 2\n", "200 {"]),
]


def rows(first: str) -> list[list[str]]:
    """The cells of the table whose header begins with ``first``, without the back-ticks."""
    lines = README.splitlines()
    (start,) = [number for number, line in enumerate(lines) if line.startswith(f"| {first} |")]
    found = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    return found


def seconds(cell: str) -> float | None:
    return None if cell == "off" else float(cell)


LIMIT_ROWS = {row[0]: row for row in rows("limit")}
RETRY_ROWS = {row[0]: row for row in rows("`Retry(...)`")}


def test_the_table_has_every_limit_in_order() -> None:
    """No limit is missing, none is invented, and they come in the order in which a call meets them."""
    assert tuple(LIMIT_ROWS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_limit_of_the_table_is_that_of_the_code(name: str) -> None:
    """Each default of each profile, and the variable, are what a call really uses."""
    _, _, _, hosted, reasoning, local, variable = LIMIT_ROWS[name]
    written = {"hosted": seconds(hosted), "reasoning": seconds(reasoning), "local": seconds(local)}
    assert written == {profile: PROFILES[profile][name] for profile in PROFILES}
    assert variable == LIMIT_VARIABLES[name]


def test_the_table_has_every_retry_setting() -> None:
    """No setting that has a variable is missing, and none is invented."""
    assert RETRY_ROWS.keys() == RETRY_VARIABLES.keys()


@pytest.mark.parametrize("name", RETRY_ROWS)
def test_a_retry_setting_of_the_table_is_that_of_the_code(name: str) -> None:
    """Each default and variable of the retry table are what a call really uses."""
    _, default, variable, _ = RETRY_ROWS[name]
    value = getattr(EffectiveRetry(), name)
    assert default == ("off" if value is False else f"{value:g}")
    assert variable == RETRY_VARIABLES[name]


def test_every_variable_that_is_named_exists() -> None:
    """No variable is misspelt or was renamed since."""
    assert set(re.findall(r"\bLLMWATCH_[A-Z_]+\b", README)) <= set(KNOWN_VARIABLES)


def test_the_figures_beside_the_table_are_those_of_the_code() -> None:
    """The README's figures are those of the code.

    They are the figures for growth by size, doubling, reuse of connections and plain calls.
    """

    def ttfb(**options: Any) -> float | None:
        return resolve_limits(environ={}, profile="hosted", **options).value("ttfb")

    assert "grow by 3.5 s for every 1,000 tokens of prompt (body bytes / 4), by 1,800 s" in README
    assert ttfb(body_bytes=4_000) == 123.5
    assert ttfb(body_bytes=400_000_000) == 120 + 1800
    assert "double after an attempt that was killed before its first content" in README
    assert ttfb(patience=1) == 240
    assert "reused for 10 s (`keepalive=`, `LLMWATCH_KEEPALIVE_SECONDS`)" in README
    assert resolve_keepalive(None, {}) == 10
    assert "`max_event=` (`LLMWATCH_MAX_EVENT_BYTES`) is 64 MiB unless set" in README
    assert MAX_EVENT == 64 << 20
    assert "`max_body=` (`LLMWATCH_MAX_BODY_BYTES`) is 1 GiB" in README
    assert resolve_max_body(None, {}) == 1 << 30
    assert "its default `ttfb` is 600 (`hosted`) or 1800" in README
    assert ttfb(plain=True) == 600
    assert resolve_limits(environ={}, profile="local", plain=True).value("ttfb") == 1800


def test_the_worst_case_is_that_of_the_code() -> None:
    """How long a silent hosted provider can keep a call is what the defaults come to."""

    def after(kills: int) -> EffectiveLimits:
        return resolve_limits(environ={}, profile="hosted", patience=kills)

    seconds = worst_case(after, EffectiveRetry()).seconds
    assert f"by the defaults after {seconds:g} s at most, where a hosted provider takes the request" in README


def test_every_class_that_is_named_is_public() -> None:
    """An error or class in the README can be imported from llmwatch."""
    named = set(re.findall(r"`(?:llmwatch\.)?([A-Z]+[a-z]+[A-Z]\w+)`", README)) - {"TimeoutError"}
    assert {"LLMWatchError", "ConnectFailed"} <= named
    assert named <= set(llmwatch.__all__)


def test_every_program_of_the_readme_has_a_scene() -> None:
    """A new program gets a provider and an expectation here."""
    assert len(BLOCKS) == len(SCENES)
    for block, scene in zip(BLOCKS, SCENES, strict=True):
        assert scene.word in block


def test_the_programs_of_the_readme_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One after the other, as a reader would try them, each prints what the text around it promises."""
    monkeypatch.setenv("API_KEY", "a-key")
    namespace: dict[str, Any] = {}
    sent = 0
    with FaultServer([script for scene in SCENES for script in scene.scripts]) as server:
        for block, scene in zip(BLOCKS, SCENES, strict=True):
            program = block.replace("https://api.example.com/v1/chat/completions", server.chat_url)
            for said, here in STAND_INS.items():
                program = program.replace(said, here)
            exec(compile(program, f"README.md, {scene.word}", "exec"), namespace)
            printed = capsys.readouterr().out
            for expected in scene.printed:
                assert expected in printed
            sent += len(scene.scripts)
            assert len(server.requests) == sent
        namespace["client"].close()
    assert namespace["answer"].text == ANSWER


def test_every_replaced_text_is_in_the_readme() -> None:
    """Each text that is replaced here is still in the README."""
    assert [said for said in STAND_INS if said not in README] == []


def test_the_readme_has_the_main_commands() -> None:
    """The README has the command that runs the main job, and the one that runs the tests.

    Each stands on a line of its own.
    """
    fresh = "python3 -m venv .venv && .venv/bin/pip install -q "
    assert f"{fresh}'.[cli]' && .venv/bin/llmwatch demo" in PLAIN_BLOCKS
    assert f"{fresh}-e '.[test]' && .venv/bin/python -m pytest" in PLAIN_BLOCKS
    assert "`.venv/bin/python -m pytest --fast`" in README
    assert "python -m pytest --fast" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_types_of_its_programs_are_checked() -> None:
    """The check before a commit has the programs looked at by mypy and by pyright, in their strict modes."""
    assert "python .ci/check_readme.py" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    checks = (ROOT / ".ci" / "check_readme.py").read_text(encoding="utf-8")
    assert '"mypy", "--strict"' in checks
    assert '"typeCheckingMode": "strict"' in checks


def test_the_check_runs_the_readmes_test_command() -> None:
    """The check before a commit runs the tests in the same way."""
    (command,) = [line for line in PLAIN_BLOCKS if line.endswith("pytest")]
    words = command.rpartition(".venv/bin/")[2]
    assert words in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_every_path_that_is_named_exists() -> None:
    """A file that the README points to is there."""
    named = re.findall(r"`(examples/[\w.]*)`", README)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_readme_stays_short() -> None:
    """Details stand in the docstrings."""
    assert len(README.splitlines()) <= LONGEST
