"""Answers out of events."""

from __future__ import annotations

from typing import Any

import pytest

from llmwatch.errors import MalformedEvent
from llmwatch.wire import Collector, Event, Kind, ToolCall, ToolDelta
from tests.rows import each
from tests.wire.dialects import test_gemini as gemini
from tests.wire.dialects.test_anthropic import ASKED, STOP, TOOL, delta, ended
from tests.wire.dialects.test_anthropic import event as typed
from tests.wire.dialects.test_openai_chat import ROLE, call, chunk
from tests.wire.dialects.test_openai_responses import ANSWER
from tests.wire.dialects.test_openai_responses import event as response
from tests.wire.streams import decode

BEGUN = (ROLE, chunk(call(id="c1", name="f")))
WHOLE = (*BEGUN, chunk(call('{"a":')), chunk(call("1}")), chunk(None, "tool_calls"))
STOPPED = typed("message_stop")
FULL = delta("input_json_delta", partial_json='{"a":1}')


def collect(dialect: str, *items: Any) -> Collector:
    """The answer of a body."""
    collector = Collector()
    for event in decode(dialect, *items)[0]:
        collector.add(event)
    return collector


def test_text_and_reasoning_in_order() -> None:
    """Text and reasoning are what was said, in order, and all events are kept."""
    collector = collect(
        "openai-chat",
        ROLE,
        chunk({"reasoning_content": "think "}),
        chunk({"reasoning_content": "hard"}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo"}),
        chunk({"content": "!"}, "stop"),
        "[DONE]",
    )
    assert (collector.text, collector.reasoning, collector.ended) == ("Hello!", "think hard", True)
    assert [event.kind for event in collector.events][-1] is Kind.TERMINAL
    assert len(collector.events) == 7


def test_text_in_the_terminal_event_counts() -> None:
    """A last line that carries text adds it."""
    assert collect("ndjson", {"response": "a", "done": False}, {"response": "b", "done": True}).text == "ab"


def test_a_surrogate_pair_in_two_events_is_joined() -> None:
    """A character that is escaped as two halves in two events comes out whole.

    Half of one does not come out.
    """
    template = b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n'
    body = template % b"\\ud83d" + template % b"\\ude00!"
    collector = Collector()
    for event in decode("openai-chat", body=body)[0]:
        collector.add(event)
    assert collector.text == "\U0001f600!"
    del collector._text[1:]
    assert collector.text == "\ufffd"


@pytest.mark.parametrize(
    ("dialect", "items"),
    [
        ("openai-chat", (*WHOLE, "[DONE]")),
        ("openai-chat", WHOLE),
        ("anthropic", (TOOL, FULL, STOP, STOPPED)),
        (
            "openai-responses",
            (
                response("function_call_arguments.delta", output_index=0, delta='{"a"'),
                response(
                    "output_item.done",
                    output_index=0,
                    item={"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":1}'},
                ),
                response("completed"),
            ),
        ),
        (
            "ndjson",
            (
                {"message": {"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}, "done": False},
                {"done": True},
            ),
        ),
        (
            "gemini",
            (
                {"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": {"a": 1}}}]}}]},
                {"candidates": [{"finishReason": "STOP"}]},
            ),
        ),
    ],
)
def test_a_whole_call_of_an_answer_that_ended(dialect: str, items: tuple[Any, ...]) -> None:
    """A call comes out when its block is complete, its arguments parse and the answer ended.

    It does not come out before.
    """
    collector = collect(dialect, *items)
    (found,) = collector.tool_calls
    assert (found.name, found.json()) == ("f", {"a": 1})
    assert collector.discarded_calls == 0
    open_end = collect(dialect, *items[:-1])
    assert (open_end.tool_calls, open_end.ended) == ((), False) or items[-1] == "[DONE]"


@pytest.mark.parametrize(
    ("dialect", "items"),
    [
        ("openai-chat", (*BEGUN, "[DONE]")),
        ("openai-chat", (*BEGUN, chunk(None, "length"), "[DONE]")),
        ("openai-chat", (*BEGUN, chunk(None, "content_filter"), "[DONE]")),
        ("openai-chat", (*BEGUN, chunk(call('{"a":')), chunk(None, "tool_calls"), "[DONE]")),
        ("openai-chat", (*WHOLE[:-1], chunk(None, "length"), "[DONE]")),
        ("openai-chat", (*WHOLE[:-1], "[DONE]")),
        ("openai-chat", (*BEGUN, chunk(call("1")), chunk(None, "tool_calls"), "[DONE]")),
        ("openai-chat", (ROLE, chunk(call("{}", id="c1")), chunk(None, "tool_calls"), "[DONE]")),
        ("openai-chat", (*WHOLE, {"error": {"message": "boom"}})),
        ("anthropic", (TOOL, STOP, STOPPED)),
        ("anthropic", (TOOL, FULL, STOPPED)),
        ("anthropic", (TOOL, FULL, STOP)),
        ("anthropic", (TOOL, delta("input_json_delta", partial_json='{"a":'), STOP, STOPPED)),
    ],
)
def test_a_call_that_must_not_come_out(dialect: str, items: tuple[Any, ...]) -> None:
    """Empty, cut, open and nameless calls are only counted.

    So are those of an answer that failed or did not end.
    """
    collector = collect(dialect, *items)
    assert (collector.tool_calls, collector.discarded_calls) == ((), 1)


BARE = (TOOL, delta("input_json_delta", partial_json=""), STOP, ASKED, STOPPED)
CUT_CALL = (*BEGUN, chunk(call('{"a":')))


def test_a_closed_anthropic_call_without_input_has_empty_arguments() -> None:
    """A block that was closed is a call with ``{}``.

    The message ended in good order and asks for a tool.
    """
    collector = collect("anthropic", *BARE)
    assert collector.tool_calls == (ToolCall(id="t1", name="f", arguments="{}"),)
    assert (collector.discarded_calls, collector.verdict_at_end()) == (0, None)


@pytest.mark.parametrize(
    "items",
    [
        BARE[:3],
        (TOOL, ASKED, STOPPED),
        (TOOL, STOP, STOPPED),
        (TOOL, STOP, ended("max_tokens"), STOPPED),
        (TOOL, STOP, ended("refusal"), STOPPED),
        (TOOL, STOP, ended("model_context_window_exceeded"), STOPPED),
    ],
)
def test_an_unclosed_anthropic_call_without_input_is_none(items: tuple[Any, ...]) -> None:
    """Cut, never closed, or ended without a reason: zero bytes are no arguments."""
    collector = collect("anthropic", *items)
    assert (collector.tool_calls, collector.discarded_calls) == ((), 1)


@pytest.mark.parametrize(
    ("dialect", "items"),
    [
        ("openai-chat", (*BEGUN, "[DONE]")),
        ("openai-chat", (*CUT_CALL, chunk(None, "tool_calls"), "[DONE]")),
        ("openai-chat", (*CUT_CALL, chunk(None, "stop"), "[DONE]")),
        ("openai-chat", (*CUT_CALL, "[DONE]")),
        ("anthropic", (TOOL, delta("input_json_delta", partial_json='{"a":'), STOP, ASKED, STOPPED)),
        ("anthropic", (TOOL, ASKED, STOPPED)),
        ("anthropic", (delta("input_json_delta", partial_json="{}"), STOP, ASKED, STOPPED)),
        (
            "openai-responses",
            (
                response(
                    "output_item.done",
                    item={"type": "function_call", "name": "f", "arguments": "", "status": "in_progress"},
                ),
                response("completed"),
            ),
        ),
        (
            "openai-responses",
            (response("output_item.added", item={"type": "function_call", "name": "f"}), response("completed")),
        ),
        ("openai-responses", (response("function_call_arguments.delta", delta="{}"), response("completed"))),
        ("gemini", (gemini.BEGUN, gemini.chunk(reason="STOP"))),
        ("ndjson", ({"message": {"tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}}, {"done": True})),
    ],
)
def test_an_answer_that_asks_for_an_incomplete_call_is_an_error(dialect: str, items: tuple[Any, ...]) -> None:
    """The answer ended cleanly and cannot be used.

    The error names the call, and quotes none of its arguments.
    """
    collector = collect(dialect, *items)
    assert (collector.tool_calls, collector.discarded_calls) == ((), 1)
    error = collector.verdict_at_end()
    assert isinstance(error, MalformedEvent)
    assert "of its 1 tool call(s) number 1 cannot" in str(error)


@pytest.mark.parametrize(
    ("dialect", "items"),
    [
        ("openai-chat", (*CUT_CALL, chunk(None, "length"), "[DONE]")),
        ("openai-chat", (*CUT_CALL, chunk(None, "content_filter"), "[DONE]")),
        ("anthropic", (TOOL, delta("input_json_delta", partial_json='{"a":'), STOP, ended("max_tokens"), STOPPED)),
        ("anthropic", (TOOL, ended("refusal"), STOPPED)),
        (
            "openai-responses",
            (response("function_call_arguments.delta", delta="{"), response("incomplete", response={})),
        ),
        ("gemini", (gemini.BEGUN, gemini.chunk(reason="MAX_TOKENS"))),
        (
            "ndjson",
            (
                {"message": {"tool_calls": [{"function": {"name": "f"}}]}},
                {"message": {"content": ""}, "done": True, "done_reason": "length"},
            ),
        ),
    ],
)
def test_an_answer_that_the_provider_cut_is_returned(dialect: str, items: tuple[Any, ...]) -> None:
    """If the provider stopped for the length or by a filter, the cut answer is returned."""
    collector = collect(dialect, *items)
    assert (collector.tool_calls, collector.discarded_calls, collector.verdict_at_end()) == ((), 1, None)


@pytest.mark.parametrize(
    ("begun", "fragment"),
    [({"output_index": 0}, {"output_index": 0}), ({"output_index": 5}, {"item_id": "other"}), ({}, {"item_id": "i"})],
)
def test_a_call_whose_events_are_numbered_badly_is_one_call(begun: dict[str, Any], fragment: dict[str, Any]) -> None:
    """Pieces under other keys of a call that came out whole are not taken for another call."""
    item = {"type": "function_call", "id": "i", "call_id": "c", "name": "f", "arguments": '{"a":1}'}
    collector = collect(
        "openai-responses",
        response("output_item.added", item={**item, "arguments": ""}, **begun),
        response("function_call_arguments.delta", delta='{"a":1}', **fragment),
        response("output_item.done", output_index=0, item=item),
        response("completed", response={"output": [{"type": "reasoning"}, item]}),
    )
    assert collector.tool_calls == (ToolCall(id="c", name="f", arguments='{"a":1}'),)
    assert (collector.discarded_calls, collector.verdict_at_end()) == (0, None)


def test_a_response_in_its_last_event_alone_is_the_answer() -> None:
    """Text and calls that are in the last event alone are the answer."""
    collector = collect("openai-responses", response("created"), response("completed", response=ANSWER))
    assert (collector.text, collector.ended) == ("Hi!", True)
    assert collector.tool_calls == (ToolCall(id="c1", name="f", arguments='{"a":1}'),)


def test_the_end_of_the_body_releases_calls() -> None:
    """An end of the body that the decoder accepts releases the calls; an error is no such end."""
    collector = Collector()
    collector.add(Event("message", "", kind=Kind.TOOL_CALL, tools=(ToolDelta("k", None, "f", "{}", True, True),)))
    assert collector.tool_calls == ()
    collector.end()
    assert [one.name for one in collector.tool_calls] == ["f"]
    failed = collect("openai-chat", *WHOLE, {"error": {"message": "boom"}})
    failed.end()
    assert failed.tool_calls == ()


def test_calls_come_in_the_order_in_which_they_were_begun() -> None:
    """Several calls keep their order, their ids and their own arguments.

    A cut one among them is left out.
    """
    collector = collect(
        "openai-chat",
        ROLE,
        chunk(call('{"n":1}', id="a", name="f", index=0)),
        chunk(call('{"n":', id="b", name="g", index=1)),
        chunk(call('{"n":3}', id="c", name="h", index=2)),
        chunk(None, "tool_calls"),
        "[DONE]",
    )
    assert collector.tool_calls == (
        ToolCall(id="a", name="f", arguments='{"n":1}'),
        ToolCall(id="c", name="h", arguments='{"n":3}'),
    )
    assert collector.discarded_calls == 1
    assert "of its 3 tool call(s) number 2 cannot" in str(collector.verdict_at_end())


def test_content_of_another_choice_opens_the_answer_again() -> None:
    """An answer whose other choice goes on after a finish has not ended."""
    assert collect("openai-chat", *WHOLE, chunk({"content": "x"}, index=1)).ended is False
    assert collect("openai-chat", *WHOLE, {"choices": [], "usage": {"total_tokens": 1}}).ended is True


def test_repr_of_a_call_hides_its_arguments() -> None:
    """Arguments are not printed."""
    assert "secret" not in repr(ToolCall(id="a", name="f", arguments='{"x": "secret"}'))


def refused(category: str | None, explanation: str | None) -> tuple[str, dict[str, Any]]:
    details = {"type": "refusal", "category": category, "explanation": explanation}
    return typed("message_delta", delta={"stop_reason": "refusal", "stop_details": details})


def filtered(**results: bool) -> dict[str, Any]:
    found = {name: {"filtered": result, "severity": "medium"} for name, result in results.items()}
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": "content_filter", "content_filter_results": found}]}


def native(reason: str | None) -> dict[str, Any]:
    choice = {"delta": {}, "finish_reason": "content_filter", "native_finish_reason": reason}
    return {"choices": [{"index": 0, **choice}]}


LOST = {"content": {}, "finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": "Malformed function call: f(x)"}
KEY = "sk-" + "Ab3Cd9Ef1" * 4


@each(
    ("dialect", "items", "reason", "advice"),
    [
        (
            "gemini",
            ({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT", "blockReasonMessage": "not that"}},),
            "PROHIBITED_CONTENT (not that)",
            "change the prompt",
        ),
        ("gemini", ({"promptFeedback": {"blockReason": "OTHER"}},), "OTHER", None),
        (
            "gemini",
            ({"candidates": [{"finishReason": "MAX_TOKENS"}], "usageMetadata": {"thoughtsTokenCount": 65}},),
            "MAX_TOKENS",
            "more tokens",
        ),
        (
            "gemini",
            ({"candidates": [{"finishReason": "SAFETY", "finishMessage": f"bad\n{KEY}"}]},),
            "SAFETY (bad ***)",
            "change the prompt",
        ),
        ("openai-chat", (ROLE, chunk({}, "content_filter"), "[DONE]"), "content_filter", "change the prompt"),
        ("anthropic", (ended("refusal"), STOPPED), "refusal", "change the prompt"),
        ("anthropic", (refused("cyber", "not this"), STOPPED), "refusal (not this)", "change the prompt"),
        ("anthropic", (refused("cyber", None), STOPPED), "refusal (cyber)", "change the prompt"),
        ("anthropic", (refused(None, None), STOPPED), "refusal", "change the prompt"),
        (
            "openai-chat",
            (ROLE, filtered(hate=True, jailbreak=True, violence=False)),
            "content_filter (hate, jailbreak)",
            None,
        ),
        ("openai-chat", (ROLE, filtered()), "content_filter", None),
        ("openai-chat", (ROLE, native("SAFETY")), "content_filter (SAFETY)", None),
        ("openai-chat", (ROLE, native(None)), "content_filter", None),
        ("anthropic", (ended("max_tokens"), STOPPED), "max_tokens", "more tokens"),
        (
            "openai-responses",
            (response("incomplete", response={"incomplete_details": {"reason": "content_filter"}}),),
            "content_filter",
            "change the prompt",
        ),
        ("ndjson", ({"response": "", "done": True, "done_reason": "length"},), "length", "more tokens"),
    ],
)
def test_an_empty_answer_has_the_providers_reason(
    dialect: str, items: tuple[Any, ...], reason: str, advice: str | None
) -> None:
    """The provider's reason with its words, scrubbed, and what to change where that is known."""
    why = collect(dialect, *items).reason_why_empty
    assert why is not None
    assert why.startswith(f"The provider gives a reason: {reason}.")
    assert advice is None or advice in why


def test_words_of_a_reason_are_capped() -> None:
    """A provider's reason of any length leaves the message short."""
    block = {"blockReason": "X" * 9000, "blockReasonMessage": "y " * 9000}
    why = collect("gemini", {"promptFeedback": block}).reason_why_empty
    assert why is not None
    assert len(why) < 700


@pytest.mark.parametrize(
    ("dialect", "items"),
    [
        ("openai-chat", (ROLE, chunk({}, "stop"), "[DONE]")),
        ("openai-chat", (ROLE, "[DONE]")),
        ("anthropic", (ended("end_turn"), STOPPED)),
        ("gemini", ({"candidates": [{"finishReason": "STOP", "finishMessage": "done"}]},)),
    ],
)
def test_a_plain_stop_is_no_reason_for_an_empty_answer(dialect: str, items: tuple[Any, ...]) -> None:
    """A provider that says no more than that it is done does not say why there is nothing."""
    assert collect(dialect, *items).reason_why_empty is None


@pytest.mark.parametrize("before", [(), ({"candidates": [{"content": {"parts": [{"text": "He"}]}}]},)])
@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        (LOST, "MALFORMED_FUNCTION_CALL (Malformed function call: f(x))"),
        ({"finishReason": "UNEXPECTED_TOOL_CALL"}, "UNEXPECTED_TOOL_CALL. The model wrote no valid call"),
    ],
)
def test_the_error_of_a_withheld_call_has_the_providers_reason(
    before: tuple[Any, ...], candidate: dict[str, Any], words: str
) -> None:
    """The error has the provider's reason and its words, and does not blame a proxy."""
    collector = collect("gemini", *before, {"candidates": [candidate]})
    assert (collector.tool_calls, collector.discarded_calls) == ((), 1)
    verdict = collector.verdict_at_end()
    assert isinstance(verdict, MalformedEvent)
    assert words in str(verdict)
    assert "proxy" not in str(verdict)


def test_the_error_of_half_a_call_blames_the_stream() -> None:
    """If the provider asks for a tool and the call is half, the stream was damaged."""
    verdict = collect("openai-chat", *BEGUN, chunk(call("{")), chunk(None, "tool_calls"), "[DONE]").verdict_at_end()
    assert verdict is not None
    assert "proxy" in str(verdict)
