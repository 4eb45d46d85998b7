"""An order is sent once, whatever words it shares with a prompt.

A prompt is recovered, whatever path it goes to.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
import requests

import llmwatch
from llmwatch import Limits, Retry
from llmwatch.faults import FaultServer
from llmwatch.sdk import Transport
from tests.cli.running import run
from tests.end_to_end.times import LONG
from tests.session.entry_points import Way, record_of
from tests.session.scripts import reply
from tests.session.times import SOON

LIMITS = Limits(ttfb=SOON, stale=SOON)
QUICK = Retry(backoff=0.01)
TURNS = [{"role": "user", "content": "?"}]

ORDERS: list[tuple[str, Any]] = [
    ("/invoices/generate", {"prompt": "net 30", "model": "T3"}),
    ("/reports/generate", {"input": "monthly", "mail_to": "all"}),
    ("/courses/7/completions", {"prompt": "done", "model": "T3"}),
    ("/api/chat", {"messages": [{"text": "hi", "to": "bob"}], "model": "T3"}),
    ("/colours/embeddings", {"input": "blue", "model": "T3"}),
    ("/functions/f/invoke", {"input": {"order": 1}, "model": "T3"}),
    ("/orders", {"model": "T3", "input": "blue"}),
    ("/orders", {"model": "T3", "messages": [{"role": "gift", "content": "Happy birthday"}]}),
    ("/generate", {"inputs": "INV-2024-001"}),
    ("/", {"inputs": ["sku-1"], "stream": False}),
    ("/api/tickets/generate", {"prompt": "Concert", "seed": 5, "max_length": 3}),
    ("/gateway/pay/invocations", {"input": "x"}),
    ("/model/T3/invoke", {"message": "start"}),
    ("/api/tasks/completion", {"prompt": "done", "stream": 1}),
    ("/survey/responses", {"model": "form-1", "input": ["yes"], "tools": []}),
]
PROMPTS: list[tuple[str, Any]] = [
    ("/api/v1/services/aigc/text-generation/generation", {"model": "qwen", "input": {"messages": TURNS}}),
    ("/api/paas/v3/model-api/chatglm_std/invoke", {"prompt": TURNS}),
    ("/", {"inputs": "?", "parameters": {"max_new_tokens": 9}}),
    ("/v1/chat", {"model": "command-r", "message": "?"}),
    ("/completion", {"prompt": "?", "n_predict": 9}),
    ("/model/us.amazon.nova-lite-v1:0/invoke", {"messages": TURNS, "inferenceConfig": {}}),
    ("/gateway/completions/invocations", {"prompt": "?", "max_tokens": 9}),
    ("/serving-endpoints/dbrx/invocations", {"messages": TURNS}),
    ("/client/v4/accounts/1/ai/run/@cf/meta/llama-3-8b-instruct", {"prompt": "?"}),
    ("/", {"Model": "hunyuan-lite", "Messages": [{"Role": "user", "Content": "?"}]}),
    ("/anywhere", {"model": "m", "messages": TURNS}),
]

LOST = ["silent", "reset-before-response", "fin-before-response", "cut-chunk"]
STATUSES = [408, 429, 500, 502, 503, 504, 529]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("script", LOST)
def test_an_order_that_is_lost_is_sent_once(way: Way, script: str, stream: bool) -> None:
    """After silence, a reset, a hang-up and a cut answer, every order has reached the server once."""
    with FaultServer(script) as server, way.session(limits=LIMITS) as session:
        for count, (path, body) in enumerate(ORDERS[:3] if script == "silent" else ORDERS, 1):
            with pytest.raises(requests.RequestException):
                session.post(server.url + path, json=body, stream=stream).content  # noqa: B018
            assert len(server.requests) == count, path


@pytest.mark.parametrize("status", STATUSES)
def test_an_order_that_is_refused_is_sent_once(way: Way, status: int) -> None:
    """The status is returned as it is, and the script decides about another order."""
    answer = reply(b"no", status=status, headers=[("Retry-After", "0")])
    with FaultServer(answer) as server, way.session() as session:
        for count, (path, body) in enumerate(ORDERS, 1):
            assert session.post(server.url + path, json=body).status_code == status
            assert len(server.requests) == count, path


def test_an_order_after_a_dead_pooled_connection_is_sent_once(way: Way) -> None:
    """An order gets no free resend: the server may have carried it out before it closed the connection."""
    path, body = ORDERS[0]
    with FaultServer([reply(), "reset-before-response"]) as server, way.session() as session:
        session.post(server.url + path, json=body)
        with pytest.raises(requests.ConnectionError):
            session.post(server.url + path, json=body)
        assert len(server.requests) == 2


@pytest.mark.parametrize(("path", "body"), PROMPTS)
def test_a_prompt_is_recovered(way: Way, path: str, body: Any) -> None:
    """A prompt is resent after a failure before the model's answer.

    It is resent on the documented path of each provider and elsewhere.
    """
    answer = reply(b"{}", content_type="application/json")
    with FaultServer(["reset-before-response", answer]) as server, way.session() as session:
        response = session.post(server.url + path, json=body)
        assert (response.content, record_of(response).outcome) == (b"{}", "recovered")
        assert len(server.requests) == 2


@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_the_sdk_transport_sends_an_order_once(library: Any, baseline: None) -> None:
    """Prompts are recovered through it."""
    scripts = ["reset-before-response"] * (len(ORDERS) + 1)
    with (
        FaultServer([*scripts, reply(b"{}", content_type="application/json")]) as server,
        library.Client(transport=Transport(limits=Limits(ttfb=LONG), retry=QUICK), timeout=None) as client,
    ):
        for count, (path, body) in enumerate(ORDERS, 1):
            with pytest.raises(library.TransportError):
                client.post(server.url + path, json=body)
            assert len(server.requests) == count, path
        assert client.post(server.url + PROMPTS[0][0], json=PROMPTS[0][1]).json() == {}
        assert len(server.requests) == len(ORDERS) + 2


def test_client_request_sends_an_order_once() -> None:
    """The recovery asks a person about a lost order."""
    scripts = ["reset-before-response"] * (len(ORDERS) + 1)
    with FaultServer([*scripts, reply(b"{}")]) as server, llmwatch.Client(retry=QUICK) as client:
        for count, (path, body) in enumerate(ORDERS, 1):
            with pytest.raises(llmwatch.StreamCut) as caught:
                client.request("POST", server.url + path, json=body)
            assert caught.value.recovery is not None
            assert caught.value.recovery.reason == "unreadable_body"
            assert len(server.requests) == count, path
        assert client.request("POST", server.url + PROMPTS[0][0], json=PROMPTS[0][1]).content == b"{}"
        assert len(server.requests) == len(ORDERS) + 2


def test_a_script_under_run_sends_an_order_once(launcher: None, tmp_path: Path) -> None:
    """Under ``llmwatch run`` an untouched script orders once, and its prompt is recovered."""
    script = tmp_path / "orders.py"
    script.write_text(
        f"import json, requests, sys\n"
        f"for path, body in json.loads({json.dumps(json.dumps([*ORDERS, PROMPTS[0]]))}):\n"
        f"    try: requests.post(sys.argv[1] + path, json=body)\n"
        f"    except requests.ConnectionError: pass\n"
    )
    scripts = ["reset-before-response"] * (len(ORDERS) + 1)
    with FaultServer([*scripts, reply(b"{}")]) as server:
        ended = run("run", str(script), server.url, env={"LLMWATCH_BACKOFF_SECONDS": "0.01"})
        assert ended.code == 0
        paths = [path for path, _ in [*ORDERS, PROMPTS[0], PROMPTS[0]]]
        assert [one.target for one in server.requests] == paths


@pytest.mark.parametrize("how", ["header", "field", "path"])
def test_a_stream_is_recognised_by_header_field_or_path(way: Way, how: str) -> None:
    """A stream that is requested in one of these ways is recovered from silence before its content.

    A plain call is not.
    """
    path, body, headers = {
        "header": ("/v1/chat/completions", {"model": "m", "messages": TURNS}, {"X-DashScope-SSE": "enable"}),
        "field": ("/v1/completions", {"model": "m", "prompt": "?", "stream_tokens": True}, {}),
        "path": ("/worker_generate_stream", {"model": "m", "prompt": "?"}, {}),
    }[how]
    answer = reply(
        b'data: {"choices": [{"index": 0, "delta": {"content": "fine"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n',
        content_type="text/event-stream",
    )
    with FaultServer(["silent", answer]) as server, way.session(limits=LIMITS) as session:
        response = session.post(server.url + path, json=body, headers=headers, stream=True)
        assert "fine" in response.text
        assert len(server.requests) == 2
