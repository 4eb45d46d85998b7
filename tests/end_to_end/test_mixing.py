"""What one call's server sends never becomes another call's answer."""

from __future__ import annotations

import ssl

import pytest

from llmwatch import Retry
from llmwatch.faults import FaultServer, Script, steps
from llmwatch.faults.catalogue import ANSWER
from tests.end_to_end.calls import request, stream
from tests.end_to_end.conftest import Connect, Serve

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
DONE = b"data: [DONE]\n\n"


def _answer(text: str) -> bytes:
    body = b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % text.encode() + DONE
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(body)
    return head + body


@pytest.mark.parametrize("entry_point", [stream, request])
def test_interim_responses_are_not_the_answer(serve: Serve, connect: Connect, entry_point: object) -> None:
    """Interim responses come before the final response, any number of them.

    They have status 102 or 103. The answer is that of its own call.
    """
    interim = HINTS * 3 + b"HTTP/1.1 102 Processing\r\n\r\n"
    scripts = [Script.of(f"hints-{word}", steps.Send(interim + _answer(word))) for word in ("one", "two")]
    # The server closes after a script of bytes alone, at a moment that is its own.
    server, client = serve(*scripts), connect(keepalive=0)
    for word in ("one", "two"):
        outcome = entry_point(client, server.chat_url)  # type: ignore[operator]
        outcome.done()
        assert word in (outcome.text if entry_point is stream else outcome.value.text)
    assert len(server.requests) == 2


@pytest.mark.parametrize("secure", [False, True])
def test_bytes_behind_an_answer_belong_to_no_call(
    serve: Serve, connect: Connect, secure: bool, server_tls: ssl.SSLContext, bundle: str
) -> None:
    """A second response behind the first, in the same packet, is not what the next call gets."""
    scripts = [Script.of("two-answers", steps.Send(_answer("mine") + _answer("evil"))), "healthy"]
    server = serve(*scripts, tls=server_tls if secure else None)
    client = connect()
    first = stream(client, server.chat_url, verify=bundle)
    first.done()
    second = stream(client, server.chat_url, verify=bundle)
    second.done()
    assert (first.text, second.text) == ("mine", ANSWER)


def test_a_failed_attempts_connection_is_not_used_again(serve: Serve, connect: Connect) -> None:
    """A resend goes out on a fresh connection, although the error was read to its end."""
    server: FaultServer = serve("status:status=503", "healthy")
    stream(connect(retry=Retry(backoff=0)), server.chat_url).done("recovered")
    assert [one.connection for one in server.requests] == [1, 2]
    plain = serve("status:status=503", "healthy")
    request(connect(retry=Retry(backoff=0)), plain.chat_url).done("recovered")
    assert [one.connection for one in plain.requests] == [1, 2]
