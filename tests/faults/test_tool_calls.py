"""Scripts with tool calls."""

from __future__ import annotations

import json

import pytest

from llmwatch.faults import FaultServer, catalogue
from tests.faults import reading
from tests.faults.client import SHAPES, asking

STREAMED = ("openai-chat", "openai-responses", "anthropic", "generic")


def test_tool_arguments_only_adds_up_to_json():
    """The fragments add up to the arguments, which parse, and the answer ends with no text in it."""
    for shape in SHAPES:
        with FaultServer("tool-arguments-only:count=30,every=0") as server, asking(server, shape) as client:
            client.read()
            assert reading.arguments(shape, client.body) == catalogue.tool_arguments(30)
            assert reading.is_terminated(shape, client.body)
            if shape != "generic":
                assert reading.text(shape, client.body) == ""


def test_tool_arguments_come_in_so_many_fragments():
    """There are as many fragments as were asked for, none of them empty."""
    with FaultServer("tool-arguments-only:count=30,every=0") as server, asking(server, "anthropic") as client:
        documents = reading.documents("anthropic", client.read().body)
        fragments = [
            d["delta"]["partial_json"] for d in documents if d.get("delta", {}).get("type") == "input_json_delta"
        ]
        assert len(fragments) == 30
        assert all(fragments)
        assert documents[-2]["delta"]["stop_reason"] == "tool_use"


@pytest.mark.parametrize("cut", ["eof", "reset", "terminal"])
@pytest.mark.parametrize("what", ["half", "none"])
def test_tool_call_is_cut(what: str, cut: str):
    """The call begins, its arguments do not parse, and the end is the one that was asked for."""
    for shape in STREAMED:
        with FaultServer(f"tool-call-cut:what={what},cut={cut}") as server, asking(server, shape) as client:
            client.read()
            arguments = reading.arguments(shape, client.body)
            assert client.ended == ("reset" if cut == "reset" else "end")
            assert (arguments == "") == (what == "none")
            assert catalogue.TOOL_ARGUMENTS.startswith(arguments)
            assert arguments != catalogue.TOOL_ARGUMENTS
            assert catalogue.TOOL_NAME.encode() in client.body
            assert reading.is_terminated(shape, client.body) == (cut == "terminal")


def test_tool_call_cut_for_want_of_tokens_says_so():
    """An end in good order names the length as its reason.

    The item that was cut is marked as incomplete.
    """
    with FaultServer("tool-call-cut:cut=terminal") as server:
        with asking(server) as client:
            documents = reading.documents("openai-chat", client.read().body)
            assert documents[-2]["choices"][0]["finish_reason"] == "length"
        with asking(server, "anthropic") as client:
            documents = reading.documents("anthropic", client.read().body)
            assert documents[-2]["delta"]["stop_reason"] == "max_tokens"
        with asking(server, "openai-responses") as client:
            final = reading.documents("openai-responses", client.read().body)[-1]["response"]
            assert final["status"] == "incomplete"
            assert final["output"][0]["status"] == "incomplete"


@pytest.mark.parametrize("cut", ["eof", "reset"])
def test_tool_call_is_complete_before_the_cut(cut: str):
    """All arguments of the call come, what shows that it is complete comes, and then the cut."""
    for shape in SHAPES:
        shows = {
            "openai-chat": b'"finish_reason":"tool_calls"',
            "openai-responses": b"response.output_item.done",
            "anthropic": b"content_block_stop",
            "generic": b"tool_end",
            "gemini": b"functionCall",
            "ndjson": b"tool_calls",
            "cohere": b"tool-call-end",
        }
        name = f"tool-call-complete-then-cut:cut={cut},tokens=2"
        with FaultServer(name) as server, asking(server, shape) as client:
            client.read()
            assert client.ended == ("reset" if cut == "reset" else "end")
            assert json.loads(reading.arguments(shape, client.body)) == json.loads(catalogue.TOOL_ARGUMENTS)
            assert shows[shape] in client.body
            assert not reading.is_terminated(shape, client.body)


def test_next_call_can_show_that_one_is_complete():
    """In chat completions the next call can begin in place of a reason for finishing."""
    with FaultServer("tool-call-complete-then-cut:shows=call,cut=eof") as server, asking(server) as client:
        documents = reading.documents("openai-chat", client.read().body)
        assert documents[-1]["choices"][0]["delta"]["tool_calls"][0]["index"] == 1
        assert all(document["choices"][0]["finish_reason"] is None for document in documents)
