"""Baidu's events, beside the whole answers in ``test_providers.py``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmwatch import recovery
from llmwatch.errors import ProviderError
from llmwatch.recovery import Facts, Reason, Sent, could_work
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
def test_a_limit_or_a_filter_cuts_an_answer(more: dict[str, Any]) -> None:
    """A limit or a filter ends an answer before it is whole."""
    events, _, _ = read(baidu("Hel", 0), baidu("lo", 1, end=True, **more))
    assert events[-1].cut


@pytest.mark.parametrize(
    ("before", "form"), [((), "event"), (BAIDU.parts[:1], "event"), ((), "body")], ids=["first", "later", "document"]
)
def test_an_error_is_raised_with_code_and_message(before: tuple[bytes, ...], form: str) -> None:
    """Code and words come out, from an event and from a document in place of one."""
    error = data({"error_code": 336003, "error_msg": "the max length of messages is 2000", "id": "as-1"})
    for dialect in ("baidu", "auto"):
        decoder = Decoder(dialect)
        decoder.feed(b"".join(before) + (error if form == "event" else error[6:]))
        failure = decoder.error or decoder.verdict_at_end()
        assert isinstance(failure, ProviderError)
        assert failure.code == "336003"
        assert "max length" in str(failure)


def failure_of(said: dict[str, Any]) -> ProviderError:
    """The exception for this event after a piece of an answer."""
    _, decoder, _ = read(BAIDU.parts[0], data(said))
    assert isinstance(decoder.error, ProviderError)
    return decoder.error


@pytest.mark.parametrize("code", [1, 2, 4, 15, 18, 336000, 336100, 336501, 336502])
def test_a_temporary_code_is_retryable(code: int) -> None:
    """A limit of the second or the minute, and a server that is busy or failed.

    The error comes in an event and in place of all.
    """
    said = {"error_code": code, "error_msg": "words"}
    whole = Decoder("baidu")
    whole.feed(json.dumps(said).encode())
    for error in (failure_of(said), whole.verdict_at_end()):
        assert isinstance(error, ProviderError)
        assert (error.code, error.retryable) == (str(code), True)
        assert could_work(recovery.failure_of(error), Facts(sent=Sent.YES)) == (True, Reason.STREAM_ERROR)


@pytest.mark.parametrize("code", [3, 6, 13, 14, 17, 19, 100, 110, 111, 336001, 336002, 336003, 336007, 336104, 999999])
def test_a_permanent_or_unknown_code_is_final(code: int) -> None:
    """A limit of the day, a token, a permission, the request itself, and what no list has."""
    error = failure_of({"error_code": code, "error_msg": "words"})
    assert (error.code, error.retryable) == (str(code), False)
    assert could_work(recovery.failure_of(error), Facts(sent=Sent.YES)) == (False, Reason.STREAM_ERROR_FINAL)


@pytest.mark.parametrize(("code", "passes"), [(336501, True), (336502, True), (336003, False)])
def test_a_code_beside_a_message_is_an_error(code: int, passes: bool) -> None:
    """Baidu's page on rate limits shows them so, in place of an answer."""
    error = failure_of({"code": code, "msg": "words"})
    assert (error.code, error.retryable, error.status) == (str(code), passes, 200)
    decoder = Decoder("baidu")
    decoder.feed(json.dumps({"code": code, "msg": "words"}).encode())
    verdict = decoder.verdict_at_end()
    assert isinstance(verdict, ProviderError)
    assert verdict.retryable is passes


def test_a_call_comes_with_its_event() -> None:
    """A call is whole with its event, with no arguments too.

    One without a name or with broken arguments is none.
    """
    for arguments, seen in (("", [{}]), ("{}", [{}]), ('{"a":1}', [{"a": 1}]), ('{"a":', [])):
        call = {"name": "now", "arguments": arguments}
        _, _, collector = read(baidu("", 0, end=True, function_call=call))
        assert [call.json() for call in collector.tool_calls] == seen
    _, _, collector = read(baidu("", 0, end=True, function_call={"arguments": "{}"}))
    assert collector.tool_calls == ()
    assert collector.verdict_at_end() is not None


def test_an_empty_result_is_a_keep_alive() -> None:
    """A piece without text is a keep-alive."""
    events, _, _ = read(baidu("", 0))
    assert events[0].kind is Kind.KEEPALIVE
