"""``llmwatch.payload.modelcalls``: which requests go to a model."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmwatch import ConfigError
from llmwatch.payload import is_model_call, may_hold_prompt, modelcalls, register_model_url

CHAT = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
PROMPT = {"model": "m", "prompt": "?"}
HOST = "https://api.example.com"


@pytest.fixture(autouse=True)
def _unregistered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(modelcalls, "_registered", ())


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", CHAT),
        ("/openai/deployments/d/chat/completions?api-version=1", {"messages": []}),
        ("/v1/completions", PROMPT),
        ("/v1/responses", {"model": "m", "input": "?"}),
        ("/v1/responses", {"input": [{"role": "user"}]}),
        ("/v1/messages", CHAT),
        ("/v1/embeddings", {"model": "m", "input": ["?"]}),
        ("/v1beta/models/g:generateContent", {"contents": [{}]}),
        ("/v1beta/models/g:streamGenerateContent?alt=sse", {"contents": [{}]}),
        ("/api/chat", CHAT),
        ("/api/generate", PROMPT),
        ("/model/m/converse-stream", {"messages": []}),
        ("/generate_stream", {"inputs": "?"}),
        ("/whatever/a/gateway/calls/it", CHAT),
        ("/whatever/a/gateway/calls/it", PROMPT),
        ("/whatever/a/gateway/calls/it", {"model": "m", "input": ["?"]}),
        ("/v1/complete", PROMPT),
        ("/model/anthropic.m/invoke", {"anthropic_version": "b", "messages": [{"role": "user"}]}),
        ("/v1/projects/p/publishers/anthropic/models/m:rawPredict", {"messages": [{"role": "user"}]}),
        ("/generate", {"inputs": "?"}),
    ],
)
def test_a_post_with_a_prompt_for_a_model_is_one(path: str, body: object) -> None:
    """The providers' documented methods, and anything that names a model and holds a prompt."""
    assert is_model_call("POST", HOST + path, body)
    assert is_model_call("post", HOST + path, body)
    assert not is_model_call("GET", HOST + path, body)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/files", None),
        ("/v1/chat/completions", None),
        ("/v1/chat/completions", [CHAT]),
        ("/v1/chat/completions", {"model": "m"}),
        ("/orders", {"amount": 5}),
        ("/search", {"input": "words"}),
        ("/v1/fine_tuning/jobs", {"model": "m", "training_file": "f"}),
        ("/v1/batches", {"input_file_id": "f", "endpoint": "/v1/chat/completions"}),
        ("/v1/audio/speech", {"model": "m", "input": "Say this.", "voice": "v"}),
        ("/api/pull", {"model": "m"}),
        ("/orders", {"model": "phone", "instructions": "Leave it at the door.", "input": {"size": 2}}),
        ("/cars", {"model": "T", "system": "navigation"}),
        ("/orders/1/complete", {"instructions": "Leave it at the door."}),
        ("/functions/f/invoke", {"input": {"order": 1}}),
        ("/channels/1/messages", {"messages": ["Hello"], "prompt": True}),
        ("/v17.0/1/messages", {"messaging_product": "m", "to": "1", "text": {"body": "Hello"}}),
        ("/surveys/1/responses", {"input": "Fine."}),
    ],
)
def test_anything_else_is_none(path: str, body: object) -> None:
    """No JSON object, no prompt, or no model that it could be for."""
    assert not is_model_call("POST", HOST + path, body)


def test_a_url_that_cannot_be_read_is_none() -> None:
    """What cannot be sent anyway does not raise here."""
    assert not is_model_call("POST", "http://[::1", CHAT)


def test_a_registered_url_decides_both_ways() -> None:
    """The latest registration that matches goes before the rule, whatever the method and body."""
    register_model_url(r"/gateway/ask$")
    assert is_model_call("PUT", HOST + "/gateway/ask?key=1", None)
    register_model_url(r"/v1/chat/", model=False)
    assert not is_model_call("POST", HOST + "/v1/chat/completions", CHAT)
    register_model_url(r"/v1/chat/completions$")
    assert is_model_call("POST", HOST + "/V1/CHAT/completions", CHAT)


def test_user_info_and_query_are_no_part_of_what_is_matched() -> None:
    """A pattern never sees a password or a key."""
    register_model_url("secret")
    assert not is_model_call("POST", "https://secret:secret@api.example.com/orders?key=secret", None)


@pytest.mark.parametrize("pattern", ["", "(", ".*", "x?"])
def test_a_pattern_that_cannot_be_meant_is_refused(pattern: str) -> None:
    """One that is no expression, or matches everything."""
    with pytest.raises(ConfigError) as caught:
        register_model_url(pattern)
    assert caught.value.field == "pattern"


@pytest.mark.parametrize("make", [str, str.encode])
def test_a_quick_look_at_a_body_never_says_no_to_a_prompt(make: Any) -> None:
    """What is taken for a model call once it is parsed may hold a prompt; what names none of its fields does not."""
    for body in (CHAT, PROMPT, {"model": "m", "input": "?"}, {"contents": [{}]}, {"inputs": "?"}):
        assert may_hold_prompt(make(json.dumps(body)))
    assert not may_hold_prompt(make(json.dumps({"rows": [{"message": 1, "prompts": "my input"}]})))
