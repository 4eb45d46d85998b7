"""Values of one source that cannot both be meant."""

from __future__ import annotations

import itertools

import pytest

from llmwatch.errors import ConfigError
from llmwatch.policy.contradictions import BOUNDED_BY
from llmwatch.policy.environment import LIMIT_VARIABLES
from llmwatch.policy.limits import NAMES, Limits
from tests.policy.resolving import resolve
from tests.rows import each

# Written out again, so that a pair lost from the table is noticed.
PAIRS = [
    ("headers", "ttfb"),
    ("headers", "first_event"),
    ("headers", "first_content"),
    ("ttfb", "first_event"),
    ("ttfb", "first_content"),
    ("first_event", "first_content"),
    *itertools.product(("headers", "ttfb", "first_event", "first_content", "stale", "progress", "finish"), ("total",)),
    *itertools.product(("connect", "send", "headers", "ttfb", "first_event"), ("deadline",)),
    *itertools.product(("first_content", "stale", "progress", "finish", "total"), ("deadline",)),
]
FREE = [pair for pair in itertools.permutations(NAMES, 2) if pair not in PAIRS]


def test_the_table_holds_these_pairs_and_no_other() -> None:
    """The pairs that can contradict each other are those of this list."""
    assert sorted((inner, outer) for inner, outers in BOUNDED_BY.items() for outer in outers) == sorted(PAIRS)


@each(("inner", "outer"), PAIRS)
def test_a_longer_inner_limit_is_refused(inner: str, outer: str) -> None:
    """Limits with an inner limit above an outer one are a ConfigError that names both with their values."""
    with pytest.raises(ConfigError) as caught:
        Limits(**{inner: 90, outer: 60})
    assert f"{inner}=90 and {outer}=60 contradict each other" in str(caught.value)
    assert f"Lower {inner} to 60 s or less, or raise {outer}" in str(caught.value)
    assert (caught.value.field, caught.value.value) == (inner, "90.0")


@each(("inner", "outer"), PAIRS)
def test_equal_limits_and_disabled_limits_are_fine(inner: str, outer: str) -> None:
    """An inner limit may be as long as the outer one, and a limit that is off contradicts nothing."""
    Limits(**{inner: 60, outer: 60})
    Limits(**{inner: 90, outer: 0})
    Limits(**{inner: 0, outer: 60})


@each(("first", "second"), FREE)
def test_no_other_pair_contradicts(first: str, second: str) -> None:
    """No other two limits contradict each other, whichever is longer."""
    Limits(**{first: 90, second: 60})


@each(("inner", "outer"), PAIRS)
def test_the_environment_is_one_source(inner: str, outer: str) -> None:
    """Two variables that contradict each other are a ConfigError that names both variables."""
    environ = {LIMIT_VARIABLES[inner]: "90", LIMIT_VARIABLES[outer]: "60"}
    with pytest.raises(ConfigError) as caught:
        resolve(environ=environ)
    assert LIMIT_VARIABLES[inner] in str(caught.value)
    assert LIMIT_VARIABLES[outer] in str(caught.value)
    assert caught.value.field == LIMIT_VARIABLES[inner]


@each(("inner", "outer"), PAIRS)
def test_between_sources_nothing_contradicts(inner: str, outer: str) -> None:
    """The same values from two sources are used as they are."""
    found = resolve(call=Limits(**{inner: 90}), client=Limits(**{outer: 60}))
    assert (found.value(inner), found.value(outer)) == (90.0, 60.0)
