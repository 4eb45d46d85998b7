"""``llmwatch.payload.modelcalls``: which requests go to a model."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from llmwatch import ConfigError
from llmwatch.payload import (
    endpoints,
    is_model_call,
    is_streaming,
    may_be_model_call,
    may_hold_prompt,
    modelcalls,
    register_model_url,
)
from llmwatch.payload.endpoints import Endpoint
from tests.rows import each

TURNS = [{"role": "user", "content": "?"}]
CHAT = {"model": "m", "messages": TURNS}
PROMPT = {"model": "m", "prompt": "?"}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "?"}]}]}
INPUTS = {"inputs": "?", "parameters": {"max_new_tokens": 20}}
ARN = "arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Aapplication-inference-profile%2Fp"
CLAUDE = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": TURNS}
HOST = "https://api.example.com"
VERTEX = "/v1/projects/p/locations/us-east5/publishers"
WATSONX = {"model_id": "ibm/granite", "project_id": "p"}
BAIDU = "/rpc/2.0/ai_custom/v1/wenxinworkshop"
DASHSCOPE = "/api/v1/services"
NLP_CLOUD = {"text": "?", "max_length": None, "top_p": None, "temperature": None}
COHERE = {"message": "?", "conversation_id": "", "model": None, "chat_history": None, "stream": True}

# Path and body, as the providers' references and packages have them.
IS: list[tuple[str, dict[str, Any]]] = [
    # OpenAI, and what is compatible with it
    ("/v1/chat/completions", CHAT),
    ("/chat/completions", CHAT),
    ("/v1/chat/completions", {"model": "m", "messages": []}),
    ("/v1/chat/completions", {"messages": TURNS, "stream": True}),
    ("/api/paas/v4/chat/completions", CHAT),
    ("/api/v3/chat/completions", CHAT),
    ("/v1/agents/completions", {"agent_id": "ag_1", "messages": TURNS}),
    ("/v1/completions", PROMPT),
    ("/v1/completions", {"model": "m", "prompt": [1, 2, 3]}),
    ("/v1/fim/completions", {"model": "codestral", "prompt": "def f(", "suffix": "return a"}),
    ("/beta/completions", PROMPT),
    ("/completions", {"prompt": "?", "n_predict": 20}),
    ("/llm/gateway/completions", {**PROMPT, "max_tokens": 20}),
    ("/v1/responses", {"model": "m", "input": "?"}),
    ("/v1/responses", {"model": "m", "input": TURNS, "stream": True}),
    ("/v1/responses", {"model": "m", "prompt": {"id": "pmpt_1"}}),
    ("/backend/codex/responses", {"model": "m", "input": [{"type": "message"}], "store": False}),
    ("/gateway/responses", {"model": "m", "input": "?", "stream": True}),
    ("/v1/embeddings", {"model": "m", "input": ["?"]}),
    ("/embeddings", {"input": "?", "encoding_format": "float"}),
    ("/v1/moderations", {"model": "m", "input": "?"}),
    ("/v1/images/generations", PROMPT),
    # Azure: the model stands in the URL
    ("/openai/deployments/d/chat/completions?api-version=1", {"messages": []}),
    ("/openai/deployments/d/completions", {"prompt": "?"}),
    ("/openai/deployments/d/embeddings", {"input": "?"}),
    ("/v1/engines/d/completions", {"prompt": "?"}),
    ("/score", {"input_data": {"input_string": TURNS, "parameters": {"temperature": 1}}}),
    # Anthropic
    ("/v1/messages", {**CHAT, "max_tokens": 9}),
    ("/anthropic/v1/messages", {**CHAT, "max_tokens": 9}),
    ("/v1/complete", {**PROMPT, "max_tokens_to_sample": 9}),
    # Google
    ("/v1beta/models/g:generateContent", CONTENTS),
    ("/v1beta/models/g:generateContent", {"contents": [{"parts": [{"text": "?"}]}]}),
    ("/v1beta/models/g:streamGenerateContent?alt=sse", {"contents": [{}]}),
    (f"{VERTEX}/google/models/g:streamGenerateContent", CONTENTS),
    ("/v1beta/models/g:embedContent", {"content": {"parts": [{"text": "?"}]}}),
    ("/v1beta/models/g:batchEmbedContents", {"requests": [{"model": "g", "content": {}}]}),
    (f"{VERTEX}/anthropic/models/m:rawPredict", {"messages": TURNS}),
    (f"{VERTEX}/anthropic/models/m@20250514:streamRawPredict", {"messages": TURNS, "stream": True}),
    (f"{VERTEX}/meta/models/m:rawPredict", {"prompt": "?"}),
    (f"{VERTEX}/meta/models/m:streamRawPredict", {"prompt": "?"}),
    (f"{VERTEX}/google/models/text-embedding:predict", {"instances": [{"content": "?"}]}),
    (f"{VERTEX}/google/models/m:serverStreamingPredict", {"inputs": ["?"]}),
    # Bedrock
    ("/model/anthropic.claude-v2%3A1/converse", {"messages": [{"role": "user", "content": [{"text": "?"}]}]}),
    ("/model/us.amazon.nova-lite-v1:0/converse", {"messages": []}),
    (f"/model/{ARN}/converse-stream", {"messages": []}),
    ("/model/anthropic.m/invoke", CLAUDE),
    (f"/model/{ARN}/invoke", {**CLAUDE, "messages": [{"role": "user"}]}),
    ("/model/meta.llama3-8b-instruct-v1:0/invoke", {"prompt": "?", "max_gen_len": 9}),
    ("/model/amazon.titan/invoke", {"inputText": "?", "textGenerationConfig": {}}),
    ("/model/cohere.command-r-v1:0/invoke", {"message": "?"}),
    ("/model/cohere.embed-english-v3/invoke", {"texts": ["?"], "input_type": "search_query"}),
    ("/model/meta.llama/invoke-with-response-stream", {"prompt": "?", "max_gen_len": 9}),
    ("/model/amazon.titan/invoke-with-response-stream", {"inputText": "?"}),
    ("/model/us.cohere.command-r-v1:0/invoke-with-response-stream", {"message": "?"}),
    # servers at home
    ("/api/chat", CHAT),
    ("/api/generate", PROMPT),
    ("/api/embed", {"model": "m", "input": ["?"]}),
    ("/api/embeddings", PROMPT),
    ("/", INPUTS),
    ("", {"inputs": "?", "stream": True}),
    ("/generate", {"inputs": "?", "parameters": {}}),
    ("/generate", {"inputs": "?", "stream": False}),
    ("/tgi/generate", INPUTS),
    ("/generate_stream", {"inputs": "?"}),
    ("/tgi/generate_stream", INPUTS),
    ("/models/bigscience/bloom", INPUTS),
    ("/v2/models/ensemble/generate", {"text_input": "?", "parameters": {"stream": False}}),
    ("/v2/models/ensemble/versions/1/generate_stream", {"text_input": "?", "max_tokens": 9}),
    ("/generate", {"prompt": "?", "max_tokens": 9, "temperature": 0}),
    ("/generate_stream", {"prompt": "?", "max_tokens": 9}),
    ("/api/v1/generate", {"prompt": "?", "max_new_tokens": 9}),
    ("/api/v1/generate", {"prompt": "?", "max_length": 80, "rep_pen": 1.1}),
    ("/api/v1/generate", {"prompt": "?", "max_length": 80, "max_context_length": 2048}),
    ("/generate", {"text": "?", "sampling_params": {"max_new_tokens": 9}, "stream": True}),
    ("/api/extra/generate/stream", {"prompt": "?", "max_length": 9}),
    ("/completion", {"prompt": "?", "n_predict": 20, "stream": True}),
    ("/completion", {"prompt": "?", "stream": False}),
    ("/llama/completion", {"prompt": "?", "n_predict": 20}),
    ("/infill", {"input_prefix": "def f(", "input_suffix": "return a"}),
    ("/api/v1/chat", {"model": "m", "input": "?"}),
    ("/worker_generate", {"model": "m", "prompt": "?"}),
    ("/worker_generate_stream", {"model": "m", "prompt": "?", "max_new_tokens": 9, "stop": "###"}),
    # clouds
    ("/serving-endpoints/dbrx/invocations", {"messages": TURNS, "max_tokens": 9}),
    ("/serving-endpoints/bge/invocations", {"input": ["?"]}),
    ("/endpoints/llama/invocations", INPUTS),
    ("/endpoints/chat/invocations", {"messages": TURNS}),
    ("/gateway/completions/invocations", {"prompt": "?", "temperature": 0.5}),
    ("/endpoints/llama/invocations-response-stream", {"messages": TURNS, "stream": True}),
    ("/invocations", {"messages": TURNS, "max_tokens": 9}),
    ("/invocations", INPUTS),
    ("/client/v4/accounts/1/ai/run/@cf/meta/llama-3-8b-instruct", {"prompt": "?"}),
    ("/client/v4/accounts/1/ai/run/@cf/meta/llama-3-8b-instruct", {"messages": TURNS, "stream": True}),
    ("/v1/1/gateway/workers-ai/@cf/meta/llama-3-8b-instruct", {"messages": TURNS}),
    ("/ml/v1/text/generation?version=2024-05-01", {**WATSONX, "input": "?", "parameters": {}}),
    ("/ml/v1/text/generation_stream?version=2024-05-01", {**WATSONX, "input": "?"}),
    ("/ml/v1/text/chat?version=2024-05-01", {**WATSONX, "messages": TURNS}),
    ("/ml/v1/text/chat?version=2024-05-01", {**WATSONX, "messages": []}),
    ("/ml/v1/text/chat_stream?version=2024-05-01", {**WATSONX, "messages": TURNS}),
    ("/ml/v1/text/embeddings?version=2024-05-01", {**WATSONX, "inputs": ["?"]}),
    ("/ml/v1/deployments/d/text/generation", {"parameters": {"prompt_variables": {"name": "?"}}}),
    ("/api/v2/cortex/inference:complete", {"model": "m", "messages": [{"content": "?"}]}),
    # others
    ("/v1/chat", COHERE),
    ("/v1/chat", {"model": "command-r", "message": "?"}),
    ("/v2/chat", CHAT),
    ("/v1/generate", {"model": "command", "prompt": "?"}),
    ("/v1/embed", {"model": "embed", "texts": ["?"], "input_type": "search_query"}),
    (f"{DASHSCOPE}/aigc/text-generation/generation", {"model": "qwen", "input": {"messages": TURNS}}),
    (f"{DASHSCOPE}/aigc/multimodal-generation/generation", {"model": "qwen-vl", "input": {"prompt": "?"}}),
    (f"{DASHSCOPE}/embeddings/text-embedding/text-embedding", {"model": "e", "input": {"texts": ["?"]}}),
    ("/api/paas/v3/model-api/chatglm_std/invoke", {"prompt": TURNS, "temperature": 0.9}),
    ("/api/paas/v3/model-api/chatglm_std/sse-invoke", {"prompt": TURNS, "incremental": True}),
    (f"{BAIDU}/chat/ernie-4.0-8k", {"messages": TURNS, "stream": True}),
    (f"{BAIDU}/completions/sqlcoder_7b", {"prompt": "?"}),
    ("/", {"Model": "hunyuan-lite", "Messages": [{"Role": "user", "Content": "?"}], "Stream": True}),
    ("/v1/text/chatcompletion_pro", {"model": "abab", "messages": [{"sender_type": "USER", "text": "?"}]}),
    ("/v1/text/chatcompletion_v2", {"model": "abab", "messages": []}),
    (
        "/foundationModels/v1/completion",
        {"modelUri": "gpt://f/yandexgpt", "completionOptions": {}, "messages": [{"role": "user", "text": "?"}]},
    ),
    ("/v1/gpu/finetuned-llama-3-70b/generation", {"text": "?"}),
    ("/v1/gpu/fra_Latn/chatdolphin/chatbot", {"input": "?", "context": None, "history": None}),
    ("/v1/chatdolphin/generation", NLP_CLOUD),
    ("/v1/chatdolphin/chatbot", {"input": "?", "context": None, "history": None}),
    ("/v1/gpu/stream/chatdolphin/generation", {"text": "?"}),
    ("/inference", {**PROMPT, "stream_tokens": True}),
    ("/v1/inference/meta-llama/Llama-2-70b", {"input": "?"}),
    ("/studio/v1/j2-ultra/complete", {"prompt": "?", "numResults": 1}),
    ("/complete", {"model": "luminous", "prompt": "?", "maximum_tokens": 9}),
    # any path, where a conversation with roles and a model's name stand in the body
    ("/whatever/a/gateway/calls/it", CHAT),
    ("/whatever/a/gateway/calls/it", {"model": "m", "input": TURNS}),
    ("/whatever/a/gateway/calls/it", {"model": "m", **CONTENTS}),
    ("/v1/messages/count_tokens", {**CHAT, "system": "Be brief."}),
    ("/v1/text/chatcompletion_v2", CHAT),
    ("/v1/llm/chat-completions", CHAT),
]


@each(("path", "body"), IS)
def test_a_documented_post_with_a_prompt_is_a_model_call(path: str, body: dict[str, Any]) -> None:
    """The providers' documented methods with the bodies that they document, and conversations anywhere."""
    assert is_model_call("POST", HOST + path, body)
    assert is_model_call("post", HOST + path, body)
    assert not is_model_call("GET", HOST + path, body)
    # The same paths with the body of an order, or with none: the path alone is no proof.
    for other in ({}, {"customer": 3, "instructions": "net 30"}, {"model": "T3"}, {"items": [body]}, [body], None):
        assert not is_model_call("POST", HOST + path, other)


def _said(monkeypatch: pytest.MonkeyPatch, rows: tuple[Endpoint, ...]) -> list[bool]:
    """The verdicts for every example and counter-example with these rows in the table."""
    endpoints._at.cache_clear()
    with monkeypatch.context() as changed:
        changed.setattr(endpoints, "ENDPOINTS", rows)
        calls = [is_model_call("POST", HOST + path, body) for path, body in (*IS, *IS_NONE)]
        streams = [is_streaming(HOST + path, body) for path, body in IS]
    endpoints._at.cache_clear()
    return calls + streams


def test_every_row_of_the_table_has_its_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table misjudges an example without any one of its rows.

    Without any one condition of a row it misjudges a counter-example.
    """
    rows = endpoints.ENDPOINTS
    said = _said(monkeypatch, rows)
    idle = []
    for at, row in enumerate(rows):
        tables = [rows[:at] + rows[at + 1 :]]
        if row.needs:
            tables.append((*rows[:at], dataclasses.replace(row, needs=()), *rows[at + 1 :]))
        if any(_said(monkeypatch, table) == said for table in tables):
            idle.append(row.path)
    assert idle == []


# Orders, jobs and agents, in words that models' interfaces use as well.
IS_NONE: list[tuple[str, Any]] = [
    ("/v1/files", None),
    ("/v1/chat/completions", None),
    ("/v1/chat/completions", [CHAT]),
    ("/v1/chat/completions", {"model": "m"}),
    ("/v1/chat/completions", {"messages": TURNS}),
    ("/v1/chat/completions", {"model": "m", "messages": "?"}),
    ("/v1/chat/completions", {"model": "m", "messages": [{"text": "hi", "to": "bob"}]}),
    ("/v1/chat/completions", {"model": "m", "messages": [{"role": "clerk", "content": "hi"}]}),
    ("/api/chat", {"messages": [{"text": "hi", "to": "bob"}]}),
    ("/api/chat", {"messages": TURNS}),
    ("/api/chat", {"model": "T3", "messages": [{"role": "customer", "content": "hi"}]}),
    ("/api/chat", {"message": "hi", "stream": True}),
    ("/v1/chat", {"message": "hi", "to": "bob"}),
    ("/orders", {"amount": 5}),
    ("/orders", {"model": "T3", "input": "blue"}),
    ("/orders", {"model": "T3", "prompt": "blue"}),
    ("/orders", {"model": "T3", "input": ["blue"]}),
    ("/orders", {"model": "phone", "instructions": "Leave it at the entry point.", "input": {"size": 2}}),
    ("/orders", {"model": "T3", "messages": [{"role": "gift", "content": "Happy birthday"}]}),
    ("/orders", {"model": "T3", "messages": [{"role": "user"}]}),
    ("/orders", {"model": "", "messages": TURNS}),
    ("/orders", {"messages": TURNS}),
    ("/orders/1/complete", {"instructions": "Leave it at the entry point."}),
    ("/orders/1/complete", {"model": "T3", "prompt": "Leave it at the entry point."}),
    ("/cars", {"model": "T", "system": "navigation"}),
    ("/models/ford/t3", {"inputs": "blue"}),
    ("/models/T3/generate", {"prompt": "blue"}),
    ("/invoices/generate", {"instructions": "net 30", "customer": 3}),
    ("/invoices/generate", {"model": "T3", "prompt": "net 30"}),
    ("/invoices/generate", {"inputs": "net 30"}),
    ("/invoices/generate", {"text": "net 30"}),
    ("/reports/generate", {"input": "monthly", "mail_to": "all"}),
    ("/generate", {"inputs": [1, 2]}),
    ("/generate", {"inputs": {"month": 1}}),
    ("/courses/7/completions", {"input": {"user": 3}}),
    ("/courses/7/completions", {"model": "T3", "prompt": "Done."}),
    ("/tasks/1/completion", {"prompt": "Done."}),
    ("/tasks/1/completion", {"model": "T3", "prompt": "Done."}),
    ("/music/generate_stream", {"model": "T3", "prompt": "night"}),
    ("/complete", {"model": "T3", "prompt": "Leave it at the entry point."}),
    ("/shapes/embeddings", {"model": "T3", "input": "blue"}),
    ("/functions/f/invoke", {"input": {"order": 1}}),
    ("/functions/f/invoke", {"model": "T3", "prompt": "order 1"}),
    ("/chain/invoke", {"input": {"question": "?"}, "config": {}}),
    ("/channels/1/messages", {"messages": ["Hello"], "prompt": True}),
    ("/v1/messages", {"messages": [{"to": "1", "content": "Hello"}], "from": "2"}),
    ("/v17.0/1/messages", {"messaging_product": "m", "to": "1", "text": {"body": "Hello"}}),
    ("/surveys/1/responses", {"input": "Fine."}),
    ("/surveys/1/responses", {"model": "T3", "input": "Fine."}),
    ("/", {"inputs": "blue"}),
    ("/", {"Model": "T3", "Messages": [{"Role": "clerk", "Content": "Hello"}]}),
    ("/v1/power/generation", {"text": "night"}),
    ("/v1/room/chatbot", {"input": "lights on"}),
    ("/endpoints/churn/invocations", {"inputs": "blue"}),
    ("/endpoints/churn/invocations-response-stream", {"prompt": "blue"}),
    ("/invocations", {"inputs": [[1.0, 2.0]], "parameters": {}}),
    ("/serving-endpoints/churn/invocations", {"dataframe_split": {"columns": ["a"], "data": [[1]]}}),
    ("/search", {"input": "words"}),
    ("/v1/inference", {"input": "?"}),
    # orders in whose bodies something of a model call stands
    ("/generate", {"inputs": ["INV-1", "INV-2"], "template": "invoice"}),
    ("/generate", {"inputs": "INV-2024-001"}),
    ("/generate", {"inputs": "INV-2024-001", "stream": "yes"}),
    ("/generate", {"inputs": "INV-2024-001", "parameters": "A4"}),
    ("/generate", {"inputs": ["INV-1"], "parameters": {}}),
    ("/generate", {"prompt": "x", "seed": 5}),
    ("/generate", {"prompt": "x", "temperature": "warm"}),
    ("/levels/generate", {"prompt": "castle", "seed": 42}),
    ("/api/pdf/generate", {"inputs": "x", "parameters": {"seed": 1}}),
    ("/api/tickets/generate", {"prompt": "Concert", "seed": 5, "max_length": 3}),
    ("/api/v1/generate", {"prompt": "Concert", "max_length": 80, "rep_pen": "red"}),
    ("/v1/generate", {"model": "T3", "prompt": "blue"}),
    ("/v2/models/T3/generate", {"prompt": "blue"}),
    ("/", {"inputs": ["sku-1"], "stream": False}),
    ("/", {"inputs": "sku-1", "stream": 1}),
    ("/api/reports/generate_stream", {"inputs": ["q1"]}),
    ("/api/reports/generate_stream", {"inputs": "q1", "stream": True}),
    ("/api/extra/generate/stream", {"model": "T3", "prompt": "blue"}),
    ("/gateway/pay/invocations", {"input": "x"}),
    ("/gateway/pay/invocations", {"input": {"amount": 5}}),
    ("/gateway/pay/invocations", {"messages": []}),
    ("/endpoints/pay/invocations", {"prompt": "x"}),
    ("/endpoints/pay/invocations", {"inputs": ["x"], "parameters": {"max_new_tokens": 1}}),
    ("/invocations", {"inputs": "x", "parameters": {"seed": 1}}),
    ("/model/T3/invoke", {"message": "start"}),
    ("/model/T3/invoke", {"prompt": "x", "temperature": 1}),
    ("/model/T3/invoke", {"inputText": "x"}),
    ("/model/T3/invoke", {"texts": ["x"]}),
    ("/model/T3/converse", {"messages": []}),
    ("/model/ford.t3-v1:0/invoke", {"prompt": "x"}),
    ("/model/ford.t3-v1:0/invoke", {"message": "start"}),
    ("/model/ford.t3-v1:0/invoke-with-response-stream", {"prompt": "x"}),
    ("/model-api/T3/invoke", {"prompt": "x"}),
    ("/api/paas/v3/model-api/T3/invoke", {"prompt": "x"}),
    ("/survey/responses", {"model": "form-1", "input": ["yes"], "tools": []}),
    ("/survey/responses", {"model": "form-1", "input": ["yes"], "stream": True}),
    ("/survey/responses", {"model": "form-1", "input": "yes", "tools": []}),
    ("/survey/responses", {"model": "form-1", "input": "yes", "store": "Berlin"}),
    ("/shop/responses", {"model": "T3", "input": [{"sku": 1}], "store": 1}),
    ("/responses", {"model": "T3", "input": "yes"}),
    ("/embeddings", {"model": "T3", "input": "blue"}),
    ("/api/tasks/completion", {"prompt": "done", "stream": 1}),
    ("/api/tasks/completion", {"prompt": "done", "stream": True}),
    ("/completion", {"prompt": "done", "stop": 1}),
    ("/completion", {"model": "T3", "prompt": "done"}),
    ("/completions", {"model": "T3", "prompt": "done"}),
    ("/completions", {"prompt": "done", "stop": "St. Pancras"}),
    ("/engines/V8/completions", {"prompt": "done"}),
    ("/v1/complete", {"model": "T3", "prompt": "done"}),
    ("/v1/cat/chatbot", {"input": "x", "history": []}),
    ("/v1/rep/generation", {"text": "x", "seed": 1}),
    ("/v1/stream/T3/chatbot", {"input": "lights on"}),
    ("/api/chat", {"model": "T3", "messages": []}),
    ("/v1/messages", {"model": "sms", "messages": []}),
    ("/v2/chat", {"model": "sms", "messages": []}),
    ("/chat", {"model": "support", "message": "hi"}),
    ("/v1/chat", {"model": "sms", "message": "Send the order."}),
    ("/cars/T3:rawPredict", {"messages": []}),
    ("/cars/T3:rawPredict", {"prompt": "blue"}),
    ("/v1/embed", {"model": "player", "texts": ["x"]}),
    ("/v2/embed", {"model": "widget", "images": ["a"]}),
    ("/services/embeddings/a/b", {"model": "T3", "input": {"texts": ["a"]}}),
    ("/infill", {"input_suffix": "x"}),
    ("/score", {"input_data": {"input_string": "abc"}}),
    ("/score", {"input_data": {"input_string": [1, 2], "parameters": {}}}),
    ("/api/inference", {"model": "T3", "prompt": "blue"}),
    ("/models/toyota/corolla", {"inputs": "x", "options": {}}),
    ("/models/toyota/corolla", {"inputs": "x", "parameters": {"color": "blue"}}),
    # what tells of a call that is over
    ("/ingest/traces", {**CHAT, "output": "?"}),
    ("/ingest/traces", {**CHAT, "choices": []}),
    ("/ingest/traces", {"model": "m", "input": TURNS, "completion": "?"}),
    # jobs
    ("/v1/fine_tuning/jobs", {"model": "m", "training_file": "f"}),
    ("/v1/batches", {"input_file_id": "f", "endpoint": "/v1/chat/completions"}),
    ("/v1/messages/batches", {"requests": [{"custom_id": "1", "params": CHAT}]}),
    ("/v1/models/meta/llama/predictions", {"input": {"prompt": "?"}}),
    ("/api/paas/v3/model-api/chatglm_std/async-invoke", {"prompt": TURNS}),
    (
        "/foundationModels/v1/completionAsync",
        {"modelUri": "gpt://f/yandexgpt", "messages": [{"role": "user", "text": "?"}]},
    ),
    ("/api/pull", {"model": "m"}),
    # agents and workflows, which act
    ("/v1/threads/t/runs", {"assistant_id": "a", "model": "m", "instructions": "?"}),
    ("/agents/A/agentAliases/B/sessions/C/text", {"inputText": "Book it."}),
    ("/v1/chat-messages", {"query": "Book it.", "inputs": {}, "response_mode": "streaming", "user": "u"}),
    ("/api/v1/apps/1/completion", {"input": {"prompt": "Book it."}, "parameters": {}}),
    # sound, which is played while it comes
    ("/v1/audio/speech", {"model": "m", "input": "Say this.", "voice": "v"}),
]


@each(("path", "body"), IS_NONE)
def test_any_other_request_is_no_model_call(path: str, body: object) -> None:
    """No JSON object, no prompt where one is documented, no model that it could be for."""
    assert not is_model_call("POST", HOST + path, body)


def test_both_tables_have_forty_different_rows() -> None:
    """Forty rows each at least, none of them twice."""
    for table in (IS, IS_NONE):
        assert len({json.dumps(row) for row in table}) == len(table) >= 40


def test_an_unreadable_url_is_no_model_call() -> None:
    """A URL that cannot be sent anyway does not raise here."""
    assert not is_model_call("POST", "http://[::1", CHAT)


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the registrations of the test."""
    monkeypatch.setattr(modelcalls, "_registered", ())


def test_a_registered_url_decides_both_ways() -> None:
    """The latest registration that matches precedes the rule, for any method and body."""
    register_model_url(r"/gateway/ask$")
    assert is_model_call("PUT", HOST + "/gateway/ask?key=1", None)
    register_model_url(r"/v1/chat/", model=False)
    assert not is_model_call("POST", HOST + "/v1/chat/completions", CHAT)
    register_model_url(r"/v1/chat/completions$")
    assert is_model_call("POST", HOST + "/V1/CHAT/completions", CHAT)


def test_a_registered_pattern_does_not_see_user_info_and_query() -> None:
    """A pattern never sees a password or a key."""
    register_model_url("secret")
    assert not is_model_call("POST", "https://secret:secret@api.example.com/orders?key=secret", None)


@pytest.mark.parametrize("pattern", ["", "(", ".*", "x?"])
def test_an_invalid_pattern_is_refused(pattern: str) -> None:
    """One that is no expression, or matches everything."""
    with pytest.raises(ConfigError) as caught:
        register_model_url(pattern)
    assert caught.value.field == "pattern"


@pytest.mark.parametrize("make", [str, str.encode])
def test_the_quick_look_never_misses_a_prompt(make: Any) -> None:
    """The quick test is true for every body that is a model call once parsed.

    It is false for a body with none of its fields.
    """
    for path, body in IS:
        assert may_hold_prompt(make(json.dumps(body)), HOST + path), path
    for body in (CHAT, PROMPT, {"model": "m", "input": "?"}, CONTENTS, {"inputs": "?"}):
        assert may_hold_prompt(make(json.dumps(body)))
    rows = make(json.dumps({"rows": [{"message": 1, "text": "?", "prompts": "my input"}]}))
    assert not may_hold_prompt(rows)
    assert not may_hold_prompt(rows, HOST + "/v1/chat/completions")
    assert may_hold_prompt(rows, HOST + "/v1/chat")


def test_the_quickest_look_never_misses_a_model_call() -> None:
    """Nothing of the request is parsed, and registered URLs are left to the whole look."""
    for path, body in IS:
        assert may_be_model_call("post", HOST + path, b" \n" + json.dumps(body).encode()), path
    rows = json.dumps({"rows": [{"message": 1}]}).encode()
    assert not may_be_model_call("POST", HOST + "/v1/rows", rows)
    assert not may_be_model_call("GET", HOST + "/v1/chat/completions", json.dumps(CHAT).encode())
    assert not may_be_model_call("POST", HOST + "/v1/chat/completions", b"[" + json.dumps(CHAT).encode() + b"]")
    register_model_url("/v1/rows")
    assert may_be_model_call("PUT", HOST + "/v1/rows", rows)
