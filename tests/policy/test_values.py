"""Single settings: seconds, whole numbers and switches, and the values that are refused."""

from __future__ import annotations

import copy
import math
import pickle
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmwatch.policy.values import UNSET, flag, refused, seconds, shown, whole
from tests.rows import each


class TestUnset:
    def test_unset_is_falsy_and_shows_its_name(self) -> None:
        """UNSET can be told from a value by its truth, and reads as UNSET."""
        assert not UNSET
        assert repr(UNSET) == "UNSET"

    def test_unset_stays_one_object(self) -> None:
        """Pickle and copy give the same object back, so `is UNSET` keeps working."""
        assert pickle.loads(pickle.dumps(UNSET)) is UNSET
        assert copy.deepcopy(UNSET) is UNSET


class TestSeconds:
    @given(st.floats(min_value=0, exclude_min=True, allow_infinity=False, allow_nan=False))
    def test_positive_finite_numbers_pass_unchanged(self, value: float) -> None:
        """Any finite number above 0 is kept as it is."""
        assert seconds(value) == value

    @pytest.mark.parametrize("value", [None, 0, 0.0, -0.0])
    def test_none_and_zero_are_off(self, value: float | None) -> None:
        """None and every kind of zero mean off."""
        assert seconds(value) is None

    @pytest.mark.parametrize(("value", "kept"), [(3, 3.0), (Fraction(1, 2), 0.5)])
    def test_other_real_numbers_become_floats(self, value: object, kept: float) -> None:
        """Whole numbers and fractions come out as floats."""
        found = seconds(value)
        assert found == kept
        assert type(found) is float

    @each(
        "value",
        [
            math.nan,
            math.inf,
            -math.inf,
            -1,
            -1e-300,
            True,
            False,
            "45",
            "",
            b"4",
            [],
            {},
            1j,
            Decimal(3),
            10**400,
            UNSET,
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_other_values_are_no_seconds(self, value: object) -> None:
        """NaN, infinities, negative numbers, booleans, text and other objects are no seconds."""
        with pytest.raises(ValueError):  # noqa: PT011 - bare by design: the caller knows the setting's name
            seconds(value)


class TestWholeAndFlag:
    def test_whole_numbers_from_zero_are_counts(self) -> None:
        """Whole numbers from 0 on are counts."""
        assert [whole(0), whole(7)] == [0, 7]

    @pytest.mark.parametrize("value", [-1, 3.0, True, "3", None])
    def test_other_values_are_no_counts(self, value: object) -> None:
        """Negative numbers, floats, booleans, text and None are no counts."""
        with pytest.raises(ValueError):  # noqa: PT011
            whole(value)

    @pytest.mark.parametrize("value", [0, 1, "true", None])
    def test_only_booleans_are_switches(self, value: object) -> None:
        """Numbers, text and None are no switches."""
        assert flag(True) is True
        with pytest.raises(ValueError):  # noqa: PT011
            flag(value)


class TestRefused:
    def test_the_error_names_field_value_and_what_is_allowed(self) -> None:
        """The error tells the field, its value and what would be right, and carries the first two."""
        error = refused("ttfb", -1, "Limits(ttfb={})", "it takes more")
        assert str(error) == "Limits(ttfb=-1) is not allowed: it takes more."
        assert (error.field, error.value) == ("ttfb", "-1")

    def test_a_long_value_is_cut(self) -> None:
        """A value of any length gives a short message."""
        message = str(refused("ttfb", "x" * 10_000, "{}", "no"))
        assert len(message) < 200
        assert "10,002 characters" in message

    def test_a_value_that_cannot_be_shown(self) -> None:
        """A value whose repr raises is named by its type."""

        class Odd:
            def __repr__(self) -> str:
                raise RuntimeError

        error = refused("ttfb", Odd(), "ttfb={}", "no")
        assert "<Odd>" in str(error)

    def test_braces_in_a_value_are_harmless(self) -> None:
        """A value with braces stands in the message as it is."""
        assert "'{0}{x}'" in str(refused("a", "{0}{x}", "a={}", "no"))


@pytest.mark.parametrize(
    ("value", "text"),
    [(600.0, "600 s"), (0.25, "0.25 s"), (1800.0, "1,800 s"), (1e6, "1,000,000 s"), (1e-5, "1e-05 s")],
)
def test_seconds_read_as_a_person_would_write_them(value: float, text: str) -> None:
    """Seconds read as a person would write them."""
    assert shown(value) == text
