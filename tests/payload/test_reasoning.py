"""Which requests make the model reason first."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmwatch.errors import ConfigError
from llmwatch.payload import reasoning
from llmwatch.payload.reasoning import (
    asks_for_thinking,
    is_reasoning_model,
    model_asked,
    model_of,
    register_reasoning_model,
)
from tests.rows import each


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    before = reasoning._registered
    yield
    reasoning._registered = before


@each(
    "body",
    [
        {"thinking": {"type": "enabled", "budget_tokens": 8000}},
        {"thinking": {"type": "adaptive"}},
        {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 4000}}},
        {"reasoning_effort": "low"},
        {"reasoning_effort": "xhigh"},
        {"reasoning": {"effort": "medium", "summary": "auto"}},
        {"reasoning": {"summary": "auto"}},
        {"reasoning": {"effort": None, "summary": "auto"}},
        {"reasoning": {"enabled": True}},
        {"reasoning": {"max_tokens": 2000}},
        {"generationConfig": {"thinkingConfig": {"thinkingBudget": -1}}},
        {"generationConfig": {"thinkingConfig": {"thinkingBudget": 1024}}},
        {"generationConfig": {"thinkingConfig": {"thinkingLevel": "HIGH"}}},
        {"generationConfig": {"thinkingConfig": {"includeThoughts": True}}},
        {"generation_config": {"thinking_config": {"thinking_budget": 512}}},
        {"think": True},
        {"think": "high"},
        {"enable_thinking": True},
        {"chat_template_kwargs": {"enable_thinking": True}},
        {"chat_template_kwargs": {"thinking": True}},
        {"prompt_mode": "reasoning"},
    ],
    ids=str,
)
def test_every_documented_way_to_ask_for_thinking_is_seen(body: object) -> None:
    """Each provider's documented way to ask for thinking is seen."""
    assert asks_for_thinking(body)


@each(
    "body",
    [
        None,
        [],
        "thinking",
        {},
        {"thinking": {"type": "disabled"}},
        {"thinking": None},
        {"thinking": True},
        {"reasoning_effort": "none"},
        {"reasoning_effort": "minimal"},
        {"reasoning_effort": None},
        {"reasoning": {"effort": "none"}},
        {"reasoning": {"effort": "minimal", "summary": "auto"}},
        {"reasoning": {"enabled": False, "max_tokens": 2000}},
        {"reasoning": {"exclude": True}},
        {"reasoning": {"max_tokens": 0}},
        {"reasoning": {}},
        {"reasoning": None},
        {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0, "includeThoughts": True}}},
        {"generationConfig": {"thinkingConfig": {"thinkingLevel": "minimal"}}},
        {"generationConfig": {"thinkingConfig": {"includeThoughts": False}}},
        {"generationConfig": {"temperature": 1}},
        {"generationConfig": []},
        {"think": False},
        {"think": "none"},
        {"think": None},
        {"enable_thinking": False},
        {"chat_template_kwargs": None},
        {"prompt_mode": None},
        {"messages": [{"role": "user", "content": "reasoning thinking think"}]},
    ],
    ids=str,
)
def test_thinking_that_is_off_or_absent_is_not_asked_for(body: object) -> None:
    """Thinking that is switched off, not mentioned or only talked about is not asked for.

    The shape of the request makes no difference.
    """
    assert not asks_for_thinking(body)


@each(
    "name",
    [
        "o1",
        "o1-preview",
        "o3-mini",
        "openai/o3",
        "o4-mini-2025-04-16",
        "gpt-5",
        "gpt-5-mini",
        "gpt-5.1",
        "openai/gpt-5-pro",
        "gpt-oss-120b",
        "codex-mini-latest",
        "o4-mini-deep-research",
        "sonar-deep-research",
        "claude-opus-4-1",
        "anthropic.claude-opus-4-1-20250805-v1:0",
        "us.anthropic.claude-3-opus-20240229-v1:0",
        "claude-3-opus-latest",
        "gemini-2.5-pro",
        "models/gemini-3-pro-preview",
        "gemini-3.1-pro",
        "deepseek-reasoner",
        "deepseek-r1",
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B",
        "deepseek-r1:8b",
        "qwq",
        "Qwen/QwQ-32B",
        "qvq-max",
        "qwen3-235b-a22b-thinking-2507",
        "kimi-k2-thinking",
        "claude-3-7-sonnet:thinking",
        "magistral-medium-latest",
        "grok-4",
        "grok-4-fast-reasoning",
        "grok-3-mini",
        "phi-4-reasoning-plus",
        "sonar-reasoning-pro",
        "MiniMax-M1",
        "glm-4.6",
    ],
)
def test_known_reasoning_models_are_recognised_by_name(name: str) -> None:
    """Models that think before they answer are known by name, with any prefix, suffix and case."""
    assert is_reasoning_model(name)


@each(
    "name",
    [
        "",
        "gpt-4o",
        "gpt-4o-mini",
        "chatgpt-4o-latest",
        "gpt-4.1",
        "gpt-35-turbo",
        "gpt-3.5-turbo",
        "gpt-5-chat-latest",
        "claude-sonnet-4-5",
        "claude-3-5-haiku-latest",
        "gemini-2.5-flash",
        "gemini-1.5-pro",
        "deepseek-chat",
        "deepseek-v3",
        "qwen3-235b-a22b-instruct-2507",
        "grok-3",
        "grok-4-fast-non-reasoning",
        "grok-2",
        "mistral-large-latest",
        "llama-3.3-70b",
        "command-r-plus",
        "kimi-k2-instruct",
        "qwen-non-thinking",
        "solar-pro1",
        "foo3",
        "glm-4-flash",
    ],
)
def test_other_models_are_not_recognised(name: str) -> None:
    """Models that answer at once, and names that only look similar, do not match."""
    assert not is_reasoning_model(name)


class TestModelOf:
    @pytest.mark.parametrize(
        ("url", "body", "name"),
        [
            ("https://x.example/v1/chat/completions", {"model": "o3"}, "o3"),
            ("https://x.example/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse", {}, "gemini-2.5-pro"),
            ("https://x.example/models/a", {"model": "b"}, "b"),
            (
                "https://x.example/model/us.anthropic.claude-opus-4/converse-stream",
                None,
                "us.anthropic.claude-opus-4",
            ),
            ("https://x.example/openai/deployments/o3/chat/completions?api-version=1", {}, "o3"),
            ("https://x.example/openai/deployments/gpt-5/chat/completions", {}, "gpt-5"),
            ("https://x.example/", {"Model": "hunyuan-t1"}, "hunyuan-t1"),
            ("https://x.example/ml/v1/text/chat", {"model_id": "ibm/granite"}, "ibm/granite"),
            ("https://x.example/foundationModels/v1/completion", {"modelUri": "gpt://f/y"}, "gpt://f/y"),
            ("https://x.example/models/a/b", {}, "a/b"),
            ("https://x.example/v1/chat", {"model": 3}, ""),
            ("https://x.example/v1/models", {}, ""),
            (None, None, ""),
        ],
    )
    def test_the_model_comes_from_the_body_then_the_url(self, url: str | None, body: object, name: str) -> None:
        """The body's model goes first, then the path of the URL."""
        assert model_of(url, body) == name


class TestRegister:
    def test_a_registered_pattern_matches(self) -> None:
        """A pattern counts from the next call on, anywhere in the name and in any case."""
        assert not is_reasoning_model("acme/Ponder-2")
        register_reasoning_model(r"ponder-\d")
        assert is_reasoning_model("acme/Ponder-2")
        assert not is_reasoning_model("acme/Ponder")

    def test_registering_a_pattern_twice_adds_nothing(self) -> None:
        """Registering a pattern again, in a reloaded module say, adds nothing."""
        register_reasoning_model("ponder")
        register_reasoning_model("ponder")
        assert len(reasoning._registered) == 1

    @pytest.mark.parametrize("pattern", ["", "x*", "(", "[a", "a|"])
    def test_an_invalid_pattern_is_a_config_error(self, pattern: str) -> None:
        """A pattern that is no expression, or that matches everything, is a ConfigError."""
        with pytest.raises(ConfigError) as caught:
            register_reasoning_model(pattern)
        assert caught.value.field == "pattern"
        assert reasoning._registered == ()

    def test_the_table_is_documented(self) -> None:
        """Each built-in pattern says what it stands for."""
        assert all(pattern and meaning for pattern, meaning in reasoning.REASONING_MODELS)


@pytest.mark.parametrize(
    ("path", "body", "model"),
    [
        ("/v1/chat/completions", {"model": "gpt-x", "messages": []}, "gpt-x"),
        ("/v1beta/models/gemini-x:streamGenerateContent?alt=sse", {"contents": []}, "gemini-x"),
        ("/openai/deployments/my-gpt/chat/completions?api-version=1", {"messages": []}, "my-gpt"),
        ("/model/anthropic.claude-x-v1%3A0/converse-stream", {"messages": []}, "anthropic.claude-x-v1:0"),
        ("/v1/chat/completions", {"messages": []}, None),
        ("/v1/chat/completions", {"model": {"name": "x"}, "messages": []}, None),
        ("/v1/models/gpt-x", None, None),
        ("/v1/chat/completions", {"model": "50%25", "messages": []}, "50%25"),
    ],
)
def test_the_model_that_is_asked_for(path: str, body: object, model: str | None) -> None:
    """The model stands in the body, or in the URL, where it is percent-encoded."""
    assert model_asked("https://api.example.com" + path, body) == model
