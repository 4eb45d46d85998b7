"""The dialect of Cortex Agents."""

from __future__ import annotations

from typing import Any

import pytest

from llmwatch.errors import ProviderError, StreamTruncated
from llmwatch.wire import Collector, Decoder, Kind, ToolDelta
from llmwatch.wire.dialects.detect import by_url
from tests.rows import each
from tests.wire.dialects.rows import Row, row
from tests.wire.streams import decode, sse

URL = "https://acme.snowflakecomputing.com/api/v2/cortex/agent:run"
STORED = "https://acme.snowflakecomputing.com/api/v2/databases/d/schemas/s/agents/sales:run"


def said(kind: str, text: str, place: int = 1) -> tuple[str, dict[str, Any]]:
    return f"response.{kind}", {"content_index": place, "text": text}


def status(words: str = "planning") -> tuple[str, dict[str, Any]]:
    return "response.status", {"status": words, "message": "Planning the next steps"}


def use(kind: str = "generic", **more: Any) -> dict[str, Any]:
    return {"content_index": 2, "tool_use_id": "t", "type": kind, "name": "f", "input": {"a": 1}, **more}


def whole(*content: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return "response", {"role": "assistant", "content": list(content)}


USER = ("metadata", {"role": "user", "message_id": 0})
THOUGHT = {"type": "thinking", "thinking": {"text": "Let me see."}}
TEXT = {"type": "text", "text": "Hello!", "annotations": [], "is_elicitation": False}
ANSWER = (
    status(),
    said("thinking.delta", "Let me ", 0),
    said("thinking.delta", "see.", 0),
    said("thinking", "Let me see.", 0),
    ("response.tool_use", use("cortex_search", content_index=1, client_side_execute=False)),
    ("response.tool_result.status", {"tool_use_id": "t", "status": "Executing", "message": "m"}),
    ("response.tool_result", {"content_index": 1, "tool_use_id": "t", "content": [{"type": "json"}]}),
    status("proceeding_to_answer"),
    said("text.delta", "Hel", 2),
    said("text.delta", "lo!", 2),
    said("text", "Hello!", 2),
    whole(THOUGHT, {"type": "tool_use", "tool_use": use("cortex_search")}, TEXT),
    ("metadata", {"role": "assistant", "message_id": 1}),
)


@pytest.mark.parametrize("first", [(), (USER,)])
@pytest.mark.parametrize("url", ["", URL, STORED])
@pytest.mark.parametrize("last", [(), ("[DONE]",)])
def test_an_answer_is_whole_with_its_response(first: tuple[Any, ...], url: str, last: tuple[Any, ...]) -> None:
    """By its address or its events alone: text and thinking once, and a clean end.

    The end comes with an end mark or without.
    """
    decoder, collector = Decoder(url=url), Collector()
    for event in (*decoder.feed(sse(*first, *ANSWER, *last)), *decoder.end()):
        collector.add(event)
    assert (decoder.dialect, decoder.verdict_at_end(), decoder.contradictions) == ("cortex-agent", None, 0)
    assert (collector.text, collector.reasoning, collector.tool_calls) == ("Hello!", "Let me see.", ())
    assert (decoder.finished, decoder.provider_acted) == (True, False)


@pytest.mark.parametrize("count", range(1, len(ANSWER) - 1))
def test_an_answer_without_its_response_is_truncated(count: int) -> None:
    """Only the response event says that the answer is whole."""
    _, decoder = decode("cortex-agent", *ANSWER[:count])
    assert isinstance(decoder.verdict_at_end(), StreamTruncated)


@each(
    "row",
    [
        row("status", status(), Kind.LIFECYCLE),
        row("message of a thread", USER, Kind.LIFECYCLE),
        row("text", said("text.delta", "a"), Kind.TEXT, text="a"),
        row("empty text", said("text.delta", ""), Kind.KEEPALIVE),
        row("thinking", said("thinking.delta", "a"), Kind.REASONING, reasoning="a"),
        row("text again", said("text", "ab"), Kind.TEXT, text="b", before=(said("text.delta", "a"),)),
        row("the same text again", said("text", "a"), Kind.LIFECYCLE, before=(said("text.delta", "a"),)),
        row("thinking at once", said("thinking", "a"), Kind.REASONING, reasoning="a"),
        row("annotation", ("response.text.annotation", {"annotation": {"doc_title": "t"}}), Kind.TEXT),
        row("table", ("response.table", {"title": "t"}), Kind.TEXT),
        row("chart", ("response.chart", {"chart_spec": "{}"}), Kind.TEXT),
        row("what a tool says", ("response.tool_result.analyst.delta", {"delta": {"text": "a"}}), Kind.TOOL_INPUT),
        row("a tool of the provider's", ("response.tool_use", use(client_side_execute="false")), Kind.TOOL_INPUT),
        row(
            "a call for the caller",
            ("response.tool_use", use(client_side_execute="true")),
            Kind.TOOL_CALL,
            tools=(ToolDelta("t", "t", "f", '{"a": 1}', complete=True, whole=True),),
        ),
        row(
            "a call that is no object",
            ("response.tool_use", use(client_side_execute=True, input="{")),
            Kind.TOOL_INPUT,
            tools=(ToolDelta("t", "t", "f"),),
        ),
        row("an unknown delta", ("response.hologram.delta", {"content_index": 0, "beam": "x"}), Kind.TEXT),
        row("an unknown thought", ("response.deep_thought.delta", {"words": "x"}), Kind.REASONING),
        row("an unknown delta of nothing", ("response.hologram.delta", {"content_index": 0}), Kind.LIFECYCLE),
        row("an unknown event", ("response.hologram", {"beam": "x"}), Kind.LIFECYCLE),
        row("the response alone", whole(THOUGHT, TEXT), Kind.TEXT, text="Hello!", reasoning="Let me see.", finish=True),
        row("an empty response", whole(), Kind.LIFECYCLE, finish=True),
    ],
)
def test_each_event_of_cortex_has_its_meaning(row: Row) -> None:
    """Each event means what the documentation says."""
    events, _ = decode("cortex-agent", *row.before, row.data)
    row.check(events[-1])


def test_a_call_that_is_restated_is_one_call() -> None:
    """Its own event and the response have it; the tool of an agent that may act is noted."""
    call = use(client_side_execute=True)
    collector = Collector()
    events, decoder = decode(
        "cortex-agent", ("response.tool_use", call), whole({"type": "tool_use", "tool_use": call}), "[DONE]"
    )
    for event in events:
        collector.add(event)
    assert [(found.name, found.json()) for found in collector.tool_calls] == [("f", {"a": 1})]
    assert not decoder.provider_acted
    _, decoder = decode("cortex-agent", ("response.tool_use", use()))
    assert decoder.provider_acted


def older(**piece: Any) -> tuple[str, dict[str, Any]]:
    return "message.delta", {"id": "m", "object": "message.delta", "delta": {"content": [{"index": 0, **piece}]}}


@pytest.mark.parametrize(("kind", "acted"), [("cortex_search", False), ("generic", True)])
def test_the_older_form_ends_with_done(kind: str, acted: bool) -> None:
    """Pieces of content in one kind of event, known by the address.

    ``[DONE]`` ends them, and nothing else does.
    """
    items = (
        older(type="tool_use", tool_use={"type": kind}),
        older(type="text", text="Hel"),
        older(type="text", text="lo"),
    )
    decoder = Decoder(url=URL)
    events = decoder.feed(sse(*items, ("done", "[DONE]")))
    assert [event.kind for event in events] == [Kind.TOOL_INPUT, Kind.TEXT, Kind.TEXT, Kind.TERMINAL]
    assert ("".join(event.text for event in events), decoder.provider_acted) == ("Hello", acted)
    assert decoder.verdict_at_end() is None
    assert isinstance(decode("cortex-agent", *items)[1].verdict_at_end(), StreamTruncated)


def test_an_error_is_an_error() -> None:
    """The error has the provider's number and words."""
    error = ("error", {"code": "399504", "message": "Error during execution", "request_id": "q"})
    _, decoder = decode("cortex-agent", status(), error)
    assert isinstance(decoder.error, ProviderError)
    assert (decoder.error.code, "Error during execution" in str(decoder.error)) == ("399504", True)


@pytest.mark.parametrize("name", ["response.text.delta", "response.created", "response.output_text.delta"])
def test_an_event_type_of_openai_overrules_the_address_of_an_agent(name: str) -> None:
    """An event whose data has such a type is OpenAI's, and an address of an agent is none of Gemini's."""
    decoder = Decoder()
    decoder.feed(sse((name, {"type": name, "delta": "a"})))
    assert decoder.dialect == "openai-responses"
    assert [by_url(url) for url in (URL, STORED, "https://x/agents/a/b:run")] == ["cortex-agent", "cortex-agent", None]


def test_a_metadata_event_without_a_message_number_shows_no_agent() -> None:
    """An event of that name without a message's number shows nothing of an agent."""
    decoder = Decoder()
    decoder.feed(sse(("metadata", {"run": "r"})))
    assert decoder.dialect == "generic"
