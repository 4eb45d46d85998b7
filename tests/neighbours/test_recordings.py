"""vcrpy, which replaces the connections of urllib3's pools: it records and replays as it does bare."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import vcr
from vcr.errors import CannotOverwriteExistingCassetteException

import llmwatch
from llmwatch.faults import FaultServer
from tests.end_to_end.calls import QUICK, asking
from tests.session.entry_points import Way, caught
from tests.session.scripts import LINES, reply

Calls = Callable[[Any], Any]


def _orders(session: requests.Session, url: str, stream: bool) -> bytes:
    return session.post(f"{url}/orders", json={"a": 1}, stream=stream).content


def _answers(session: requests.Session, url: str, stream: bool) -> bytes:
    return b"".join(session.post(f"{url}/v1/chat/completions", json=asking(), stream=stream).iter_content(20))


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("call", [_orders, _answers])
def test_what_was_recorded_is_replayed(way: Way, tmp_path: Path, stream: bool, call: Any) -> None:
    """A request is sent once and recorded, and answered from the cassette from then on.

    The bytes are the same, by this entry point and by plain requests.
    """
    cassette = str(tmp_path / "cassette.yaml")
    script = reply(LINES) if call is _orders else "healthy"
    with FaultServer([script, "silent"]) as server, way.session() as session:
        with vcr.use_cassette(cassette) as tape:
            recorded = call(session, server.url, stream)
            assert len(tape) == 1
        for _ in range(2):
            with vcr.use_cassette(cassette, record_mode="none") as tape:
                assert call(session, server.url, stream) == recorded
                assert tape.play_count == 1
        assert len(server.requests) == 1
        url = server.url
    with vcr.use_cassette(cassette, record_mode="none"), requests.Session() as bare:
        assert call(bare, url, stream) == recorded
    if call is _orders:
        assert recorded == LINES


def test_a_recording_of_plain_requests_is_replayed(way: Way, tmp_path: Path) -> None:
    """A cassette that was made without llmwatch."""
    cassette = str(tmp_path / "cassette.yaml")
    with FaultServer(["healthy"]) as server:
        with vcr.use_cassette(cassette), requests.Session() as bare:
            recorded = _answers(bare, server.url, True)
        with vcr.use_cassette(cassette, record_mode="none"), way.session() as session:
            # vcrpy compares URL and method, not the headers.
            assert _answers(session, server.url, True) == recorded
        assert len(server.requests) == 1


@pytest.mark.parametrize("call", [_orders, _answers])
def test_nothing_leaves_the_machine_that_was_not_recorded(way: Way, tmp_path: Path, call: Any) -> None:
    """With ``record_mode="none"`` an unknown request raises what vcrpy raises, once.

    The server sees nothing. This holds also over a connection that was open before.
    """
    with FaultServer([reply(b"before"), "healthy"]) as server, way.session() as session:
        assert session.get(server.url).content == b"before"
        with vcr.use_cassette(str(tmp_path / "none.yaml"), record_mode="none"):
            caught(CannotOverwriteExistingCassetteException, call, session, server.url, True)
        assert len(server.requests) == 1
        # Behind the cassette it is the network again.
        call(session, server.url, True)
        assert len(server.requests) == 2


@contextlib.contextmanager
def _client() -> Iterator[Calls]:
    with llmwatch.Client(retry=QUICK) as client:
        yield lambda server: client.collect("POST", server.chat_url, json=asking()).text


@contextlib.contextmanager
def _sdk() -> Iterator[Calls]:
    with contextlib.ExitStack() as stack:

        def ask(server: Any) -> Any:
            client = llmwatch.sdk.openai(base_url=f"{server.url}/v1", api_key="k", retry=QUICK)
            stack.enter_context(client)
            chunks = client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "hi"}], stream=True
            )
            return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

        yield ask


@pytest.mark.parametrize("opened", [_client, _sdk])
def test_the_other_entry_points_are_recorded_too(tmp_path: Path, opened: Any) -> None:
    """``Client`` and the clients of the SDKs record and replay.

    They send nothing where nothing may be sent.
    """
    cassette = str(tmp_path / "cassette.yaml")
    with FaultServer(["healthy"]) as server:
        with vcr.use_cassette(cassette), opened() as ask:
            recorded = ask(server)
        with vcr.use_cassette(cassette, record_mode="none"), opened() as ask:
            assert ask(server) == recorded
        with vcr.use_cassette(str(tmp_path / "empty.yaml"), record_mode="none"), opened() as ask:
            error = caught(Exception, ask, server)
        assert len(server.requests) == 1
        assert recorded
        assert not isinstance(error, AssertionError)
