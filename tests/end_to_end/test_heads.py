"""Heads of responses: a head that is cut is no response.

Whatever else a server may write for a head is a response.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import httpx2
import pytest
import requests

import llmwatch
from llmwatch import Retry
from llmwatch.faults import Script, steps
from llmwatch.faults.catalogue import ANSWER
from llmwatch.sdk import Transport
from tests.end_to_end.calls import QUICK, asking, collect, request, stream
from tests.end_to_end.conftest import Connect, Serve

ORDER = {"order": 1}
CUT = {
    "status": b"HTTP/1.1 200 OK\r\n",
    "status-line": b"HTTP/1.1 200 OK",
    "name": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCont",
    "value": b"HTTP/1.1 200 OK\r\nContent-Length: 1",
    "line": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n",
    "line-end": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r",
    "bare-lines": b"HTTP/1.1 200 OK\nX-A: 1\n",
    "no-body": b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n",
    "error": b"HTTP/1.1 500 Internal Server Error\r\nX-A: 1\r\n",
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n",
    "interim": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n",
    "behind-interim": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-A: 1\r\n",
    "many": b"HTTP/1.1 200 OK\r\n" + b"X-A: 1\r\n" * 150,
    "long": b"HTTP/1.1 200 OK\r\nX-A: " + b"1" * 100_000,
}
WHOLE = {
    "usual": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "bare-lines": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "no-headers": b"HTTP/1.1 200 OK\r\n\r\nok",
    "no-reason": b"HTTP/1.0 200\r\n\r\nok",
    "folded": b"HTTP/1.1 200 OK\r\nX-A: 1,\r\n 2\r\nContent-Length: 2\r\n\r\nok",
    "continue": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "processing": b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "many": b"HTTP/1.1 200 OK\r\n" + b"X-A: 1\r\n" * 150 + b"Content-Length: 2\r\n\r\nok",
    "long": b"HTTP/1.1 200 OK\r\nX-A: " + b"1" * 100_000 + b"\r\nContent-Length: 2\r\n\r\nok",
    "many-hints": b"HTTP/1.1 103 Hints\r\n"
    + b"Link: </a>\r\n" * 150
    + b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 2 + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
}


def _saying(head: bytes) -> Script:
    return Script.of("head", steps.Send(head), steps.Close())


Post = Callable[[str, Any], bytes]


def _session(url: str, body: Any, stream: bool = False) -> bytes:
    with llmwatch.Session(retry=QUICK) as session:
        return session.post(url, json=body, stream=stream).content


def _streamed(url: str, body: Any) -> bytes:
    return _session(url, body, stream=True)


def _mounted(url: str, body: Any) -> bytes:
    with llmwatch.mount(requests.Session(), retry=QUICK) as session:
        return session.post(url, json=body).content


def _httpx(url: str, body: Any, library: Any = httpx) -> bytes:
    with library.Client(transport=Transport(retry=QUICK), trust_env=False) as client:
        content: bytes = client.post(url, json=body).content
        return content


def _httpx2(url: str, body: Any) -> bytes:
    return _httpx(url, body, httpx2)


ENTRY_POINTS = pytest.mark.parametrize("post", [_session, _streamed, _mounted, _httpx, _httpx2])


@ENTRY_POINTS
@pytest.mark.parametrize("head", CUT)
def test_a_cut_head_is_no_response(serve: Serve, head: str, post: Post) -> None:
    """A POST that is no model call fails as lost when its headers are cut, and is not resent.

    A streaming model call is resent.
    """
    server = serve(_saying(CUT[head]))
    with pytest.raises((requests.ConnectionError, httpx.TransportError, httpx2.TransportError)) as caught:
        post(server.url + "/orders", ORDER)
    assert "StreamCut" in "".join(map(str, type(caught.value).__mro__)) + repr(caught.value.__cause__)
    assert len(server.requests) == 1
    server = serve(_saying(CUT[head]), "healthy")
    assert ANSWER.split()[0].encode() in post(server.chat_url, asking())
    assert len(server.requests) == 2


@ENTRY_POINTS
@pytest.mark.parametrize("head", WHOLE)
def test_an_unusual_but_whole_head_is_accepted(serve: Serve, head: str, post: Post) -> None:
    """Bare line ends, no headers at all, folded lines and interim responses are accepted."""
    server = serve(_saying(WHOLE[head]))
    assert post(server.url + "/orders", ORDER) == b"ok"
    assert len(server.requests) == 1


@pytest.mark.parametrize("entry_point", [stream, collect, request])
@pytest.mark.parametrize("head", ["status", "name", "line"])
def test_a_client_resends_after_a_cut_head(serve: Serve, connect: Connect, head: str, entry_point: Any) -> None:
    """Each entry point recovers from a cut head, and says so where it may not."""
    server = serve(_saying(CUT[head]), "healthy")
    record = entry_point(connect(), server.chat_url).done("recovered")
    assert [one.status for one in record.attempts] == [None, 200]
    server = serve(_saying(CUT[head]))
    error = entry_point(connect(retry=Retry.none()), server.chat_url).failed(llmwatch.StreamCut)
    assert "headers" in str(error)
    assert len(server.requests) == 1


def test_a_cut_head_on_a_reused_connection_gets_no_free_resend(serve: Serve) -> None:
    """The request has arrived, so the connection was not dead."""
    server = serve("healthy", _saying(CUT["line"]), "healthy")
    with llmwatch.Session(retry=QUICK) as session:
        assert session.post(server.chat_url, json=asking()).ok
        with pytest.raises(llmwatch.StreamCut) as caught:
            session.post(server.url + "/orders", json=ORDER)
    assert caught.value.record is not None
    assert [one.socket_reused for one in caught.value.record.attempts] == [True]
    assert len(server.requests) == 2
