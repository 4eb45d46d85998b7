"""Reading fields of a JSON object from any source."""

from __future__ import annotations

import pytest

from llmwatch.records.reader import Reader


@pytest.mark.parametrize(
    ("method", "good", "bad"),
    [
        ("text", "a", 1),
        ("maybe_text", None, 1),
        ("whole", 3, True),
        ("whole", 3, 1.5),
        ("maybe_whole", None, "3"),
        ("number", 1.5, "1.5"),
        ("number", 1, False),
        ("number", 1, float("nan")),
        ("maybe_number", None, float("inf")),
        ("flag", True, 1),
        ("maybe_flag", None, 0),
        ("mapping", {"a": 1}, [1]),
        ("maybe_mapping", None, "a"),
        ("items", [1], {"a": 1}),
    ],
)
def test_each_reader_method_takes_its_own_kind_alone(method: str, good: object, bad: object) -> None:
    """A value of the right kind comes back.

    Any other is a ValueError that names the field and what was found.
    """
    assert getattr(Reader({"x": good}, "Record"), method)("x") == good
    with pytest.raises(ValueError, match=r"^Record\.x: expected "):
        getattr(Reader({"x": bad}, "Record"), method)("x")


@pytest.mark.parametrize(("method", "default"), [("text", "a"), ("whole", 7), ("number", 7.5), ("flag", True)])
def test_a_required_field_must_be_there(method: str, default: object) -> None:
    """Without a default a missing field is a ValueError, with one it is the default."""
    with pytest.raises(ValueError, match="missing"):
        getattr(Reader({}, "Record"), method)("x")
    assert getattr(Reader({}, "Record"), method)("x", default) == default


@pytest.mark.parametrize("source", [None, [], "text", 3])
def test_only_an_object_is_read(source: object) -> None:
    """Anything but a JSON object is refused at once."""
    with pytest.raises(ValueError, match="expected a JSON object"):
        Reader(source, "Record")


@pytest.mark.parametrize("version", [0, 2, 99])
def test_a_newer_schema_is_refused(version: int) -> None:
    """A version that this library does not know is not guessed at."""
    with pytest.raises(ValueError, match=f"schema is {version}"):
        Reader({"schema": version}, "Record").schema(1)
    assert Reader({"schema": 1}, "Record").schema(1) == 1
