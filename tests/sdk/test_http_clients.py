"""The clients of httpx and httpx2 that are made to be passed to an SDK."""

from __future__ import annotations

import sys
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest
import requests

import llmwatch
from llmwatch import Limits, Retry, sdk
from llmwatch.faults.catalogue import ANSWER, answer
from llmwatch.sdk import Transport
from tests.sdk.clients import ASKS, QUICK, ask
from tests.sdk.times import LIMIT, LONG, SOON

LIBRARIES = {"httpx": httpx, "httpx2": httpx2}
BOTH = pytest.mark.parametrize("library", list(LIBRARIES))

# The client of each SDK, by its class, the client's library, and one way to ask.
TAKERS: dict[str, tuple[Any, Any, str]] = {
    "openai, httpx2": (openai.OpenAI, "httpx2", "chat-stream"),
    "openai, httpx": (openai.OpenAI, "httpx", "chat-stream"),
    "anthropic, httpx2": (anthropic.Anthropic, "httpx2", "messages-stream"),
}
TAKEN = pytest.mark.parametrize("taker", list(TAKERS))


def ask_through(taker: str, server: Any, transport: Transport) -> Any:
    """What comes of asking an SDK that was given a client on ``transport``."""
    made, library, how = TAKERS[taker]
    address = f"{server.url}/v1" if ASKS[how].sdk == "openai" else server.url
    http_client = sdk.client(library, transport=transport, timeout=LONG)
    with made(api_key="sk-test-key", base_url=address, http_client=http_client) as client:
        return ask(client, how)


@TAKEN
def test_an_sdk_with_the_client_gets_its_answer(serve: Any, taker: str) -> None:
    """The answer is whole after one request, and the record names the library as the entry point."""
    server, records = serve("healthy"), []
    transport = Transport(limits=Limits(ttfb=LONG), sinks=[records.append])
    assert ask_through(taker, server, transport).said == ANSWER
    assert [(record.entry_point, record.outcome) for record in records] == [(TAKERS[taker][1], "done")]
    assert len(server.requests) == 1


@TAKEN
def test_an_sdk_with_the_client_does_not_see_a_silence(serve: Any, taker: str) -> None:
    """A silent request is sent again: two requests, although the SDK would retry as well."""
    server, records = serve("silent", "healthy"), []
    transport = Transport(limits=Limits(ttfb=SOON), retry=QUICK, sinks=[records.append])
    assert ask_through(taker, server, transport).said == ANSWER
    assert [record.outcome for record in records] == ["recovered"]
    assert len(server.requests) == 2


@TAKEN
def test_an_sdk_with_the_client_is_freed_in_mid_stream(serve: Any, taker: str) -> None:
    """A stream that falls silent raises an error of llmwatch, or the SDK's with that as its cause."""
    server = serve("stall-after-content:tokens=3")
    outcome = ask_through(taker, server, Transport(limits=Limits(ttfb=LONG, stale=SOON)))
    assert outcome.said == answer(3)
    assert isinstance(outcome.error, llmwatch.WatchTimeout) or isinstance(
        outcome.error.__cause__, llmwatch.WatchTimeout
    )
    assert len(server.requests) == 1


@BOTH
def test_the_client_is_the_librarys_own(library: Any) -> None:
    """It has the library's class and defaults, but follows redirects, as the SDKs' own clients do."""
    with sdk.client(library) as client, LIBRARIES[library].Client() as usual:
        assert type(client) is LIBRARIES[library].Client
        assert client.timeout == usual.timeout
        assert isinstance(client._transport, Transport)
        assert client.follow_redirects
    with sdk.client(library, follow_redirects=False, headers={"x-mine": "1"}) as client:
        assert not client.follow_redirects
        assert client.headers["x-mine"] == "1"


@BOTH
def test_no_proxy_of_the_environment_leads_past_the_transport(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library would mount a transport of its own for it."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with sdk.client(library) as client:
        assert client._mounts == {}


@pytest.mark.parametrize("argument", ["proxy", "mounts", "trust_env", "cert", "http1", "http2"])
def test_an_argument_that_leads_past_the_transport_is_refused(argument: str) -> None:
    """The error says what to give in its place."""
    with pytest.raises(TypeError, match=rf"takes no {argument}: (give session=|the transport speaks)"):
        sdk.client("httpx", **{argument: None})


def test_the_client_takes_the_settings_of_a_transport_or_a_transport(serve: Any) -> None:
    """Not both, and only names of the two libraries."""
    server = serve("silent")
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Say it."}]}
    with (
        sdk.client("httpx", limits=Limits(ttfb=LIMIT), retry=Retry.none()) as client,
        pytest.raises(llmwatch.WatchTimeout) as caught,
    ):
        client.post(server.chat_url, json=body)
    assert isinstance(caught.value, httpx.ReadTimeout)
    with pytest.raises(TypeError, match="give session to the transport"):
        sdk.client("httpx", transport=Transport(), session=requests.Session())
    with pytest.raises(TypeError, match=r"must be a llmwatch\.sdk\.Transport, not int"):
        sdk.client("httpx", transport=3)
    with pytest.raises(TypeError, match="library must be 'httpx' or 'httpx2', not 'aiohttp'"):
        sdk.client("aiohttp")


def test_without_a_name_the_client_is_of_the_library_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """httpx goes before httpx2. Without both, the error names both."""
    with sdk.client() as client:
        assert type(client) is httpx.Client
    monkeypatch.setitem(sys.modules, "httpx", None)
    with sdk.client() as client:
        assert type(client) is httpx2.Client
    with pytest.raises(ImportError, match=r"client\(\) needs httpx: pip install httpx$"):
        sdk.client("httpx")
    monkeypatch.setitem(sys.modules, "httpx2", None)
    with pytest.raises(ImportError, match=r"client\(\) needs httpx or httpx2: pip install httpx$"):
        sdk.client()
