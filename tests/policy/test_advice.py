"""The warnings about limits from different sources."""

from __future__ import annotations

import pytest

from llmwatch.policy.contradictions import BOUNDED_BY
from llmwatch.policy.limits import Limits
from tests.policy.resolving import resolve


class TestWithoutEffect:
    def test_an_explicit_limit_above_a_default(self) -> None:
        """The warning for a ttfb above the default first_content.

        It names the limit that expires first, its source, and the remedy.
        """
        assert resolve(call=Limits(ttfb=600)).warnings == (
            "ttfb 600 s (argument of the call) never expires: first_content 300 s (profile hosted) expires first;"
            " raise first_content as well.",
        )

    def test_an_obstacle_between_two_sources_names_both(self) -> None:
        """Both sources are named."""
        found = resolve(client=Limits(stale=90), environ={"LLMWATCH_TOTAL_TIMEOUT_SECONDS": "60"})
        assert found.warnings == (
            "stale 90 s (argument of the client) never expires: total 60 s (LLMWATCH_TOTAL_TIMEOUT_SECONDS) expires"
            " first; raise total as well.",
        )

    def test_the_single_knob_is_one_sentence(self) -> None:
        """Four limits that meet the same obstacle share a sentence."""
        assert resolve(call=Limits.single(900, total=600)).warnings == (
            "ttfb, first_content, stale and progress 900 s (argument of the call, single knob) never expire:"
            " total 600 s (argument of the call) expires first; raise total as well.",
        )

    def test_every_obstacle_is_named(self) -> None:
        """All limits that expire earlier are named, so that one change is enough."""
        (warning,) = resolve(call=Limits(ttfb=600), client=Limits(total=400)).warnings
        assert "first_content 300 s (profile hosted) and total 400 s (argument of the client) expire first" in warning
        assert warning.endswith("raise first_content and total as well.")

    @pytest.mark.parametrize("settings", [{"call": Limits(total=60)}, {"call": Limits(first_content=60)}])
    def test_an_explicit_limit_below_a_default_gives_no_warning(self, settings: dict[str, Limits]) -> None:
        """A default that never expires because of an explicit value is nothing to warn about."""
        assert resolve(**settings).warnings == ()

    @pytest.mark.parametrize("profile", ["hosted", "reasoning", "local"])
    @pytest.mark.parametrize("plain", [False, True])
    @pytest.mark.parametrize("body_bytes", [0, 10**8])
    def test_defaults_give_no_warning(self, profile: str, plain: bool, body_bytes: int) -> None:
        """No profile, however scaled, holds a limit that can never expire, and none is warned about."""
        found = resolve(profile=profile, plain=plain, body_bytes=body_bytes, patience=1)
        assert found.warnings == ()
        for inner, outers in BOUNDED_BY.items():
            for outer in outers:
                if found.value(inner) is not None and found.value(outer) is not None:
                    assert (found.value(inner) or 0) <= (found.value(outer) or 0)

    def test_sending_is_not_part_of_total(self) -> None:
        """total starts when sending ends, so a long send under a short total does expire."""
        assert resolve(call=Limits(send=300), client=Limits(total=200)).warnings == ()

    def test_a_limit_that_is_off_gives_no_warning(self) -> None:
        """With first_content turned off a long ttfb is fine."""
        assert resolve(call=Limits(ttfb=600, first_content=0)).warnings == ()


class TestSecondAttempt:
    def test_a_deadline_that_the_first_attempt_uses_up(self) -> None:
        """A deadline not above connect plus the shortest limit on silence leaves no room for a resend."""
        assert resolve(call=Limits(deadline=100)).warnings == (
            "deadline 100 s (argument of the call) leaves no room for a second attempt: a silent provider is given up"
            " after connect 10 s and then ttfb 120 s (profile hosted); lower ttfb, or raise deadline above 130 s.",
        )

    @pytest.mark.parametrize(("deadline", "told"), [(129, True), (130, True), (131, False), (1000, False)])
    def test_the_border_of_a_deadline_is_connect_plus_ttfb(self, deadline: float, told: bool) -> None:
        """The border is connect plus ttfb, inclusive."""
        assert bool(resolve(call=Limits(deadline=deadline)).warnings) is told

    @pytest.mark.parametrize(
        ("settings", "path"),
        [
            ({"headers": 60}, "connect 10 s and then headers 60 s"),
            ({"first_event": 121, "ttfb": 0}, "connect 10 s and then first_event 121 s"),
            ({"total": 100}, "connect 10 s and then total 100 s"),
            ({"connect": 0}, "given up after ttfb 120 s"),
        ],
    )
    def test_the_shortest_limit_on_silence_counts(self, settings: dict[str, float], path: str) -> None:
        """Whichever limit ends a silent attempt first is the one that is named."""
        warnings = resolve(call=Limits(**settings), client=Limits(deadline=60)).warnings
        assert any(path in warning for warning in warnings)

    def test_without_limits_on_silence_the_deadline_leaves_no_resend(self) -> None:
        """With every limit on silence off only the deadline ends an attempt, and a resend never comes about."""
        (warning,) = resolve(call=Limits.single(0, deadline=1000)).warnings
        assert "no other limit ends an attempt in which the provider is silent; set ttfb" in warning

    def test_the_growth_of_a_large_prompt_counts(self) -> None:
        """The limits of this very prompt count, growth included."""
        assert resolve(call=Limits(deadline=200)).warnings == ()
        assert "ttfb 232 s" in resolve(call=Limits(deadline=200), body_bytes=128_000).warnings[0]

    def test_the_advice_is_given_for_the_first_attempt_alone(self) -> None:
        """On a later attempt, which patience has made longer, the sentence would be wrong and is left out."""
        assert resolve(call=Limits(deadline=200), patience=1).warnings == ()

    def test_without_a_deadline_there_is_no_warning(self) -> None:
        """Without a deadline a second attempt always fits."""
        assert resolve(call=Limits.single(0)).warnings == ()


def test_warnings_about_limits_come_before_those_about_variables() -> None:
    """Warnings of both kinds are kept."""
    first, second = resolve(call=Limits(ttfb=600), environ={"LLMWATCH_ZZZ": "1"}).warnings
    assert first.startswith("ttfb 600 s")
    assert second.startswith("LLMWATCH_ZZZ has no effect")
