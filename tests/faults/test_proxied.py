"""Scripts of a reverse proxy between the client and a provider."""

from __future__ import annotations

import pytest

from llmwatch.faults import FaultServer, catalogue
from tests.faults import reading
from tests.faults.client import asking


def test_a_buffering_proxy_hands_on_whole_buffers():
    """The body comes in pieces of one size, and is the whole answer."""
    with FaultServer("proxy-buffered:delay=0,size=1000") as server, asking(server) as client:
        assert client.read().ended == "end"
        assert reading.text("openai-chat", client.body) == catalogue.ANSWER
        *pieces, last = client.chunks
    assert pieces
    assert {len(piece) for piece in pieces} == {1000}
    assert 0 < len(last) <= 1000


@pytest.mark.parametrize(("how", "ended"), [("fin", "eof"), ("reset", "reset"), ("end", "end")])
def test_a_proxy_gives_a_provider_up(how: str, ended: str):
    """The tokens that came are handed on; the body then ends in one of three ways."""
    with FaultServer(f"proxy-cut:tokens=2,after=0.01,how={how}") as server, asking(server) as client:
        assert client.read().ended == ended
        assert reading.text("openai-chat", client.body) == catalogue.answer(2)


def test_a_proxy_answers_for_a_provider_that_said_nothing():
    """The answer is a page with the status 504."""
    with FaultServer("proxy-cut:tokens=0,after=0") as server, asking(server) as client:
        client.read()
        assert client.status == 504
        assert b"<html>" in client.body


@pytest.mark.parametrize("name", ["proxy-cut:how=else", "proxy-buffered:size=0"])
def test_an_unknown_way_is_an_error(name: str):
    """A value that the script does not know is refused with what it takes."""
    script = catalogue.get(name)
    with FaultServer() as server, asking(server) as client:
        client.read()
        context = server._context(server.requests[0], script)
    with pytest.raises(ValueError, match=script.name):
        list(script.answer_steps(context))
