"""Each provider's own library on the bodies of ``providers.py``.

What the library says of a body is what is expected of llmwatch.

The libraries need an environment of their own, so each test runs where its library is installed and is skipped
elsewhere: ``pip install -e .[test] -r tests/providers/requirements.txt``, which names the versions, then ``pytest
tests/providers``. huggingface_hub was also run at 2.4.0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import Mock

import pytest

from llmwatch.faults import FaultServer, Script
from llmwatch.faults.steps import Chunk, End, Head
from tests.wire.providers import (
    BAIDU,
    BAIDU_TOOLS,
    BEDROCK,
    BEDROCK_MESSAGES,
    BEDROCK_NOVA,
    BEDROCK_TITAN,
    BEDROCK_TOOLS,
    COHERE,
    COHERE_GENERATE,
    COHERE_TOOLS,
    COHERE_V1,
    COHERE_V1_TOOLS,
    DASHSCOPE,
    DASHSCOPE_CUMULATIVE,
    DASHSCOPE_TEXT,
    DASHSCOPE_TOOLS,
    SNOWFLAKE,
    SNOWFLAKE_TOOLS,
    TGI,
    Answer,
)

pytestmark = pytest.mark.filterwarnings("ignore")
ASK = [{"role": "user", "content": "hi"}]


@contextmanager
def serving(answer: Answer) -> Iterator[FaultServer]:
    """A server that gives this answer, one chunk a part.

    The path that was asked for is checked at the end.
    """
    head = Head(200, [("Content-Type", answer.content_type)], "chunked")
    script = Script.of("answer", head, *[Chunk(part) for part in answer.parts], End())
    with FaultServer(script) as server:
        yield server
        assert [request.path for request in server.requests] == [answer.path]


@pytest.mark.parametrize("answer", [COHERE, COHERE_TOOLS], ids=["text", "tools"])
def test_cohere_v2(answer: Answer) -> None:
    """cohere's second client: text, thinking, calls, reason and usage."""
    cohere = pytest.importorskip("cohere")
    text, thinking, plan, calls, end = "", "", "", [], None
    with serving(answer) as server:
        client = cohere.ClientV2(api_key="k", base_url=server.url)
        for event in client.chat_stream(model="command-a", messages=ASK):
            if event.type == "content-delta":
                text += event.delta.message.content.text or ""
                thinking += event.delta.message.content.thinking or ""
            elif event.type == "tool-plan-delta":
                plan += event.delta.message.tool_plan
            elif event.type == "tool-call-start":
                call = event.delta.message.tool_calls
                calls.append([call.id, call.function.name, ""])
            elif event.type == "tool-call-delta":
                calls[event.index][2] += event.delta.message.tool_calls.function.arguments
            elif event.type == "message-end":
                end = event.delta
    assert (text, thinking + plan) == (answer.text, answer.reasoning)
    assert [(i, name, json.loads(arguments or "{}")) for i, name, arguments in calls] == list(answer.calls)
    assert end is not None
    assert end.finish_reason == ("TOOL_CALL" if answer.calls else "COMPLETE")
    assert end.usage.tokens.output_tokens == 3


@pytest.mark.parametrize("answer", [COHERE_V1, COHERE_V1_TOOLS], ids=["text", "tools"])
def test_cohere_v1(answer: Answer) -> None:
    """cohere's first client: the last event says the whole again."""
    cohere = pytest.importorskip("cohere")
    with serving(answer) as server:
        events = list(cohere.Client(api_key="k", base_url=server.url).chat_stream(message="hi"))
    pieces = ("text-generation", "tool-calls-chunk")
    assert "".join(event.text or "" for event in events if event.event_type in pieces) == answer.text
    assert events[-1].response.text == answer.text
    calls = [(None, call.name, call.parameters) for call in events[-1].response.tool_calls or ()]
    assert calls == list(answer.calls)
    assert events[-1].finish_reason == "COMPLETE"


def test_cohere_generate() -> None:
    """cohere's oldest interface."""
    cohere = pytest.importorskip("cohere")
    with serving(COHERE_GENERATE) as server:
        events = list(cohere.Client(api_key="k", base_url=server.url).generate_stream(prompt="hi"))
    assert "".join(event.text for event in events if event.event_type == "text-generation") == COHERE_GENERATE.text
    assert events[-1].is_finished is True


@pytest.mark.parametrize("answer", [BAIDU, BAIDU_TOOLS], ids=["text", "tools"])
def test_baidu_by_erniebot(answer: Answer) -> None:
    """erniebot reads up to the end of the body; the last piece says that it is the last."""
    erniebot = pytest.importorskip("erniebot")
    with serving(answer) as server:
        config = {"api_type": "qianfan", "access_token": "t", "api_base_url": server.url + answer.path[:-17]}
        pieces = list(erniebot.ChatCompletion.create(model="ernie-3.5", messages=ASK, stream=True, _config_=config))
    if answer.calls:
        call = pieces[-1].rbody["function_call"]
        assert [(None, call["name"], json.loads(call["arguments"]))] == list(answer.calls)
    else:
        assert "".join(piece.get_result() for piece in pieces) == answer.text
    assert pieces[-1].is_end is True
    assert pieces[-1].usage == answer.usage


def test_baidu_by_qianfan(monkeypatch: pytest.MonkeyPatch) -> None:
    """qianfan's first version of the interface reads the same events."""
    qianfan = pytest.importorskip("qianfan")
    with serving(BAIDU) as server:
        config = qianfan.get_config()
        for name, value in {"BASE_URL": server.url, "ACCESS_TOKEN": "t", "NO_AUTH": True}.items():
            monkeypatch.setattr(config, name, value)
        client = qianfan.ChatCompletion(version="1", endpoint="completions")
        pieces = list(client.do(messages=ASK, stream=True, auto_concat_truncate=False))
    assert "".join(piece["result"] for piece in pieces) == BAIDU.text
    assert pieces[-1]["is_end"] is True


@pytest.mark.parametrize(
    "answer",
    [DASHSCOPE, DASHSCOPE_CUMULATIVE, DASHSCOPE_TEXT, DASHSCOPE_TOOLS],
    ids=["incremental", "cumulative", "text", "tools"],
)
def test_dashscope(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    """dashscope hands its events on: pieces where they were asked for, else the whole so far each time."""
    dashscope = pytest.importorskip("dashscope")
    with serving(answer) as server:
        monkeypatch.setattr(dashscope, "base_http_api_url", server.url + "/api/v1")
        parameters = answer.request.get("parameters", {})
        pieces = list(dashscope.Generation.call("qwen-plus", api_key="k", messages=ASK, stream=True, **parameters))
    assert all(piece.status_code == 200 for piece in pieces)
    outputs = [piece.output for piece in pieces]
    if answer is DASHSCOPE_TEXT:
        assert (outputs[-1].text, outputs[-1].finish_reason, outputs[0].finish_reason) == (answer.text, "stop", "null")
        return
    messages = [output.choices[0].message for output in outputs]
    if answer is DASHSCOPE_CUMULATIVE:
        assert messages[-1].content == answer.text
    else:
        assert "".join(message.content for message in messages) == answer.text
        assert "".join(message.get("reasoning_content") or "" for message in messages) == answer.reasoning
    calls = [call for message in messages for call in message.get("tool_calls") or ()]
    if answer.calls:
        arguments = json.loads("".join(call["function"]["arguments"] for call in calls))
        assert [(calls[0]["id"], calls[0]["function"]["name"], arguments)] == list(answer.calls)
    assert outputs[-1].choices[0].finish_reason == ("tool_calls" if answer.calls else "stop")


def test_tgi_by_text_generation() -> None:
    """text-generation: special tokens are no text, and the last event has the whole."""
    text_generation = pytest.importorskip("text_generation")
    with serving(TGI) as server:
        pieces = list(text_generation.Client(server.url).generate_stream("hi"))
    assert "".join(piece.token.text for piece in pieces if not piece.token.special) == TGI.text
    assert pieces[-1].generated_text == TGI.text
    assert pieces[-1].details.finish_reason == "eos_token"


def test_tgi_by_huggingface_hub() -> None:
    """huggingface_hub reads the same tokens from the root of an endpoint."""
    hub = pytest.importorskip("huggingface_hub")
    with serving(TGI) as server:
        # The stream does not outlive its client (from version 2 on).
        client = hub.InferenceClient(server.url, token="t")
        pieces = list(client.text_generation("hi", stream=True, details=True))
    assert "".join(piece.token.text for piece in pieces if not piece.token.special) == TGI.text
    assert pieces[-1].details.finish_reason == "eos_token"


@pytest.mark.parametrize("answer", [SNOWFLAKE, SNOWFLAKE_TOOLS], ids=["text", "tools"])
def test_snowflake(answer: Answer) -> None:
    """snowflake.core hands over the events and leaves the end to the body."""
    pytest.importorskip("snowflake.core")
    from snowflake.core._common import TokenType
    from snowflake.core._rest_connection import RESTConnection, RESTRoot
    from snowflake.core.cortex.inference_service import CortexInferenceService
    from snowflake.core.cortex.inference_service._generated.models import CompleteRequest

    with serving(answer) as server:
        host, _, port = server.netloc.partition(":")
        connection = RESTConnection(host, int(port), TokenType.SESSION_TOKEN, "t", protocol="http")
        root = RESTRoot(connection)
        # The light root has none, and the service asks for it.
        root._telemetry_client = Mock()
        client = CortexInferenceService(root).complete(CompleteRequest(model="m", messages=ASK, stream=True))
        deltas = [json.loads(event.data)["choices"][0]["delta"] for event in client.events()]
    assert "".join(delta.get("content", "") for delta in deltas) == answer.text
    if answer.calls:
        uses = [delta for delta in deltas if delta["type"] == "tool_use"]
        arguments = json.loads("".join(use.get("input", "") for use in uses))
        assert [(uses[0]["tool_use_id"], uses[0]["name"], arguments)] == list(answer.calls)


def _bedrock(server: FaultServer) -> Any:
    session = pytest.importorskip("botocore.session").Session()
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    return session.create_client("bedrock-runtime", endpoint_url=server.url, **keys)


@pytest.mark.parametrize("answer", [BEDROCK, BEDROCK_TOOLS], ids=["text", "tools"])
def test_bedrock_converse(answer: Answer) -> None:
    """botocore's ConverseStream: pieces by block, then the reason, then usage."""
    text, reasoning, calls = "", "", {}
    with serving(answer) as server:
        ask = [{"role": "user", "content": [{"text": "hi"}]}]
        response = _bedrock(server).converse_stream(modelId="anthropic.claude-v2", messages=ask)
        events = list(response["stream"])
    for event in events:
        start = event.get("contentBlockStart", {})
        if "toolUse" in start.get("start", {}):
            use = start["start"]["toolUse"]
            calls[start["contentBlockIndex"]] = [use["toolUseId"], use["name"], ""]
        block = event.get("contentBlockDelta", {})
        delta = block.get("delta", {})
        text += delta.get("text", "")
        reasoning += delta.get("reasoningContent", {}).get("text", "")
        if "toolUse" in delta:
            calls[block["contentBlockIndex"]][2] += delta["toolUse"]["input"]
    assert (text, reasoning) == (answer.text, answer.reasoning)
    assert [(i, name, json.loads(said or "{}")) for i, name, said in calls.values()] == list(answer.calls)
    assert events[-2]["messageStop"]["stopReason"] == ("tool_use" if answer.calls else "end_turn")
    assert events[-1]["metadata"]["usage"] == answer.usage


@pytest.mark.parametrize("answer", [BEDROCK_TITAN, BEDROCK_NOVA], ids=["titan", "nova"])
def test_bedrock_invoke_of_other_makes(answer: Answer) -> None:
    """botocore hands over a chunk of Titan or Nova as it came."""
    with serving(answer) as server:
        model = answer.path.split("/")[2]
        response = _bedrock(server).invoke_model_with_response_stream(modelId=model, body=b"{}")
        events = [json.loads(event["chunk"]["bytes"]) for event in response["body"]]
    if answer is BEDROCK_TITAN:
        assert "".join(event["outputText"] for event in events) == answer.text
        assert events[-1]["completionReason"] == "FINISH"
    else:
        deltas = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
        assert "".join(delta["text"] for delta in deltas) == answer.text
        assert events[-1]["metadata"]["usage"] == answer.usage


def test_bedrock_invoke() -> None:
    """botocore's InvokeModelWithResponseStream hands over what each frame wraps."""
    with serving(BEDROCK_MESSAGES) as server:
        response = _bedrock(server).invoke_model_with_response_stream(modelId="anthropic.claude-v2", body=b"{}")
        events = [json.loads(event["chunk"]["bytes"]) for event in response["body"]]
    pieces = [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(pieces) == BEDROCK_MESSAGES.text
    assert events[-1]["type"] == "message_stop"


def test_bedrock_messages_by_anthropic() -> None:
    """anthropic's client for Bedrock reads the same frames as Messages."""
    pytest.importorskip("boto3")
    anthropic = pytest.importorskip("anthropic")
    with serving(BEDROCK_MESSAGES) as server:
        keys = {"aws_access_key": "a", "aws_secret_key": "b", "aws_region": "us-east-1"}
        client = anthropic.AnthropicBedrock(base_url=server.url, **keys)
        with client.messages.stream(model="anthropic.claude-v2", max_tokens=9, messages=ASK) as stream:
            assert "".join(stream.text_stream) == BEDROCK_MESSAGES.text
            assert stream.get_final_message().stop_reason == "end_turn"
