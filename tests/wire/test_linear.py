"""The cost of many calls, choices and pieces, which is the same for each of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from llmwatch.wire import Collector, Decoder
from tests.rows import each
from tests.wire.dialects.test_openai_responses import event as response
from tests.wire.streams import sse

FEW = 60
MANY = 4 * FEW
STEADY = 1.15
"""By how much an event may cost more among four times as many.

What is done once is shared by fewer of the few.
"""

Events = Iterable[dict[str, Any]]
_PIECES = ('{"a": "', "some ", "words", '"}')


def _chunk(choice: int, *calls: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    delta = {"tool_calls": list(calls)} if calls else {}
    return {"choices": [{"index": choice, "delta": delta, "finish_reason": reason}]}


def _call(place: int | None, arguments: str = "", **more: Any) -> dict[str, Any]:
    function = {"arguments": arguments, **({"name": more.pop("name")} if "name" in more else {})}
    return {**({} if place is None else {"index": place}), **more, "function": function}


def _done(*choices: int) -> Events:
    return [_chunk(choice, reason="tool_calls") for choice in choices]


def _choices_side_by_side(count: int) -> Events:
    yield from (_chunk(choice, _call(0, id=f"i{choice}", name="look")) for choice in range(count))
    yield from (_chunk(choice, _call(0, piece)) for piece in _PIECES for choice in range(count))
    yield from _done(*range(count))


def _choices_in_turn(count: int) -> Events:
    for choice in range(count):
        yield _chunk(choice, _call(0, id=f"i{choice}", name="look"))
        yield from (_chunk(choice, _call(0, piece)) for piece in _PIECES)
        yield from _done(choice)


def _choices_unnumbered(count: int) -> Events:
    yield from (_chunk(choice, _call(None, f'{{"a":{choice}}}', name="look")) for choice in range(count))
    yield from _done(*range(count))


def _choices_in_one_event(count: int) -> Events:
    begun = [_chunk(choice, _call(0, '{"a":1}', id=f"i{choice}", name="look")) for choice in range(count)]
    for chunks in (begun, list(_done(*range(count)))):
        yield {"choices": [chunk["choices"][0] for chunk in chunks]}


def _calls_in_turn(count: int) -> Events:
    for place in range(count):
        yield _chunk(0, _call(place, id=f"i{place}", name="look"))
        yield from (_chunk(0, _call(place, piece)) for piece in _PIECES)
    yield from _done(0)


def _calls_side_by_side(count: int) -> Events:
    yield from (_chunk(0, _call(place, '{"', id=f"i{place}", name="look")) for place in range(count))
    yield from (_chunk(0, _call(place, piece)) for piece in ('a": ', "1}") for place in range(count))
    yield from _done(0)


def _calls_that_stay_half(count: int) -> Events:
    yield from (_chunk(0, _call(place, '{"a":', id=f"i{place}", name="look")) for place in range(count))
    yield from _done(0)


def _calls_beside_a_long_one(count: int) -> Events:
    """Each of many begins behind a piece of the first, which ends as an object would and is none."""
    yield _chunk(0, _call(0, '{"a": "', id="long", name="look"))
    for place in range(1, count):
        yield _chunk(0, _call(0, "some text}"))
        yield _chunk(0, _call(place, '{"a": "', id=f"i{place}", name="look"))
    yield _chunk(0, _call(0, '"}'))
    yield from _done(0)


def _pieces(count: int, **more: Any) -> Events:
    yield _chunk(0, _call(0, '{"a": "', id="i", name="look"))
    yield from (_chunk(0, _call(0, "words }", **more)) for _ in range(count))
    yield _chunk(0, _call(0, '"}', **more))
    yield from _done(0)


def _pieces_with_the_name(count: int) -> Events:
    return _pieces(count, name="look")


def _pieces_with_marks(count: int) -> Events:
    yield _chunk(0, _call(0, '{"a": "', id="i", name="look"), reason="tool_calls")
    yield from (_chunk(0, _call(0, "words"), reason="tool_calls") for _ in range(count))
    yield _chunk(0, _call(0, '"}'), reason="tool_calls")


def _restated(count: int, **more: Any) -> Events:
    calls = [_call(None, f'{{"a":{place}}}', name="look", **more) for place in range(count)]
    yield from (_chunk(0, {**call, "index": place}) for place, call in enumerate(calls))
    yield {"choices": [{"index": 0, "message": {"role": "assistant", "tool_calls": calls}, "finish_reason": "stop"}]}


def _responses(count: int) -> Events:
    items = [
        {"type": "function_call", "id": f"f{n}", "call_id": f"c{n}", "name": "look", "arguments": '{"a":1}'}
        for n in range(count)
    ]
    for place, item in enumerate(items):
        yield response("output_item.added", output_index=place, item={**item, "arguments": ""})
    for place, item in enumerate(items):
        yield response("output_item.done", output_index=place, item=item)
    yield response("completed", response={"status": "completed", "output": items})


def _dashscope(count: int) -> Events:
    for reason in ("null", "tool_calls"):
        for choice in range(count):
            call = {"index": 0, "id": f"i{choice}", "function": {"name": "look", "arguments": '{"a":1}'}}
            one = {"index": choice, "message": {"tool_calls": [call]}, "finish_reason": reason}
            yield {"output": {"choices": [one]}, "request_id": "q"}


def _cost(dialect: str, events: Events, count: int, monkeypatch: pytest.MonkeyPatch) -> tuple[float, float]:
    """Calls of functions, and characters that were parsed as arguments, for each event or call."""
    items = list(events)
    body = sse(*items, *(["[DONE]"] if dialect == "openai-chat" else []))
    decoder, collector = Decoder(dialect, choices=_choices(items)), Collector()
    calls = parsed = 0
    plain = json.loads

    def counting(text: str, *args: Any, **more: Any) -> Any:
        nonlocal parsed
        parsed += len(text)
        return plain(text, *args, **more)

    def counted(frame: object, what: str, argument: object) -> None:
        nonlocal calls
        calls += what in ("call", "c_call")

    with monkeypatch.context() as patched:
        patched.setattr(json, "loads", counting)
        sys.setprofile(counted)
        try:
            for event in (*decoder.feed(body), *decoder.end()):
                collector.add(event)
            found = len(collector.tool_calls) + collector.discarded_calls
        finally:
            sys.setprofile(None)
    assert decoder.error is None
    assert found in (1, count)
    units = max(len(items), count)
    return calls / units, (parsed + len(body)) / units


def _choices(items: list[Any]) -> int:
    """The number of choices of a request with this answer."""
    events = [item for item in items if isinstance(item, dict)]
    listed = [choice for event in events for choice in event.get("output", event).get("choices", ())]
    return 1 + max((choice["index"] for choice in listed), default=0)


@each(
    ("dialect", "events"),
    [
        ("openai-chat", _choices_side_by_side),
        ("openai-chat", _choices_in_turn),
        ("openai-chat", _choices_unnumbered),
        ("openai-chat", _choices_in_one_event),
        ("openai-chat", _calls_in_turn),
        ("openai-chat", _calls_side_by_side),
        ("openai-chat", _calls_that_stay_half),
        ("openai-chat", _calls_beside_a_long_one),
        ("openai-chat", _pieces),
        ("openai-chat", _pieces_with_the_name),
        ("openai-chat", _pieces_with_marks),
        ("openai-chat", _restated),
        ("openai-chat", lambda count: _restated(count, id="null")),
        ("openai-responses", _responses),
        ("dashscope", _dashscope),
    ],
)
def test_an_event_costs_as_much_among_many(
    dialect: str, events: Callable[[int], Events], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cost of an event does not grow with the number of choices, calls or pieces."""
    few = _cost(dialect, events(FEW), FEW, monkeypatch)
    many = _cost(dialect, events(MANY), MANY, monkeypatch)
    assert [round(after / before, 2) for before, after in zip(few, many, strict=True) if after > before * STEADY] == []
