"""What the rows of ``tests/matrix`` leave out: tools behind a refusal, bounds of error bodies."""

from __future__ import annotations

import pytest

import llmwatch
from llmwatch import Retry
from llmwatch.faults import refused_port
from llmwatch.watch import machine
from tests.end_to_end.calls import stream
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import FREE, LIMIT

SPENT = "attempts_exhausted"


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
    error = outcome.failed(llmwatch.ProviderError)
    assert error.status == (520 if "520" in script else 500)
    assert error.recovery is not None
    assert error.recovery.reason == SPENT
    assert len(server.requests) == 3
    assert 3 * LIMIT / 2 <= outcome.elapsed < 3 * LIMIT / 2 + FREE


def test_an_error_body_without_end_is_bounded_in_size(serve: Serve, connect: Connect) -> None:
    """Only as much of a huge error page is read as the bound allows."""
    server = serve(f"html-52x:status=502,size={8 << 20}")
    error = stream(connect(retry=Retry.none()), server.chat_url).failed(llmwatch.ProviderError)
    assert error.record is not None
    assert error.record.attempts[0].response_bytes <= 256 * 1024
    server.wait_for_closed(1)
