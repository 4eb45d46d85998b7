"""Events without text: those that keep an attempt alive, and those that do not."""

from __future__ import annotations

from typing import Any

import pytest

from llmwatch import Limits, Retry, Session, StreamCut, WatchTimeout
from tests.end_to_end.calls import QUICK, asking, stream
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.rebuilt import DONE, PATHS, chunk, data, line, messages, named, part, rebuilt
from tests.end_to_end.times import LIMIT
from tests.session.entry_points import caught

END = chunk({"content": "fine"}) + chunk({}, "stop") + DONE
# No beat comes at the moment of an expiry: bytes that wait then give the attempt its grace.
LIMITS = Limits(first_content=2.5 * LIMIT, progress=2.5 * LIMIT)
STEPS = 6


def beats(*each: bytes) -> list[bytes | float]:
    """Six events, each well within a limit after the one before.

    They take twice as long as the limit allows without news.
    """
    return [piece for number in range(STEPS) for piece in (each[number % len(each)], LIMIT)]


@pytest.mark.parametrize(
    ("dialect", "thought", "end"),
    [
        ("openai-chat", chunk({"content": None, "reasoning_text": "hm"}), END),
        ("openai-chat", chunk({"thinking_blocks": [{"type": "thinking", "thinking": "hm"}]}), END),
        ("openai-chat", chunk({"nobody_heard_of": {"x": "y"}}), END),
        (
            "anthropic",
            named("content_block_delta", index=0, delta={"type": "daydream_delta", "daydream": "x"}),
            messages("fine") + named("message_stop"),
        ),
        (
            "gemini",
            part("").replace(b'"text": ""', b'"daydream": "x"'),
            part("fine", finishReason="STOP"),
        ),
        ("ndjson", line(message={"reasoning_content": "hm"}, done=False), line(message={"content": "fine"}, done=True)),
    ],
)
def test_content_in_an_unknown_field_resets_the_content_limits(
    serve: Serve, connect: Connect, dialect: str, thought: bytes, end: bytes
) -> None:
    """Content in an unknown field resets the content limits, before the first text and after it."""
    kind = "application/x-ndjson" if dialect == "ndjson" else "text/event-stream"
    server = serve(rebuilt(*beats(thought), end, content_type=kind))
    outcome = stream(connect(limits=LIMITS, retry=Retry.none()), server.url + PATHS[dialect])
    outcome.done()
    assert outcome.text == "fine"


def test_content_in_an_unknown_field_resets_the_limits_of_a_session(serve: Serve) -> None:
    """Content in an unknown field resets the content limits of a session too."""
    server = serve(rebuilt(*beats(chunk({"reasoning_opaque": "gAAA"})), END))
    with Session(limits=LIMITS, retry=Retry.none()) as session:
        assert session.post(server.chat_url, json=asking(), stream=True).content.endswith(DONE)


@pytest.mark.parametrize("empty", [{"reasoning_text": ""}, {"busy": True, "percent": 3}, {"more": {"type": "x"}}])
def test_empty_fields_count_as_keep_alives(serve: Serve, connect: Connect, empty: dict[str, Any]) -> None:
    """Empty fields do not reset the content limits."""
    server = serve(rebuilt(*beats(chunk({"content": "", **empty})), END))
    error = stream(connect(limits=LIMITS, retry=Retry.none()), server.chat_url).failed(WatchTimeout)
    assert "first_content" in str(error)


def counted(*tokens: int) -> list[bytes]:
    return [data({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": count}}) for count in tokens]


def test_a_count_of_output_tokens_that_grows_is_progress(serve: Serve, connect: Connect) -> None:
    """A count of output tokens that grows resets ``progress`` after the first content.

    A count that stands still does not.
    """
    said = chunk({"content": "very "})
    server = serve(rebuilt(said, *beats(*counted(*range(1, STEPS + 1))), END), rebuilt(said, *beats(*counted(1)), END))
    client = connect(limits=LIMITS, retry=Retry.none())
    outcome = stream(client, server.chat_url)
    outcome.done()
    assert outcome.text == "very fine"
    assert "progress" in str(stream(client, server.chat_url).failed(WatchTimeout))


@pytest.mark.parametrize(
    ("delta", "requests"),
    [({"hologram": "x"}, 1), ({"reasoning_opaque": "gAAA"}, 1), ({"hologram": ""}, 2), ({"percent": 3, "id": "x"}, 2)],
)
def test_an_unknown_event_with_content_forbids_a_resend(
    serve: Serve, connect: Connect, delta: dict[str, Any], requests: int
) -> None:
    """A cut behind an unknown event with content is not resent: part of the answer was handed over.

    An unknown event without content does not forbid a resend.
    """
    for open_entry in (True, False):
        server = serve(rebuilt(chunk({"content": "", **delta}), end="cut"), rebuilt(END))
        if open_entry:
            outcome = stream(connect(), server.chat_url)
            assert (outcome.error is None) == (requests == 2)
        else:
            with Session(retry=QUICK) as session:
                response = session.post(server.chat_url, json=asking(), stream=True)
                if requests == 2:
                    assert response.content == END
                else:
                    caught(StreamCut, getattr, response, "content")
        assert len(server.requests) == requests
