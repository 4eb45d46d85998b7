"""Whether a call is whole."""

from __future__ import annotations

import pytest

from llmwatch.wire import ToolDelta
from llmwatch.wire.tools import OpenCalls, is_whole, whole_call


@pytest.mark.parametrize("arguments", ["{}", ' {"a": [1, 2]} '])
def test_objects_are_whole(arguments: str) -> None:
    """Arguments are a JSON object."""
    assert is_whole(arguments)


@pytest.mark.parametrize("arguments", ["", " ", "null", "12", '"a"', "[]", "{", '{"a"', "{}}", "[" * 100_000])
def test_anything_else_is_not(arguments: str) -> None:
    """Nothing, the beginning of something, and values of which a beginning would do, are no arguments."""
    assert not is_whole(arguments)


def test_no_beginning_of_arguments_is_whole() -> None:
    """Of an object every proper beginning is recognised as cut."""
    arguments = '{"a": {"b": [1, "}"]}, "c": null}'
    assert [size for size in range(len(arguments) + 1) if is_whole(arguments[:size])] == [len(arguments)]


def test_a_call_is_closed_once() -> None:
    """A call that was closed is forgotten: closing it again gives nothing."""
    calls = OpenCalls()
    calls.add("k", "{")
    assert calls.close_if_whole("k") is None
    calls.add("k", "}")
    assert (list(calls), "k" in calls) == (["k"], True)
    assert calls.close("k") == ToolDelta("k", complete=True)
    assert calls.close("k") is None


def test_free_text_is_wrapped() -> None:
    """The input of a custom tool comes out as an object, and so does an empty one that is closed."""
    calls = OpenCalls()
    calls.add("k", "l", free=True)
    calls.add("k", 's "x"')
    assert calls.close_if_whole("k") is None
    assert calls.close("k") == whole_call("k", None, None, {"input": 'ls "x"'})
    calls.add("k", "", free=True)
    assert calls.close("k") == whole_call("k", None, None, {"input": ""})
