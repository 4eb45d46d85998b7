"""Headers that other code adds in http.client, beside those that a request of httpx has."""

from __future__ import annotations

import http.client
from typing import Any

import httpx
import httpx2
import pytest

from llmwatch import Limits
from llmwatch.sdk import Transport
from tests.sdk.clients import QUICK
from tests.sdk.times import LONG

libraries = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])

STREAM = {"model": "m", "messages": [{"role": "user", "content": "Say it."}], "stream": True}


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What a patch of http.client adds to every request as it begins, as Sentry's does."""
    headers: dict[str, str] = {}
    putrequest = http.client.HTTPConnection.putrequest

    def patched(self: Any, *args: Any, **kwargs: Any) -> None:
        putrequest(self, *args, **kwargs)
        for name, value in headers.items():
            self.putheader(name, value)

    monkeypatch.setattr(http.client.HTTPConnection, "putrequest", patched)
    return headers


@libraries
def test_a_header_of_the_request_is_sent_once(serve: Any, added: dict[str, str], library: Any) -> None:
    """The request's own value is sent, also where the other is the same.

    Other added headers are sent as they are. This holds for each request over a connection.
    """
    added.update({"X-Trace": "below", "X-SAME": "1", "X-Below": "2"})
    server = serve("healthy")
    with library.Client(transport=Transport(limits=Limits(ttfb=LONG), retry=QUICK), timeout=None) as client:
        for number in ("first", "second"):
            client.post(server.chat_url, json=STREAM, headers={"X-Trace": number, "X-Same": "1"})
    assert server.connections == 1
    for request, number in zip(server.requests, ("first", "second"), strict=True):
        sent = sorted((name.lower(), value) for name, value in request.headers if name.lower().startswith("x-"))
        assert sent == [("x-below", "2"), ("x-same", "1"), ("x-trace", number)]
