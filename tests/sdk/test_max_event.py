"""``max_event``: the size of an event is a setting of every entry point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import requests

import llmwatch
from llmwatch import Client, Limits
from llmwatch.sdk import Transport
from llmwatch.wire import MAX_EVENT, Decoder
from tests.end_to_end.calls import asking
from tests.end_to_end.times import LONG
from tests.sdk.clients import QUICK, ask

SIZE = 3 << 20
SETTINGS: dict[str, Any] = {"limits": Limits(ttfb=LONG), "retry": QUICK}


def _client(server: Any, more: dict[str, Any]) -> None:
    with Client(**SETTINGS, **more) as client:
        client.collect("POST", server.chat_url, json=asking())


def _session(server: Any, more: dict[str, Any]) -> None:
    with llmwatch.Session(**SETTINGS, **more) as session:
        session.post(server.chat_url, json=asking(), stream=True).content  # noqa: B018


def _mount(server: Any, more: dict[str, Any]) -> None:
    with requests.Session() as session:
        llmwatch.mount(session, **SETTINGS, **more)
        session.post(server.chat_url, json=asking(), stream=True).content  # noqa: B018


def _install(server: Any, more: dict[str, Any]) -> None:
    llmwatch.install(**SETTINGS, **more)
    try:
        requests.post(server.chat_url, json=asking(), stream=True).content  # noqa: B018
    finally:
        llmwatch.uninstall()


def _transport(server: Any, more: dict[str, Any]) -> None:
    with httpx.Client(transport=Transport(**SETTINGS, **more), timeout=None) as client:
        client.post(server.chat_url, json=asking())


def _openai(server: Any, more: dict[str, Any]) -> None:
    with llmwatch.sdk.openai(api_key="k", base_url=f"{server.url}/v1", **SETTINGS, **more) as client:
        assert ask(client, "chat-stream").text


def _anthropic(server: Any, more: dict[str, Any]) -> None:
    with llmwatch.sdk.anthropic(api_key="k", base_url=server.url, **SETTINGS, **more) as client:
        assert ask(client, "messages-stream").text


ENTRY_POINTS = [_client, _session, _mount, _install, _transport, _openai, _anthropic]


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes that decoders were made with."""
    made: list[int] = []
    plain = Decoder.__init__

    def recording(self: Decoder, *args: Any, **kwargs: Any) -> None:
        made.append(kwargs.get("max_event", MAX_EVENT))
        plain(self, *args, **kwargs)

    monkeypatch.setattr(Decoder, "__init__", recording)
    return made


@pytest.mark.parametrize("call", ENTRY_POINTS)
def test_every_entry_point_takes_max_event(
    serve: Any, sizes: list[int], monkeypatch: pytest.MonkeyPatch, call: Callable[[Any, dict[str, Any]], None]
) -> None:
    """Its argument goes before the variable, which goes before 64 MiB.

    The variable is read at every call.
    """
    server = serve("healthy")
    call(server, {})
    monkeypatch.setenv("LLMWATCH_MAX_EVENT_BYTES", str(2 * SIZE))
    call(server, {})
    call(server, {"max_event": SIZE})
    assert sizes == [64 << 20, 2 * SIZE, SIZE]


@pytest.mark.parametrize("size", [20_046_248, 0])
def test_a_picture_in_one_event_is_whole(serve: Any, size: int) -> None:
    """An event of 20 MB comes whole where 64 MiB are allowed, and where the cap is removed."""
    server = serve(f"giant-event:size={size or 1 << 20}")
    with Client(**SETTINGS, max_event=0 if not size else None) as client:
        assert len(client.collect("POST", server.chat_url, json=asking()).text) == size or 1 << 20


def test_max_event_beside_a_transport_is_refused() -> None:
    """The transport has its own ``max_event``."""
    with pytest.raises(TypeError, match="max_event"):
        llmwatch.sdk.openai(api_key="k", transport=Transport(), max_event=SIZE)
