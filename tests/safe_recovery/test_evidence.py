"""The evidence of real failures: bounded, with a count of the omissions."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest

import llmwatch
from llmwatch import AttemptRecord, CallRecord, Limits, Retry
from llmwatch.faults import Context, Script, refused_port, steps
from llmwatch.records.evidence import MOST_TEXT
from tests.end_to_end.calls import Outcome, asking, collect, request, stream
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import LIMIT
from tests.safe_recovery.scripts import one_event

ONCE = Retry(max_attempts=1)
HALF = b'data: {"choices": [{"del'
"""An event that nothing ends."""


def _only(outcome: Outcome) -> AttemptRecord:
    """The attempt of a call that had one.

    Its record comes back equal from JSON, evidence and flag included.
    """
    assert outcome.record is not None
    (attempt,) = outcome.record.attempts
    again = CallRecord.from_dict(json.loads(json.dumps(outcome.record.to_dict())))
    assert again == outcome.record
    assert again.diagnostics_complete is outcome.record.diagnostics_complete is attempt.evidence_complete
    return attempt


def _body(*blocks: bytes, ends: bool = True, last: steps.Step | None = None, **head: Any) -> Script:
    def play(context: Context) -> Iterator[steps.Step]:
        more = [] if last is None else [last]
        yield from context.answer([*steps.paced(blocks), *more], framing="chunked", ends=ends, **head)

    return Script(name="body", description="bytes and headers", play=play)


def _error(kind: object, code: object, **more: Any) -> bytes:
    return json.dumps({"error": {"message": "No.", "type": kind, "code": code, **more}}).encode()


def test_a_successful_attempt_has_no_evidence(serve: Serve, connect: Connect) -> None:
    """An attempt that did not fail has none, and its diagnostics are complete."""
    attempt = _only(stream(connect(), serve().chat_url))
    assert (attempt.evidence, attempt.evidence_complete) == (None, True)


@pytest.mark.parametrize("entry_point", [stream, collect, request])
def test_an_error_status_keeps_its_type_code_and_content_type(serve: Serve, connect: Connect, entry_point: Any) -> None:
    """The provider's own words for its error, and what the response announced, at every entry point."""
    script = _body(_error("invalid_request_error", 40013), status=400, content_type="application/json; charset=utf-8")
    attempt = _only(entry_point(connect(), serve(script).chat_url))
    assert attempt.evidence == {
        "content_type": "application/json; charset=utf-8",
        "provider_type": "invalid_request_error",
        "provider_code": "40013",
    }
    assert attempt.evidence_complete


def test_an_encoded_error_status_keeps_its_encoding(serve: Serve, connect: Connect) -> None:
    """The encoding is kept, and the error is read through it."""
    body = gzip.compress(_error("overloaded_error", None))
    script = _body(body, status=503, headers=[("Content-Encoding", "gzip")], content_type="application/json")
    attempt = _only(stream(connect(retry=ONCE), serve(script).chat_url))
    assert attempt.evidence == {
        "content_type": "application/json",
        "content_encoding": "gzip",
        "provider_type": "overloaded_error",
    }


def test_an_error_in_the_stream_keeps_its_type_and_code(serve: Serve, connect: Connect) -> None:
    """The same where the status was good; what stands behind the error is no unfinished event."""
    script = one_event(b"event: error\ndata: " + _error("server_error", "E7") + b"\n\n" + HALF)
    attempt = _only(stream(connect(retry=ONCE), serve(script).chat_url))
    assert attempt.evidence == {
        "content_type": "text/event-stream",
        "provider_type": "server_error",
        "provider_code": "E7",
    }


def test_a_truncated_stream_keeps_how_much_of_an_event_was_left(serve: Serve, connect: Connect) -> None:
    """The bytes after the last whole event, although the body ended in good order."""
    script = _body(b'data: {"choices": []}\n\n', HALF, content_type="text/event-stream")
    attempt = _only(stream(connect(retry=ONCE), serve(script).chat_url, json=asking()))
    assert attempt.error == "StreamTruncated"
    assert attempt.evidence == {"content_type": "text/event-stream", "pending_bytes": len(HALF)}


@pytest.mark.parametrize("last", [steps.Close(), steps.Reset()], ids=["closed", "reset"])
def test_a_cut_stream_keeps_how_much_of_an_event_was_left(serve: Serve, connect: Connect, last: steps.Step) -> None:
    """A connection that broke in the middle of an event leaves the same evidence.

    The evidence also has what the library below said of the cut.
    """
    attempt = _only(stream(connect(retry=ONCE), serve(_body(HALF, ends=False, last=last)).chat_url))
    assert attempt.error == "StreamCut"
    evidence = attempt.evidence
    assert evidence is not None
    assert evidence["pending_bytes"] == len(HALF)
    assert evidence["error_text"]
    if isinstance(last, steps.Reset):
        assert (evidence["error_type"], evidence["error_errno"]) == ("ConnectionResetError", "ECONNRESET")
    else:
        assert "error_errno" not in evidence
    assert attempt.evidence_complete


def test_a_cut_compressed_stream_keeps_encoding_and_unfinished_event(serve: Serve, connect: Connect) -> None:
    """Encoding and unfinished event of a compressed body that ends before its end."""
    packed = gzip.compress(HALF + b"x" * 40_000)
    script = _body(packed[: len(packed) // 2], headers=[("Content-Encoding", "gzip")])
    attempt = _only(stream(connect(retry=ONCE), serve(script).chat_url))
    assert attempt.error == "StreamCut"
    assert attempt.evidence is not None
    assert attempt.evidence["content_encoding"] == "gzip"
    pending = attempt.evidence["pending_bytes"]
    assert isinstance(pending, int)
    assert pending > 0


def test_a_kill_in_an_event_keeps_how_much_of_it_had_come(serve: Serve, connect: Connect) -> None:
    """A provider that goes silent in the middle of an event shows in the record of the kill."""
    server = serve(_body(HALF, ends=False, last=steps.Hang()))
    attempt = _only(stream(connect(limits=Limits(stale=LIMIT), retry=ONCE), server.chat_url))
    assert attempt.limit == "stale"
    assert attempt.evidence == {"content_type": "text/event-stream", "pending_bytes": len(HALF)}


def test_a_refused_connection_keeps_its_errno(connect: Connect) -> None:
    """Class, errno and text of the system's own error, and nothing of a response that never was."""
    with refused_port() as port:
        attempt = _only(stream(connect(retry=ONCE), f"http://127.0.0.1:{port}/v1/chat/completions"))
    evidence = attempt.evidence
    assert evidence is not None
    assert set(evidence) == {"error_type", "error_errno", "error_text"}
    assert (evidence["error_type"], evidence["error_errno"]) == ("ConnectionRefusedError", "ECONNREFUSED")


@pytest.mark.parametrize("entry_point", [stream, request])
def test_a_header_that_is_too_large_is_cut_with_a_mark(serve: Serve, connect: Connect, entry_point: Any) -> None:
    """Evidence beyond its bound says that it is a part, counts it, and makes the diagnostics incomplete."""
    script = _body(_error("server_error", None), status=500, content_type="application/json; " + "a=b; " * 1000)
    attempt = _only(entry_point(connect(retry=ONCE), serve(script).chat_url))
    evidence = attempt.evidence
    assert evidence is not None
    kept = evidence["content_type"]
    assert isinstance(kept, str)
    assert len(kept) <= MOST_TEXT
    assert kept.endswith(" characters omitted]")
    assert evidence["omitted"] == 1
    assert not attempt.evidence_complete


@pytest.mark.parametrize("place", ["status", "event"])
def test_a_type_that_is_too_long_is_cut_with_a_mark(serve: Serve, connect: Connect, place: str) -> None:
    """A value that was cut before it became evidence counts as cut, once."""
    body = _error("kind of error " * 50, "code " * 50)
    script = _body(body, status=400) if place == "status" else one_event(b"event: error\ndata: " + body + b"\n\n")
    attempt = _only(stream(connect(), serve(script).chat_url))
    evidence = attempt.evidence
    assert evidence is not None
    for name in ("provider_type", "provider_code"):
        assert str(evidence[name]).endswith(" characters omitted]")
    assert evidence["omitted"] == 2
    assert not attempt.evidence_complete


def test_one_incomplete_attempt_makes_a_call_incomplete(serve: Serve, connect: Connect) -> None:
    """The call's flag is that of all its attempts, recovered or not."""
    cut = _body(_error("kind " * 90, None), status=503)
    record = stream(connect(), serve(cut, "healthy").chat_url).done("recovered")
    assert [one.evidence_complete for one in record.attempts] == [False, True]
    assert not record.diagnostics_complete
    record = stream(connect(), serve("status:status=503", "healthy").chat_url).done("recovered")
    assert record.diagnostics_complete


def test_evidence_holds_no_secret(serve: Serve, connect: Connect) -> None:
    """A key in a header, a type or a code is masked, which leaves the diagnostics complete."""
    key = "sk-proj-" + "a1B2c3D4" * 5
    script = _body(_error(f"bad {key}", f"key {key}"), status=400, content_type=f"application/json; token={key}")
    error = stream(connect(), serve(script).chat_url).failed(llmwatch.ProviderError)
    assert error.record is not None
    (attempt,) = error.record.attempts
    assert attempt.evidence == {
        "content_type": "application/json; token=***",
        "provider_type": "bad ***",
        "provider_code": "key ***",
    }
    assert attempt.evidence_complete
