"""An answer that no dialect reads passes the transport unchanged, as it passes a session."""

from __future__ import annotations

from typing import Any

import httpx
import httpx2
import openai
import pytest

import llmwatch
from llmwatch import Limits
from llmwatch.faults import steps
from llmwatch.sdk import Transport
from tests.sdk.clients import QUICK, ask
from tests.sdk.times import BEAT, LIMIT, LONG, SOON
from tests.session.test_wires import ANSWER, DONE, OPENING, WIRES, Wire, _gated, _said

libraries = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


def opened(library: Any, **limits: float) -> Any:
    """A client of the library on the transport."""
    transport = Transport(limits=Limits(**{"stale": LONG, **limits}), retry=QUICK)
    return library.Client(transport=transport, timeout=None)


def read(client: Any, server: Any, wire: Wire) -> tuple[int, bytes]:
    """The status and the bytes; each piece has to be there before the next is sent."""
    found, whole = b"", b"".join(wire.pieces)
    with client.stream("POST", server.url + wire.path, json=wire.body, headers=wire.sent) as response:
        for piece in response.iter_raw():
            found += piece
            assert whole.startswith(found)
            for at in range(1, len(wire.pieces)):
                if len(found) >= len(b"".join(wire.pieces[:at])):
                    server.gate(f"{at} seen").set()
        return response.status_code, found


@libraries
@pytest.mark.parametrize("name", WIRES)
def test_an_unknown_wire_is_handed_on_as_it_comes(serve: Any, library: Any, name: str) -> None:
    """The same bytes after one request, each piece before the next is sent; a document comes whole."""
    wire = WIRES[name]
    document = wire.content_type == "application/json" and "stream" not in wire.body
    server = serve(_said(wire.pieces, content_type=wire.content_type) if document else _gated(wire))
    with opened(library) as client:
        assert read(client, server, wire) == (200, b"".join(wire.pieces))
    assert len(server.requests) == 1


@libraries
def test_an_unknown_wire_has_no_limits_on_content(serve: Any, library: Any) -> None:
    """An answer that no dialect reads has no limits on content."""
    wire = WIRES["text"]
    server = serve(_said(wire.pieces, content_type=wire.content_type, waits=SOON))
    with opened(library, first_event=SOON, first_content=SOON, progress=SOON) as client:
        assert client.post(server.chat_url, json=wire.body).content == b"".join(wire.pieces)
    assert len(server.requests) == 1


@libraries
@pytest.mark.parametrize("name", ["events of another make", "lines of another make", "sound", "text"])
def test_a_cut_or_silence_in_an_unknown_wire_is_an_error(serve: Any, library: Any, name: str) -> None:
    """After one request, in our words and the library's."""
    wire = WIRES[name]
    for script, kind in (
        (_said(wire.pieces, content_type=wire.content_type, ends=False, then=[steps.Close()]), llmwatch.StreamCut),
        (_said(wire.pieces, content_type=wire.content_type, then=[steps.Hang()]), llmwatch.WatchTimeout),
    ):
        server = serve(script, "healthy")
        with opened(library, stale=SOON) as client, pytest.raises(library.TransportError) as caught:
            client.post(server.url + wire.path, json=wire.body)
        assert isinstance(caught.value, kind)
        assert len(server.requests) == 1


@libraries
@pytest.mark.parametrize("opening", [OPENING, b": hi\n\n", b'event: ping\ndata: {"type": "ping"}\n\n'])
def test_silence_behind_an_opening_is_recovered_from(serve: Any, library: Any, opening: bytes) -> None:
    """The first answer was not handed out, and the second comes whole."""
    server = serve(_said([opening], then=[steps.Hang()]), _said(ANSWER))
    with opened(library, stale=SOON) as client:
        content = client.post(server.chat_url, json=WIRES["text"].body).content
    assert (content, content.endswith(DONE), len(server.requests)) == (b"".join(ANSWER), True, 2)


@libraries
def test_a_long_opening_is_handed_out(serve: Any, library: Any) -> None:
    """Silence behind more than 64 KiB of an opening surfaces: the library has them."""
    filler = b'data: {"choices": [], "filler": "' + b"x" * 70_000 + b'"}\n\n'
    server = serve(_said([OPENING + filler], then=[steps.Hang()]), _said(ANSWER))
    with opened(library, stale=SOON) as client, pytest.raises(library.TransportError) as caught:
        client.post(server.chat_url, json=WIRES["text"].body)
    assert isinstance(caught.value, llmwatch.WatchTimeout)
    assert len(server.requests) == 1


@pytest.mark.parametrize("end", ["clean", "open", "cut"])
@pytest.mark.parametrize("together", [True, False])
def test_an_end_mark_alone_waits_for_the_end_of_the_body(serve: Any, end: str, together: bool) -> None:
    """An SDK stops at the mark, which it sees once the body ended in good order.

    It never stops where the body is cut.
    """
    pieces = [ANSWER[0], ANSWER[1], DONE]
    then = {"open": [steps.Hang()], "cut": [steps.Close()]}.get(end, [])
    server = serve(_said([b"".join(pieces)] if together else pieces, waits=BEAT, then=then, ends=end == "clean"))
    limits = Limits(drain=LIMIT, stale=LONG)
    with llmwatch.sdk.openai(api_key="k", base_url=f"{server.url}/v1", limits=limits, timeout=LONG) as client:
        answer = ask(client, "chat-stream")
    assert "".join(answer.seen) == "Hello "
    if end == "cut":
        assert isinstance(answer.error, openai.APIConnectionError)
        assert isinstance(answer.error.__cause__, llmwatch.StreamCut)
    else:
        assert answer.error is None
    assert len(server.requests) == 1
