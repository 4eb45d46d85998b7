"""The frozen value that carries a user's limits."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle

import pytest

from llmwatch.errors import ConfigError
from llmwatch.policy.limits import NAMES, SINGLE, UNSET, Limits
from tests.rows import each


class TestConstruction:
    def test_names_are_the_fields_in_order(self) -> None:
        """NAMES lists every limit, in the order of the fields.

        The single knob is the one field beside them.
        """
        assert (*NAMES, "single_seconds") == tuple(field.name for field in dataclasses.fields(Limits))
        assert len(NAMES) == 12

    @pytest.mark.parametrize("name", NAMES)
    def test_whole_numbers_become_floats(self, name: str) -> None:
        """An int is kept as a float, whatever the field."""
        value = getattr(Limits(**{name: 45}), name)
        assert value == 45.0
        assert type(value) is float

    @each("name", NAMES)
    @each("off", [None, 0, 0.0])
    def test_zero_and_none_are_kept_as_none(self, name: str, off: float | None) -> None:
        """0 and None turn a limit off and are the same value."""
        assert getattr(Limits(**{name: off}), name) is None
        assert Limits(**{name: off}) == Limits(**{name: None}) != Limits()

    def test_what_is_not_given_is_unset(self) -> None:
        """A field that is not given is UNSET and not None."""
        assert all(getattr(Limits(), name) is UNSET for name in NAMES)

    @each("name", NAMES)
    @each("value", [math.nan, math.inf, -1, -0.001, True, False, "45", [1]], ids=repr)
    def test_an_invalid_value_is_a_config_error(self, name: str, value: object) -> None:
        """NaN, infinite, negative, boolean and non-numeric values are a ConfigError.

        The error names field, value and rule.
        """
        with pytest.raises(ConfigError) as caught:
            Limits(**{name: value})  # type: ignore[arg-type]
        assert caught.value.field == name
        assert caught.value.value == repr(value)
        assert f"Limits({name}={value!r}) is not allowed" in str(caught.value)
        words = {"drain": "does not drain at all", "finish": "waits for the real end"}
        off = words.get(name, "turns the limit off")
        assert f"finite number of seconds, 0 or more, and 0 or None {off}" in str(caught.value)

    def test_a_number_beyond_a_float_is_a_config_error(self) -> None:
        """An int too large for a float, and even for being shown, is a ConfigError as well."""
        with pytest.raises(ConfigError, match="ttfb"):
            Limits(ttfb=10**5000)

    def test_limits_take_keywords_only(self) -> None:
        """A bare number is refused, since it names no limit."""
        with pytest.raises(TypeError):
            Limits(45)  # type: ignore[misc]


class TestSingle:
    def test_the_single_knob_stands_for_four_limits(self) -> None:
        """The single knob speaks for ttfb, first_content, stale and progress and for nothing else."""
        limits = Limits.single(900)
        assert SINGLE == ("ttfb", "first_content", "stale", "progress")
        assert {name: limits.get(name) for name in NAMES} == {
            name: 900.0 if name in SINGLE else UNSET for name in NAMES
        }

    def test_a_specific_field_beats_the_single_knob(self) -> None:
        """Inside one source a specific field wins over the single knob, upwards, downwards and off."""
        limits = Limits.single(900, ttfb=30, stale=1200, progress=None)
        assert [limits.get(name) for name in SINGLE] == [30.0, 900.0, 1200.0, None]

    @pytest.mark.parametrize("off", [None, 0])
    def test_a_single_knob_of_zero_turns_four_limits_off(self, off: float | None) -> None:
        """0 and None turn the four limits off."""
        assert [Limits.single(off).get(name) for name in SINGLE] == [None] * 4

    @pytest.mark.parametrize("value", [math.nan, -1, True, "900"], ids=repr)
    def test_an_invalid_single_knob_is_a_config_error(self, value: object) -> None:
        """The single knob is as strict as the fields, and the error spells it the way it was written."""
        with pytest.raises(ConfigError) as caught:
            Limits.single(value)  # type: ignore[arg-type]
        assert f"Limits.single({value!r}) is not allowed" in str(caught.value)
        assert caught.value.value == repr(value)

    def test_an_unknown_field_is_a_type_error(self) -> None:
        """A field that does not exist is a mistake of the program."""
        with pytest.raises(TypeError):
            Limits.single(900, tfb=30)

    def test_the_single_knob_contradicts_no_limit(self) -> None:
        """Only specific values can contradict each other: the single knob may be longer than total."""
        assert Limits.single(900, total=60).get("ttfb") == 900.0


class TestValue:
    @pytest.mark.parametrize(
        ("limits", "text"),
        [
            (Limits(), "Limits()"),
            (Limits(ttfb=45), "Limits(ttfb=45.0)"),
            (Limits(stale=None, connect=5), "Limits(connect=5.0, stale=None)"),
            (Limits.single(900), "Limits.single(900.0)"),
            (Limits.single(0, ttfb=30), "Limits.single(None, ttfb=30.0)"),
        ],
    )
    def test_the_repr_shows_what_was_given(self, limits: Limits, text: str) -> None:
        """The repr names what was given, and evaluates to an equal value."""
        assert repr(limits) == text
        assert eval(text) == limits

    @pytest.mark.parametrize("limits", [Limits(), Limits(ttfb=45, stale=0), Limits.single(900, ttfb=30)], ids=repr)
    def test_limits_survive_pickle_and_copy(self, limits: Limits) -> None:
        """Pickle, copy and replace give an equal value with an equal hash."""
        for other in (pickle.loads(pickle.dumps(limits)), copy.deepcopy(limits), dataclasses.replace(limits)):
            assert other == limits
            assert hash(other) == hash(limits)
            assert repr(other) == repr(limits)

    def test_limits_are_frozen(self) -> None:
        """A field cannot be changed afterwards."""
        with pytest.raises(dataclasses.FrozenInstanceError):
            Limits().ttfb = 3.0  # type: ignore[misc]

    def test_documents_the_drain_exception(self) -> None:
        """The docstring says that 0 for drain means not to drain, which is not what 0 means elsewhere."""
        assert "do not drain at all" in str(Limits.__doc__)
