"""Gemini, JSON lines, and a dialect of the user's own, from the socket to the answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import llmwatch
from llmwatch import Decision, Event, Kind, Limits
from llmwatch.faults import Context, FaultServer, Script, steps
from llmwatch.faults.catalogue import ANSWER, TOOL_ARGUMENTS, TOOL_NAME, answer
from llmwatch.wire import Meaning, register_dialect, unregister_dialect
from tests.end_to_end.calls import asking, collect, request, stream
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import BEAT, LIMIT
from tests.safe_recovery.scripts import broken_off, one_event

PATHS = {
    "gemini": (
        "/v1beta/models/fault-1:streamGenerateContent?alt=sse",
        "/v1/projects/p/locations/l/publishers/google/models/fault-1:streamGenerateContent?alt=sse&key=abc",
    ),
    "ndjson": ("/api/chat", "/api/generate"),
}
PLACES = [(shape, path) for shape, paths in PATHS.items() for path in paths]
GEMINI, LINES = PATHS["gemini"][0], PATHS["ndjson"][0]


@pytest.mark.parametrize(("shape", "path"), PLACES)
@pytest.mark.parametrize("dialect", ["auto", "named"])
def test_an_answer_is_whole(serve: Serve, connect: Connect, shape: str, path: str, dialect: str) -> None:
    """The whole answer comes as text with an end, at every endpoint's shape.

    The record names the dialect.
    """
    server = serve(shape=shape)
    client = connect(dialect="auto" if dialect == "auto" else shape)
    outcome = stream(client, server.url + path)
    record = outcome.done()
    assert outcome.text == ANSWER
    assert record.attempts[0].dialect == shape
    assert not record.empty
    assert set(outcome.kinds) <= {"text", "usage", "terminal", "lifecycle"}
    whole = collect(client, server.url + path).value
    assert (whole.text, whole.tool_calls) == (ANSWER, ())
    assert len(server.requests) == 2


@pytest.mark.parametrize(("shape", "path"), [("gemini", GEMINI), ("ndjson", LINES)])
def test_reasoning_and_tool_calls_are_told_apart(serve: Serve, connect: Connect, shape: str, path: str) -> None:
    """Reasoning is content and no text.

    A tool call comes whole, as ``TOOL_CALL``, and out of ``collect`` as a call.
    """

    def play(context: Context) -> Iterator[steps.Step]:
        made = context.shape
        blocks = [*context.opening(), *made.reasoning("Let me see. "), *made.tool_begin("", TOOL_NAME)]
        blocks += [*made.tool_arguments(TOOL_ARGUMENTS), *made.tool_end(), *context.ending("tool_calls")]
        yield from context.answer(steps.paced(blocks))

    server = serve(Script(name="calls", description="reasons and calls", play=play), shape=shape)
    client = connect()
    outcome = stream(client, server.url + path)
    outcome.done()
    assert "reasoning" in outcome.kinds
    assert "tool_call" in outcome.kinds
    assert outcome.text == ""
    whole = collect(client, server.url + path).value
    assert (whole.text, whole.reasoning) == ("", "Let me see. ")
    (call,) = whole.tool_calls
    assert (call.name, call.json()) == (TOOL_NAME, json.loads(TOOL_ARGUMENTS))


@pytest.mark.parametrize(("shape", "path"), [("gemini", GEMINI), ("ndjson", LINES)])
@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("eof-without-terminal:tokens=4", llmwatch.StreamTruncated),
        ("missing-last-chunk:tokens=4", llmwatch.StreamCut),
        ("malformed-event:tokens=4", llmwatch.MalformedEvent),
        ("error-event:tokens=4", llmwatch.ProviderError),
        ("stall-after-content:tokens=4", llmwatch.WatchTimeout),
    ],
)
def test_a_failure_after_output_surfaces_in_every_dialect(
    serve: Serve, connect: Connect, shape: str, path: str, script: str, kind: type[llmwatch.LLMWatchError]
) -> None:
    """Every dialect raises the same classes, with the text that came, one request and ``CONTINUE``.

    ``collect`` recovers.
    """
    server = serve(script, "healthy", shape=shape)
    client = connect(limits=Limits(stale=LIMIT))
    outcome = stream(client, server.url + path)
    error = outcome.failed(kind)
    assert error.partial == outcome.text == answer(4)
    assert error.recovery is not None
    assert error.recovery.decision is Decision.CONTINUE
    assert len(server.requests) == 1
    server = serve(script, "healthy", shape=shape)
    whole = collect(client, server.url + path)
    if kind is llmwatch.ProviderError and whole.error is not None:
        # What a line of JSON says of an error has no type, so nothing speaks for a resend.
        assert shape == "ndjson"
    else:
        whole.done("recovered")
        assert whole.value.text == ANSWER


@pytest.mark.parametrize(("shape", "path"), [("gemini", GEMINI), ("ndjson", LINES)])
@pytest.mark.parametrize("script", ["silent", "empty-stream", "status:status=503", "reset-before-response"])
def test_a_failure_before_output_is_recovered_in_every_dialect(
    serve: Serve, connect: Connect, shape: str, path: str, script: str
) -> None:
    """A failure before any output is invisible: one more request, and the whole answer."""
    server = serve(script, "healthy", shape=shape)
    outcome = stream(connect(limits=Limits(ttfb=LIMIT)), server.url + path)
    outcome.done("recovered")
    assert outcome.text == ANSWER
    assert len(server.requests) == 2


def test_a_call_with_half_its_arguments_is_never_delivered(serve: Serve, connect: Connect) -> None:
    """A tool call that was closed over half of its arguments is no call.

    ``collect`` fails rather than give an answer without it. A call that was closed over nothing has no arguments.
    """
    blocks = [
        'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f"}}]}}]}\n\n',
        'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"b","function":'
        '{"name":"g","arguments":"{\\"x\\": "}}]}}]}\n\n',
        'data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}\n\n',
        "data: [DONE]\n\n",
    ]
    server = serve(one_event(*(block.encode() for block in blocks)))
    events = stream(connect(), server.chat_url).events
    assert [tool.arguments for event in events for tool in event.tools if tool.complete] == ["{}"]
    error = collect(connect(), server.chat_url).failed(llmwatch.MalformedEvent)
    assert "of its 2 tool call(s) number 2 cannot" in str(error)
    assert len(server.requests) == 3


def _custom(event: Event) -> Kind | Meaning:
    said: dict[str, Any] = event.json()
    if "say" in said:
        return Meaning(Kind.TEXT, text=said["say"])
    if "think" in said:
        return Meaning(Kind.REASONING, reasoning=said["think"])
    return {"bye": Kind.TERMINAL, "beat": Kind.KEEPALIVE}.get(said.get("what", ""), Kind.LIFECYCLE)


@pytest.fixture
def custom() -> Iterator[str]:
    """A dialect of the user's own, known while the test runs."""
    register_dialect("custom", _custom, detect=lambda url, event: url.endswith("/custom"))
    yield "custom"
    unregister_dialect("custom")


def _spoken(*documents: dict[str, Any]) -> Script:
    return one_event(*(f"data: {json.dumps(document)}\n\n".encode() for document in documents))


OPEN, THINK, SAY, BYE = {"what": "hello"}, {"think": "Hm. "}, {"say": "Yes."}, {"what": "bye"}


@pytest.mark.parametrize("dialect", ["custom", "auto"])
def test_a_plain_function_is_a_dialect(serve: Serve, connect: Connect, custom: str, dialect: str) -> None:
    """A function that says what an event means makes calls in a dialect that llmwatch does not know.

    The dialect is given by its name or found by its URL.
    """
    server = serve(_spoken(OPEN, {"what": "beat"}, THINK, SAY, BYE))
    client = connect(dialect=dialect)
    outcome = stream(client, f"{server.url}/custom")
    record = outcome.done()
    assert outcome.text == "Yes."
    assert outcome.kinds[-3:] == ["reasoning", "text", "terminal"]
    assert record.attempts[0].dialect == "custom"
    whole = collect(client, f"{server.url}/custom").value
    assert (whole.text, whole.reasoning) == ("Yes.", "Hm. ")


@pytest.mark.parametrize(
    ("documents", "kind"),
    [([OPEN], llmwatch.StreamTruncated), ([OPEN, {"what": ["x"]}], llmwatch.MalformedEvent)],
    ids=["no end", "raises"],
)
def test_a_users_dialect_is_recovered_like_any_other(
    serve: Serve, connect: Connect, custom: str, documents: list[dict[str, Any]], kind: type[llmwatch.LLMWatchError]
) -> None:
    """The lifecycle events of a user's dialect are held back, and its end is asked for.

    What its function cannot read is malformed.
    """
    server = serve(_spoken(*documents), _spoken(OPEN, SAY, BYE))
    outcome = stream(connect(dialect=custom), server.url)
    record = outcome.done("recovered")
    assert outcome.kinds == ["lifecycle", "text", "terminal"]
    assert record.attempts[0].error == kind.__name__
    server = serve(_spoken(OPEN, SAY))
    error = stream(connect(dialect=custom), server.url).failed(llmwatch.StreamTruncated)
    assert error.partial == "Yes."
    assert len(server.requests) == 1


def test_an_unknown_dialect_is_refused_by_its_name(connect: Connect) -> None:
    """A name that is not registered is a ``ConfigError`` when the client is made."""
    with pytest.raises(llmwatch.ConfigError, match="custom"):
        connect(dialect="custom")


@pytest.mark.parametrize(
    ("shape", "path"), [("gemini", GEMINI.replace("stream", "").replace("G", "g", 1)), ("ndjson", LINES)]
)
def test_a_plain_call_returns_the_document_of_every_dialect(
    serve: Serve, connect: Connect, shape: str, path: str
) -> None:
    """A plain call gives the document as it is."""
    server: FaultServer = serve(shape=shape)
    outcome = request(connect(), server.url + path, json=asking(stream=False))
    outcome.done()
    assert "watchdog" in outcome.value.text


def test_a_gemini_url_without_sse_says_what_to_add(serve: Serve, connect: Connect) -> None:
    """A JSON list in place of events is ``NotAStream`` with the parameter that is missing, once."""
    server = serve(one_event(b'[{"candidates": []}]', content_type="application/json"))
    error = stream(connect(), server.url + GEMINI.partition("?")[0]).failed(llmwatch.NotAStream)
    assert "alt=sse" in str(error)
    assert not error.retryable
    assert len(server.requests) == 1


def test_blank_lines_are_keep_alives(serve: Serve, connect: Connect) -> None:
    """Blank lines are no events: a call that gets nothing else ends at ``first_content``, slow but alive."""
    server = serve(f"keepalive-only:every={BEAT}", shape="ndjson")
    error = stream(connect(limits=Limits(first_content=LIMIT)), server.url + LINES).failed(llmwatch.WatchTimeout)
    assert error.limit == "first_content"
    assert error.recovery is not None
    assert error.recovery.reason == "slow_but_alive"
    assert len(server.requests) == 1


@pytest.mark.parametrize("stage", ["reasoning"])
def test_gemini_reasoning_is_output(serve: Serve, connect: Connect, stage: str) -> None:
    """Thoughts that were delivered forbid a resend in this dialect too."""
    server = serve(broken_off(stage, "eof"), "healthy", shape="gemini")
    error = stream(connect(), server.url + GEMINI).failed(llmwatch.StreamTruncated)
    assert error.recovery is not None
    assert error.recovery.decision is Decision.CONTINUE
    assert error.partial == ""
    assert len(server.requests) == 1
