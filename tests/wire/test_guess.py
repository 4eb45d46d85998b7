"""Which dialect a stream is in.

Notices of other shapes before an answer change nothing of how it is judged.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmwatch.errors import LLMWatchError, ProviderError, StreamTruncated
from llmwatch.wire import Decoder, Event, Kind, register_dialect, unregister_dialect
from tests.rows import each
from tests.wire.dialects.test_openai_chat import chunk
from tests.wire.streams import lines, sse

CHAT, UNKNOWN = "http://provider.test/v1/chat/completions", "http://provider.test/own"
ANSWERS: dict[str, tuple[str, list[Any]]] = {
    "openai-chat": (CHAT, [chunk({"role": "assistant", "content": "Hi"}), chunk({}, "stop"), "[DONE]"]),
    "anthropic": (
        "http://provider.test/v1/messages",
        [
            {"type": "message_start", "message": {"usage": {"input_tokens": 1}}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
            {"type": "message_stop"},
        ],
    ),
    "openai-responses": (
        "http://provider.test/v1/responses",
        [
            {"type": "response.created", "response": {"id": "r", "output": []}},
            {
                "type": "response.output_text.delta",
                "item_id": "m",
                "output_index": 0,
                "content_index": 0,
                "delta": "Hi",
            },
            {"type": "response.completed", "response": {"id": "r", "status": "completed", "output": []}},
        ],
    ),
    "gemini": (
        "http://provider.test/v1beta/models/g:streamGenerateContent?alt=sse",
        [{"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]}],
    ),
}
# What gateways and queues say before an answer, in the shapes of every dialect and of none.
SILENT: list[dict[str, Any]] = [
    {"error_code": 0, "error_msg": ""},
    {"error_code": 0, "error_msg": "", "result": ""},
    {"type": "ping"},
    {"type": "status", "status": "queued"},
    {"event": "start"},
    {"message": {"id": "x"}},
    {"message": {"role": "assistant"}, "done": False},
    {"result": "", "is_end": False},
    {"output": {"text": ""}, "request_id": "r"},
    {"response": {"id": "x"}},
    {"response": "", "done": False},
    {"content": "", "stop": False},
    {"text": ""},
    {"token": {"text": ""}, "generated_text": None},
    {"event_type": "stream-start"},
    {"type": "message-start"},
    {"is_finished": False, "text": ""},
    {"id": "x", "choices": []},
    {"candidates": []},
    {"usage": {"prompt_tokens": 3}},
    {"usageMetadata": {"promptTokenCount": 3}},
    {"conversation_id": "c"},
    {"sessionId": "s", "created": 1},
    {"metadata": {"x": 1}},
    {"type": "response.created", "response": {"id": "r"}},
    {"type": "message_start", "message": {"usage": {}}},
    {"prompt_filter_results": []},
    {"meta_info": {"id": "x"}, "text": ""},
    {"success": True, "result": {}},
    {"data": None},
    {},
]


def _read(body: bytes, url: str, step: int | None = None) -> tuple[Decoder, list[Event]]:
    decoder = Decoder("auto", url=url, content_type="text/event-stream")
    step = step or len(body)
    events = [event for at in range(0, len(body), step) for event in decoder.feed(body[at : at + step])]
    events += decoder.end()
    return decoder, events


def _text(events: list[Event]) -> str:
    return "".join(event.text for event in events)


def _cut(dialect: str, answer: list[Any]) -> list[Any]:
    """The answer without what ends it."""
    if dialect == "gemini":
        return [{"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]}]
    return answer[:1] if dialect == "openai-chat" else answer[:-2]


@each("notice", SILENT, ids=json.dumps)
def test_a_notice_before_an_answer_changes_no_dialect(notice: dict[str, Any]) -> None:
    """A notice of any shape is no part of the answer.

    The answer is whole, and cut where it is cut: in any dialect, at its own address and at an unknown one.
    """
    for dialect, (own, answer) in ANSWERS.items():
        for url in (own, UNKNOWN):
            for step in (7, None):
                decoder, events = _read(sse(notice, *answer), url, step)
                assert (decoder.dialect, _text(events), decoder.verdict_at_end()) == (dialect, "Hi", None)
            decoder, _ = _read(sse(notice, *_cut(dialect, answer)), url)
            assert type(decoder.verdict_at_end()) is StreamTruncated, (dialect, url)


@pytest.mark.parametrize("url", [CHAT, UNKNOWN])
@pytest.mark.parametrize("dialect", ["anthropic", "openai-responses", "gemini"])
def test_an_answer_overrules_the_address(dialect: str, url: str) -> None:
    """An answer of another dialect than the address names is read in that dialect.

    This holds from its first event on.
    """
    decoder, events = _read(sse(*ANSWERS[dialect][1]), url)
    assert (decoder.dialect, _text(events), decoder.verdict_at_end()) == (dialect, "Hi", None)
    if dialect == "anthropic":
        assert events[0].usage == {"input_tokens": 1}


@each(
    "beside",
    [
        {"error_code": 0, "error_msg": ""},
        {"error_code": "", "error_msg": "ok"},
        {"code": 0, "msg": ""},
        {"result": "", "is_end": False},
        {"is_finished": False, "text": ""},
        {"candidates": []},
        {"output": {}, "request_id": "r"},
        {"content": "", "stop": False},
        {"response": "", "done": False},
    ],
    ids=json.dumps,
)
@each("url", [CHAT, UNKNOWN])
def test_choices_are_chat_whatever_stands_beside_them(url: str, beside: dict[str, Any]) -> None:
    """Fields that a gateway adds to each chunk do not make another dialect of it; a cut stays one."""
    chunks = [{**chunk({"content": "Hi"}), **beside}, {**chunk({}, "stop"), **beside}]
    decoder, events = _read(sse(*chunks, "[DONE]"), url)
    assert (decoder.dialect, _text(events), decoder.settled) == ("openai-chat", "Hi", True)
    decoder, _ = _read(sse(chunks[0]), url)
    assert type(decoder.verdict_at_end()) is StreamTruncated


NOTICES: list[list[Any]] = [[], [{"conversation_id": "c"}], [{"status": "queued"}, {"status": "started"}]]
WORDS: list[list[Any]] = [["connected"], [{"note": "hello"}]]
FELL = {"message": "fell", "code": 502}


@pytest.mark.parametrize(
    ("rest", "befores", "outcome"),
    [
        ([chunk({"content": "a"}), chunk({}, "stop"), "[DONE]"], NOTICES + WORDS, None),
        ([chunk({"content": "a"})], NOTICES + WORDS, StreamTruncated),
        ([chunk({"content": "a"}), {"error": FELL}, "[DONE]"], NOTICES + WORDS, ProviderError),
        # Among data of any kind an error's shape is data, and so is an opening's.
        ([{"error": FELL, "id": "x"}, "[DONE]"], NOTICES, ProviderError),
        ([{"type": "message_start", "message": {}}], NOTICES, StreamTruncated),
    ],
)
def test_events_of_no_dialect_do_not_decide_it(
    rest: list[Any], befores: list[list[Any]], outcome: type[LLMWatchError] | None
) -> None:
    """At an unknown address an answer after other events is judged as it would be without them."""
    for before in befores:
        decoder, _ = _read(sse(*before, *rest), UNKNOWN)
        found = decoder.verdict_at_end()
        assert (None if found is None else type(found)) is outcome, before


@pytest.mark.parametrize(
    ("items", "kinds"),
    [
        (["a", "b"], ["text", "text"]),
        ([{"id": 1}, {"token": "a"}], ["lifecycle", "text"]),
        ([{"status": "on"}, {"id": 1}, "a", {"status": "off"}], ["lifecycle", "lifecycle", "text", "text"]),
        ([{"score": 1}, {"score": 2}], ["lifecycle", "lifecycle", "text"]),
        ([{"id": 1}, "a"] + [chunk({})] * 2, ["lifecycle", "text", "text", "text"]),
        ([{"score": number} for number in range(9)], ["lifecycle"] * 8 + ["text"]),
        (["a"] * 20 + [chunk({"content": "b"})], ["text"] * 21),
    ],
)
def test_all_data_of_no_dialect_is_text(items: list[Any], kinds: list[str]) -> None:
    """If no dialect is found, the text is the data of every event, in order, notices too."""
    whole = "".join(item if isinstance(item, str) else json.dumps(item) for item in items)
    for step in (7, None):
        decoder, events = _read(sse(*items), UNKNOWN, step)
        assert [event.kind.value for event in events] == kinds
        assert (_text(events), decoder.dialect, decoder.verdict_at_end()) == (whole, "generic", None)
    decoder, events = _read(sse(*items, "[DONE]"), UNKNOWN)
    assert (_text(events), events[-1].kind, decoder.error) == (whole, Kind.TERMINAL, None)


def _said(content: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "message": {"role": "assistant", "content": content}, "done": False, **more}


@pytest.mark.parametrize("url", ["http://provider.test/api/chat", UNKNOWN, CHAT])
def test_objects_of_ollama_as_events(url: str) -> None:
    """Ollama's objects under server-sent events are read as what they are.

    One cut before its end is no answer.
    """
    body = sse(_said("Hel"), _said("lo"), _said("", done=True, done_reason="stop", eval_count=3))
    decoder, events = _read(body, url, 7)
    assert (decoder.dialect, _text(events), decoder.settled) == ("ndjson", "Hello", True)
    assert events[-1].usage == {"eval_count": 3}
    decoder, _ = _read(sse(_said("Hel"), _said("lo")), url)
    assert type(decoder.verdict_at_end()) is StreamTruncated
    decoder, events = _read(sse({"response": "a", "done": False}), url)
    assert (_text(events), type(decoder.verdict_at_end())) == ("a", StreamTruncated)


def test_tokens_without_the_rest_are_tgis() -> None:
    """Lines with nothing but a token in them are read from the first on.

    Servers that speak like TGI send them so.
    """
    first = {"token": {"id": 1, "text": "Hi", "log_prob": -1}}
    last = {"token": {"id": 2, "text": "!"}, "details": {"finish_reason": "eos_token"}, "generated_text": "Hi!"}
    decoder = Decoder("auto", url=UNKNOWN, content_type="application/jsonlines")
    events = [*decoder.feed(lines(first, last)), *decoder.end()]
    assert (decoder.dialect, _text(events), decoder.settled) == ("tgi", "Hi!", True)
    decoder = Decoder("auto", url=UNKNOWN, content_type="application/jsonlines")
    decoder.feed(lines(first))
    assert type(decoder.verdict_at_end()) is StreamTruncated


@each("dialect", ["auto", "openai-chat"])
@each("url", [CHAT, UNKNOWN])
@each("before", [b"", b"\r\n\n", b"\xef\xbb\xbf", b": hi\n\n", b"event: message\n", b"id: 1\n"])
@each("kind", ["application/x-ndjson", "application/jsonl"])
def test_events_under_a_content_type_of_lines_are_events(kind: str, before: bytes, url: str, dialect: str) -> None:
    """A body that begins like events is cut into events, whatever its type says; a cut one stays cut."""
    body = before + sse(chunk({"content": "Hi"}), chunk({}, "stop"), "[DONE]")
    for size in (1, 2, 7, len(body)):
        decoder = Decoder(dialect, url=url, content_type=kind)
        events = [event for at in range(0, len(body), size) for event in decoder.feed(body[at : at + size])]
        assert (_text(events), decoder.dialect, decoder.settled) == ("Hi", "openai-chat", True)
    decoder = Decoder(dialect, url=url, content_type=kind)
    decoder.feed(before + sse(chunk({"content": "Hi"})))
    assert type(decoder.verdict_at_end()) is StreamTruncated


@pytest.mark.parametrize("before", [b"", b"\r\n\n", b"\xef\xbb\xbf"])
def test_lines_under_a_content_type_of_lines_stay_lines(before: bytes) -> None:
    """Lines stay lines, however their start is split."""
    body = before + lines(_said("Hel"), _said("lo"), _said("", done=True, done_reason="stop"))
    for size in (1, 2, 7, len(body)):
        decoder = Decoder("auto", url=UNKNOWN, content_type="application/x-ndjson")
        events = [event for at in range(0, len(body), size) for event in decoder.feed(body[at : at + size])]
        assert (_text(events), decoder.dialect, decoder.framing, decoder.settled) == ("Hello", "ndjson", "lines", True)


def test_a_named_dialect_is_framed_by_its_first_byte() -> None:
    """A named dialect stays the one that is named; only how the body is cut is told by its first byte."""
    decoder = Decoder("ndjson", url=CHAT)
    events = decoder.feed(sse(_said("Hel"), _said("lo"), _said("", done=True, done_reason="stop")))
    assert (_text(events), decoder.dialect, decoder.framing, decoder.settled) == ("Hello", "ndjson", "events", True)
    decoder = Decoder("ndjson", url=CHAT)
    decoder.feed(sse(_said("Hel")))
    assert type(decoder.verdict_at_end()) is StreamTruncated


def test_a_registered_dialect_is_detected_after_a_notice() -> None:
    """A detector is asked again while nothing else is known, and the notice before it is no text."""
    register_dialect("own-words", lambda event: Kind.TEXT, lambda url, event: event is not None and "own" in event.data)
    try:
        decoder, events = _read(sse({"status": "queued"}, '{"own": "a"}', '{"b": 1}'), UNKNOWN)
    finally:
        unregister_dialect("own-words")
    assert (decoder.dialect, _text(events)) == ("own-words", '{"own": "a"}{"b": 1}')
    assert type(decoder.verdict_at_end()) is StreamTruncated
