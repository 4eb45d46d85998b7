"""Reading a request's body: model call, streaming, prompt size, reasoning, tools, choices, secrets."""

from llmwatch.payload.choices import asks_nothing, choices_asked, pieces_asked
from llmwatch.payload.confidential import prompt_texts, secrets_in
from llmwatch.payload.modelcalls import (
    IDEMPOTENT,
    is_model_call,
    is_model_url,
    may_be_model_call,
    may_hold_prompt,
    register_model_url,
)
from llmwatch.payload.prompt_size import base64_bytes, prompt_tokens
from llmwatch.payload.reasoning import REASONING_MODELS, model_asked, register_reasoning_model
from llmwatch.payload.streaming import is_streaming
from llmwatch.payload.tools import ToolExposure, json_object, tool_exposure

__all__ = [
    "IDEMPOTENT",
    "REASONING_MODELS",
    "ToolExposure",
    "asks_nothing",
    "base64_bytes",
    "choices_asked",
    "is_model_call",
    "is_model_url",
    "is_streaming",
    "json_object",
    "may_be_model_call",
    "may_hold_prompt",
    "model_asked",
    "pieces_asked",
    "prompt_texts",
    "prompt_tokens",
    "register_model_url",
    "register_reasoning_model",
    "secrets_in",
    "tool_exposure",
]
