"""The choice of the shape: by name, or by the request's path."""

from __future__ import annotations

from collections.abc import Mapping

from llmwatch.faults.shapes.anthropic import Anthropic
from llmwatch.faults.shapes.bedrock import Bedrock
from llmwatch.faults.shapes.cohere import Cohere
from llmwatch.faults.shapes.gemini import Gemini
from llmwatch.faults.shapes.generic import Generic
from llmwatch.faults.shapes.ollama import Ollama
from llmwatch.faults.shapes.openai_chat import Chat
from llmwatch.faults.shapes.openai_responses import Responses
from llmwatch.faults.shapes.shape import Shape

__all__ = ["NAMES", "SHAPES", "for_path"]

SHAPES: Mapping[str, type[Shape]] = {
    shape.name: shape for shape in (Chat, Responses, Anthropic, Generic, Gemini, Ollama, Bedrock, Cohere)
}
NAMES = tuple(SHAPES)

_BY_SUFFIX: tuple[tuple[str, type[Shape]], ...] = (
    ("/chat/completions", Chat),
    ("/responses", Responses),
    ("/messages", Anthropic),
    (":streamGenerateContent", Gemini),
    (":generateContent", Gemini),
    ("/api/chat", Ollama),
    ("/api/generate", Ollama),
    ("/converse-stream", Bedrock),
    ("/converse", Bedrock),
    ("/v2/chat", Cohere),
)


def for_path(path: str) -> type[Shape]:
    """The shape of the endpoint ``path``; ``Generic`` for an unknown path."""
    return next((shape for suffix, shape in _BY_SUFFIX if path.endswith(suffix)), Generic)
