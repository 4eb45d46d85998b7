"""Which requests are streaming."""

from __future__ import annotations

import pytest
from requests.structures import CaseInsensitiveDict

from llmwatch.payload.endpoints import ENDPOINTS, Streams, endpoints_at
from llmwatch.payload.streaming import is_streaming
from tests.payload.test_modelcalls import HOST, IS
from tests.rows import each

CHAT = "https://api.example.com/v1/chat/completions"
GEMINI = "https://g.example.com/v1beta/models/gemini-2.5-pro"


@each(
    ("url", "body", "streaming"),
    [
        (CHAT, {"stream": True}, True),
        (None, {"stream": True}, True),
        (CHAT, {"stream": False}, False),
        (CHAT, {}, False),
        (CHAT, None, False),
        (CHAT, {"stream": "true"}, False),
        (CHAT, {"stream": 1}, False),
        (CHAT, ["stream", True], False),
        (None, None, False),
        (f"{GEMINI}:streamGenerateContent?alt=sse", {}, True),
        (f"{GEMINI}:streamGenerateContent", {}, True),
        (f"{GEMINI}:generateContent", {}, False),
        (f"{GEMINI}:generateContent?key=1&alt=sse", {}, True),
        (f"{GEMINI}:generateContent?alt=ssex", {}, False),
        ("https://v.example.com/v1/models/claude-opus-4:streamRawPredict", {}, True),
        ("https://b.example.com/model/x/invoke-with-response-stream", {}, True),
        ("https://b.example.com/model/x/converse-stream", {}, True),
        ("https://b.example.com/model/x/converse", {}, False),
        ("http://localhost:8080/generate_stream", {}, True),
        ("http://localhost:11434/api/chat", {"model": "x"}, True),
        ("http://localhost:11434/api/generate", None, True),
        ("http://localhost:11434/api/chat/", {"stream": True}, True),
        ("http://localhost:11434/api/chat", {"stream": False}, False),
        ("http://localhost:11434/api/generate", {"stream": False}, False),
        ("http://localhost:11434/api/chat/completions", {}, False),
        ("http://localhost:11434/api/embed", {}, False),
        ("http://[", {}, False),
        ("http://localhost/v2/models/ensemble/generate_stream", {"text_input": "?"}, True),
        ("http://localhost/v2/models/ensemble/generate", {"text_input": "?"}, False),
        ("http://localhost/worker_generate_stream", {"model": "m", "prompt": "?"}, True),
        ("http://localhost/worker_generate", {"model": "m", "prompt": "?"}, False),
        ("http://localhost/api/extra/generate/stream", {"prompt": "?"}, True),
        ("https://w.example.com/ml/v1/text/chat_stream?version=1", {"messages": []}, True),
        ("https://w.example.com/ml/v1/text/chat?version=1", {"messages": []}, False),
        ("https://w.example.com/ml/v1/deployments/d/text/generation_stream", {}, True),
        ("https://z.example.com/api/paas/v3/model-api/chatglm_std/sse-invoke", {}, True),
        ("https://z.example.com/api/paas/v3/model-api/chatglm_std/invoke", {}, False),
        ("https://s.example.com/endpoints/llama/invocations-response-stream", {}, True),
        ("https://n.example.com/v1/gpu/stream/chatdolphin/generation", {"text": "?"}, True),
        ("https://n.example.com/v1/gpu/chatdolphin/generation", {"text": "?"}, False),
        ("https://t.example.com/inference", {"stream_tokens": True}, True),
        ("https://t.example.com/inference", {"stream_tokens": False}, False),
        ("https://h.example.com/", {"Model": "m", "Stream": True}, True),
        ("https://h.example.com/orders", {"Model": "m", "Stream": True}, False),
        ("https://y.example.com/foundationModels/v1/completion", {"completionOptions": {"stream": True}}, True),
        ("https://y.example.com/foundationModels/v1/completion", {"completionOptions": {"stream": False}}, False),
        ("https://y.example.com/foundationModels/v1/completion", {"completionOptions": "stream"}, False),
    ],
)
def test_body_method_and_default_decide_about_streaming(url: str | None, body: object, streaming: bool) -> None:
    """The body's word, a streaming method in the URL and Ollama's own default decide."""
    assert is_streaming(url, body) is streaming


@pytest.mark.parametrize("explicit", [True, False])
@pytest.mark.parametrize("body", [{"stream": True}, {"stream": False}, None])
def test_the_callers_word_decides_about_streaming(explicit: bool, body: object) -> None:
    """The caller's argument takes precedence over everything else."""
    assert is_streaming(CHAT, body, explicit) is explicit
    assert is_streaming(f"{GEMINI}:streamGenerateContent", body, explicit) is explicit


DASHSCOPE = "https://d.example.com/api/v1/services/aigc/text-generation/generation"


@pytest.mark.parametrize(
    ("headers", "body", "streaming"),
    [
        ({"X-DashScope-SSE": "enable"}, {}, True),
        ({"x-dashscope-sse": "Enable"}, None, True),
        ({"X-DashScope-SSE": "disable"}, {}, False),
        ({"Accept": "text/event-stream"}, {}, True),
        ({"accept": "Text/Event-Stream; charset=utf-8"}, {}, True),
        ({"Accept": "text/event-stream"}, {"stream": False}, False),
        ({"Accept": "application/json, text/event-stream"}, {}, False),
        ({"Accept": "*/*"}, {}, False),
        ({"Accept": "*/*"}, {"stream": True}, True),
        ({}, {}, False),
        (None, {}, False),
    ],
)
def test_headers_can_ask_for_a_stream(headers: dict[str, str] | None, body: object, streaming: bool) -> None:
    """DashScope's header, and that nothing but a stream of events is accepted."""
    given = None if headers is None else CaseInsensitiveDict(headers)
    assert is_streaming(DASHSCOPE, body, headers=given) is streaming
    assert is_streaming(DASHSCOPE, body, not streaming, headers=given) is not streaming


def test_every_streaming_method_is_a_documented_one() -> None:
    """A path that always streams by the table does so with any body."""
    always = [endpoint for endpoint in ENDPOINTS if endpoint.streams is Streams.ALWAYS]
    assert len(always) >= 12
    for path, body in IS:
        if any(endpoint in always for endpoint, _ in endpoints_at(HOST + path)):
            assert is_streaming(HOST + path, {**body, "stream": False})
