"""A proxy in front of the fault server: what clients and upstream see, on real sockets."""

from __future__ import annotations

import asyncio
import socket
import time

import anthropic
import httpx
import openai
import pytest

from llmwatch.errors import ConfigError
from llmwatch.faults import FaultServer
from llmwatch.faults.catalogue import ANSWER
from llmwatch.proxy import ProxyServer, Route, Routes
from llmwatch.records import CallRecord
from tests.conftest import SCALE
from tests.proxy.serving import BODY, PATH, SOON, all_of, connect, exchange, proxied, request_bytes

pytestmark = pytest.mark.usefixtures("baseline", "quick")


def test_a_healthy_answer_is_that_of_the_upstream() -> None:
    """Status and body equal a direct call's; keys arrive and the proxy's headers do not."""
    with proxied() as (proxy, server, records), httpx.Client() as client:
        direct = client.post(server.chat_url, json=BODY)
        relayed = client.post(
            proxy.url + PATH, json=BODY, headers={"authorization": "Bearer k", "x-llmwatch-ttfb": "9"}
        )
        assert relayed.status_code == direct.status_code == 200
        assert relayed.text.replace("fault2", "fault1").replace("-2", "-1") == direct.text.replace("-2", "-1")
        names = [name for name, _ in server.requests[1].headers]
        assert server.requests[1].header("authorization") == "Bearer k"
        assert not [name for name in names if name.lower().startswith("x-llmwatch")]
        assert server.requests[1].header("host") == server.netloc
        assert relayed.headers["x-llmwatch-attempts"] == "1"
        assert relayed.headers["x-llmwatch-call"] == records[0].call_id
        assert {"date", "server"}.isdisjoint(relayed.headers)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_the_sdks_see_no_silence_and_raise_at_a_stall(sdk: str, asynchronous: bool) -> None:
    """Silence is recovered from unseen; a stall in mid-stream is the SDK's own error."""
    ask = ask_async if asynchronous else ask_sync
    with proxied("silent", "healthy", "stall-after-content") as (proxy, server, records):
        assert ask(sdk, proxy) == ANSWER
        assert len(server.requests) == 2
        base = openai.APIError if sdk == "openai" else anthropic.APIError
        with pytest.raises(base, match="went silent in the middle"):
            ask(sdk, proxy)
        assert len(server.requests) == 3
        assert [record.outcome for record in records] == ["recovered", "failed"]


def ask_sync(sdk: str, proxy: ProxyServer) -> str:
    messages = BODY["messages"]
    if sdk == "openai":
        with openai.OpenAI(base_url=f"{proxy.url}/f/v1", api_key="k") as client:
            chunks = client.chat.completions.create(model="m", messages=messages, stream=True)  # type: ignore
            return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    with (
        anthropic.Anthropic(base_url=f"{proxy.url}/f", api_key="k") as claude,
        claude.messages.stream(model="m", max_tokens=9, messages=messages) as stream,  # type: ignore[arg-type]
    ):
        return "".join(stream.text_stream)


def ask_async(sdk: str, proxy: ProxyServer) -> str:
    messages = BODY["messages"]

    async def ask() -> str:
        if sdk == "openai":
            async with openai.AsyncOpenAI(base_url=f"{proxy.url}/f/v1", api_key="k") as client:
                chunks = await client.chat.completions.create(model="m", messages=messages, stream=True)  # type: ignore
                return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])
        async with (
            anthropic.AsyncAnthropic(base_url=f"{proxy.url}/f", api_key="k") as claude,
            claude.messages.stream(model="m", max_tokens=9, messages=messages) as stream,  # type: ignore[arg-type]
        ):
            return "".join([text async for text in stream.text_stream])

    return asyncio.run(ask())


def test_silence_to_the_end_is_a_504_that_is_not_retried() -> None:
    """The client gets the provider's error document, and its SDK sends nothing again."""
    with proxied("silent") as (proxy, server, _), openai.OpenAI(base_url=f"{proxy.url}/f/v1", api_key="k") as client:
        with pytest.raises(openai.InternalServerError) as raised:
            client.chat.completions.create(model="m", messages=BODY["messages"], stream=True)  # type: ignore
        assert raised.value.status_code == 504
        assert raised.value.code == "llmwatch_ttfb"
        assert raised.value.response.headers["x-should-retry"] == "false"
        assert raised.value.response.headers["x-llmwatch-attempts"] == "3"
        assert len(server.requests) == 3


def test_a_stall_never_ends_like_a_whole_answer() -> None:
    """The body has the provider's error event at its end, and no last chunk."""
    with proxied("stall-after-content") as (proxy, _, _):
        got = exchange(proxy, request_bytes(proxy))
        assert b'"code": "llmwatch_stale"' in got
        assert not got.endswith(b"0\r\n\r\n")


def test_a_client_that_hangs_up_ends_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the upstream is silent, its connection ends within 50 ms of the client's."""
    monkeypatch.setenv("LLMWATCH_TTFB_TIMEOUT_SECONDS", "60")
    ends: list[float] = []
    records: list[CallRecord] = []
    with (
        FaultServer(
            "silent", observer=lambda seen: ends.append(time.monotonic()) if seen.what == "closed" else None
        ) as server,
        ProxyServer(Routes([Route.of(f"f={server.url}")], public=False), sinks=[records.append]) as proxy,
    ):
        client = connect(proxy)
        client.sendall(request_bytes(proxy))
        server.wait_for_requests(1)
        left = time.monotonic()
        client.close()
        until = left + 10 * SCALE
        while not ends and time.monotonic() < until:
            time.sleep(0.002)
        assert ends[0] - left < 0.05 * SCALE
    assert [record.outcome for record in records] == ["cancelled"]


def test_a_client_that_only_stopped_writing_is_served() -> None:
    """It reads the whole answer, which comes after a silence and a resend."""
    with proxied("silent", "healthy") as (proxy, server, _), connect(proxy) as client:
        client.sendall(request_bytes(proxy, "Connection: close"))
        client.shutdown(socket.SHUT_WR)
        assert all_of(client).endswith(b"0\r\n\r\n")
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (("Origin: http://evil.example",), 403),
        (("Content-Length: 5",), 400),
        (("Transfer-Encoding: chunked",), 400),
        (("Host: 127.0.0.1",), 400),
        (("X : y",), 400),
        (("x-llmwatch-ttfb: soon",), 400),
        (("x-llmwatch-ttfb: -1",), 400),
        (("x-llmwatch-nothing: 1",), 400),
        (("x-llmwatch-ttfb: 90", "x-llmwatch-total: 60"), 400),
        (("x-llmwatch-ttfb: 9", "X-LLMWatch-TTFB: 9"), 400),
    ],
)
def test_what_is_refused_reaches_no_upstream(headers: tuple[str, ...], status: int) -> None:
    """Web pages, doubtful framing and limits that cannot be read are refused with a text."""
    with proxied() as (proxy, server, _):
        got = exchange(proxy, request_bytes(proxy, *headers, "Connection: close"))
        assert got.startswith(b"HTTP/1.1 %d " % status)
        assert server.requests == []


@pytest.mark.parametrize(
    ("line", "host", "status"),
    [
        ("GET /f/x HTTP/1.1", "evil.example:{port}", 403),
        ("GET /f/x HTTP/1.1", "127.0.0.1:1", 403),
        ("GET /openai/v1/models HTTP/1.1", "127.0.0.1:{port}", 404),
        ("GET /f/../x HTTP/1.1", "127.0.0.1:{port}", 404),
        ("GET /f/%2e%2E/x HTTP/1.1", "127.0.0.1:{port}", 404),
        ("GET http://evil.example/f/x HTTP/1.1", "127.0.0.1:{port}", 400),
        ("OPTIONS http://evil.example/f/x HTTP/1.1", "127.0.0.1:{port}", 404),
        ("CONNECT evil.example:443 HTTP/1.1", "127.0.0.1:{port}", 405),
    ],
)
def test_nothing_but_the_routes_can_be_reached(line: str, host: str, status: int) -> None:
    """Another host's name, another path, an absolute URI and CONNECT lead nowhere."""
    with proxied() as (proxy, server, _):
        head = f"{line}\r\nHost: {host.format(port=proxy.port)}\r\nConnection: close\r\n\r\n"
        assert exchange(proxy, head.encode()).startswith(b"HTTP/1.1 %d " % status)
        assert server.requests == []


def test_a_request_sets_its_own_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A header goes before the environment."""
    monkeypatch.setenv("LLMWATCH_TTFB_TIMEOUT_SECONDS", "600")
    with proxied("silent", "healthy") as (proxy, _, records), httpx.Client(timeout=60) as client:
        assert client.post(proxy.url + PATH, json=BODY, headers={"x-llmwatch-ttfb": str(SOON)}).status_code == 200
        assert records[0].attempts[0].limit == "ttfb"


def test_an_upload_is_streamed_in_either_framing() -> None:
    """Three megabytes arrive whole, and a request follows on the same connection."""
    data = bytes(3 << 20)
    with proxied("status:status=200") as (proxy, server, _), httpx.Client() as client:
        for content in (data, iter([data[: 1 << 20]] * 3)):
            assert client.post(f"{proxy.url}/f/v1/files", content=content).status_code == 200
        assert [request.body_bytes for request in server.requests] == [len(data)] * 2
        assert client.get(f"{proxy.url}/f/v1/models").status_code == 200


def test_another_address_needs_a_token_and_tls() -> None:
    """Without either the proxy is not made; a wrong token is refused, and the right one is not sent on."""
    routes = Routes([Route.of("f=http://127.0.0.1:9")], public=False)
    for token in (None, "t"):
        with pytest.raises(ConfigError, match="--token"):
            ProxyServer(routes, host="0.0.0.0", token=token)
    with proxied(token="secret") as (proxy, server, _), httpx.Client() as client:
        assert client.post(proxy.url + PATH, json=BODY).status_code == 401
        assert client.post(proxy.url + PATH, json=BODY, headers={"x-llmwatch-token": "x"}).status_code == 401
        assert client.post(proxy.url + PATH, json=BODY, headers={"x-llmwatch-token": "secret"}).status_code == 200
        assert server.requests[0].header("x-llmwatch-token") is None


def test_redirects_and_cookies_are_the_clients_affair() -> None:
    """A 302 is passed on as it came, and nothing is asked for at its target."""
    with proxied("redirect-302") as (proxy, server, _), httpx.Client() as client:
        assert client.post(proxy.url + PATH, json=BODY).status_code == 302
        assert len(server.requests) == 1
