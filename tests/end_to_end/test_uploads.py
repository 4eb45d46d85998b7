"""Requests that are large, and servers that do not read them, or read them slowly."""

from __future__ import annotations

import io
import json

from llmwatch import Decision, Limits, Retry
from llmwatch.faults import Script, steps
from llmwatch.faults.catalogue import ANSWER
from tests.end_to_end.calls import asking, stream, timed_out
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import LIMIT, LONG, UPLOAD

_MIB = 1 << 20


def _large(mebibytes: int) -> bytes:
    return json.dumps(asking(pad="x" * (mebibytes * _MIB))).encode()


def test_an_upload_that_is_not_read_is_killed_at_send(serve: Serve, connect: Connect) -> None:
    """A server that does not read a request of 32 MiB ends every attempt in the phase ``send``.

    Each attempt has its own connection.
    """
    server = serve("upload-stall", receive_buffer=65536)
    client = connect(limits=Limits(send=LIMIT, ttfb=LONG), retry=Retry(max_attempts=2, backoff=0))
    outcome = stream(client, server.chat_url, json=None, data=_large(32))
    error = timed_out(outcome, "send", LIMIT, attempts=2, decision=Decision.STOP)
    assert server.connections == 2
    assert all(not one.complete for one in server.requests)
    server.wait_for_closed(2)
    assert error.record is not None
    for one in error.record.attempts:
        assert one.phase == "sending"
        assert one.facts["sent"] == "partly"
        assert one.timings.sent is None


def test_an_upload_that_was_not_read_is_recovered(serve: Serve, connect: Connect) -> None:
    """The second attempt sends the whole request anew and gets its answer."""
    server = serve("upload-stall", "healthy", receive_buffer=65536)
    body = _large(32)
    outcome = stream(connect(limits=Limits(send=UPLOAD)), server.chat_url, json=None, data=body)
    outcome.done("recovered")
    assert outcome.text == ANSWER
    assert [one.complete for one in server.requests] == [False, True]
    assert server.requests[1].body_bytes == len(body)


def test_a_slow_upload_is_not_killed_by_connect(serve: Serve, connect: Connect) -> None:
    """Writing a large request for longer than ``connect`` is no failure to connect."""
    server = serve(f"slow-upload:size=65536,every={LIMIT / 100}", receive_buffer=65536)
    body = _large(16)
    outcome = stream(connect(limits=Limits(connect=LIMIT)), server.chat_url, json=None, data=body)
    record = outcome.done()
    assert outcome.text == ANSWER
    (attempt,) = record.attempts
    assert attempt.timings.connected < LIMIT < attempt.timings.sent
    assert attempt.request_bytes >= len(body)
    assert server.requests[0].body_bytes == len(body)
    assert len(server.requests) == 1


def test_ttfb_does_not_count_the_upload(serve: Serve, connect: Connect) -> None:
    """``ttfb`` counts from the end of the upload: a longer upload does not touch it."""
    limit = 3 * LIMIT
    server = serve(_read_after(1.5 * limit), receive_buffer=65536)
    outcome = stream(connect(limits=Limits(ttfb=limit)), server.chat_url, json=None, data=_large(24))
    record = outcome.done()
    assert record.attempts[0].timings.sent > limit
    assert len(server.requests) == 1


def _read_after(seconds: float) -> Script:
    """A healthy answer to a request that is not read for ``seconds``, and then read all at once."""
    return Script(
        name="late-reader",
        description="reads late",
        reading=lambda: (steps.Wait(seconds), steps.ReadBody()),
        play=lambda context: context.answer(steps.paced(context.whole())),
    )


def test_a_file_is_sent_anew_from_where_it_stood(serve: Serve, connect: Connect) -> None:
    """A resend carries the same bytes of the body's file as the first attempt.

    The first attempt has read the file to its end.
    """
    server = serve("reset-before-response", "status:status=503", "healthy")
    file = io.BytesIO(b"skipped " + json.dumps(asking()).encode())
    file.seek(len(b"skipped "))
    client = connect(retry=Retry(backoff=0, resend_with_tools=True))
    response = client.request("PUT", server.url + "/file", data=file)
    assert response.status_code == 200
    assert [request.body for request in server.requests] == [json.dumps(asking()).encode()] * 3
