"""Every way in which an answer is cut or wrong: exact class, decision, reason and number of requests."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest

import llmwatch
from llmwatch import Decision, Limits, LLMWatchError, Retry
from llmwatch.faults import refused_port
from llmwatch.faults.catalogue import ANSWER, answer
from llmwatch.watch import machine
from tests.end_to_end.calls import collect, stream
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import FREE, LIMIT, PATIENCE

CONTINUE, CONFIRM, STOP = Decision.CONTINUE, Decision.CONFIRM, Decision.STOP
CUT, TRUNCATED, PROVIDER = llmwatch.StreamCut, llmwatch.StreamTruncated, llmwatch.ProviderError
SPENT, USED = "attempts_exhausted", "partial_resend_used"

Row = tuple[type[LLMWatchError], bool, tuple[Decision, str, int], tuple[Decision, str, int]]

ROWS: dict[str, Row] = {
    # script: class, retryable, and what follows in a stream and in collect: decision, reason, requests
    "eof-without-terminal": (TRUNCATED, True, (CONTINUE, "output_delivered", 1), (STOP, USED, 2)),
    "eof-without-terminal:tokens=0": (TRUNCATED, True, (STOP, SPENT, 3), (STOP, SPENT, 3)),
    "cut-chunk": (CUT, True, (CONTINUE, "output_delivered", 1), (STOP, USED, 2)),
    "missing-last-chunk": (CUT, True, (CONTINUE, "output_delivered", 1), (STOP, USED, 2)),
    "short-length": (CUT, True, (CONTINUE, "output_delivered", 1), (STOP, USED, 2)),
    f"reset-mid-stream:after={LIMIT / 4}": (CUT, True, (CONTINUE, "output_delivered", 1), (STOP, USED, 2)),
    "reset-mid-stream:tokens=0": (CUT, True, (STOP, SPENT, 3), (STOP, SPENT, 3)),
    "reset-before-response": (CUT, True, (STOP, SPENT, 3), (STOP, SPENT, 3)),
    "fin-before-response": (CUT, True, (STOP, SPENT, 3), (STOP, SPENT, 3)),
    "gzip-cut": (CUT, True, (CONTINUE, "output_delivered", 1), (STOP, USED, 2)),
    "malformed-event": (llmwatch.MalformedEvent, True, (CONTINUE, "output_delivered", 1), (STOP, USED, 2)),
    "malformed-event:tokens=0": (llmwatch.MalformedEvent, True, (STOP, SPENT, 3), (STOP, SPENT, 3)),
    "error-event": (PROVIDER, True, (STOP, SPENT, 3), (STOP, SPENT, 3)),
    "error-event:tokens=2": (PROVIDER, True, (CONTINUE, "output_delivered", 1), (STOP, USED, 2)),
    "error-event:kind=invalid_request_error,code=": (
        PROVIDER,
        False,
        (STOP, "stream_error_final", 1),
        (STOP, "stream_error_final", 1),
    ),
    "json-instead": (PROVIDER, True, (STOP, SPENT, 3), (STOP, SPENT, 3)),
    "json-instead:what=answer": (
        llmwatch.NotAStream,
        False,
        (STOP, "not_a_stream_final", 1),
        (STOP, "not_a_stream_final", 1),
    ),
    "html-instead": (llmwatch.NotAStream, True, (STOP, SPENT, 3), (STOP, SPENT, 3)),
    "html-52x:status=502": (PROVIDER, True, (STOP, SPENT, 3), (STOP, SPENT, 3)),
    "html-52x:status=520": (PROVIDER, True, (STOP, SPENT, 3), (STOP, SPENT, 3)),
    "html-52x:status=524": (PROVIDER, True, (STOP, SPENT, 3), (STOP, SPENT, 3)),
    "retry-after:value=86400": (
        PROVIDER,
        True,
        (STOP, "retry_after_too_long", 1),
        (STOP, "retry_after_too_long", 1),
    ),
    "empty-stream": (llmwatch.EmptyStream, True, (STOP, SPENT, 3), (STOP, SPENT, 3)),
    # A ping is an event, if none of an answer.
    "empty-stream:comment=true": (TRUNCATED, True, (STOP, SPENT, 3), (STOP, SPENT, 3)),
    "endless-event": (llmwatch.EventTooLarge, False, (STOP, "event_too_large", 1), (STOP, "event_too_large", 1)),
    "redirect-302": (PROVIDER, False, (STOP, "redirected", 1), (STOP, "redirected", 1)),
    "redirect-loop": (PROVIDER, False, (STOP, "redirected", 6), (STOP, "redirected", 6)),
    "tool-call-cut": (TRUNCATED, True, (CONTINUE, "tool_input_delivered", 1), (STOP, USED, 2)),
    "tool-call-cut:what=none": (TRUNCATED, True, (CONTINUE, "tool_input_delivered", 1), (STOP, USED, 2)),
    "tool-call-complete-then-cut:cut=eof": (TRUNCATED, True, (CONFIRM, "tool_call_delivered", 1), (STOP, USED, 2)),
    **{
        f"bad-request:status={status}": (
            PROVIDER,
            False,
            (STOP, "http_status_final", 1),
            (STOP, "http_status_final", 1),
        )
        for status in (400, 401, 403, 404, 413, 422)
    },
}


@pytest.mark.parametrize("script", ROWS)
def test_each_failure_has_its_class_decision_reason_and_requests(serve: Serve, connect: Connect, script: str) -> None:
    """The row holds for a stream and for ``collect``."""
    kind, retryable, streamed, collected = ROWS[script]
    for entry_point, (decision, reason, requests) in ((stream, streamed), (collect, collected)):
        server = serve(script, shape="anthropic")
        error = entry_point(connect(keepalive=0), server.messages_url).failed(kind)
        assert isinstance(error, LLMWatchError)
        assert error.recovery is not None
        said = (error.retryable, error.recovery.decision, error.recovery.reason, len(server.requests))
        assert said == (retryable, decision, reason, requests), entry_point.__name__
        assert error.recovery.message
        assert error.recovery.action
        assert error.record is not None
        assert error.record.decisions[-1].reason == reason
        assert {one.method for one in server.requests} == {"POST"}


@pytest.mark.parametrize("script", ["tls-cut", "tls-cut-unframed"])
def test_a_tls_stream_without_close_notify_is_a_cut(
    serve: Serve, connect: Connect, server_tls: ssl.SSLContext, bundle: str, script: str
) -> None:
    """A FIN without close_notify is a cut: not resent to a stream, and recovered by ``collect``."""
    server = serve(f"{script}:tokens=4", tls=server_tls)
    error = stream(connect(), server.messages_url, verify=bundle).error
    assert isinstance(error, (CUT, TRUNCATED))
    assert error.recovery is not None
    assert (error.recovery.decision, error.recovery.reason) == (CONTINUE, "output_delivered")
    assert error.partial == answer(4)
    assert len(server.requests) == 1
    server = serve(f"{script}:tokens=4", "healthy", tls=server_tls)
    outcome = collect(connect(), server.messages_url, verify=bundle)
    outcome.done("recovered")
    assert outcome.value.text == ANSWER
    assert len(server.requests) == 2


def test_each_failure_to_connect_has_its_cause_and_reason(
    serve: Serve, connect: Connect, server_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal is tried again; an unknown authority and an unknown host are not.

    Each has its cause and its reason, and nothing is sent.
    """
    with refused_port() as port:
        error = stream(connect(), f"http://127.0.0.1:{port}/v1/messages").failed(llmwatch.ConnectFailed)
    assert (error.cause, error.retryable) == ("refused", True)
    assert error.recovery is not None
    assert (error.recovery.decision, error.recovery.reason) == (STOP, SPENT)
    assert error.record is not None
    assert len(error.record.attempts) == 3
    assert {one.facts["sent"] for one in error.record.attempts} == {"no"}
    server = serve(tls=server_tls)
    error = stream(connect(), server.messages_url).failed(llmwatch.ConnectFailed)
    assert (error.cause, error.retryable) == ("tls", False)
    assert error.recovery is not None
    assert (error.recovery.decision, error.recovery.reason) == (STOP, "tls_failed")
    assert server.requests == []

    def unknown(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = stream(connect(), "http://provider.invalid/v1/messages").failed(llmwatch.ConnectFailed)
    assert (error.cause, error.retryable) == ("dns", False)
    assert error.recovery is not None
    assert (error.recovery.decision, error.recovery.reason) == (STOP, "unknown_host")
    assert error.record is not None
    assert len(error.record.attempts) == 1


def test_connections_that_were_refused_do_not_ask_about_tools(connect: Connect) -> None:
    """A refused connection is resent whatever tools the body exposes.

    If nothing was sent no tool can have run.
    """
    with refused_port() as port:
        body = {"stream": True, "tools": [{"type": "mcp", "server_label": "files"}]}
        error = stream(connect(), f"http://127.0.0.1:{port}/v1/responses", json=body).failed(llmwatch.ConnectFailed)
    assert error.record is not None
    assert [one.reason for one in error.record.decisions] == ["not_connected", "not_connected", SPENT]


@pytest.mark.parametrize("script", ["error-body-stall", "html-52x:status=520,stall=true"])
def test_error_bodies_that_never_end_are_bounded_at_each_attempt(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    """An error body that stalls is the provider's error after its bound (shortened here), three times."""
    monkeypatch.setattr(machine, "ERROR_BODY", LIMIT / 2)
    server = serve(script)
    outcome = stream(connect(), server.chat_url)
    error = outcome.failed(PROVIDER)
    assert error.status == (520 if "520" in script else 500)
    assert error.recovery is not None
    assert error.recovery.reason == SPENT
    assert len(server.requests) == 3
    assert 3 * LIMIT / 2 <= outcome.elapsed < 3 * LIMIT / 2 + FREE


def test_an_error_body_without_end_is_bounded_in_size(serve: Serve, connect: Connect) -> None:
    """Only as much of a huge error page is read as the bound allows."""
    server = serve(f"html-52x:status=502,size={8 << 20}")
    error = stream(connect(retry=Retry.none()), server.chat_url).failed(PROVIDER)
    assert error.record is not None
    assert error.record.attempts[0].response_bytes <= 256 * 1024
    server.wait_for_closed(1)


def test_a_giant_event_is_delivered_and_an_endless_answer_ended(serve: Serve, connect: Connect) -> None:
    """Two MiB in one event are an answer; content for ever ends at ``total`` and is not asked for again."""
    server = serve("giant-event")
    outcome = collect(connect(), server.messages_url)
    outcome.done()
    assert len(outcome.value.text) >= 2 << 20
    server = serve("endless-content")
    error = collect(connect(limits=Limits(total=LIMIT)), server.messages_url).failed(llmwatch.WatchTimeout)
    assert error.limit == "total"
    assert error.recovery is not None
    assert (error.recovery.decision, error.recovery.reason) == (STOP, "slow_but_alive")
    server.wait_for_closed(1, PATIENCE)
    assert len(server.requests) == 1
