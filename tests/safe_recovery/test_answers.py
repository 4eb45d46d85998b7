"""Answers that ended in good order and are not what they seem.

What an answer shows that its request does not is tested too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import llmwatch
from llmwatch import Decision, Event, Kind, Limits, Retry
from llmwatch.faults import Context, Script, steps
from llmwatch.wire import Meaning, ToolDelta, register_dialect, unregister_dialect
from tests.end_to_end.calls import QUICK, asking, collect, endpoint, stream
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import BEAT, LIMIT
from tests.wire.dialects import test_anthropic as anthropic
from tests.wire.dialects import test_openai_chat as chat
from tests.wire.dialects import test_openai_responses as responses
from tests.wire.streams import sse

CHAT_CUT = (*chat.BEGUN, chat.chunk(chat.call('{"a":')))
CHAT_WHOLE = (*CHAT_CUT, chat.chunk(chat.call("1}")), chat.chunk(None, "tool_calls"), "[DONE]")
STOPPED = anthropic.event("message_stop")
BARE = (anthropic.TOOL, anthropic.delta("input_json_delta", partial_json=""), anthropic.STOP)


def says(*items: Any, every: float = 0.0, ends: bool = True) -> Script:
    """An answer of these events, ``every`` seconds; ``ends``: the body ends as it should."""

    def play(context: Context) -> Iterator[steps.Step]:
        last = [] if ends else [steps.Close()]
        blocks = steps.paced([sse(item) for item in items], every)
        yield from context.answer([*blocks, *last], framing="chunked", ends=ends)

    return Script(name="says", description="what a test wants", play=play)


BROKEN = {
    "openai-chat": (*CHAT_CUT, chat.chunk(None, "tool_calls"), "[DONE]"),
    "anthropic": (
        anthropic.TOOL,
        anthropic.delta("input_json_delta", partial_json='{"planted":'),
        anthropic.STOP,
        anthropic.ASKED,
        STOPPED,
    ),
    "openai-responses": (
        responses.item("function_call", call_id="c", name="planted", arguments='{"planted":'),
        responses.event("completed", response={"status": "completed"}),
    ),
}
LENGTH = {
    "openai-chat": (*CHAT_CUT, chat.chunk(None, "length"), "[DONE]"),
    "anthropic": (*BARE, anthropic.ended("max_tokens"), STOPPED),
    "openai-responses": (
        responses.item("function_call", call_id="c", name="planted", arguments=""),
        responses.event("incomplete", response={"status": "incomplete"}),
    ),
}


@pytest.mark.parametrize("shape", BROKEN)
def test_an_answer_with_half_a_tool_call_is_a_failure(serve: Serve, connect: Connect, shape: str) -> None:
    """``collect`` resends once, and then raises; the answer is never returned without the call."""
    server = serve(says(*BROKEN[shape]))
    error = collect(connect(retry=Retry(max_attempts=9, backoff=0)), endpoint(server, shape)).failed(
        llmwatch.MalformedEvent
    )
    assert len(server.requests) == 2
    assert error.recovery is not None
    assert (error.recovery.decision, error.recovery.reason) == (Decision.STOP, "partial_resend_used")
    assert error.record is not None
    assert [one.error for one in error.record.attempts] == ["MalformedEvent", "MalformedEvent"]
    assert [one.close_reason for one in error.record.attempts] == ["failed", "failed"]
    assert [one.reason for one in error.record.decisions] == ["partial_discarded", "partial_resend_used"]
    assert "planted" not in str(error) + json.dumps(error.record.to_dict())


@pytest.mark.parametrize("shape", BROKEN)
def test_a_whole_answer_replaces_one_with_half_a_tool_call(serve: Serve, connect: Connect, shape: str) -> None:
    """The second answer is returned, and the first is an incident."""
    server = serve(says(*BROKEN[shape]), "healthy")
    outcome = collect(connect(), endpoint(server, shape))
    record = outcome.done("recovered")
    assert (outcome.value.tool_calls, outcome.value.discarded_calls) == ((), 0)
    assert outcome.value.text
    assert [one.error for one in record.attempts] == ["MalformedEvent", None]
    assert len(server.requests) == 2


def test_half_a_tool_call_is_not_resent_beside_mcp(serve: Serve, connect: Connect) -> None:
    """The tool exposure holds here as for every other partial answer."""
    server = serve(says(*BROKEN["openai-chat"]))
    error = collect(connect(), server.chat_url, json=asking(tools=[{"type": "mcp"}])).failed(llmwatch.MalformedEvent)
    assert error.recovery is not None
    assert (error.recovery.decision, error.recovery.reason) == (Decision.CONFIRM, "provider_tools")
    assert len(server.requests) == 1


@pytest.mark.parametrize("shape", LENGTH)
def test_an_answer_cut_for_its_length_counts_its_missing_calls(serve: Serve, connect: Connect, shape: str) -> None:
    """There the cut is the answer: it is returned, once, with the number of calls that are not in it."""
    server = serve(says(*LENGTH[shape]))
    outcome = collect(connect(), endpoint(server, shape))
    outcome.done()
    assert (outcome.value.tool_calls, outcome.value.discarded_calls) == ((), 1)
    assert len(server.requests) == 1


def test_an_anthropic_call_without_parameters_is_whole_at_the_stop(serve: Serve, connect: Connect) -> None:
    """Anthropic's call without parameters comes out of both entry points with the message's stop reason.

    Without the reason why the message ended the call does not come out.
    """
    whole = (*BARE, anthropic.ASKED, STOPPED)
    server = serve(says(*whole), says(*whole), says(*BARE))
    client = connect()
    (call,) = collect(client, server.messages_url).value.tool_calls
    assert (call.id, call.name, call.arguments) == ("t1", "f", "{}")
    events = stream(client, server.messages_url).events
    assert [(event.kind, tool.arguments) for event in events for tool in event.tools if tool.complete] == [
        (Kind.TOOL_CALL, "{}")
    ]
    cut = stream(client, server.messages_url)
    cut.failed(llmwatch.StreamTruncated)
    assert not any(tool.complete for event in cut.events for tool in event.tools)


def test_a_response_in_its_last_event_alone_is_an_answer(serve: Serve, connect: Connect) -> None:
    """A server that streams nothing and gives all in ``response.completed`` has given an answer."""
    server = serve(says(responses.event("created"), responses.event("completed", response=responses.ANSWER)))
    client = connect()
    outcome = collect(client, server.responses_url)
    assert outcome.done().empty is False
    assert (outcome.value.text, [call.name for call in outcome.value.tool_calls]) == ("Hi!", ["f"])
    assert "".join(event.text for event in stream(client, server.responses_url).events) == "Hi!"


def test_a_registered_dialect_without_an_end_keeps_its_calls(serve: Serve, connect: Connect) -> None:
    """A registered dialect whose answers end with the body loses none of its calls."""

    def function(event: Event) -> Meaning:
        return Meaning(Kind.TOOL_CALL, tools=(ToolDelta("k", None, "f", "{}", complete=True),))

    register_dialect("endless", function, accepts_eof=True)
    try:
        server = serve(says("x"))
        (call,) = collect(connect(dialect="endless"), server.chat_url).value.tool_calls
        assert call.name == "f"
    finally:
        unregister_dialect("endless")


ACTED = {
    "echoed": (responses.event("created", response={"tools": [{"type": "mcp"}]}),),
    "begun": (responses.event("created"), responses.event("mcp_call.in_progress", item_id="m")),
    "ran": (responses.event("created"), responses.item("mcp_call", output="done")),
}
READ = (responses.event("created", response={"tools": [{"type": "web_search"}]}), responses.item("web_search_call"))


@pytest.mark.parametrize("what", ACTED)
@pytest.mark.parametrize("entry_point", ["stream", "collect", "session", "whole session"])
def test_a_provider_tool_in_the_answer_needs_a_person(
    serve: Serve, connect: Connect, entry_point: str, what: str
) -> None:
    """A cut after a provider's tool is for a person to decide, at every entry point.

    This holds although the request has no tools, unless the user allowed the resend.
    """
    events = ACTED[what]
    server = serve(says(*events, ends=False))
    error = asked(connect, entry_point, server.responses_url, QUICK)
    assert error.recovery is not None
    assert (error.recovery.decision, error.recovery.reason) == (
        Decision.CONFIRM,
        "tool_call_delivered" if what == "ran" and entry_point in ("stream", "session") else "provider_tools",
    )
    assert len(server.requests) == 1
    assert error.record is not None
    assert error.record.attempts[0].facts["provider_acted"] is True
    if what != "ran":
        asked(connect, entry_point, server.responses_url, Retry(backoff=0, resend_with_tools=True))
        assert len(server.requests) == 4


@pytest.mark.parametrize("entry_point", ["collect", "whole session"])
def test_a_read_only_tool_in_the_answer_allows_a_resend(serve: Serve, connect: Connect, entry_point: str) -> None:
    """A search that the answer shows costs no resend."""
    server = serve(says(*READ, ends=False))
    error = asked(connect, entry_point, server.responses_url, QUICK)
    assert error.record is not None
    assert error.record.attempts[0].facts["provider_acted"] is False
    assert len(server.requests) == 2


def asked(connect: Connect, entry_point: str, url: str, retry: Retry) -> llmwatch.LLMWatchError:
    """The outcome of a call through an entry point."""
    if entry_point in ("stream", "collect"):
        outcome = (stream if entry_point == "stream" else collect)(connect(retry=retry), url)
        assert isinstance(outcome.error, llmwatch.LLMWatchError)
        return outcome.error
    with llmwatch.Session(retry=retry) as session, pytest.raises(llmwatch.LLMWatchError) as caught:
        response = session.post(url, json=asking(), stream=entry_point == "session")
        for _ in response.iter_content(None):
            pass
    return caught.value


@pytest.mark.parametrize("entry_point", [stream, collect])
def test_the_end_of_the_first_choice_starts_no_drain(serve: Serve, connect: Connect, entry_point: Any) -> None:
    """With ``n=2``, the first choice's end starts no drain: the second may take its time to begin."""
    late = (chat.chunk({"content": "a"}, "stop"), chat.chunk({"content": "b"}, index=1), chat.chunk(None, "stop", 1))
    server = serve(says(*late, "[DONE]", every=LIMIT))
    client = connect(limits=Limits(drain=BEAT))
    outcome = entry_point(client, server.chat_url, json=asking(n=2))
    outcome.done()
    assert "".join(event.text for event in outcome.events) == "ab"


@pytest.mark.parametrize("entry_point", ["stream", "session"])
def test_a_body_with_a_repeated_key_needs_a_person(serve: Serve, connect: Connect, entry_point: str) -> None:
    """Whether a body whose text has ``tools`` twice exposes MCP is not known: a person decides."""
    server = serve("silent")
    text = json.dumps(asking(tools=[{"type": "mcp"}]))[:-1] + ', "tools": []}'
    limits = Limits(ttfb=LIMIT)
    with llmwatch.Session(limits=limits) as session, pytest.raises(llmwatch.WatchTimeout) as caught:
        if entry_point == "session":
            session.post(server.chat_url, data=text, headers={"content-type": "application/json"})
        raise stream(connect(limits=limits), server.chat_url, json=None, data=text).failed(llmwatch.WatchTimeout)
    assert caught.value.recovery is not None
    assert (caught.value.recovery.decision, caught.value.recovery.reason) == (Decision.CONFIRM, "unreadable_body")
    assert len(server.requests) == 1
