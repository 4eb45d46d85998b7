"""Scripts whose answer is whole, or wrong, in a way that cannot be seen by its framing."""

from __future__ import annotations

import pytest

from llmwatch.faults import FaultServer, catalogue
from tests.faults import reading
from tests.faults.client import SHAPES, asking

TEXTUAL = [shape for shape in SHAPES if shape != "bedrock"]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tokens", [0, 3])
def test_more_comes_after_the_reason(shape: str, tokens: int):
    """The text is whole, and the answer ends as it does otherwise."""
    with FaultServer(f"finish-then-more:tokens={tokens},delay=0") as server, asking(server, shape) as client:
        assert client.read().ended == "end"
        assert reading.text(shape, client.body) == catalogue.ANSWER
        assert reading.is_terminated(shape, client.body)


def test_a_restated_whole_is_the_message_after_its_deltas():
    """Chat completions say it in the shape of a plain answer."""
    with FaultServer("restated-whole") as server, asking(server) as client:
        documents = reading.documents("openai-chat", client.read().body)
    (whole,) = [document for document in documents if document["object"] == "chat.completion"]
    assert whole["choices"][0]["message"]["content"] == catalogue.ANSWER


@pytest.mark.parametrize("shape", TEXTUAL)
@pytest.mark.parametrize(("script", "begins"), [("error-field", b"\nerror: {"), ("error-line", b"\n{")])
def test_an_error_stands_outside_of_data(shape: str, script: str, begins: bytes):
    """Its words are in a line of its own, behind the tokens."""
    with FaultServer(f"{script}:tokens=2,message=planted words") as server, asking(server, shape) as client:
        body = client.read().body
    place = body.index(b"planted words")
    assert body.rfind(begins, 0, place) == body.rfind(b"\n", 0, place)
    assert body.count(b"planted words") == 1


@pytest.mark.parametrize(
    ("what", "content_type"),
    [
        ("events", "text/event-stream"),
        ("lines", "application/json"),
        ("nul", "text/plain"),
        ("array", "application/json"),
        ("text", "text/plain; charset=utf-8"),
        ("sound", "audio/wav"),
    ],
)
def test_an_unknown_wire_says_all_words(what: str, content_type: str):
    """Each kind of wire announces its type and holds all words."""
    with FaultServer(f"unknown-wire:what={what}", text="one two") as server, asking(server) as client:
        body = client.read().body
        assert client.headers["content-type"] == content_type
    assert b"one" in body
    assert b"two" in body
