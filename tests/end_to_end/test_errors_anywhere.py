"""An error of the provider's in mid-stream, wherever it stands, through the public entry points."""

from __future__ import annotations

import json

import pytest

from llmwatch import ProviderError, Retry
from tests.end_to_end.calls import collect, stream
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.rebuilt import DONE, PATHS, chunk, messages, rebuilt

ERROR = json.dumps({"error": {"code": 400, "type": "exceeded", "message": "context size exceeded"}}).encode()
SAID = {"openai-chat": chunk({"content": "Half an"}), "anthropic": messages("Half an", None)}


@pytest.mark.parametrize("dialect", SAID)
@pytest.mark.parametrize(
    "bad",
    [
        b"error: " + ERROR + b"\n\n",
        ERROR + b"\n\n",
        b"data: " + ERROR[:-1] + b"\n\n",
        b'data: {"detail": "context size exceeded"}\n\n',
        b"event: error\ndata: context size exceeded\n\n",
    ],
)
@pytest.mark.parametrize("said", [True, False])
def test_an_error_in_mid_stream_is_never_a_success(
    serve: Serve, connect: Connect, dialect: str, bad: bytes, said: bool
) -> None:
    """Both entry points raise the provider's words with what came before, though ``[DONE]`` follows."""
    server = serve(rebuilt(*([SAID[dialect]] if said else []), bad, DONE))
    client = connect(retry=Retry.none())
    error = stream(client, server.url + PATHS[dialect]).failed(ProviderError)
    assert "context size exceeded" in str(error)
    assert error.partial == ("Half an" if said else "")
    error = collect(client, server.url + PATHS[dialect]).failed(ProviderError)
    assert "context size exceeded" in str(error)
    assert len(server.requests) == 2


BESIDE = {
    "openai-chat": (
        chunk({"content": "Half an"}),
        b'data: {"choices": [{"index": 0, "delta": {"content": " answer"}, "finish_reason": "error"}],'
        b' "error": {"code": 502, "message": "planted words"}}\n\n',
    ),
    "ndjson": (
        b'{"message": {"content": "Half an"}, "done": false}\n',
        b'{"message": {"content": " answer"}, "error": "planted words"}\n',
    ),
}


@pytest.mark.parametrize("dialect", BESIDE)
def test_text_beside_an_error_is_delivered_after_content(serve: Serve, connect: Connect, dialect: str) -> None:
    """Text in the error's event is delivered behind earlier content.

    As the first text of the answer it is not delivered, and the request may be resent.
    """
    before, bad = BESIDE[dialect]
    kind = "application/x-ndjson" if dialect == "ndjson" else "text/event-stream"
    url = serve(rebuilt(before, bad, content_type=kind), rebuilt(bad, content_type=kind)).url + PATHS[dialect]
    outcome = stream(connect(retry=Retry.none()), url)
    error = outcome.failed(ProviderError)
    assert (error.partial, outcome.text, "planted words" in str(error)) == ("Half an answer", "Half an answer", True)
    assert stream(connect(retry=Retry.none()), url).failed(ProviderError).partial == ""


def test_stray_lines_are_counted_in_the_record(serve: Serve, connect: Connect) -> None:
    """Lines that are neither field nor comment are counted, and change nothing."""
    server = serve(rebuilt(chunk({"content": "a"}), b"hello\nworld\n\n", chunk({}, "stop"), DONE))
    record = stream(connect(), server.chat_url).done()
    assert (record.attempts[-1].stray_lines, record.attempts[-1].contradictions) == (2, 0)


def test_a_contradicting_restatement_is_counted_in_the_record(serve: Serve, connect: Connect) -> None:
    """The caller keeps the text that was delivered first."""
    whole = b'data: {"choices": [{"index": 0, "message": {"content": "b"}, "finish_reason": "stop"}]}\n\n'
    server = serve(rebuilt(chunk({"content": "a"}), whole, DONE))
    outcome = stream(connect(), server.chat_url)
    assert outcome.done().attempts[-1].contradictions == 1
    assert outcome.text == "a"
