from __future__ import annotations

import asyncio
import importlib
import inspect
import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from llmwatch.faults import FaultServer
from llmwatch.hooks.async_calls import notice_async_calls
from llmwatch.hooks.left_alone import OTHER, counts, tell_with
from tests.hooks.test_httpx_transports import CHAT

PLACES = [
    ("httpx", "AsyncHTTPTransport", "handle_async_request"),
    ("httpx2", "AsyncHTTPTransport", "handle_async_request"),
    ("aiohttp", "ClientSession", "_request"),
]
WHY = "an async client"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is said, with the async clients noticed; their classes are as before afterwards."""
    for module, owner, name in PLACES:
        held = getattr(importlib.import_module(module), owner)
        monkeypatch.setattr(held, name, vars(held)[name])
    said: list[str] = []
    tell_with(said.append)
    notice_async_calls()
    yield said
    tell_with(None)


async def ask_httpx(name: str, url: str, chat: str) -> list[int]:
    library = importlib.import_module(name)
    seen = []
    async with library.AsyncClient() as client:
        for _ in range(2):
            seen.append((await client.post(chat, json=CHAT)).status_code)
        seen.append((await client.get(url)).status_code)
        seen.append((await client.post(url, json={"car": "a"})).status_code)
    return seen


async def ask_aiohttp(name: str, url: str, chat: str) -> list[int]:
    seen = []
    async with aiohttp.ClientSession() as session:
        text = json.dumps(CHAT)
        headers = {"Content-Type": "application/json"}
        for given in ({"json": CHAT}, {"data": text, "headers": headers}, {"data": text.encode(), "headers": headers}):
            async with session.post(chat, **given) as response:
                seen.append(response.status)
        async with session.get(url) as response:
            seen.append(response.status)
        async with session.request("POST", url, data="{no JSON") as response:
            seen.append(response.status)
    return seen


@pytest.mark.parametrize(
    ("name", "ask", "calls"), [("httpx", ask_httpx, 2), ("httpx2", ask_httpx, 2), ("aiohttp", ask_aiohttp, 3)]
)
def test_model_calls_are_counted_and_said_once(lines: list[str], name: str, ask: Any, calls: int) -> None:
    """Model calls of async clients are named once with a remedy; every request goes its way."""
    with FaultServer("healthy") as server:
        seen = asyncio.run(ask(name, server.url + "/other", server.chat_url))
        assert len(server.requests) == len(seen) == calls + 2
        assert [json.loads(request.body) for request in server.requests[:calls]] == [CHAT] * calls
    assert seen[:calls] == [200] * calls
    assert counts() == {name: {WHY: calls, OTHER: 2}}
    (line,) = lines
    assert line.startswith(f"a model call through {name} is not watched: an async client. A synchronous client ")
    assert "asyncio.to_thread" in line


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[0])
def test_the_functions_stay_coroutine_functions(lines: list[str], place: tuple[str, str, str]) -> None:
    """Name, signature and kind of the replaced function are those of the original."""
    module, owner, name = place
    replaced = getattr(getattr(importlib.import_module(module), owner), name)
    original = replaced.__wrapped__
    assert original.__module__.startswith(module)
    assert inspect.iscoroutinefunction(replaced)
    assert inspect.signature(replaced) == inspect.signature(original)
    assert replaced.__qualname__ == original.__qualname__


def test_arguments_that_cannot_be_examined_reach_the_original(lines: list[str]) -> None:
    """What the counting raises is dropped, and the library raises its own error."""

    async def ask() -> None:
        async with aiohttp.ClientSession() as session:
            await session._request()  # type: ignore[call-arg]

    with pytest.raises(TypeError, match=r"_request\(\) missing 2 required positional arguments"):
        asyncio.run(ask())
    assert counts() == {}
