"""Token counts of an answer, under the same names for every provider."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Usage", "merged", "tokens_of"]

# The providers' names, in order of precedence. OpenAI's two APIs and compatible servers; Anthropic; Google; Ollama;
# Bedrock, in Converse and beside wrapped events; Cohere; TGI; llama.cpp.
_INPUT = (
    "prompt_tokens",
    "input_tokens",
    "promptTokenCount",
    "prompt_eval_count",
    "inputTokens",
    "inputTokenCount",
    "tokens_evaluated",
)
_OUTPUT = (
    "completion_tokens",
    "output_tokens",
    "candidatesTokenCount",
    "eval_count",
    "outputTokens",
    "outputTokenCount",
    "generated_tokens",
    "tokens_predicted",
)
_TOTAL = ("total_tokens", "totalTokenCount", "totalTokens")
_REASONING = ("reasoning_tokens", "thoughtsTokenCount")
_CACHED = (
    "cached_tokens",
    "cache_read_input_tokens",
    "cachedContentTokenCount",
    "cacheReadInputTokens",
    "cacheReadInputTokenCount",
    "prompt_cache_hit_tokens",
)
# Cohere counts billed units and tokens; other providers count the latter.
_INSIDE = (
    "tokens",
    "billed_units",
    "prompt_tokens_details",
    "completion_tokens_details",
    "input_tokens_details",
    "output_tokens_details",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Counts of tokens; ``None`` without a count. ``provider`` has the provider's own fields.

    ``input_tokens`` is the provider's count. It includes cached tokens, except with Anthropic, which counts these
    separately. ``output_tokens`` includes reasoning; Google counts reasoning separately, and llmwatch adds it.
    ``total_tokens`` is the provider's count, or else the sum of the two.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    provider: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, counts: Mapping[str, Any]) -> Usage:
        """The counts in a provider's fields ``said``."""
        given, spent = _count(counts, _INPUT), _count(counts, _OUTPUT)
        reasoning = _count(counts, _REASONING)
        if "thoughtsTokenCount" in counts and reasoning is not None:
            spent = (spent or 0) + reasoning
        total = _count(counts, _TOTAL)
        if total is None and given is not None and spent is not None:
            total = given + spent
        return cls(
            input_tokens=given,
            output_tokens=spent,
            total_tokens=total,
            reasoning_tokens=reasoning,
            cached_tokens=_count(counts, _CACHED),
            provider=dict(counts),
        )


_FIELDS = ("input_tokens", "output_tokens", "total_tokens", "reasoning_tokens", "cached_tokens")
_FIELD_OF = {
    name: field
    for field, names in zip(_FIELDS, (_INPUT, _OUTPUT, _TOTAL, _REASONING, _CACHED), strict=True)
    for name in names
}


def tokens_of(counts: Mapping[str, Any]) -> dict[str, int]:
    """The counts of :meth:`Usage.of` that are known, by the names of :class:`Usage`.

    The common case is one pass and one call of a function; whatever is ambiguous goes through :meth:`Usage.of`.
    """
    found: dict[str, int] = {}
    places = [counts]
    for place in places:
        for name, value in place.items():
            if value.__class__ is int:
                known = _FIELD_OF.get(name)
                if known is None:
                    continue
                if known in found or name == "thoughtsTokenCount":
                    return _all_of(counts)
                found[known] = value
            elif value.__class__ is float or name == "models":
                return _all_of(counts)
            elif value.__class__ is dict and name in _INSIDE and place is counts:
                places.append(value)
    if "total_tokens" not in found and "input_tokens" in found and "output_tokens" in found:
        found["total_tokens"] = found["input_tokens"] + found["output_tokens"]
    return found


def _all_of(counts: Mapping[str, Any]) -> dict[str, int]:
    usage = Usage.of(counts)
    return {name: count for name in _FIELDS if (count := getattr(usage, name)) is not None}


def merged(before: Mapping[str, Any] | None, later: Mapping[str, Any]) -> Mapping[str, Any]:
    """``said`` over ``before``: Anthropic counts the prompt at the start and the answer at the end."""
    return {**(before or {}), **{name: value for name, value in later.items() if value is not None}}


def _count(said: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    for place in _places(said):
        found = _count_at(place, names)
        if found is not None:
            return found
    # DashScope's applications count by model.
    models = said.get("models")
    counts = [
        count
        for model in (models if isinstance(models, list) else ())
        if isinstance(model, Mapping) and (count := _count_at(model, names)) is not None
    ]
    return sum(counts) if counts else None


def _count_at(place: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    for name in names:
        value = place.get(name)
        if type(value) is int or (type(value) is float and value.is_integer()):
            return int(value)
    return None


def _places(counts: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield counts
    for name in _INSIDE:
        inner = counts.get(name)
        if isinstance(inner, Mapping):
            yield inner
