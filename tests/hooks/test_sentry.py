"""Sentry's SDK beside ``install()``, in every order.

Sentry patches for the life of a process: each order runs in one of its own, with a transport that keeps its events.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.times import SOON

_ROOT = Path(__file__).parents[2]

PROGRAM = """
import json, sys
import httpx, httpx2, requests, sentry_sdk
import llmwatch
from llmwatch import Limits, Retry
from llmwatch.faults import FaultServer
from sentry_sdk.transport import Transport

order, soon = sys.argv[1].split(", "), float(sys.argv[2])
body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Say it."}]}
events, records = [], []

class Kept(Transport):
    def capture_envelope(self, envelope):
        events.extend(item.get_transaction_event() for item in envelope.items)

def theirs():
    sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", transport=Kept, traces_sample_rate=1.0)

def ours():
    llmwatch.install(limits=Limits(ttfb=soon), retry=Retry(backoff=0.01), sinks=[records.append])

before = [vars(library.HTTPTransport)["handle_request"] for library in (httpx, httpx2)]
for step in order:
    {"theirs": theirs, "ours": ours, "undo ours": llmwatch.uninstall}[step]()

def post(name, server):
    if name == "requests":
        return requests.post(server.chat_url, json=body, timeout=60)
    with {"httpx": httpx, "httpx2": httpx2}[name].Client(timeout=60) as client:
        return client.post(server.chat_url, json=body)

scripts = ["healthy"] if "undo ours" in order else ["silent", "healthy"]
for name in ("requests", "httpx", "httpx2"):
    events.clear(), records.clear()
    with FaultServer(scripts) as server:
        with sentry_sdk.start_transaction(name="task"):
            assert post(name, server).status_code == 200
        spans = [(span["origin"].rpartition(".")[2], span["span_id"]) for span in events[0]["spans"]]
        traces = [[v for n, v in request.headers if n.lower() == "sentry-trace"] for request in server.requests]
        print(json.dumps([name, spans, traces, [record.outcome for record in records]]))
llmwatch.uninstall()
assert [vars(library.HTTPTransport)["handle_request"] for library in (httpx, httpx2)] == before
"""


def _seen(order: str) -> list[Any]:
    """What a process saw that took the steps of ``order``: a row for each library."""
    command = [sys.executable, "-c", PROGRAM, order, str(SOON)]
    ended = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.mark.parametrize("order", ["theirs, ours", "ours, theirs"])
def test_both_see_a_call(order: str) -> None:
    """A silence is recovered with two requests, and the library's span is there once.

    Sentry's span for http.client is there for each request that was sent, as without llmwatch for requests. Each
    request names one span to the server: the library's own where Sentry knows the library.
    """
    for name, spans, traces, outcomes in _seen(order):
        assert outcomes == ["recovered"]
        own = [span for origin, span in spans if origin == name]
        below = [span for origin, span in spans if origin == "httplib"]
        assert len(spans) == len(own) + len(below)
        assert len(own) == (0 if name == "requests" else 1)
        assert len(below) == 2
        assert [[trace.split("-")[1] for trace in each] for each in traces] == (
            [[span] for span in below] if name == "requests" else [own, own]
        )


@pytest.mark.parametrize("order", ["theirs, ours, undo ours", "ours, theirs, undo ours"])
def test_sentry_alone_after_ours_is_taken_back(order: str) -> None:
    """Each call has the one span that Sentry makes of it, and every attribute is back."""
    for _name, spans, traces, outcomes in _seen(order):
        assert outcomes == []
        ((_origin, span),) = spans
        assert [[trace.split("-")[1] for trace in each] for each in traces] == [[span]]
