"""Which requests are streaming."""

from __future__ import annotations

import pytest

from llmwatch.payload.streaming import is_streaming

CHAT = "https://api.example.com/v1/chat/completions"
GEMINI = "https://g.example.com/v1beta/models/gemini-2.5-pro"


@pytest.mark.parametrize(
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
    ],
)
def test_is_streaming(url: str | None, body: object, streaming: bool) -> None:
    """The body's word, a streaming method in the URL and Ollama's own default decide."""
    assert is_streaming(url, body) is streaming


@pytest.mark.parametrize("explicit", [True, False])
@pytest.mark.parametrize("body", [{"stream": True}, {"stream": False}, None])
def test_the_caller_decides(explicit: bool, body: object) -> None:
    """What the caller says goes before everything else."""
    assert is_streaming(CHAT, body, explicit) is explicit
    assert is_streaming(f"{GEMINI}:streamGenerateContent", body, explicit) is explicit
