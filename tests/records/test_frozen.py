"""Mappings and sequences that cannot be changed."""

from __future__ import annotations

import copy
import json
import pickle
from enum import Enum

import pytest
from hypothesis import given, settings

from llmwatch.records.frozen import FrozenMap, freeze, freeze_map, thaw
from tests.records.making import values


class Colour(str, Enum):
    """An enum of text, such as the kinds of events."""

    RED = "red"


def test_a_frozen_map_reads_compares_and_prints_like_a_dict() -> None:
    """A frozen map reads, compares and prints like its dict, in the same order."""
    frozen = FrozenMap({"b": 1, "a": 2})
    assert frozen == {"b": 1, "a": 2}
    assert dict(frozen) == frozen
    assert list(frozen) == ["b", "a"]
    assert len(frozen) == 2
    assert frozen["a"] == 2
    assert repr(frozen) == "{'b': 1, 'a': 2}"
    assert hash(frozen) == hash(FrozenMap({"a": 2, "b": 1}))


def test_a_frozen_map_cannot_be_changed() -> None:
    """There is no way to set an item, and the dict it was made of is another one."""
    source = {"a": 1}
    frozen = FrozenMap(source)
    source["a"] = 2
    with pytest.raises(TypeError):
        frozen["a"] = 3  # type: ignore[index]
    assert frozen == {"a": 1}


def test_a_frozen_map_can_be_copied_and_pickled() -> None:
    """Copies of every sort are equal to it."""
    frozen = freeze_map({"a": {"b": [1, 2]}})
    for other in (pickle.loads(pickle.dumps(frozen)), copy.copy(frozen), copy.deepcopy(frozen)):
        assert other == frozen
        assert type(other) is FrozenMap


def test_freezing_goes_all_the_way_down() -> None:
    """Lists become tuples, dicts frozen maps, members of enums their values, at every depth."""
    frozen = freeze({"a": [1, {"b": {Colour.RED: Colour.RED}}]})
    assert frozen == {"a": (1, {"b": {"red": "red"}})}
    assert type(frozen["a"][1]["b"]["red"]) is str


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (b"secret", "[omitted: bytes]"),
        (object(), "[omitted: object]"),
        (float("nan"), None),
        (float("-inf"), None),
        ({1: 2}, {"1": 2}),
        ((1, 2), (1, 2)),
        (frozenset({1}), (1,)),
    ],
)
def test_a_value_that_json_cannot_hold_is_not_kept(value: object, kept: object) -> None:
    """Foreign objects leave their class's name only, and numbers that are none become None."""
    assert freeze(value) == kept


def test_a_value_that_contains_itself_ends() -> None:
    """Depth is bounded."""
    value: list[object] = []
    value.append(value)
    assert "[omitted: list]" in json.dumps(thaw(freeze(value)))


@given(values)
@settings(deadline=None)
def test_a_frozen_value_round_trips_through_json(value: object) -> None:
    """A frozen value comes back equal from strict JSON."""
    frozen = freeze(value)
    assert freeze(json.loads(json.dumps(thaw(frozen), allow_nan=False))) == frozen
    assert hash(frozen) == hash(freeze(frozen))
