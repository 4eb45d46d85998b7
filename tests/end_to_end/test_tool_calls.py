"""Tool calls that are cut, or whole before the cut."""

from __future__ import annotations

import pytest

import llmwatch
from llmwatch import Decision, Kind, Limits, LLMWatchError
from llmwatch.faults.catalogue import ANSWER, TOOL_ARGUMENTS, TOOL_ID, TOOL_NAME
from tests.end_to_end.calls import SHAPES, collect, endpoint, stream
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.rebuilt import DONE, chunk, rebuilt
from tests.end_to_end.times import BEAT, LIMIT

TOOLS = {"tools": [{"type": "function", "function": {"name": TOOL_NAME}}]}


@pytest.mark.parametrize("what", ["half", "none"])
@pytest.mark.parametrize("cut", ["eof", "reset"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_cut_tool_call_is_not_delivered(serve: Serve, connect: Connect, shape: str, cut: str, what: str) -> None:
    """A call whose arguments are cut, or never came, is not delivered as one; no resend, ``CONTINUE``."""
    server = serve(f"tool-call-cut:what={what},cut={cut}")
    outcome = stream(connect(), endpoint(server, shape))
    assert type(outcome.error) in (llmwatch.StreamTruncated, llmwatch.StreamCut)
    assert isinstance(outcome.error, LLMWatchError)
    assert outcome.error.recovery is not None
    if cut == "eof":
        # A reset may overtake events that were not read yet.
        assert "tool_input" in outcome.kinds
        assert outcome.error.recovery.decision is Decision.CONTINUE
        assert outcome.error.recovery.reason == "tool_input_delivered"
        assert len(server.requests) == 1
    assert "tool_call" not in outcome.kinds
    assert not any(delta.complete for event in outcome.events for delta in event.tools)


@pytest.mark.parametrize("what", ["half", "none"])
@pytest.mark.parametrize("shape", SHAPES)
def test_collect_resends_a_cut_tool_call_once(serve: Serve, connect: Connect, shape: str, what: str) -> None:
    """``collect`` discards the fragment of a tool call, asks once more, and returns the whole call alone."""
    server = serve(f"tool-call-cut:what={what}", f"tool-arguments-only:count=4,every={BEAT / 10}")
    outcome = collect(connect(), endpoint(server, shape))
    record = outcome.done("recovered")
    (call,) = outcome.value.tool_calls
    assert (call.id, call.name, call.arguments) == (TOOL_ID, TOOL_NAME, TOOL_ARGUMENTS)
    assert record.decisions[0].reason == "partial_discarded"
    assert len(server.requests) == 2
    server = serve(f"tool-call-cut:what={what}")
    error = collect(connect(), endpoint(server, shape)).failed(llmwatch.StreamTruncated)
    assert error.recovery is not None
    assert error.recovery.decision is Decision.STOP
    assert len(server.requests) == 2


@pytest.mark.parametrize("what", ["half", "none"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_tool_call_that_ran_out_of_tokens_is_not_returned(
    serve: Serve, connect: Connect, shape: str, what: str
) -> None:
    """An answer that ends in good order in the middle of a tool call has no such call in it."""
    server = serve(f"tool-call-cut:what={what},cut=terminal,tokens=2")
    outcome = collect(connect(), endpoint(server, shape))
    outcome.done()
    assert outcome.value.tool_calls == ()
    assert outcome.value.text
    assert "tool_call" not in outcome.kinds
    assert len(server.requests) == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_a_whole_tool_call_before_a_cut_forbids_a_resend(serve: Serve, connect: Connect, shape: str) -> None:
    """A complete tool call may have been carried out: it is delivered, nothing is resent, ``CONFIRM``."""
    server = serve("tool-call-complete-then-cut:cut=eof")
    outcome = stream(connect(), endpoint(server, shape))
    if outcome.error is None:
        # Chat completions end with their finish, which an end of file may follow.
        assert shape == "openai-chat"
    else:
        error = outcome.failed(llmwatch.StreamTruncated)
        assert error.recovery is not None
        assert (error.recovery.decision, error.recovery.reason) == (Decision.CONFIRM, "tool_call_delivered")
    (whole,) = [event for event in outcome.events if event.kind is Kind.TOOL_CALL]
    assert any(delta.complete for delta in whole.tools)
    assert len(server.requests) == 1


@pytest.mark.parametrize("shape", ["openai-responses", "anthropic"])
def test_collect_does_not_return_a_tool_call_of_an_answer_that_was_cut(
    serve: Serve, connect: Connect, shape: str
) -> None:
    """A whole tool call without the end of its answer is discarded by ``collect``, which asks once more."""
    server = serve("tool-call-complete-then-cut:cut=eof", "healthy")
    outcome = collect(connect(), endpoint(server, shape))
    outcome.done("recovered")
    assert outcome.value.tool_calls == ()
    assert outcome.value.text == ANSWER
    assert len(server.requests) == 2


BARE = chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "w", "arguments": ""}}]}, "tool_calls")
MORE = chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"x":1}'}}]}, "tool_calls")


@pytest.mark.parametrize(
    ("pieces", "ends", "end", "arguments"),
    [
        ((BARE, DONE), "clean", "terminal", "{}"),
        ((BARE,), "clean", "eof", "{}"),
        ((BARE,), "open", "finish", "{}"),
        ((BARE, MORE, DONE), "clean", "terminal", '{"x":1}'),
        ((BARE, MORE), "clean", "eof", '{"x":1}'),
    ],
)
def test_a_call_in_the_finish_event_is_delivered_once(
    serve: Serve, connect: Connect, pieces: tuple[bytes, ...], ends: str, end: str, arguments: str
) -> None:
    """The call is whole without arguments if none follow, however the answer ends, and else with them."""
    server = serve(rebuilt(*pieces, end=ends))
    client = connect(limits=Limits(finish=LIMIT))
    answer = collect(client, server.chat_url).value
    assert [(call.name, call.arguments) for call in answer.tool_calls] == [("w", arguments)]
    assert answer.end == end
    outcome = stream(client, server.chat_url)
    outcome.done()
    complete = [delta for event in outcome.events for delta in event.tools if delta.complete]
    # Where a limit says that it is over, no event can.
    assert len(complete) == (ends == "clean")
    assert len(server.requests) == 2
