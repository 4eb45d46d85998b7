"""The record names the entry point, the model of the request, and each attempt's HTTP status."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import httpx2
import pytest
import requests

import llmwatch
from llmwatch import CallRecord, Client, Retry
from tests.end_to_end.conftest import Serve

URLS = {
    "body": ("/v1/chat/completions", {"model": "gpt-x"}, "gpt-x"),
    "gemini": ("/v1beta/models/gemini-x:generateContent", {}, "gemini-x"),
    "azure": ("/openai/deployments/my-gpt/chat/completions", {}, "my-gpt"),
    "bedrock": ("/model/anthropic.claude-x%3A0/converse", {}, "anthropic.claude-x:0"),
}
TURNS = [{"role": "user", "content": "Say it."}]
QUICK = Retry(backoff=0.01)

Ask = Callable[[str, dict[str, Any], list[CallRecord]], object]


def _client(how: str) -> Ask:
    def ask(url: str, body: dict[str, Any], records: list[CallRecord]) -> None:
        with Client(sinks=[records.append], retry=QUICK) as client:
            if how == "stream":
                with client.stream("POST", url, json={**body, "stream": True}) as stream:
                    list(stream)
            else:
                getattr(client, how)("POST", url, json=body)

    return ask


def _session(url: str, body: dict[str, Any], records: list[CallRecord]) -> None:
    with llmwatch.Session(sinks=[records.append], retry=QUICK) as session:
        session.post(url, json=body)


def _mounted(url: str, body: dict[str, Any], records: list[CallRecord]) -> None:
    with requests.Session() as session:
        llmwatch.mount(session, sinks=[records.append], retry=QUICK).post(url, json=body)


def _installed(post: Callable[..., Any]) -> Ask:
    def ask(url: str, body: dict[str, Any], records: list[CallRecord]) -> None:
        llmwatch.install(sinks=[records.append], retry=QUICK)
        post(url, json=body)

    return ask


def _transport(library: Any) -> Ask:
    def ask(url: str, body: dict[str, Any], records: list[CallRecord]) -> None:
        with library.Client(transport=llmwatch.sdk.Transport(sinks=[records.append], retry=QUICK)) as client:
            client.post(url, json=body)

    return ask


def _sdk(name: str) -> Ask:
    def ask(url: str, body: dict[str, Any], records: list[CallRecord]) -> None:
        transport = llmwatch.sdk.Transport(sinks=[records.append], retry=QUICK)
        with getattr(llmwatch.sdk, name)(transport=transport, api_key="k", base_url="http://unused.example") as client:
            client.post(url, body=body, cast_to=object)

    return ask


WAYS: dict[str, tuple[str, Ask]] = {
    "collect": ("collect", _client("collect")),
    "request": ("request", _client("request")),
    "Session": ("session", _session),
    "mount": ("session", _mounted),
    "installed requests": ("requests", _installed(requests.post)),
    "installed httpx": ("httpx", _installed(httpx.post)),
    "installed httpx2": ("httpx2", _installed(httpx2.post)),
    "transport of httpx": ("httpx", _transport(httpx)),
    "transport of httpx2": ("httpx2", _transport(httpx2)),
    "openai": ("sdk.openai", _sdk("openai")),
    "anthropic": ("sdk.anthropic", _sdk("anthropic")),
}


@pytest.fixture(autouse=True)
def uninstalled() -> Iterator[None]:
    """No test leaves an installation."""
    yield
    llmwatch.uninstall()


@pytest.mark.parametrize("place", URLS)
@pytest.mark.parametrize("way", WAYS)
def test_the_record_names_entry_point_model_and_status(serve: Serve, way: str, place: str) -> None:
    """Through each entry point, for a model in the body and in the URL, after a 503 that was resent."""
    name, ask = WAYS[way]
    path, named, model = URLS[place]
    turns = {"contents": [{"parts": [{"text": "Say it."}]}]} if place == "gemini" else {"messages": TURNS}
    records: list[CallRecord] = []
    server = serve("status:status=503", "healthy")
    # An answer in another provider's shape is none to a reader of events.
    with contextlib.suppress(llmwatch.NotAStream, llmwatch.StreamTruncated, llmwatch.MalformedEvent):
        ask(server.url + path, {**named, **turns}, records)
    (record,) = records
    assert record.entry_point == name
    assert [(attempt.model, attempt.status) for attempt in record.attempts] == [(model, 503), (model, 200)]
    assert (record.model, record.status) == (model, 200)


def test_a_stream_is_recorded_by_its_name(serve: Serve) -> None:
    """A stream's record has its name, its model and its status."""
    records: list[CallRecord] = []
    _client("stream")(serve("healthy").chat_url, {"model": "gpt-x", "messages": TURNS}, records)
    assert [(one.entry_point, one.model, one.status) for one in records] == [("stream", "gpt-x", 200)]


def test_a_resend_with_another_model_is_recorded_as_such(serve: Serve) -> None:
    """``on_retry`` may ask another model; each attempt has its own."""
    records: list[CallRecord] = []
    server = serve("status:status=503", "healthy")
    body = {"model": "large", "messages": TURNS, "stream": True}
    retry = Retry(backoff=0.01, on_retry=lambda resend: {"json": {**body, "model": "small"}})
    with Client(sinks=[records.append], retry=retry) as client:
        client.collect("POST", server.chat_url, json=body)
    (record,) = records
    assert [attempt.model for attempt in record.attempts] == ["large", "small"]
    assert record.model == "small"
