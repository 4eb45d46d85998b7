"""Baidu's events, beside the whole answers in ``test_providers.py``."""

from __future__ import annotations

from typing import Any

import pytest

from llmwatch.errors import ProviderError
from llmwatch.wire import Collector, Decoder, Event, Kind
from tests.wire.providers import BAIDU, baidu, data


def read(*parts: bytes) -> tuple[list[Event], Decoder, Collector]:
    """The events of these parts, at their clean end."""
    decoder = Decoder("baidu")
    events = [*decoder.feed(b"".join(parts)), *decoder.end()]
    collector = Collector()
    for event in events:
        collector.add(event)
    return events, decoder, collector


def test_kinds_of_a_whole_answer() -> None:
    """Pieces are text, the last of them marks the end, and each has the usage so far."""
    events, decoder, _ = read(BAIDU.body)
    assert [event.kind for event in events] == [Kind.TEXT, Kind.TEXT, Kind.TERMINAL]
    assert [event.usage["completion_tokens"] for event in events if event.usage] == [1, 2, 3]
    assert decoder.settled


@pytest.mark.parametrize(
    "more", [{"is_truncated": True}, {"finish_reason": "length"}, {"finish_reason": "content_filter"}]
)
def test_an_answer_that_was_cut_says_so(more: dict[str, Any]) -> None:
    """A limit or a filter ends an answer before it is whole."""
    events, _, _ = read(baidu("Hel", 0), baidu("lo", 1, end=True, **more))
    assert events[-1].cut


@pytest.mark.parametrize(
    ("before", "form"), [((), "event"), (BAIDU.parts[:1], "event"), ((), "body")], ids=["first", "later", "document"]
)
def test_an_error_is_an_error(before: tuple[bytes, ...], form: str) -> None:
    """Code and words come out, from an event and from a document in place of one."""
    error = data({"error_code": 336003, "error_msg": "the max length of messages is 2000", "id": "as-1"})
    for dialect in ("baidu", "auto"):
        decoder = Decoder(dialect)
        decoder.feed(b"".join(before) + (error if form == "event" else error[6:]))
        failure = decoder.error or decoder.verdict_at_end()
        assert isinstance(failure, ProviderError)
        assert failure.code == "336003"
        assert "max length" in str(failure)


def test_a_call_comes_with_its_event() -> None:
    """A call is whole with its event, with no arguments too; one without a name or with broken arguments is none."""
    for arguments, seen in (("", [{}]), ("{}", [{}]), ('{"a":1}', [{"a": 1}]), ('{"a":', [])):
        call = {"name": "now", "arguments": arguments}
        _, _, collector = read(baidu("", 0, end=True, function_call=call))
        assert [call.json() for call in collector.tool_calls] == seen
    _, _, collector = read(baidu("", 0, end=True, function_call={"arguments": "{}"}))
    assert collector.tool_calls == ()
    assert collector.verdict_at_end() is not None


def test_an_empty_result_moves_nothing() -> None:
    """A piece without text is a keep-alive."""
    events, _, _ = read(baidu("", 0))
    assert events[0].kind is Kind.KEEPALIVE
