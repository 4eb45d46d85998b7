"""Scripts whose answer is not the requested one, or comes in an unusual order."""

from __future__ import annotations

import json

import pytest

from llmwatch.faults import FaultServer, catalogue
from tests.faults import reading
from tests.faults.client import SHAPES, WireClient, asking


def test_usage_tail_comes_between_reason_and_end():
    """Usage follows the reason for finishing and comes before the end marker."""
    with FaultServer("usage-tail") as server, asking(server) as client:
        documents = reading.documents("openai-chat", client.read().body)
        assert documents[-2]["choices"][0]["finish_reason"] == "stop"
        assert documents[-1]["usage"]["prompt_tokens"] == 7
        assert reading.is_terminated("openai-chat", client.body)


@pytest.mark.parametrize("shape", SHAPES)
def test_lifecycle_then_terminal_says_nothing(shape: str):
    """The answer begins and ends in good order with no text in it."""
    with FaultServer("lifecycle-then-terminal") as server, asking(server, shape) as client:
        assert client.read().ended == "end"
        assert reading.text(shape, client.body) == ""
        assert reading.is_terminated(shape, client.body)


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "generic"])
def test_malformed_event_is_among_good_ones(shape: str):
    """One event is broken JSON; the tokens before it and the rest after it are good."""
    with FaultServer("malformed-event:tokens=2") as server, asking(server, shape) as client:
        body = client.read().body
    end = b"\n" if shape == "ndjson" else b"\n\n"
    blocks = [block + end for block in body.split(end)[:-1]]
    bad = [number for number, block in enumerate(blocks) if _is_bad(shape, block)]
    assert len(bad) == 1
    assert reading.text(shape, b"".join(blocks[: bad[0]])) == catalogue.answer(2)
    good = b"".join(blocks[: bad[0]] + blocks[bad[0] + 1 :])
    assert reading.text(shape, good) == catalogue.ANSWER


def _is_bad(shape: str, block: bytes) -> bool:
    try:
        reading.documents(shape, block)
    except json.JSONDecodeError:
        return True
    return False


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("openai-chat", {"error": {"message": "m", "type": "t", "param": None, "code": "c"}}),
        ("openai-responses", {"type": "error", "sequence_number": 0, "code": "c", "message": "m", "param": None}),
        ("anthropic", {"type": "error", "error": {"type": "t", "message": "m"}}),
        ("generic", {"error": {"type": "t", "code": "c", "message": "m"}}),
        ("ndjson", {"error": "m"}),
    ],
)
def test_error_event_is_that_of_the_provider(shape: str, expected: dict):
    """The error has the shape of its provider and the words of the script, and is the last event."""
    with FaultServer("error-event:kind=t,code=c,message=m") as server, asking(server, shape) as client:
        assert client.read().ended == "end"
        given = reading.documents(shape, client.body)[-1]
        if shape == "openai-responses":
            given["sequence_number"] = 0
        assert (client.status, given) == (200, expected)


def test_error_event_can_come_after_content():
    """Tokens come before the error where that is asked for."""
    with FaultServer("error-event:tokens=2") as server, asking(server, "anthropic") as client:
        names = [name for name, _ in reading.events(client.read().body)]
        assert names == ["message_start", "content_block_start", *["content_block_delta"] * 2, "error"]


@pytest.mark.parametrize("what", ["error", "answer"])
def test_json_instead_is_a_document(what: str):
    """200 and JSON come where a stream was asked for: an error, or a plain answer."""
    with FaultServer(f"json-instead:what={what}") as server, asking(server) as client:
        document = json.loads(client.read().body)
        assert (client.status, client.headers["content-type"]) == (200, "application/json")
        assert ("error" in document, "choices" in document) == (what == "error", what == "answer")


def test_html_instead_is_a_page():
    """200 and a web page come where a stream was asked for; it can pretend to be a stream."""
    scripts = ["html-instead", "html-instead:content_type=text/event-stream"]
    with FaultServer(scripts) as server, WireClient(server.url) as client:
        for kind in ("text/html; charset=utf-8", "text/event-stream"):
            client.ask().read()
            assert (client.status, client.headers["content-type"]) == (200, kind)
            assert client.body.startswith(b"<!DOCTYPE html>")
