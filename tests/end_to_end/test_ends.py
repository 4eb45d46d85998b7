"""The end of an answer, judged by its finish mark, its end mark, and how its body ends."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from llmwatch import EmptyStream, Limits, Retry, Session, StreamCut, StreamTruncated
from tests.end_to_end.calls import asking, collect, stream
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.rebuilt import DONE, PATHS, chunk, data, line, messages, named, part, rebuilt
from tests.end_to_end.times import BEAT, LIMIT, LONG

LINES = "application/x-ndjson"
SAID = {
    "openai-chat": chunk({"content": "whole"}),
    "anthropic": messages("whole", None),
    "gemini": part("whole"),
    "ndjson": line(message={"content": "whole"}, done=False),
}
FINISHED = {
    "openai-chat": SAID["openai-chat"] + chunk({}, "stop"),
    "anthropic": messages("whole"),
    "gemini": part("whole", finishReason="STOP"),
    "ndjson": SAID["ndjson"] + line(message={"content": ""}, done_reason="stop"),
}
ENDS = {"openai-chat": DONE, "anthropic": named("message_stop"), "ndjson": line(done=True)}
CUTS = ("cut", "reset")


def settings(end: str) -> dict[str, Any]:
    """The settings under which only a body that stays open is waited for until a limit expires.

    Every other end is there to be seen.
    """
    last = LIMIT if end == "open" else LONG
    return {"limits": Limits(finish=last, drain=last, stale=LONG, progress=LONG), "retry": Retry.none()}


def shaped(dialect: str, *pieces: bytes | float, **how: Any) -> Any:
    return rebuilt(*pieces, content_type=LINES if dialect == "ndjson" else "text/event-stream", **how)


def asked(serve: Serve, connect: Connect, dialect: str, *pieces: bytes | float, **how: Any) -> Any:
    server = serve(shaped(dialect, *pieces, **how))
    outcome = stream(connect(**settings(how.get("end", "clean"))), server.url + PATHS[dialect])
    assert len(server.requests) == 1
    return outcome


@pytest.mark.parametrize("dialect", ENDS)
@pytest.mark.parametrize("end", ["clean", "open", *CUTS])
def test_both_marks_make_the_answer_whole_however_the_body_ends(
    serve: Serve, connect: Connect, dialect: str, end: str
) -> None:
    """A finish mark and an end mark make an answer whole by its end mark."""
    outcome = asked(serve, connect, dialect, FINISHED[dialect], ENDS[dialect], end=end)
    assert (outcome.done().end, outcome.text) == ("terminal", "whole")


@pytest.mark.parametrize("dialect", FINISHED)
@pytest.mark.parametrize("framing", ["chunked", "close", "length"])
def test_a_finish_mark_and_a_clean_end_make_the_answer_whole(
    serve: Serve, connect: Connect, dialect: str, framing: Any
) -> None:
    """A finish mark and a clean end make an answer whole; no request is repeated."""
    outcome = asked(serve, connect, dialect, FINISHED[dialect], framing=framing)
    assert (outcome.done().end, outcome.text) == ("eof", "whole")


@pytest.mark.parametrize("dialect", FINISHED)
@pytest.mark.parametrize("end", CUTS)
def test_a_finish_mark_and_a_cut_are_a_cut(serve: Serve, connect: Connect, dialect: str, end: str) -> None:
    """A finish mark is no proof: a body that is cut after it is a cut."""
    error = asked(serve, connect, dialect, FINISHED[dialect], BEAT, end=end).failed(StreamCut)
    assert error.partial == "whole"
    assert error.record.end is None


@pytest.mark.parametrize("dialect", FINISHED)
def test_a_finish_mark_and_an_open_body_end_after_finish(
    serve: Serve, connect: Connect, dialect: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer is taken as whole once ``finish`` has passed, and the log says so."""
    with caplog.at_level(logging.INFO, "llmwatch"):
        outcome = asked(serve, connect, dialect, FINISHED[dialect], end="open")
    assert (outcome.done().end, outcome.text) == ("finish", "whole")
    assert outcome.elapsed >= LIMIT
    assert "sent no end mark" in caplog.text


@pytest.mark.parametrize("dialect", ["openai-chat", "ndjson"])
@pytest.mark.parametrize("end", ["clean", "open"])
def test_an_end_mark_alone_is_whole_at_a_clean_end_or_after_drain(
    serve: Serve, connect: Connect, dialect: str, end: str
) -> None:
    """An end mark alone makes an answer whole if its body ends cleanly or stays open past ``drain``."""
    outcome = asked(serve, connect, dialect, SAID[dialect], ENDS[dialect], end=end)
    assert (outcome.done().end, outcome.text) == ("terminal", "whole")


@pytest.mark.parametrize("dialect", ["openai-chat", "ndjson"])
@pytest.mark.parametrize("end", CUTS)
def test_an_end_mark_alone_and_a_cut_are_a_cut(serve: Serve, connect: Connect, dialect: str, end: str) -> None:
    """A server that ends a stream early with an end mark and then drops it has cut it."""
    error = asked(serve, connect, dialect, SAID[dialect], ENDS[dialect], BEAT, end=end).failed(StreamCut)
    assert error.partial == "whole"


@pytest.mark.parametrize("end", ["clean", "open"])
def test_an_end_mark_without_content_is_no_answer(serve: Serve, connect: Connect, end: str) -> None:
    """An end mark with neither content nor a finish mark before it is an empty stream."""
    asked(serve, connect, "openai-chat", DONE, end=end).failed(EmptyStream)


@pytest.mark.parametrize("dialect", SAID)
@pytest.mark.parametrize(("end", "error"), [("clean", StreamTruncated), ("cut", StreamCut), ("reset", StreamCut)])
def test_without_a_mark_no_end_is_whole(serve: Serve, connect: Connect, dialect: str, end: str, error: Any) -> None:
    """Without a mark the answer is never whole."""
    assert asked(serve, connect, dialect, SAID[dialect], BEAT, end=end).failed(error).partial == "whole"


@pytest.mark.parametrize("dialect", FINISHED)
def test_content_long_after_a_finish_mark_is_delivered(serve: Serve, connect: Connect, dialect: str) -> None:
    """Text after the mark reaches the caller, and the timer does not run a second time in that stream."""
    again = {"anthropic": messages("more"), "gemini": part("more", finishReason="STOP")}.get(
        dialect, FINISHED[dialect].replace(b"whole", b"more")
    )
    pieces = FINISHED[dialect], LIMIT / 2, again, 2 * LIMIT, again
    outcome = asked(serve, connect, dialect, *pieces)
    assert (outcome.done().end, outcome.text) == ("eof", "wholemoremore")


def test_pings_after_a_finish_mark_do_not_lengthen_the_wait(serve: Serve, connect: Connect) -> None:
    """Keep-alives do not reset ``finish``, and usage does."""
    pings = [piece for _ in range(200) for piece in (BEAT, named("ping"))]
    outcome = asked(serve, connect, "anthropic", messages("whole"), *pings, end="open")
    assert outcome.done().end == "finish"
    assert outcome.elapsed < 200 * BEAT
    beats = [piece for _ in range(20) for piece in (BEAT, data({"choices": [], "usage": {"total_tokens": 3}}))]
    outcome = asked(serve, connect, "openai-chat", FINISHED["openai-chat"], *beats, DONE)
    assert (outcome.done().end, outcome.kinds.count("usage")) == ("terminal", 20)


def test_with_finish_off_the_end_of_the_body_is_awaited(serve: Serve, connect: Connect) -> None:
    """The wait ends with the body, or after silence of ``stale``, and that is a success."""
    server = serve(
        shaped("openai-chat", FINISHED["openai-chat"], 3 * LIMIT, DONE),
        shaped("openai-chat", FINISHED["openai-chat"], end="open"),
    )
    client = connect(limits=Limits(finish=0, stale=5 * LIMIT))
    assert stream(client, server.chat_url).done().end == "terminal"
    assert stream(client, server.chat_url).done().end == "finish"


def test_collect_judges_the_end_by_the_same_marks(serve: Serve, connect: Connect) -> None:
    """``collect`` judges the end by the same marks, after one request."""
    server = serve(shaped("anthropic", messages("whole")))
    outcome = collect(connect(), server.messages_url)
    assert (outcome.value.text, outcome.done().end, len(server.requests)) == ("whole", "eof", 1)


@pytest.mark.parametrize("dialect", FINISHED)
@pytest.mark.parametrize("late", [False, True])
def test_a_session_judges_the_end_by_the_same_marks(serve: Serve, dialect: str, late: bool) -> None:
    """A session hands on bytes that come after a mark."""
    pieces = (FINISHED[dialect], 2 * BEAT, FINISHED[dialect]) if late else (FINISHED[dialect],)
    server = serve(shaped(dialect, *pieces))
    with Session(retry=Retry.none()) as session:
        response = session.post(server.url + PATHS[dialect], json=asking(), stream=True)
        assert response.content == b"".join(piece for piece in pieces if isinstance(piece, bytes))
    assert len(server.requests) == 1


@pytest.mark.parametrize("dialect", ["openai-chat", "anthropic"])
@pytest.mark.parametrize("end", ["clean", *CUTS])
def test_an_end_mark_needs_no_empty_line(serve: Serve, connect: Connect, dialect: str, end: str) -> None:
    """A whole end mark after a finish mark counts as it stands, however the body ends."""
    outcome = asked(serve, connect, dialect, FINISHED[dialect], ENDS[dialect].rstrip(), BEAT, end=end)
    assert (outcome.done().end, outcome.text) == ("terminal", "whole")


@pytest.mark.parametrize("dialect", ["openai-chat", "anthropic"])
def test_a_cut_end_mark_is_evidence_of_a_cut(serve: Serve, connect: Connect, dialect: str) -> None:
    """An end mark without its last byte is evidence of a cut, after any content."""
    outcome = asked(serve, connect, dialect, SAID[dialect], ENDS[dialect].rstrip()[:-1])
    outcome.failed(StreamTruncated)


@pytest.mark.parametrize("of", ["argument", "environment"])
def test_finish_can_be_set_by_argument_and_environment(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    """``finish`` can be set by an argument, or by the environment, which is read at the call.

    Both hold in a client and in a passthrough.
    """
    settings: dict[str, Any] = {"retry": Retry.none()}
    if of == "argument":
        settings["limits"] = Limits(finish=LIMIT)
    server = serve(shaped("openai-chat", FINISHED["openai-chat"], end="open"))
    client = connect(**settings)
    with Session(**settings) as session:
        if of == "environment":
            monkeypatch.setenv("LLMWATCH_FINISH_TIMEOUT_SECONDS", str(LIMIT))
        assert stream(client, server.chat_url).done().end == "finish"
        response = session.post(server.chat_url, json=asking(), stream=True)
        assert response.content == FINISHED["openai-chat"]
        record = response.llmwatch_record  # type: ignore[attr-defined]
    assert (record.end, record.outcome, record.attempts[0].limit) == ("finish", "done", None)
