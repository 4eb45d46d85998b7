"""Deciding from a request whether the model reasons before it answers."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from functools import cache
from urllib.parse import unquote

from llmwatch.at_fork import renew_in_child
from llmwatch.errors import ConfigError
from llmwatch.payload.endpoints import endpoints_at

__all__ = [
    "REASONING_MODELS",
    "asks_for_thinking",
    "is_reasoning_model",
    "model_asked",
    "model_of",
    "register_reasoning_model",
]

REASONING_MODELS: tuple[tuple[str, str], ...] = (
    (r"(?<![a-z0-9])o[134](?![a-z0-9])", "OpenAI o1, o3, o4 and their variants"),
    (r"gpt-[5-9](?![0-9])(?!.*chat)", "OpenAI GPT-5 and later, but not the chat variants, which do not reason"),
    (r"gpt-oss", "OpenAI open-weight models"),
    (r"codex|deep-research", "OpenAI and others: long-running agents"),
    (r"claude-(?:[0-9][0-9.-]*-)?opus", "Anthropic Opus: minutes of silence on large prompts, thinking or not"),
    (r"gemini-(?:2\.5|[3-9][0-9.]*)-pro", "Gemini Pro, whose thinking cannot be turned off"),
    (r"deepseek-r[0-9]|(?<![a-z0-9])r1(?![a-z0-9])", "DeepSeek R1 and its distillates"),
    (r"(?<![a-z])q[wv]q", "Qwen QwQ and QvQ"),
    (r"magistral", "Mistral Magistral"),
    (r"grok-(?:3-mini|[4-9](?!.*non-reasoning))", "xAI Grok from 4 on, and 3-mini"),
    (r"glm-(?:z1|4\.[5-9]|[5-9])|minimax-m[0-9]", "Zhipu GLM and MiniMax, thinking unless told not to"),
    (r"(?<!non-)(?<!no-)(?<![a-z])thinking", "*-thinking, of any provider"),
    (r"(?<!non-)(?<![a-z])reason(?:er|ing)", "*-reasoner and *-reasoning, of any provider"),
)
"""Models that reason before they answer: a regular expression, and the models that it matches.

The expression is searched in the model's name, ignoring case. Source: the providers' model lists.
:func:`register_reasoning_model` adds patterns.
"""

_registered: tuple[re.Pattern[str], ...] = ()
_registering = threading.Lock()  # serialises the writers of _registered; readers take the tuple as it is
renew_in_child(globals(), "_registering", threading.Lock)

# The common field, and those of watsonx, Yandex and Hunyuan.
_MODEL_FIELDS = ("model", "model_id", "modelUri", "Model")
_MODEL_IN_URL = re.compile(r"/(?:models?|deployments|engines)/([^:?#]+)", re.IGNORECASE)
_NO_EFFORT = ("none", "minimal", "off", "disabled")


def register_reasoning_model(pattern: str) -> None:
    """Treat models whose name matches ``pattern`` as reasoning models, in this process, from now on.

    ``pattern`` is a regular expression, searched in the name ignoring case. Raises
    :class:`~llmwatch.errors.ConfigError` for a pattern that matches the empty text or cannot be compiled.
    """
    global _registered
    compiled = compiled_pattern(pattern, "model, the empty name")
    with _registering:
        if compiled not in _registered:
            _registered = (*_registered, compiled)


def compiled_pattern(pattern: str, everything: str) -> re.Pattern[str]:
    """The ``pattern`` of a registration, compiled to ignore case.

    Raises :class:`~llmwatch.errors.ConfigError` for a pattern that cannot be compiled, or that matches the empty text
    and so ``everything``, which the message names.
    """
    try:
        compiled = re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise ConfigError(f"{pattern!r} is no regular expression: {error}.", field="pattern", value=pattern) from None
    if compiled.search("") is not None:
        raise ConfigError(f"{pattern!r} matches every {everything} too.", field="pattern", value=pattern)
    return compiled


def is_reasoning_model(name: str) -> bool:
    """Whether the model ``name`` is known or registered as a reasoning model."""
    return _built_in().search(name) is not None or any(pattern.search(name) for pattern in _registered)


@cache
def _built_in() -> re.Pattern[str]:
    # Compiled at the first call, to keep the import fast.
    return re.compile("|".join(pattern for pattern, _ in REASONING_MODELS), re.IGNORECASE)


def model_of(url: str | None, body: object) -> str:
    """The model named in the body, else in the URL (Gemini, Bedrock, Azure, ...); else ``""``."""
    if isinstance(body, Mapping):
        for field in _MODEL_FIELDS:
            name = body.get(field)
            if isinstance(name, str) and name:
                return name
    if not url:
        return ""
    for _, named in endpoints_at(url):
        if named:
            return named
    match = _MODEL_IN_URL.search(url)
    return match[1] if match else ""


def model_asked(url: str, body: object) -> str | None:
    """The model that a request with the parsed JSON ``body`` asks for.

    A name in the URL is percent-decoded. ``None`` for a body that is no JSON object, and where no model is named.
    """
    if not isinstance(body, Mapping):
        return None
    named = model_of(url, body)
    return (unquote(named) if "%" in named and named in url else named) or None


def asks_for_thinking(body: object) -> bool:
    """Whether a parsed JSON ``body`` asks the model to reason, in any of the providers' documented ways.

    =========================== ====================================================================================
    Anthropic, DeepSeek, Zhipu  ``thinking`` with a ``type`` of ``enabled``, ``adaptive`` or ``auto``
    Bedrock                     the same within ``additionalModelRequestFields``
    OpenAI, OpenRouter, xAI     ``reasoning`` or ``reasoning_effort`` with an effort above ``minimal``
    Gemini                      ``generationConfig.thinkingConfig`` with a budget other than 0 or a level above minimal
    Ollama                      ``think`` true or a level
    Qwen, vLLM                  ``enable_thinking``, also within ``chat_template_kwargs`` (there also ``thinking``)
    Mistral                     ``prompt_mode`` ``reasoning``
    =========================== ====================================================================================
    """
    if not isinstance(body, Mapping):
        return False
    return (
        _anthropic(body)
        or _effort(body.get("reasoning_effort"))
        or _reasoning(body.get("reasoning"))
        or _gemini(body.get("generationConfig") or body.get("generation_config"))
        or _level(body.get("think"))
        or body.get("enable_thinking") is True
        or _inside(body, "chat_template_kwargs").get("enable_thinking") is True
        or _inside(body, "chat_template_kwargs").get("thinking") is True
        or body.get("prompt_mode") == "reasoning"
        or _anthropic(_inside(body, "additionalModelRequestFields"))
    )


def _inside(body: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = body.get(key)
    return value if isinstance(value, Mapping) else {}


def _level(value: object) -> bool:
    return _effort(value) if isinstance(value, str) else value is True


def _effort(value: object) -> bool:
    return isinstance(value, str) and bool(value) and value.lower() not in _NO_EFFORT


def _anthropic(body: Mapping[str, object]) -> bool:
    return _inside(body, "thinking").get("type") in ("enabled", "adaptive", "auto")


def _reasoning(value: object) -> bool:
    if not isinstance(value, Mapping) or value.get("enabled") is False:
        return False
    if value.get("effort") is not None:
        return _effort(value["effort"])
    # Without an effort the model uses its default, which is to reason.
    rest = (setting for key, setting in value.items() if key not in ("effort", "exclude"))
    return any(setting is not None and setting != 0 for setting in rest)


def _gemini(config: object) -> bool:
    if not isinstance(config, Mapping):
        return False
    thinking = config.get("thinkingConfig") or config.get("thinking_config")
    if not isinstance(thinking, Mapping):
        return False
    budget = thinking.get("thinkingBudget", thinking.get("thinking_budget"))
    if budget is not None:
        return bool(budget)
    level = thinking.get("thinkingLevel", thinking.get("thinking_level"))
    if level is not None:
        return _effort(level)
    return (thinking.get("includeThoughts") or thinking.get("include_thoughts")) is True
