"""Each stream through ``Client.stream`` and ``collect``.

A healthy one gives what it says, a failed one gives its error.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from llmwatch import Client, Limits, LLMWatchError, Retry
from tests.replay.failures import FAILURES
from tests.replay.playing import PIECES, asking, asks, playing
from tests.replay.reading import expected, of_events
from tests.replay.streams import STREAMS
from tests.rows import each
from tests.session.times import LONG

pytestmark = pytest.mark.usefixtures("nothing_left")

ONCE = {"limits": Limits.single(LONG), "retry": Retry.none()}


@pytest.mark.parametrize("name", STREAMS)
def test_the_client_says_what_the_stream_says(name: str) -> None:
    """``Client.stream`` and ``collect`` give text, reasoning, calls, usage and the reason.

    The streams come whole and byte by byte.
    """
    stream = STREAMS[name]
    with playing(stream.body, stream.content_type) as server, Client(**ONCE) as client:
        for pieces in PIECES:
            call = {"json": asking(stream.path, stream.request), "headers": asks(pieces)}
            with client.stream("POST", server.url + stream.path, **call) as made:
                events = list(made)
            assert of_events(events) == expected(stream), pieces
            answer = client.collect("POST", server.url + stream.path, **call)
            assert of_events(answer.events) == expected(stream), pieces
            assert (answer.text, answer.reasoning) == (stream.text, stream.reasoning)
            assert tuple((one.id, one.name, one.json()) for one in answer.tool_calls) == stream.calls
            assert answer.discarded_calls == 0
            assert answer.provider_finish_reason == stream.finish
            assert answer.cut is stream.cut
            counted = answer.usage.provider if answer.usage else {}
            assert counted.items() >= (expected(stream)[3] or {}).items()
            assert [record.outcome for record in (made.record, answer.record)] == ["done", "done"]
        assert len(server.requests) == 2 * len(PIECES)


# What no event says to be over is over with its body.
BY_EOF = {
    *("gemini", "vertex", "minimax", "another", "perplexity-end", "bedrock-titan"),
    *("dashscope", "dashscope-cumulative", "dashscope-text", "dashscope-tools", "snowflake", "snowflake-tools"),
}

TOKENS = dict.fromkeys(("anthropic", "anthropic-tools", "vertex-anthropic", "zai-anthropic"), 9)
TOKENS |= {"tgi": 4, "baidu-tools": 1}
"""Tokens of output, where they are not three."""


@each("name", STREAMS)
def test_an_answer_is_summed_up_in_the_same_words(name: str) -> None:
    """The reason, the tokens and the kind of end are in the same words for every provider."""
    stream = STREAMS[name]
    with playing(stream.body, stream.content_type) as server, Client(**ONCE) as client:
        body = asking(stream.path, stream.request)
        answer = client.collect("POST", server.url + stream.path, json=body)
    reason = "length" if stream.cut else "tool_calls" if stream.calls else "stop"
    assert answer.finish_reason == (reason if stream.finish else None)
    counted = answer.usage.output_tokens if answer.usage else None
    assert counted == (TOKENS.get(name, 3) if expected(stream)[3] else None)
    assert answer.end == ("eof" if name in BY_EOF else "terminal")


def _raised(call: Callable[[], object]) -> LLMWatchError | None:
    try:
        call()
    except LLMWatchError as error:
        # Its frames hold connections.
        return error.with_traceback(None)
    return None


@each("name", FAILURES)
def test_a_failure_is_never_a_success(name: str) -> None:
    """Both raise the failure, with the provider's words, after one request."""
    failure = FAILURES[name]
    with playing(failure.body, failure.content_type, ends=failure.ends) as server, Client(**ONCE) as client:
        url, body = server.url + failure.path, asking(failure.path, failure.request)
        with client.stream("POST", url, json=body) as stream:
            streamed = _raised(lambda: list(stream))
        collected = _raised(lambda: client.collect("POST", url, json=body))
        for error in (streamed, collected):
            assert type(error) is failure.error, error
            assert failure.words in str(error)
            assert error.record is not None
            assert error.record.outcome == "failed"
        assert len(server.requests) == 2
