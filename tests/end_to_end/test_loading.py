"""A local server that says that its model is being loaded, through every entry point."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import llmwatch
from llmwatch import CallRecord, Client, Limits, ProviderError
from llmwatch.faults import Context, FaultServer, Script, steps
from tests.end_to_end.calls import QUICK, asking, collect, request, stream
from tests.end_to_end.conftest import Serve
from tests.end_to_end.times import LIMIT, LONG

LLAMA = b'{"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}'
HUGGING_FACE = b'{"error": "Model m/m is currently loading", "estimated_time": 20.0}'
AS_EVER = 0.01 + 0.02
"""Seconds that ``QUICK`` waits at most for the attempts of any call."""
BUSY = b'{"detail": {"msg": "Server is busy; please try again later.", "type": "service_unavailable"}}'


def refusal(body: bytes) -> Script:
    """503 with ``body``."""

    def play(context: Context) -> Iterator[steps.Step]:
        yield from context.answer([steps.Chunk(body)], status=503, content_type="application/json")

    return Script(name="refusal", description="503", play=play)


def _session(server: FaultServer, limits: Limits, profile: str | None, **body: Any) -> tuple[int, CallRecord]:
    with llmwatch.Session(limits=limits, retry=QUICK, profile=profile) as session:
        response = session.post(server.chat_url, json=asking(**body), stream=True)
        _ = response.content
        record: Any = response
        return response.status_code, record.llmwatch_record


def _client(make: Any) -> Any:
    def ask(server: FaultServer, limits: Limits, profile: str | None) -> tuple[int, CallRecord]:
        with Client(limits=limits, retry=QUICK, profile=profile) as client:
            outcome = make(client, server.chat_url)
        if outcome.error is not None:
            return outcome.failed(ProviderError).status or 0, outcome.error.record
        return getattr(outcome.value, "status_code", 200), outcome.record

    return ask


ENTRY_POINTS: dict[str, Any] = {
    "stream": _client(stream),
    "collect": _client(collect),
    "request": _client(request),
    "session": _session,
    "session, plain": lambda server, limits, profile: _session(server, limits, profile, stream=False),
}


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
@pytest.mark.parametrize("body", [LLAMA, HUGGING_FACE])
def test_a_loading_server_is_asked_until_its_model_is_there(serve: Serve, entry_point: str, body: bytes) -> None:
    """The server is asked more often than after any other failure."""
    server = serve(*[refusal(body)] * 5, "healthy")
    status, record = ENTRY_POINTS[entry_point](server, Limits(ttfb=LONG), None)
    assert (status, record.outcome, len(server.requests)) == (200, "recovered", 6)


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_a_loading_server_is_asked_for_ttfb(serve: Serve, entry_point: str) -> None:
    """The waits together are ``ttfb`` and no longer, and the requests in it count as attempts."""
    server = serve(refusal(LLAMA))
    status, record = ENTRY_POINTS[entry_point](server, Limits(ttfb=LIMIT), None)
    assert (status, record.outcome) == (503, "failed")
    waits = [decision.wait for decision in record.decisions if decision.carried_out]
    assert len(server.requests) == len(waits) + 1 >= 3
    assert record.elapsed >= LIMIT
    assert sum(waits) <= LIMIT + AS_EVER


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
@pytest.mark.parametrize(("body", "profile"), [(BUSY, None), (LLAMA, "hosted"), (b'{"error": "no such model"}', None)])
def test_any_other_503_has_the_usual_attempts(serve: Serve, entry_point: str, body: bytes, profile: str | None) -> None:
    """A 503 of a busy server, of a hosted provider, or for a failure to load has the usual attempts."""
    server = serve(refusal(body))
    status, _ = ENTRY_POINTS[entry_point](server, Limits(ttfb=LONG), profile)
    assert (status, len(server.requests)) == (503, 3)
