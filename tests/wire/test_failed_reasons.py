"""An answer that ended because its provider failed is no answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from llmwatch.errors import ProviderError
from llmwatch.wire import Collector, Decoder, reasons
from llmwatch.wire.reasons import is_cut
from tests.wire.dialects.test_anthropic import TOOL, ended, start
from tests.wire.dialects.test_anthropic import delta as block_delta
from tests.wire.dialects.test_openai_chat import call, chunk
from tests.wire.frames import chunk_frame
from tests.wire.streams import lines, sse

FAILED = (
    *("error", "ERROR", "failed", "Failed", "failure", "internal_error", "INTERNAL_ERROR", "server_error"),
    *("network_error", "insufficient_system_resource", "timeout", "TIMEOUT", "timed_out", "model_error"),
)
OTHERS = (
    "stop",
    "length",
    "tool_calls",
    "content_filter",
    "error_toxic",
    "error_limit",
    "time_limit",
    "cancelled",
    "x",
)

Wire = tuple[str, tuple[Any, ...], Callable[[str], tuple[Any, ...]]]


def planned(reason: str) -> dict[str, Any]:
    """The end of Cohere's second version."""
    return {"type": "message-end", "delta": {"finish_reason": reason}}


# What each says first, and how it says why the answer ended.
WIRES: dict[str, Wire] = {
    "chat": ("openai-chat", (chunk({"content": "a"}),), lambda reason: (chunk({}, reason), "[DONE]")),
    "chat with a last piece": (
        "openai-chat",
        (chunk({"content": ""}),),
        lambda reason: (chunk({"content": "a"}, reason), "[DONE]"),
    ),
    "completions": (
        "openai-chat",
        ({"choices": [{"index": 0, "text": "a", "finish_reason": None}]},),
        lambda reason: ({"choices": [{"index": 0, "text": "", "finish_reason": reason}]}, "[DONE]"),
    ),
    "messages": (
        "anthropic",
        (start("text", text=""), block_delta("text_delta", text="a"), {"type": "content_block_stop", "index": 0}),
        lambda reason: (ended(reason), {"type": "message_stop"}),
    ),
    "messages in a block": (
        "anthropic",
        (start("text", text=""), block_delta("text_delta", text="a")),
        lambda reason: (ended(reason), {"type": "message_stop"}),
    ),
    "gemini": (
        "gemini",
        ({"candidates": [{"content": {"parts": [{"text": "a"}]}}]},),
        lambda reason: ({"candidates": [{"finishReason": reason}]},),
    ),
    "Ollama": (
        "ndjson",
        ({"message": {"content": "a"}, "done": False},),
        lambda reason: ({"message": {"content": ""}, "done": True, "done_reason": reason},),
    ),
    "cohere": (
        "cohere",
        ({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "a"}}}},),
        lambda reason: (planned(reason),),
    ),
    "baidu": ("baidu", ({"result": "a"},), lambda reason: ({"result": "", "is_end": True, "finish_reason": reason},)),
    "dashscope": (
        "dashscope",
        ({"output": {"text": "a", "finish_reason": "null"}},),
        lambda reason: ({"output": {"text": "a", "finish_reason": reason}},),
    ),
    "tgi": (
        "tgi",
        ({"token": {"text": "a"}},),
        lambda reason: ({"token": {"text": ""}, "generated_text": "a", "details": {"finish_reason": reason}},),
    ),
    "snowflake": (
        "snowflake",
        ({"choices": [{"delta": {"content": "a"}}]},),
        lambda reason: ({"choices": [{"delta": {}, "finish_reason": reason}], "usage": {"total_tokens": 1}},),
    ),
    "sglang": (
        "sglang",
        ({"text": "a", "meta_info": {"finish_reason": None}},),
        lambda reason: ({"text": "a", "meta_info": {"finish_reason": {"type": reason}}}, "[DONE]"),
    ),
    "a make of Bedrock's": (
        "bedrock",
        ({"outputs": [{"text": "a", "stop_reason": None}]},),
        lambda reason: ({"outputs": [{"text": "", "stop_reason": reason}]},),
    ),
    "Converse": (
        "bedrock",
        ({"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "a"}}},),
        lambda reason: ({"messageStop": {"stopReason": reason}},),
    ),
}


def judged(dialect: str, items: tuple[Any, ...]) -> tuple[Collector, Decoder]:
    """The error of a body with these events, and the decoder's verdict."""
    if dialect == "bedrock":
        body = b"".join(map(chunk_frame, items))
    else:
        body = lines(*items) if dialect == "ndjson" else sse(*items)
    decoder, collector = Decoder(dialect, content_type="text/event-stream" if dialect == "cohere" else ""), Collector()
    for event in [*decoder.feed(body), *decoder.end()]:
        collector.add(event)
    return collector, decoder


@pytest.mark.parametrize("reason", FAILED)
def test_a_reason_that_names_a_failure_is_an_error(reason: str) -> None:
    """In any case and dialect, with what was said before it, and worth another try."""
    for wire, (dialect, said, end) in WIRES.items():
        collector, decoder = judged(dialect, (*said, *end(reason)))
        assert isinstance(decoder.error, ProviderError), wire
        assert decoder.error.retryable, wire
        assert reason in str(decoder.error), wire
        assert (collector.text, collector.ended, collector.tool_calls) == ("a", False, ()), wire


@pytest.mark.parametrize("reason", OTHERS)
def test_any_other_reason_is_no_failure(reason: str) -> None:
    """A length, a filter, a limit of the caller's, and an unknown word."""
    for wire, (dialect, said, end) in WIRES.items():
        collector, decoder = judged(dialect, (*said, *end(reason)))
        assert (collector.text, decoder.error) == ("a", None), wire


def test_a_length_or_filter_reason_marks_a_cut() -> None:
    """Every word that is read as one of the two, and none that is read as an end in good order."""
    for reason, words in reasons._WORDS.items():
        for word in words:
            assert is_cut(word) is is_cut(word.upper()) is (reason in ("length", "content_filter")), word
    assert all(map(is_cut, ("cancelled", "time_limit", "network_error")))
    assert not any(map(is_cut, ("", "a word", None, 5)))


@pytest.mark.parametrize("reason", FAILED)
def test_a_failure_closes_no_call(reason: str) -> None:
    """A call of which nothing but the name came, or all, is not asked for."""
    for arguments in ("", '{"x":1}', '{"x"'):
        begun = chunk(call(arguments, id="c", name="w"))
        collector, decoder = judged("openai-chat", (begun, chunk({}, reason), "[DONE]"))
        assert isinstance(decoder.error, ProviderError)
        assert (collector.tool_calls, collector.discarded_calls) == ((), 1)
        assert not any(piece.complete for event in collector.events for piece in event.tools)
    collector, decoder = judged("anthropic", (TOOL, ended(reason), {"type": "message_stop"}))
    assert isinstance(decoder.error, ProviderError)
    assert (collector.tool_calls, collector.discarded_calls) == ((), 1)


@pytest.mark.parametrize("reason", ["error", "network_error"])
def test_one_failed_choice_fails_the_answer(reason: str) -> None:
    """The others do not make an answer of it, wherever it stands in its chunk."""
    choices = [{"index": 0, "delta": {}, "finish_reason": "stop"}, {"index": 1, "delta": {}, "finish_reason": reason}]
    for ordered in (choices, choices[::-1]):
        _, decoder = judged("openai-chat", (chunk({"content": "a"}), {"choices": ordered}, "[DONE]"))
        assert isinstance(decoder.error, ProviderError)


def test_a_final_error_beside_a_failure_reason_is_not_retryable() -> None:
    """An error that says that the request is wrong is not asked again."""
    wrong = {"code": 400, "message": "the prompt is too long"}
    _, decoder = judged("openai-chat", (chunk({"content": "a"}), chunk({}, "error", error=wrong), "[DONE]"))
    assert isinstance(decoder.error, ProviderError)
    assert not decoder.error.retryable
    assert "too long" in str(decoder.error)
