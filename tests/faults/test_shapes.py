"""The shapes: every provider's whole answer, its parts and its plain form."""

from __future__ import annotations

import json

import pytest

from llmwatch.faults import FaultServer, catalogue
from llmwatch.faults.shapes import NAMES, SHAPES, for_path
from tests.faults import reading
from tests.faults.client import FRAMINGS, PATHS, WireClient, asking
from tests.faults.client import SHAPES as ALL

FULL = tuple(shape for shape in ALL if shape not in ("gemini", "ndjson"))


def test_names_cover_the_shapes_that_are_tested():
    """The shapes that exist are those that these tests go through."""
    assert set(NAMES) == {*ALL, "bedrock"}


def test_bedrock_sends_frames():
    """The whole answer, a plain one and a tool call come in Bedrock's own way; keep-alives carry nothing."""
    scripts = ["aws-frames", "healthy", "tool-arguments-only:every=0"]
    with FaultServer(scripts) as server, WireClient(server.url) as client:
        client.send("/anywhere", {}).head().read()
        assert client.headers["content-type"] == "application/vnd.amazon.eventstream"
        assert reading.text("bedrock", client.body) == catalogue.ANSWER
        assert reading.is_terminated("bedrock", client.body)
        client.send("/model/m/converse", {}).head().read()
        assert reading.plain_text("bedrock", json.loads(client.body)) == catalogue.ANSWER
        client.send("/model/m/converse-stream", {}).head().read()
        assert json.loads(reading.arguments("bedrock", client.body)) == json.loads(catalogue.tool_arguments(20))
    for kind in ("comment", "ping", "blank", "empty"):
        blocks = b"".join(SHAPES["bedrock"]().keepalive(kind))
        assert reading.documents("bedrock", blocks)
        assert reading.text("bedrock", blocks) == ""


def test_aws_streams_are_cut_and_report_exceptions():
    """A cut ends inside a frame, in good order or not.

    An exception is a frame of its own behind the tokens.
    """
    scripts = ["aws-cut:tokens=2", "aws-cut:tokens=2,clean=yes", "aws-exception:tokens=2,kind=k,message=m"]
    with FaultServer(scripts) as server:
        for ended in ("eof", "end"):
            with WireClient(server.url) as client:
                assert client.send("/", {}).head().read().ended == ended
                assert reading.text("bedrock", client.body) == catalogue.answer(1)
        with WireClient(server.url) as client:
            assert client.send("/", {}).head().read().ended == "end"
            assert reading.text("bedrock", client.body) == catalogue.answer(2)
            assert reading.documents("bedrock", client.body)[-1] == {"message": "m"}


@pytest.mark.parametrize("framing", FRAMINGS)
def test_healthy_answer_says_the_answer(framing: str):
    """A healthy stream says the whole answer and ends in the way of its provider, in every framing."""
    for shape in ALL:
        with FaultServer("healthy", framing=framing) as server, asking(server, shape) as client:
            client.read()
            assert (client.status, client.framing, client.ended) == (200, framing, "end")
            assert reading.text(shape, client.body) == catalogue.ANSWER
            assert reading.is_terminated(shape, client.body)
            kind = "application/x-ndjson" if shape == "ndjson" else "text/event-stream"
            assert client.headers["content-type"] == kind


def test_plain_answer_is_one_document():
    """A call that does not ask for a stream gets the answer as one JSON document."""
    for shape in ALL:
        path = PATHS[shape].replace(":streamGenerateContent?alt=sse", ":generateContent")
        with FaultServer("healthy") as server, WireClient(server.url) as client:
            client.send(path, {"stream": False}).head().read()
            assert (client.status, client.headers["content-type"]) == (200, "application/json")
            assert reading.plain_text(shape, json.loads(client.body)) == catalogue.ANSWER


def test_every_token_is_a_chunk():
    """Each event is written on its own, so that a client can see it at once."""
    for shape in ALL:
        with FaultServer("healthy:tokens=5", shape=shape) as server, asking(server, shape) as client:
            client.read()
            said = [chunk for chunk in client.chunks if _says(shape, chunk)]
            assert len(said) == 5


def test_reasoning_comes_before_the_answer():
    """Reasoning is separate from text, and text follows it unless the script leaves it out."""
    for shape in FULL:
        scripts = ["reasoning-only:count=4,every=0", "reasoning-only:count=4,every=0,says=no"]
        with FaultServer(scripts) as server, WireClient(server.url) as client:
            for expected in (catalogue.ANSWER, ""):
                client.ask(shape).read()
                assert reading.reasoning(shape, client.body) == catalogue.answer(4)
                assert reading.text(shape, client.body) == expected
                assert reading.is_terminated(shape, client.body)


def test_chat_sends_usage_after_the_reason():
    """Chat completions end with a reason, then usage without choices, then the end marker."""
    with FaultServer("healthy") as server, asking(server) as client:
        client.read()
    *_, reason, usage = reading.documents("openai-chat", client.body)
    count = len(reading.documents("openai-chat", client.body)) - 3
    assert reason["choices"][0]["finish_reason"] == "stop"
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 7, "completion_tokens": count, "total_tokens": 7 + count}
    assert reading.events(client.body)[-1] == ("message", "[DONE]")


def test_anthropic_counts_its_blocks():
    """Blocks of a message start and stop in pairs with the same number.

    Usage comes with the stop reason.
    """
    with FaultServer("reasoning-only:count=2,every=0") as server, asking(server, "anthropic") as client:
        client.read()
    documents = reading.documents("anthropic", client.body)
    assert all(
        name == document["type"] for (name, _), document in zip(reading.events(client.body), documents, strict=True)
    )
    edges = [(d["type"], d["index"]) for d in documents if d["type"].startswith("content_block_st")]
    assert edges == [(f"content_block_{edge}", index) for index in (0, 1) for edge in ("start", "stop")]
    assert [d["content_block"]["type"] for d in documents if d["type"] == "content_block_start"] == ["thinking", "text"]
    assert documents[0]["type"] == "message_start"
    assert documents[-2]["delta"]["stop_reason"] == "end_turn"
    assert documents[-2]["usage"]["output_tokens"] == 2 + len(catalogue.ANSWER.split())


def test_responses_number_their_events():
    """Sequence numbers run without a gap, and the last event holds the items that the events made."""
    with FaultServer("reasoning-only:count=2,every=0") as server, asking(server, "openai-responses") as client:
        client.read()
    documents = reading.documents("openai-responses", client.body)
    assert [document["sequence_number"] for document in documents] == list(range(len(documents)))
    assert [document["type"] for document in documents[:2]] == ["response.created", "response.in_progress"]
    final = documents[-1]["response"]
    assert final["status"] == "completed"
    assert [item["type"] for item in final["output"]] == ["reasoning", "message"]
    assert final["output"][1]["content"][0]["text"] == catalogue.ANSWER
    assert [d["item"] for d in documents if d["type"] == "response.output_item.done"] == final["output"]


@pytest.mark.parametrize("shape", ["openai-chat", "openai-responses", "anthropic"])
def test_ids_differ_by_request(shape: str):
    """Two answers of a server have ids of their own, so that a leak from one into the other shows."""
    with FaultServer("healthy") as server, WireClient(server.url) as client:
        first, second = (client.ask(shape).read().body for _ in range(2))
    assert (b"fault1" in first, b"fault2" in first) == (True, False)
    assert (b"fault1" in second, b"fault2" in second) == (False, True)


@pytest.mark.parametrize("kind", ["comment", "ping", "blank", "empty"])
def test_keepalives_say_nothing(kind: str):
    """A keep-alive of any kind is well formed and carries no text."""
    for shape in FULL:
        blocks = b"".join(SHAPES[shape]().keepalive(kind))
        assert blocks.endswith(b"\n")
        if shape != "generic":
            assert reading.text(shape, blocks) == ""
        assert (b"data:" in blocks) == (kind in ("ping", "empty"))


def test_unknown_keepalive_is_an_error():
    """A kind of keep-alive that does not exist is named in the error."""
    with pytest.raises(ValueError, match="keep-alive 'beep'"):
        SHAPES["generic"]().keepalive("beep")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/chat/completions", "openai-chat"),
        ("/openai/deployments/m/chat/completions", "openai-chat"),
        ("/v1/responses", "openai-responses"),
        ("/v1/messages", "anthropic"),
        ("/v1beta/models/m:generateContent", "gemini"),
        ("/api/chat", "ndjson"),
        ("/v2/chat", "cohere"),
        ("/model/m/converse-stream", "bedrock"),
        ("/model/m/converse", "bedrock"),
        ("/", "generic"),
    ],
)
def test_path_chooses_the_shape(path: str, name: str):
    """The shape follows the end of the path."""
    assert for_path(path).name == name


def _says(shape: str, chunk: bytes) -> bool:
    return chunk != b"data: [DONE]\n\n" and reading.text(shape, chunk) != ""
