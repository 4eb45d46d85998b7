"""Response hooks of the user run between the headers and the body, and may do what hooks do."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from llmwatch.errors import StreamCut
from llmwatch.faults import Context, FaultServer, Script, steps
from llmwatch.transport.sender import Reply, Sender
from llmwatch.watch.machine import VerdictKind
from tests.transport.drive import LIMIT, Call, assert_killed

_DOCUMENT = json.dumps({"answer": "forty-two " * 50}).encode()


def _script(encoding: str) -> Script:
    body = gzip.compress(_DOCUMENT) if encoding == "gzip" else _DOCUMENT

    def play(context: Context) -> Iterator[steps.Step]:
        yield from context.answer([steps.Chunk(body)], headers=[("Content-Encoding", encoding)])

    return Script(name="document", description="a whole document", play=play)


def _read_it(response: requests.Response, **kwargs: Any) -> None:
    assert response.content == _DOCUMENT


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_a_body_read_by_a_hook_is_returned_whole(encoding: str, sender: Sender) -> None:
    """A plain response that a hook has read already is returned with its content.

    The hook may have read it to log it, for instance.
    """
    loaded: list[requests.Response] = []

    def load(call: Call, reply: Reply) -> None:
        call.read_blindly(reply)
        loaded.append(reply.load(bytes(call.seen), 1 << 30))

    with FaultServer(_script(encoding)) as server:
        call = Call(sender, server.chat_url, reading=load, streaming=False, hooks={"response": _read_it})
        call.run()
        assert call.error is None
    (response,) = loaded
    assert response.content == _DOCUMENT
    assert response.json() == json.loads(_DOCUMENT)


def test_a_stream_read_by_a_hook_is_handed_over_whole(sender: Sender) -> None:
    """A streamed body that a hook has read already is handed over all the same, late as it is."""
    with FaultServer(_script("identity")) as server:
        call = Call(sender, server.chat_url, hooks={"response": _read_it})
        assert call.run() == _DOCUMENT
        assert call.verdict.kind is VerdictKind.DONE


def test_a_hook_that_raises_leaves_no_connection(sender: Sender) -> None:
    """An exception of the hook comes out as it is, and the unread connection is closed at once."""

    def refuse(response: requests.Response, **kwargs: Any) -> None:
        raise LookupError("not what I want")

    with FaultServer() as server:
        call = Call(sender, server.chat_url, hooks={"response": refuse})
        call.run()
        assert type(call.verdict.error) is LookupError
        server.wait_for_closed(1)


def test_a_hook_that_raises_for_status_is_no_broken_connection(sender: Sender) -> None:
    """A hook that raises for an error status does not turn a refusal into something worth a resend.

    This usual hook does not print the query either.
    """

    def check(response: requests.Response, **kwargs: Any) -> None:
        response.raise_for_status()

    with FaultServer(Script.of("no", steps.Head(401, (), "length", 2), steps.Chunk(b"no"), steps.End())) as server:
        call = Call(sender, f"{server.chat_url}?key=planted", hooks={"response": check})
        call.run()
        server.wait_for_closed(1)
    error = call.verdict.error
    assert error is not None
    assert not isinstance(error, StreamCut)
    assert not getattr(error, "retryable", False)
    assert "planted" not in str(error)


def test_a_hook_that_waits_for_the_body_is_bound_by_the_running_limit(sender: Sender) -> None:
    """A hook that reads a body which never comes is ended by the limit that is running."""

    def read(response: requests.Response, **kwargs: Any) -> None:
        response.content  # noqa: B018 - it reads the body

    with FaultServer("headers-then-silent") as server:
        call = Call(sender, server.chat_url, hooks={"response": read}, limits={"ttfb": LIMIT})
        assert call.start().take() == b""
        assert_killed(call, limit="ttfb", phase="headers")
        server.wait_for_closed(1)
