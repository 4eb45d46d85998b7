"""What an answer cost and why it ended, in the same words for every provider."""

from __future__ import annotations

from typing import Any

import pytest

from llmwatch.wire import Collector, Decoder
from llmwatch.wire.reasons import REASONS, normalised
from llmwatch.wire.usage import Usage, merged
from tests.wire.dialects.test_anthropic import STOP, TOOL, delta, ended
from tests.wire.dialects.test_anthropic import event as typed
from tests.wire.dialects.test_anthropic import start as begun
from tests.wire.dialects.test_openai_chat import call, chunk
from tests.wire.dialects.test_openai_responses import event as response
from tests.wire.streams import lines, sse


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 3,
                "total_tokens": 8,
                "completion_tokens_details": {"reasoning_tokens": 2},
                "prompt_tokens_details": {"cached_tokens": 4},
            },
            (5, 3, 8, 2, 4),
        ),
        ({"input_tokens": 5, "output_tokens": 3, "output_tokens_details": {"reasoning_tokens": 2}}, (5, 3, 8, 2, None)),
        ({"input_tokens": 5, "output_tokens": 3, "cache_read_input_tokens": 4}, (5, 3, 8, None, 4)),
        (
            {"promptTokenCount": 5, "candidatesTokenCount": 1, "thoughtsTokenCount": 2, "totalTokenCount": 8},
            (5, 3, 8, 2, None),
        ),
        ({"prompt_eval_count": 5, "eval_count": 3}, (5, 3, 8, None, None)),
        ({"inputTokens": 5, "outputTokens": 3, "totalTokens": 8}, (5, 3, 8, None, None)),
        (
            {"inputTokenCount": 5, "outputTokenCount": 3, "cacheReadInputTokenCount": 4, "invocationLatency": 9},
            (5, 3, 8, None, 4),
        ),
        (
            {"models": [{"model_id": "a", "input_tokens": 5, "output_tokens": 3}, {"input_tokens": 2}, {"x": 1}, 7]},
            (7, 3, 10, None, None),
        ),
        ({"models": [{"input_tokens": 5}], "input_tokens": 9}, (9, None, None, None, None)),
        ({"models": {"input_tokens": 5}}, (None, None, None, None, None)),
        ({"tokens": {"input_tokens": 5, "output_tokens": 3.0}}, (5, 3, 8, None, None)),
        ({"generated_tokens": 3}, (None, 3, None, None, None)),
        ({"prompt_tokens": True, "completion_tokens": "3"}, (None, None, None, None, None)),
    ],
)
def test_token_counts_are_in_common_words(said: dict[str, Any], counts: tuple[int | None, ...]) -> None:
    """Input, output, total, reasoning and cached tokens, and the provider's own words beside them."""
    usage = Usage.of(said)
    found = usage.input_tokens, usage.output_tokens, usage.total_tokens, usage.reasoning_tokens, usage.cached_tokens
    assert found == counts
    assert usage.provider == said


def test_later_counts_add_to_earlier_ones() -> None:
    """The later one adds to the earlier one, and null takes nothing back."""
    assert merged({"input_tokens": 5, "output_tokens": 1}, {"output_tokens": 3, "input_tokens": None}) == {
        "input_tokens": 5,
        "output_tokens": 3,
    }


@pytest.mark.parametrize(
    ("word", "calls", "reason"),
    [
        ("stop", False, "stop"),
        ("STOP", True, "tool_calls"),
        ("end_turn", False, "stop"),
        ("COMPLETE", False, "stop"),
        ("MAX_TOKENS", True, "length"),
        ("max_output_tokens", False, "length"),
        ("tool_use", False, "tool_calls"),
        ("SAFETY", False, "content_filter"),
        ("refusal", True, "content_filter"),
        ("MALFORMED_FUNCTION_CALL", False, "other"),
    ],
)
def test_finish_reasons_are_in_common_words(word: str, calls: bool, reason: str) -> None:
    """The same reason for the same end, whatever the provider calls it."""
    assert normalised(word, calls=calls) == reason
    assert reason in REASONS


def start(**usage: Any) -> tuple[str, dict[str, Any]]:
    return typed("message_start", message={"usage": usage})


OPENED = (begun("text", text=""), delta("text_delta", text="hi"))
CALL_AT_1 = (begun("tool_use", 1, id="t", name="f"), delta("input_json_delta", 1, partial_json="{}"))
CHAT_CALL = chunk(call("{}", id="c", name="f"))


@pytest.mark.parametrize(
    ("dialect", "items", "word", "reason", "cut", "tokens"),
    [
        (
            "openai-chat",
            (
                chunk({"content": "a"}),
                chunk(None, "stop"),
                {"choices": [], "usage": {"completion_tokens": 3}},
                "[DONE]",
            ),
            "stop",
            "stop",
            False,
            3,
        ),
        ("openai-chat", (chunk({"content": "a"}), chunk(None, "length"), "[DONE]"), "length", "length", True, None),
        ("openai-chat", (CHAT_CALL, chunk(None, "stop"), "[DONE]"), "stop", "tool_calls", False, None),
        ("openai-chat", (chunk({"content": "a"}), "[DONE]"), None, None, False, None),
        (
            "anthropic",
            (start(input_tokens=5, output_tokens=1), TOOL, STOP, ended("tool_use"), typed("message_stop")),
            "tool_use",
            "tool_calls",
            False,
            1,
        ),
        ("anthropic", (start(), ended("max_tokens"), typed("message_stop")), "max_tokens", "length", True, None),
        (
            "anthropic",
            (*OPENED, ended("max_tokens"), STOP, typed("message_stop")),
            "max_tokens",
            "length",
            True,
            None,
        ),
        ("anthropic", (*OPENED, ended("end_turn"), typed("message_stop")), "end_turn", "stop", False, None),
        ("anthropic", (*OPENED, STOP, typed("message_stop")), None, None, False, None),
        (
            "anthropic",
            (
                typed("message_start", message={"content": [{"type": "text", "text": "a"}], "stop_reason": "end_turn"}),
                typed("message_stop"),
            ),
            "end_turn",
            "stop",
            False,
            None,
        ),
        (
            "anthropic",
            (*OPENED, *CALL_AT_1, ended("tool_use"), typed("message_stop")),
            "tool_use",
            "tool_calls",
            False,
            None,
        ),
        (
            "openai-responses",
            (response("completed", response={"status": "completed", "usage": {"output_tokens": 3}}),),
            "completed",
            "stop",
            False,
            3,
        ),
        (
            "openai-responses",
            (response("incomplete", response={"incomplete_details": {"reason": "max_output_tokens"}}),),
            "max_output_tokens",
            "length",
            True,
            None,
        ),
        (
            "gemini",
            ({"candidates": [{"finishReason": "SAFETY"}], "usageMetadata": {"candidatesTokenCount": 3}},),
            "SAFETY",
            "content_filter",
            True,
            3,
        ),
        (
            "ndjson",
            ({"response": "a"}, {"done": True, "done_reason": "stop", "eval_count": 3}),
            "stop",
            "stop",
            False,
            3,
        ),
    ],
)
def test_every_dialect_gives_reason_and_output_tokens(
    dialect: str, items: tuple[Any, ...], word: str | None, reason: str | None, cut: bool, tokens: int | None
) -> None:
    """The provider's own word, ours, whether it was cut, and the tokens of output."""
    collector = Collector()
    for event in Decoder(dialect).feed(lines(*items) if dialect == "ndjson" else sse(*items)):
        collector.add(event)
    assert (collector.provider_finish_reason, collector.finish_reason, collector.cut) == (word, reason, cut)
    assert (None if collector.usage is None else collector.usage.output_tokens) == tokens


@pytest.mark.parametrize(
    ("dialect", "items"),
    [
        ("openai-chat", (chunk({"content": "a"}), chunk(None, "length"), "[DONE]")),
        (
            "openai-chat",
            (CHAT_CALL, chunk(None, "length"), {"choices": [], "usage": {"completion_tokens": 3}}, "[DONE]"),
        ),
        (
            "gemini",
            (
                {"candidates": [{"content": {"parts": [{"text": "a"}]}}]},
                {"candidates": [{"finishReason": "MAX_TOKENS"}]},
            ),
        ),
    ],
)
def test_the_reason_of_fewer_choices_is_kept(dialect: str, items: tuple[Any, ...]) -> None:
    """The choice that came says why it ended, although another one never did."""
    collector = Collector()
    for event in Decoder(dialect, choices=2).feed(sse(*items)):
        collector.add(event)
    assert (collector.finish_reason, collector.cut) == ("length", True)
