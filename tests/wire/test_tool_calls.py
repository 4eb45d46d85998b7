"""Whether a call is whole."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmwatch.wire import ToolDelta
from llmwatch.wire.tool_calls import OpenCalls, is_whole, whole_call


@pytest.mark.parametrize("arguments", ["{}", ' {"a": [1, 2]} '])
def test_a_json_object_is_whole_arguments(arguments: str) -> None:
    """Arguments are a JSON object."""
    assert is_whole(arguments)


@pytest.mark.parametrize("arguments", ["", " ", "null", "12", '"a"', "[]", "{", '{"a"', "{}}", "[" * 100_000])
def test_any_other_json_is_no_arguments(arguments: str) -> None:
    """Nothing, the beginning of something, and values of which a beginning would do, are no arguments."""
    assert not is_whole(arguments)


def test_no_beginning_of_arguments_is_whole() -> None:
    """Every proper beginning of an object is recognised as cut."""
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


def test_cut_pieces_are_never_restated_arguments() -> None:
    """For the beginning of an object in any pieces, the last piece is not the object."""
    for end in range(1, len(NESTED)):
        for at in range(1, end):
            calls = OpenCalls()
            calls.add("0", NESTED[:at])
            calls.add("0", NESTED[at:end])
            assert calls.close("0") is None


@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_restated_arguments_are_the_last_fragment(step: int) -> None:
    """However far they grow from one to the next, with the last one twice.

    Not where the last one is no object.
    """
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
def test_a_name_may_come_in_pieces_or_restated(said: tuple[str, ...], name: str) -> None:
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


@given(st.lists(st.text('{}[]":\\,a1 \n', max_size=4), max_size=12), st.integers(0, 4))
@settings(max_examples=500, deadline=None)
def test_arguments_are_whole_at_every_query(fragments: list[str], every: int) -> None:
    """The arguments are whole when the whole text is an object.

    The split of the arguments and the number of queries make no difference.
    """
    calls, said = OpenCalls(), ""
    for number, fragment in enumerate(('{"a"', *fragments, ":1}")):
        calls.add("0.0", fragment)
        said += fragment
        if every and number % every == 0:
            assert calls.is_whole("0.0") == is_whole(said), said
    assert calls.is_whole("0.0") == is_whole(said), said


@pytest.mark.parametrize("step", [1, 2, 5])
def test_nested_arguments_are_whole_at_their_end_alone(step: int) -> None:
    """Brackets and escapes in strings close nothing, wherever the pieces end."""
    calls = OpenCalls()
    for at in range(0, len(NESTED), step):
        calls.add("0.0", NESTED[at : at + step])
        assert calls.is_whole("0.0") == (at + step >= len(NESTED))


def test_the_calls_of_a_group_come_out_in_order() -> None:
    """Those that are whole come out in the order in which they were begun.

    Those of another group do not.
    """
    calls = OpenCalls()
    for key in ("0.a", "1.a", "0.b", "0.c", "00.a"):
        calls.add(key, "{")
    assert calls.close_whole(0) == ()
    for key in ("0.c", "1.a", "00.a", "0.a"):
        calls.add(key, "}")
    assert [closed.key for closed in calls.close_whole(0)] == ["0.a", "0.c"]
    assert (calls.of(0), calls.of(1), calls.of("2"), list(calls)) == (("0.b",), ("1.a",), (), ["1.a", "0.b", "00.a"])
    calls.add("0.b", "}")
    assert [closed.key for closed in calls.close_whole("0")] == ["0.b"]
    assert calls.close_whole("0") == ()
