"""The fixture ``llm_faults`` in the tests of an agent that breaks rules, and of one on llmwatch."""

from __future__ import annotations

import re

from tests.examples.running import EXAMPLES, run

TESTS = ["test_silence", "test_a_refusal", "test_a_busy_provider", "test_a_cut"]


def test_an_agent_on_plain_requests_is_seen_failing() -> None:
    """Each of its tests fails, by a rule of its own."""
    printed = run("faults_before.py")
    assert re.search(r"^4 failed in ", printed, re.MULTILINE)
    for test, rule in zip(TESTS, ("retried", "safe", "waited", "whole"), strict=True):
        (failure,) = re.findall(rf"^_+ {test} _+\n(.*?)(?=^_|^=)", printed, re.MULTILINE | re.DOTALL)
        assert re.findall(r"\* (\w+): ", failure)[0] == rule
        assert set(re.findall(r"\* (\w+): ", failure)) == {rule}


def test_an_agent_on_llmwatch_passes() -> None:
    """The same tests pass."""
    assert re.search(r"^4 passed in ", run("faults_after.py"), re.MULTILINE)


def test_both_have_the_same_tests() -> None:
    """What differs between the two is the agent."""

    before, after = ((EXAMPLES / name).read_text("utf-8") for name in ("faults_before.py", "faults_after.py"))
    assert re.findall(r"def (test_\w+)", before) == TESTS
    assert (
        before[before.index("def test_silence") :].partition("    # In a project")[0]
        == (after[after.index("def test_silence") :].partition("    # In a project")[0])
    )
