"""A text without its escapes, and the positions of its characters in the source."""

from __future__ import annotations

import html
import json
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmwatch.redaction.normalise import Reading, as_read

MANY = settings(max_examples=300, deadline=None)
texts = st.one_of(
    st.text(st.sampled_from("aB-%2d\\u002D&#45; \n\"'é語🐕/"), max_size=60),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
)
SECRET = 'Ab "é語" c/d&e'


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        json.dumps(SECRET)[1:-1],
        json.dumps(json.dumps(SECRET))[3:-3],
        quote(SECRET, safe=""),
        html.escape(SECRET),
    ],
    ids=["plain", "JSON", "JSON twice", "URL", "page"],
)
def test_a_text_normalises_alike_whatever_its_escapes(written: str) -> None:
    """Escapes of JSON, once and twice, of URLs and of pages stand for what they stand for, in one case."""
    assert Reading(written, folded=True).text == SECRET.lower()


def test_without_folding_only_backslashes_and_blanks_are_normalised() -> None:
    """A text for the comparison with a prompt changes only in backslashes and blanks."""
    assert Reading("A%2d\\u0042 \n\t&amp;").text == "A%2dB &amp;"


@given(texts, st.booleans())
@MANY
def test_without_runs_the_source_stays_and_with_all_nothing_is_left(source: str, folded: bool) -> None:
    """Without runs the source is unchanged.

    With one run over all that was read, nothing readable is left.
    """
    reading = Reading(source, folded=folded)
    assert reading.without([], lambda size: "*") == source
    if reading.text:
        left = reading.without([(0, len(reading.text))], lambda size: "*")
        assert set(left) <= {"*", "\\"}


@given(texts, st.data())
@MANY
def test_a_run_is_taken_out_where_it_stands(source: str, data: st.DataObject) -> None:
    """The text before and behind a removed run stays, wherever the run is."""
    text = Reading(source, folded=True).text
    first = data.draw(st.integers(0, len(text)))
    after = data.draw(st.integers(first, len(text)))
    if first < after:
        left = Reading(
            Reading(source, folded=True).without([(first, after)], lambda size: "\x7f\x7f"), folded=True
        ).text
        assert left.replace(" ", "").startswith(text[:first].replace(" ", ""))
        assert left.replace(" ", "").endswith(text[after:].replace(" ", ""))


def test_runs_that_touch_are_one() -> None:
    """Runs that touch or overlap get one mark, with the number of characters that it replaces."""
    sizes: list[int] = []

    def mark(size: int) -> str:
        sizes.append(size)
        return "*"

    reading = Reading("ab%2Dcd ef", folded=True)
    assert reading.without([(0, 2), (2, 3), (2, 4), (6, 7)], mark) == "*d *f"
    assert sizes == [6, 1]


@given(texts)
@MANY
def test_both_sides_of_a_comparison_are_normalised_alike(source: str) -> None:
    """The long and the short side of a comparison are normalised in the same way."""
    assert as_read(source) == Reading(source).text
