"""Which segments of a path count as a key."""

from __future__ import annotations

import pytest

from llmwatch.redaction.patterns import looks_like_a_key, scrub


@pytest.mark.parametrize(
    "segment",
    [
        "sk-0123456789",
        "botsk-proj----------------_abcd",
        "AbC123dEf456GhI789jKl",
        "bot123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11",
        "0123456789abcdef0123456789abcdef",
        "thread_AbC123dEf456GhI789jKl",
        "key=abc",
        "550e8400-e29b-41d4-a716-446655440000",
    ],
)
def test_known_makes_named_values_and_long_runs_are_keys(segment: str) -> None:
    """Known makes, named values and long runs of letters with digits are taken for keys."""
    assert looks_like_a_key(segment)


@pytest.mark.parametrize(
    "segment",
    [
        "",
        "v1",
        "chat",
        "completions",
        "v1beta",
        "openai.azure.com",
        "deployments",
        "gpt-4o-mini-2024-07-18",
        "gemini-2.5-pro:streamGenerateContent",
        "Llama-3.3-70B-Instruct",
        "Qwen3-235B-A22B-Instruct-2507-FP8",
        "invoke-with-response-stream",
        "my-project-123",
        "us-central1",
    ],
)
def test_words_of_provider_paths_are_no_keys(segment: str) -> None:
    """Parts of providers' paths are kept: versions, models, regions, methods."""
    assert not looks_like_a_key(segment)
    assert scrub(segment) == segment
