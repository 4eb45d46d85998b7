"""The messages to the user."""

from __future__ import annotations

import re

import pytest

from llmwatch.policy import LIMIT_VARIABLES, LIMITS, NAMES, RETRY_VARIABLES
from llmwatch.records import Decision
from llmwatch.recovery import Facts, Reason, recovery, timeout_message
from llmwatch.redaction import redact
from tests.rows import each

FUNCTION_LIMITS = [row.name for row in LIMITS.values() if row.function_expired]
LISTENED = Facts(headers=True, first_byte=True, bytes=12345, events=7)


class TestTimeouts:
    @pytest.mark.parametrize("limit", NAMES)
    def test_it_names_what_to_change(self, limit: str) -> None:
        """The field and its environment variable stand in the text, with the limit and what had passed."""
        text = timeout_message(limit, 45.0, 45.123456, facts=LISTENED, host="api.example.com")
        assert re.search(rf"\b{limit} \({LIMIT_VARIABLES[limit]}\)", text)
        assert "45 s" in text
        assert "45.123 s" in text

    @pytest.mark.parametrize("limit", sorted(LIMITS))
    def test_no_placeholder_is_left_unfilled(self, limit: str) -> None:
        """A text is whole without facts and host too.

        It survives the scrubbing that every message goes through.
        """
        for text in (
            timeout_message(limit, 0.05, 1200.0),
            timeout_message(limit, 0.05, 1200.0, facts=LISTENED, host="127.0.0.1:8000"),
        ):
            assert "{" not in text
            assert text == redact.text(text)
            assert text[0].isupper() or text[0].isdigit()
            assert text.endswith(".")
            assert "0.05 s" in text
            assert "1,200 s" in text

    def test_each_limit_has_its_own_first_sentence(self) -> None:
        """No two limits share their first sentence, with any numbers."""
        said = {timeout_message(limit, 1.0, 1.0, host="h").partition(". ")[0] for limit in LIMITS}
        assert len(said) == len(LIMITS)

    @pytest.mark.parametrize(
        ("facts", "said"),
        [
            (None, "no response headers had come"),
            (Facts(headers=True), "response headers had come and nothing else"),
            (Facts(headers=True, bytes=1, events=0), "1 byte and 0 events had come"),
            (LISTENED, "12,345 bytes and 7 events had come"),
            (Facts(bytes=2, events=1), "2 bytes and 1 event had come"),
        ],
    )
    def test_the_text_says_what_was_received(self, facts: Facts | None, said: str) -> None:
        """The text says what had been received."""
        assert said in timeout_message("ttfb", 1.0, 1.0, facts=facts)

    def test_an_unknown_limit_has_a_sentence(self) -> None:
        """A limit without a text of its own still gets a sentence."""
        paused = timeout_message("total", 5.0, 7.5, paused=2.25)
        assert "7.5 s, 2.25 s of it paused, since the request was sent" in paused
        assert "paused" not in timeout_message("total", 5.0, 7.5, paused=0.0004)
        assert timeout_message("refresh", 5.0, 5.5) == (
            "The limit refresh of 5 s expired after 5.5 s (no response headers had come). Raise refresh."
        )

    def test_braces_in_a_host_are_not_formatted(self) -> None:
        """Braces in an inserted value are not read as part of the format."""
        assert "{host}" in timeout_message("ttfb", 1.0, 1.0, host="{host}")


class TestFunctions:
    NAME = "agents.tools.Search.look_up"

    def test_each_limit_of_a_function_has_a_message(self) -> None:
        """A function has no limits ``send``, ``finish`` and ``drain``."""
        assert set(FUNCTION_LIMITS) == set(NAMES) - {"send", "finish", "drain"}

    @pytest.mark.parametrize("limit", FUNCTION_LIMITS)
    def test_it_names_the_function_and_what_to_change(self, limit: str) -> None:
        """The function, the figures, the field and its variable stand in the text.

        The text survives the scrubbing.
        """
        text = timeout_message(limit, 0.05, 1200.0, host=self.NAME, function=True)
        assert self.NAME in text
        assert f"{limit} ({LIMIT_VARIABLES[limit]})" in text
        assert "0.05 s" in text
        assert "1,200 s" in text
        assert "{" not in text
        assert text == redact.text(text)
        assert text != timeout_message(limit, 0.05, 1200.0, host=self.NAME)

    def test_each_limit_of_a_function_has_its_own_message(self) -> None:
        """No two limits share their first sentence."""
        said = {timeout_message(limit, 1.0, 1.0, host="f", function=True) for limit in FUNCTION_LIMITS}
        assert len(said) == len(FUNCTION_LIMITS)

    @pytest.mark.parametrize("limit", FUNCTION_LIMITS)
    def test_the_text_of_a_stuck_function_says_that_it_is_an_orphan(self, limit: str) -> None:
        """The text says that nothing could wake it, that it counts as an orphan, and what helps."""
        text = timeout_message(limit, 1.0, 1.0, host="f", function=True, stuck=True)
        for word in ("orphan", "llmwatch.stats()", "abort=", "on_abort"):
            assert word in text
        assert text == redact.text(text)


class TestRecoveries:
    @each("reason", Reason)
    def test_each_says_why_and_what_to_do(self, reason: Reason) -> None:
        """Both are whole sentences, and nothing is left unfilled."""
        said = recovery(Decision.STOP, reason, safe=False)
        assert (said.decision, said.reason) == (Decision.STOP, reason.value)
        for text in (said.message, said.action):
            assert text[0].isupper()
            assert text.endswith(".")
            assert "{" not in text
            assert text == redact.text(text)

    @pytest.mark.parametrize("reason", [Reason.BUDGET_EMPTY, Reason.CIRCUIT_OPEN, Reason.HELD_BACK])
    def test_the_setting_that_bounds_is_the_one_to_raise(self, reason: Reason) -> None:
        """The message names only the setting that helps if it is raised."""
        variables = {**RETRY_VARIABLES, "deadline": LIMIT_VARIABLES["deadline"]}
        for bound in ("max_wait", "max_retry_after", "deadline"):
            action = recovery(Decision.STOP, reason, safe=True, bound=bound).action
            assert action.startswith(f"Raise {bound} ({variables[bound]})")
            assert all(other not in action for other in {"max_wait", "max_retry_after", "deadline"} - {bound})

    def test_no_two_reasons_share_their_message(self) -> None:
        """No two reasons share their message."""
        assert len({reason.message for reason in Reason}) == len(Reason)

    @pytest.mark.parametrize(
        ("reason", "field"),
        [
            (Reason.ATTEMPTS_EXHAUSTED, "max_attempts"),
            (Reason.SLOW_BUT_ALIVE, "slow_but_alive"),
            (Reason.PROVIDER_TOOLS, "resend_with_tools"),
            (Reason.UNKNOWN_TOOLS, "resend_with_tools"),
            (Reason.UNREADABLE_BODY, "resend_with_tools"),
            (Reason.FUNCTION_HAS_BEATEN, "resend_with_tools"),
            (Reason.FUNCTION_MAY_RUN, "resend_with_tools"),
            (Reason.BUDGET_EMPTY, "budget"),
            (Reason.CIRCUIT_OPEN, "breaker_wait"),
            (Reason.RETRY_AFTER_TOO_LONG, "max_retry_after"),
        ],
    )
    def test_the_setting_that_helps_is_named(self, reason: Reason, field: str) -> None:
        """If a setting would change the outcome, its field and variable are named."""
        action = recovery(Decision.STOP, reason, safe=False).action
        assert field in action
        assert RETRY_VARIABLES[field] in action
