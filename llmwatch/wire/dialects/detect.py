"""Detecting a stream's dialect by URL, content type or first event, and its framing."""

from __future__ import annotations

import re
from typing import Any, Literal
from urllib.parse import urlsplit

from llmwatch.wire.dialects.anthropic import ANTHROPIC_EVENTS
from llmwatch.wire.dialects.base import ENDS, KEEPALIVE_NAMES
from llmwatch.wire.dialects.bedrock import BEDROCK_EVENTS
from llmwatch.wire.dialects.cohere import COHERE_EVENTS, COHERE_LINES
from llmwatch.wire.dialects.cortex import CORTEX_EVENTS
from llmwatch.wire.dialects.llamacpp import is_llama
from llmwatch.wire.dialects.sglang import is_sglang
from llmwatch.wire.event import Event
from llmwatch.wire.eventstream import FRAME_TYPE
from llmwatch.wire.refusal import COHERE_LINE_TYPE, LINE_TYPES, media_type

__all__ = ["Framing", "by_event", "by_frame", "by_url", "framing_of", "is_line"]

Framing = Literal["events", "lines", "frames"]
"""Server-sent events, JSON lines, or the frames of an AWS event stream."""

# Tested before the endings, which some of these paths have too.
_PARTS = (
    ("/wenxinworkshop/", "baidu"),
    ("/services/aigc/text-generation/", "dashscope"),
    ("/services/aigc/multimodal-generation/", "dashscope"),
    ("/cortex/inference:complete", "snowflake"),
    ("/cortex/agent:run", "cortex-agent"),
    ("/ai/run/@", "cloudflare"),
    ("/workers-ai/@", "cloudflare"),
)
# A stored agent.
_AGENT = re.compile(r"/agents/[^/]+:run$")

_ENDINGS = (
    ("/chat/completions", "openai-chat"),
    ("/completions", "openai-chat"),
    ("/responses", "openai-responses"),
    ("/messages", "anthropic"),
    (":streamgeneratecontent", "gemini"),
    ("/v2/chat", "cohere"),
)
# Paths of Bedrock, at which gateways answer with server-sent events.
_BEDROCK = ("/converse-stream", "/invoke-with-response-stream")


def by_url(url: str, content_type: str = "") -> str | None:
    """The dialect that the URL and the ``Content-Type`` suggest; ``None`` if they leave it open."""
    kind = media_type(content_type)
    if kind == FRAME_TYPE:
        return "bedrock"
    if kind == COHERE_LINE_TYPE:
        return "cohere"
    if kind in LINE_TYPES:
        return "ndjson"
    try:
        path = urlsplit(url).path.rstrip("/").lower()
    except ValueError:
        return None
    if path.endswith(_BEDROCK):
        return None if kind else "bedrock"
    for part, name in _PARTS:
        if part in f"{path}/":
            return name
    if path.endswith(("/api/chat", "/api/generate")):
        # Other servers use these paths too, and send server-sent events.
        return None if kind == "text/event-stream" else "ndjson"
    for ending, name in _ENDINGS:
        if path.endswith(ending):
            return name
    if _AGENT.search(path):
        return "cortex-agent"
    if "/responses/" in path:
        # A stored response: /v1/responses/resp_123
        return "openai-responses"
    if path.endswith(":streamrawpredict") and "/publishers/anthropic/" in path:
        return "anthropic"
    return None


def framing_of(name: str | None, content_type: str) -> Framing | None:
    """The framing of a body of the dialect ``name``; ``None`` if the first bytes must decide."""
    kind = media_type(content_type)
    if kind == FRAME_TYPE or name == "bedrock":
        return "frames"
    if name == "ndjson" or (name in (None, "cohere") and kind in LINE_TYPES):
        return "lines"
    if name is None or (name == "cohere" and kind != "text/event-stream"):
        return None
    return "events"


def by_frame(event: Event) -> str | None:
    """The dialect of a first frame: ``bedrock`` or ``generic``; ``None`` if the frame shows nothing."""
    if event.event == "initial-response":
        return None
    known = event.event in BEDROCK_EVENTS or event.event.startswith(("exception:", "error:"))
    return "bedrock" if known else "generic"


def by_event(event: Event) -> str | None:
    """The dialect of a first event: ``generic`` for no known dialect; ``None`` for a keep-alive."""
    data = event.data.strip()
    if event.event in ANTHROPIC_EVENTS:
        return "anthropic"
    if event.event in CORTEX_EVENTS or event.event == "metadata":
        # OpenAI uses some of these names too, with a type in the data.
        return _by_agent(event)
    if event.event.startswith("response."):
        return "openai-responses"
    if data in ENDS:
        return "openai-chat"
    try:
        value = event.json() if data else {}
    except (ValueError, RecursionError):
        return None if event.event in KEEPALIVE_NAMES else "generic"
    if value is None:
        return None
    return _by_shape(event, value) if isinstance(value, dict) else "generic"


def _by_agent(event: Event) -> str | None:
    try:
        value = event.json()
    except (ValueError, RecursionError):
        return "generic"
    if not isinstance(value, dict):
        return None if value is None else "generic"
    if str(value.get("type", "")).startswith("response."):
        return "openai-responses"
    if event.event == "metadata" and not {"role", "message_id"} <= value.keys():
        return _by_shape(event, value)
    return "cortex-agent"


def _by_shape(event: Event, value: dict[str, Any]) -> str | None:
    kind = value.get("type")
    kind = kind if isinstance(kind, str) else ""
    if not value or (event.event in KEEPALIVE_NAMES and not kind):
        return None
    if kind in ANTHROPIC_EVENTS:
        return "anthropic"
    if kind in KEEPALIVE_NAMES:
        # Anthropic's ping, the Responses API's keepalive: later events decide.
        return None
    if kind.startswith("response."):
        return "openai-responses"
    if _is_snowflake(value):
        return "snowflake"
    if isinstance(value.get("choices"), list) and value["choices"]:
        # Before the other shapes, whose fields a gateway may put beside choices.
        return "openai-chat"
    if kind in COHERE_EVENTS or _event_type(value) in COHERE_LINES or _is_generated(value):
        return "cohere"
    if kind == "error":
        return "anthropic" if isinstance(value.get("error"), dict) else "openai-responses"
    if ("result" in value and "is_end" in value) or (value.get("error_code") and "error_msg" in value):
        return "baidu"
    if (
        "choices" in value
        or "base_resp" in value
        or str(value.get("object", "")).startswith(("chat.completion", "text_completion"))
    ):
        return "openai-chat"
    if "candidates" in value or "promptFeedback" in value or "usageMetadata" in value:
        return "gemini"
    if isinstance(value.get("output"), dict) and ("request_id" in value or "usage" in value):
        return "dashscope"
    if event.event == "error" and "request_id" in value and "code" in value:
        return "dashscope"
    if isinstance(value.get("token"), dict) and ("generated_text" in value or "details" in value or _is_token(value)):
        return "tgi"
    if is_llama(value):
        return "llamacpp"
    if is_sglang(value):
        return "sglang"
    if isinstance(value.get("response"), str) and isinstance(value.get("p"), str):
        # "p" is Workers AI's padding, which hides the length of a piece.
        return "cloudflare"
    if isinstance(value.get("done"), bool) and (
        isinstance(value.get("message"), dict) or isinstance(value.get("response"), str)
    ):
        # Ollama's objects, which gateways frame as events.
        return "ndjson"
    if value.get("error") or value.get("object") == "error":
        # Errors look alike in the remaining dialects, and the same code reads them.
        return "openai-chat"
    return "generic"


def is_line(value: object) -> bool:
    """Whether a JSON value is a line of Ollama or of Cohere's first version."""
    if not isinstance(value, dict):
        return False
    return isinstance(value.get("done"), bool) or _event_type(value) in COHERE_LINES or _is_generated(value)


def _is_generated(value: dict[str, Any]) -> bool:
    # Lines of Cohere's generate, without a type.
    return isinstance(value.get("is_finished"), bool) and ("text" in value or "response" in value)


def _is_snowflake(value: dict[str, Any]) -> bool:
    choices = value.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    delta = first.get("delta") if isinstance(first, dict) else None
    return isinstance(delta, dict) and "content_list" in delta


def _is_token(value: dict[str, Any]) -> bool:
    # Servers compatible with TGI leave out the other fields until the last event.
    return len(value) == 1 and {"id", "text"} <= value["token"].keys()


def _event_type(value: dict[str, Any]) -> str:
    kind = value.get("event_type")
    return kind if isinstance(kind, str) else ""
