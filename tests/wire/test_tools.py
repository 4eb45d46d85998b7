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


NESTED = '{"a": {"a": {"a": 1}}, "a {": [true, -1.5e+3, "\\u00e9\\"{"], "b": null}'


def test_no_pieces_that_were_cut_are_taken_for_arguments_that_come_again() -> None:
    """Whatever pieces the beginning of an object comes in: the last of them is not the object."""
    for end in range(1, len(NESTED)):
        for at in range(1, end):
            calls = OpenCalls()
            calls.add("0", NESTED[:at])
            calls.add("0", NESTED[at:end])
            assert calls.close("0") is None


@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_arguments_that_come_again_with_each_fragment_are_the_last_of_them(step: int) -> None:
    """However far they grow from one to the next, with the last one twice; not where the last one is no object."""
    calls = OpenCalls()
    fragments = [NESTED[:end] for end in range(step, len(NESTED), step)]
    for key, last in (("0", [NESTED]), ("1", [NESTED, NESTED]), ("2", [])):
        for fragment in (*fragments, *last):
            calls.add(key, fragment)
        closed = calls.close(key)
        assert closed == (ToolDelta(key, arguments=NESTED, complete=True, whole=True) if last else None)
        assert calls.text(key) == (NESTED if last else "".join(fragments))


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (("w",), "w"),
        (("w", "w", "w"), "w"),
        (("get_", "get_weather", "get_weather"), "get_weather"),
        (("get_", "weather"), "get_weather"),
        (("do", "do", "_it"), "dodo_it"),
    ],
)
def test_a_name_is_what_was_said_of_it(said: tuple[str, ...], name: str) -> None:
    """In pieces, once more, or each time all of it so far; once the arguments began it stands."""
    calls = OpenCalls()
    for piece in said:
        calls.add("0")
        found = calls.name("0", piece)
    assert (found, calls.name("0", None), calls.name("1", None)) == (name, name, None)
    calls.add("0", "{")
    assert (calls.name("0", name), calls.name("0", f"{name}s"), calls.name("0", None)) == (name, None, name)
    calls.close("0")
    assert calls.name("0", "other") is None


def test_free_text_is_wrapped() -> None:
    """The input of a custom tool comes out as an object, and so does an empty one that is closed."""
    calls = OpenCalls()
    calls.add("k", "l", free=True)
    calls.add("k", 's "x"')
    assert calls.close_if_whole("k") is None
    assert calls.close("k") == whole_call("k", None, None, {"input": 'ls "x"'})
    calls.add("k", "", free=True)
    assert calls.close("k") == whole_call("k", None, None, {"input": ""})
