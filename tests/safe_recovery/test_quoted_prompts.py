"""What a provider repeats of the prompt is not in what llmwatch says of the failure.

That holds whichever way the failure is said.
"""

from __future__ import annotations

import json
import logging
import pickle
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import llmwatch
from llmwatch import LLMWatchError, Retry
from llmwatch.faults import Context, Script, steps
from tests.end_to_end.calls import Outcome, asking, collect, request, stream
from tests.end_to_end.conftest import Connect, Serve
from tests.safe_recovery.scripts import one_event

ENTRY_POINTS = [stream, collect, request]
PROMPT = 'My patient "Anna Berg" of Malmö,\n\tborn on 4 May 1981, says: it hurts.'
TRACES = ("patient", "Anna", "Malm", "May 1981", "hurts")
ONE_LINE = " ".join(PROMPT.split())
OURS = asking(messages=[{"role": "system", "content": "Be kind."}, {"role": "user", "content": PROMPT}])


def _refusing(message: str, *, status: int = 400, kind: str = "invalid_request_error") -> Script:
    def play(context: Context) -> Iterator[steps.Step]:
        body = json.dumps({"error": {"message": message, "type": kind, "code": kind}}).encode()
        yield from context.answer([steps.Chunk(body)], status=status, content_type="application/json", framing="length")

    return Script(name="quotes", description="repeats the prompt", play=play)


def _everything(outcome: Outcome, told: list[Any], caplog: pytest.LogCaptureFixture, log: Path) -> str:
    """All that llmwatch has said and written of a failed call."""
    said = [repr(one) for one in told] + [f"{one.getMessage()} {vars(one)}" for one in caplog.records]
    said += [json.dumps(one.to_dict(), ensure_ascii=False) for one in told if hasattr(one, "to_dict")]
    said += [json.dumps(json.loads(line), ensure_ascii=False) for line in log.read_text().splitlines()]
    error = outcome.error
    if error is not None:
        said += [str(error), repr(error), repr(vars(error)), "".join(traceback.format_exception(error))]
        said += [str(vars(pickle.loads(pickle.dumps(error))))]
    assert len(said) > 3
    return "\n".join(said)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The incident log of the environment."""
    path = tmp_path / "incidents.jsonl"
    monkeypatch.setenv("LLMWATCH_INCIDENT_LOG", str(path))
    return path


WRITTEN = {
    "as it is": PROMPT,
    "as JSON": json.dumps(PROMPT),
    "as a dictionary": repr(OURS["messages"]),
    "twice": f"{PROMPT} -- {json.dumps({'messages': OURS['messages']})}",
}


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN.keys())
def test_an_error_status_that_quotes(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture, log: Path, written: str, entry_point: Any
) -> None:
    """Whatever tells of the failure has the provider's words without the prompt, at every entry point.

    Error, record, incident log, logger, notices, pickle and traceback tell of it, resends included.
    """
    caplog.set_level(logging.DEBUG, "llmwatch")
    told: list[Any] = []
    server = serve(_refusing(f"Invalid content {written} here", status=503))
    client = connect(retry=Retry(max_attempts=2, backoff=0), sinks=[told.append], on_notice=told.append)
    outcome = entry_point(client, server.chat_url, json=OURS)
    assert outcome.record is not None
    said = _everything(outcome, [*told, outcome.record], caplog, log)
    assert not [trace for trace in TRACES if trace in said], said
    message = outcome.record.attempts[0].message
    assert message is not None
    assert "answered HTTP 503: Invalid content" in message
    assert "characters of the prompt omitted]" in message
    assert len(server.requests) == 2


def _event(error: dict[str, str]) -> Script:
    return one_event(f"event: error\ndata: {json.dumps({'error': error})}\n\n".encode())


IN_PLACE = {
    "error event": _event({"message": PROMPT}),
    "its type": _event({"type": PROMPT, "code": PROMPT, "message": "No."}),
    "error in words": one_event(f"event: error\ndata: Bad: {json.dumps(PROMPT)}\n\n".encode()),
    "document": one_event(json.dumps({"error": {"message": PROMPT}}).encode(), content_type="application/json"),
    "page": one_event(f"<html><title>{ONE_LINE}</title>".encode(), content_type="text/html"),
    "no HTTP": Script.of("no HTTP", steps.Send(f"HTTP/1.1 {ONE_LINE}\r\n\r\n".encode()), steps.Close()),
}


@pytest.mark.parametrize("entry_point", [stream, collect])
@pytest.mark.parametrize("script", IN_PLACE.values(), ids=IN_PLACE.keys())
def test_an_answer_that_quotes_in_place_of_itself(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture, log: Path, script: Script, entry_point: Any
) -> None:
    """The prompt is masked in whatever a provider sends in place of an answer.

    The provider sends error events, whichever field repeats the prompt, documents, pages or bytes that are no HTTP.
    """
    caplog.set_level(logging.DEBUG, "llmwatch")
    told: list[Any] = []
    client = connect(retry=Retry(max_attempts=1), sinks=[told.append])
    outcome = entry_point(client, serve(script).chat_url, json=OURS)
    assert isinstance(outcome.error, LLMWatchError)
    said = _everything(outcome, told, caplog, log)
    assert not [trace for trace in TRACES if trace in said], said


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_a_body_of_text_is_a_prompt_too(serve: Serve, connect: Connect, entry_point: Any) -> None:
    """A body that the caller has serialised is compared like any other."""
    server = serve(_refusing(f"Bad: {PROMPT}"))
    outcome = entry_point(connect(), server.chat_url, json=None, data=json.dumps(OURS))
    assert outcome.record is not None
    assert "patient" not in json.dumps(outcome.record.to_dict())


def test_the_body_that_was_sent_counts(serve: Serve, connect: Connect) -> None:
    """If a hook has replaced the prompt, an error is compared with the prompt that it answers."""
    other = "Her sister Beata Lund has the same complaint."
    server = serve("status:status=503", _refusing(f"Bad: {other}"))
    body = asking(messages=[{"role": "user", "content": other}])
    client = connect(retry=Retry(backoff=0, on_retry=lambda resend: {"json": body}))
    error = stream(client, server.chat_url, json=OURS).failed(llmwatch.ProviderError)
    assert "Beata" not in str(error)


def test_the_type_of_an_error_is_kept_although_it_was_asked_about(serve: Serve, connect: Connect) -> None:
    """A prompt about an error hides neither the error's type nor what llmwatch says of it.

    The decision is the same.
    """
    event = {"error": {"type": "temporarily_unavailable", "message": "The engine is asleep."}}
    asked = (
        "What does 'The provider reported an error inside the stream (temporarily_unavailable): x' mean?"
        " And '127.0.0.1 answered HTTP 503: x'?"
    )
    body = asking(messages=[{"role": "user", "content": asked}])
    server = serve(one_event(f"event: error\ndata: {json.dumps(event)}\n\n".encode()))
    error = stream(connect(retry=Retry(max_attempts=1)), server.chat_url, json=body).failed(llmwatch.ProviderError)
    assert error.type == "temporarily_unavailable"
    assert error.retryable
    assert str(error) == (
        "The provider reported an error inside the stream (temporarily_unavailable): The engine is asleep."
    )
