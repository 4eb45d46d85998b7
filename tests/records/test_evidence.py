"""Evidence: allowed keys only, scrubbed, bounded, and with a count of the omissions."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from llmwatch.records.evidence import EVIDENCE_KEYS, MOST_ITEMS, MOST_TEXT, OMITTED, bounded
from tests.records.making import texts, values


def test_only_allowed_keys_are_kept() -> None:
    """A key that is not on the list is dropped with any value, and counted."""
    assert bounded({"error_errno": 104, "prompt": "a secret", "headers": {}}) == {"error_errno": 104, OMITTED: 2}


def test_everything_within_bounds_is_kept_whole() -> None:
    """Without anything left out there is no mark."""
    evidence = {"error_type": "ReadError", "error_errno": None, "causes": ["A", "B"], "pending_bytes": 12}
    assert bounded(evidence) == {**evidence, "causes": ("A", "B")}


def test_a_long_text_is_cut_with_a_mark() -> None:
    """A text beyond the bound is cut, says so, and is counted."""
    kept = bounded({"error_text": "word " * 1000})
    assert len(kept["error_text"]) <= MOST_TEXT
    assert kept["error_text"].endswith("characters omitted]")
    assert kept[OMITTED] == 1


def test_a_long_list_is_cut_with_a_mark() -> None:
    """Items beyond the bound are counted, not kept."""
    kept = bounded({"causes": [str(number) for number in range(MOST_ITEMS + 3)]})
    assert len(kept["causes"]) == MOST_ITEMS
    assert kept[OMITTED] == 3


def test_texts_are_scrubbed_at_every_depth() -> None:
    """A key inside a list of causes is masked like any other, as is one that serves as a name."""
    key = "ghp_0123456789abcdefghijklmnopqrstuvwxyz"
    kept = bounded({"causes": [{"text": f"token {key}", key: 1}], "error_text": key})
    assert key not in repr(kept)
    assert "***" in repr(kept)


@given(st.dictionaries(st.sampled_from(sorted(EVIDENCE_KEYS)) | st.just(OMITTED) | texts, values, max_size=6))
@settings(deadline=None)
def test_bounding_again_changes_nothing(evidence: dict[str, object]) -> None:
    """Evidence that was read back from a log is left as it is."""
    once = bounded(evidence)
    assert bounded(once) == once
    assert set(once) <= {*EVIDENCE_KEYS, OMITTED}
