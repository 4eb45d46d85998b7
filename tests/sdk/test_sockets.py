"""The SDKs over real sockets.

Every entry point and every way to ask meet every fault that they have to come through.
"""

from __future__ import annotations

from typing import Any

import pytest

import llmwatch
from llmwatch import Limits
from llmwatch.faults.catalogue import ANSWER, answer
from tests.sdk.clients import ASKS, MAKERS, PLAIN, STREAMS, Answer, ask, asked_at_each, names
from tests.sdk.times import BEAT, LIMIT, LONG, PATIENCE, SOON

ENTRY_POINTS = list(MAKERS)
HELPERS = [entry_point for entry_point in ENTRY_POINTS if entry_point.startswith("helper")]
TOKENS = 3

entry_points = pytest.mark.parametrize("entry_point", ENTRY_POINTS)
every = pytest.mark.parametrize("how", list(ASKS))
streams = pytest.mark.parametrize("how", STREAMS)
plain = pytest.mark.parametrize("how", PLAIN)


def cause_of(outcome: Answer, how: str, theirs: str, ours: type[BaseException]) -> Any:
    """Our error behind the SDK's, which has to be of exactly the class ``theirs``."""
    error = outcome.error
    assert type(error) is getattr(names(ASKS[how].sdk), theirs), repr(error)
    assert isinstance(error, names(ASKS[how].sdk).APIError)
    cause = error.__cause__
    assert isinstance(cause, ours), repr(cause)
    assert isinstance(cause, llmwatch.LLMWatchError)
    assert cause.record is not None
    assert cause.recovery is not None
    return cause


@entry_points
@every
def test_a_healthy_answer_comes_whole(serve: Any, make: Any, sdk_waits: list[int], entry_point: str, how: str) -> None:
    """One request, the whole text, on one connection for two calls."""
    server = serve("healthy")
    client = make(entry_point, ASKS[how].sdk, server)
    for _ in range(2):
        outcome = ask(client, how)
        assert outcome.error is None, repr(outcome.error)
        assert outcome.text == ANSWER
        assert outcome.said in ("", ANSWER)
    assert [one.connection for one in server.requests] == [1, 1]
    assert sdk_waits == []


@every
@pytest.mark.parametrize("script", ["silent", "headers-then-silent"])
def test_silence_is_recovered_from(serve: Any, make: Any, sdk_waits: list[int], how: str, script: str) -> None:
    """Through each entry point a stream that was never begun is sent again.

    This holds before its headers and after them. A plain call may be at work, and is not sent again.
    """
    limits = Limits(ttfb=SOON if ASKS[how].streams else LIMIT)
    for entry_point, server, outcome in asked_at_each(serve, make, how, script, "healthy", limits=limits):
        if ASKS[how].streams:
            assert outcome.error is None, (entry_point, outcome.error)
            assert outcome.text == ANSWER
            assert len(server.requests) == 2
        else:
            cause = cause_of(outcome, how, "APITimeoutError", llmwatch.WatchTimeout)
            assert cause.limit == "ttfb"
            server.wait_for_requests(1, PATIENCE)
            assert len(server.requests) == 1


@streams
@pytest.mark.parametrize("script", ["silent", "headers-then-silent"])
def test_silence_of_every_attempt_is_the_sdks_timeout(
    serve: Any, make: Any, sdk_waits: list[int], how: str, script: str
) -> None:
    """Through each entry point it is, after three requests, the SDK's time-out with llmwatch's behind it.

    The SDK's own retries send nothing.
    """
    for entry_point, server, outcome in asked_at_each(serve, make, how, script, limits=Limits(ttfb=LIMIT)):
        cause = cause_of(outcome, how, "APITimeoutError", llmwatch.WatchTimeout)
        assert (cause.limit, cause.limit_seconds, len(cause.record.attempts)) == ("ttfb", LIMIT, 3)
        assert cause.phase == ("waiting" if script == "silent" else "headers")
        # Over a bare transport the SDK makes the exception, and gives it a text of its own.
        assert str(outcome.error).startswith(str(cause) if entry_point.startswith("helper") else "Request timed out")
        assert "LLMWATCH_TTFB_TIMEOUT_SECONDS" in str(cause)
        server.wait_for_requests(3, PATIENCE)
        assert len(server.requests) == 3


@streams
def test_keep_alives_alone_end_at_first_content(serve: Any, make: Any, how: str) -> None:
    """A connection that is kept open and says nothing ends at ``first_content``.

    This holds through each entry point, and the provider is not asked again.
    """
    limits = Limits(stale=LONG, first_content=SOON)
    for _, server, outcome in asked_at_each(serve, make, how, f"keepalive-only:every={BEAT}", limits=limits):
        cause = cause_of(outcome, how, "APITimeoutError", llmwatch.WatchTimeout)
        assert cause.limit == "first_content"
        server.wait_for_requests(1, PATIENCE)
        assert len(server.requests) == 1


@streams
@pytest.mark.parametrize(
    ("script", "theirs", "ours"),
    [
        (f"stall-after-content:tokens={TOKENS}", "APITimeoutError", llmwatch.WatchTimeout),
        (f"eof-without-terminal:tokens={TOKENS}", "APIConnectionError", llmwatch.StreamTruncated),
        (f"cut-chunk:tokens={TOKENS}", "APIConnectionError", llmwatch.StreamCut),
        (f"reset-mid-stream:tokens={TOKENS}", "APIConnectionError", llmwatch.StreamCut),
        (f"malformed-event:tokens={TOKENS}", "APIConnectionError", llmwatch.MalformedEvent),
    ],
)
def test_a_break_in_mid_stream_is_the_sdks_own_exception(
    serve: Any, make: Any, sdk_waits: list[int], how: str, script: str, theirs: str, ours: type[Exception]
) -> None:
    """The text before the break is seen, and nothing is resent.

    Then the SDK's own exception is raised, with llmwatch's behind it.
    """
    limits = Limits(ttfb=LONG, stale=SOON if ours is llmwatch.WatchTimeout else LONG)
    for _, server, outcome in asked_at_each(serve, make, how, script, entry_points=HELPERS, limits=limits):
        cause_of(outcome, how, theirs, ours)
        assert answer(TOKENS).startswith(outcome.said)
        assert outcome.said
        assert len(server.requests) == 1
    assert sdk_waits == []


@streams
@pytest.mark.parametrize("entry_point", ["helper", "helper, its retries on"])
@pytest.mark.parametrize("tokens", [0, TOKENS])
def test_an_error_event_is_the_sdks_own_api_error(
    serve: Any, make: Any, entry_point: str, how: str, tokens: int
) -> None:
    """The provider's error inside the stream is an API error with its type and message.

    It comes first or in mid-stream.
    """
    server = serve(f"error-event:tokens={tokens},kind=invalid_request_error,code=bad")
    outcome = ask(make(entry_point, ASKS[how].sdk, server), how)
    theirs = {"openai": "APIError", "anthropic": "APIStatusError"}[ASKS[how].sdk]
    cause = cause_of(outcome, how, theirs, llmwatch.ProviderError)
    assert outcome.said == answer(tokens) * bool(tokens)
    error: Any = outcome.error
    assert "The fault server is overloaded." in str(error)
    assert cause.record.outcome == "failed"
    print(cause.record.attempts[-1].cause, error.type, len(server.requests))


@every
@pytest.mark.parametrize("script", [f"retry-after:status=429,value={5 * BEAT:g}", "status:status=500"])
def test_a_passing_status_is_recovered_from(serve: Any, make: Any, sdk_waits: list[int], how: str, script: str) -> None:
    """After a 429 that names its wait, or a 500, the next request gets the answer.

    This holds through each entry point, and the SDK knows nothing of it.
    """
    for entry_point, server, outcome in asked_at_each(serve, make, how, script, "healthy"):
        assert outcome.error is None, (entry_point, outcome.error)
        assert outcome.text == ANSWER
        assert len(server.requests) == 2
    assert sdk_waits == []


@every
@pytest.mark.parametrize(
    ("script", "theirs"),
    [
        (f"retry-after:status=429,value={BEAT:g}", "RateLimitError"),
        ("status:status=500", "InternalServerError"),
        (f"retry-after:status=500,value={BEAT:g},should_retry=true", "InternalServerError"),
    ],
)
def test_a_lasting_status_is_the_sdks_own_status_error(
    serve: Any, make: Any, sdk_waits: list[int], how: str, script: str, theirs: str
) -> None:
    """After three requests the last answer is the SDK's status error, through each entry point.

    The SDK does not retry it.
    """
    for entry_point, server, outcome in asked_at_each(serve, make, how, script):
        assert len(server.requests) == 3
        error: Any = outcome.error
        assert type(error) is getattr(names(ASKS[how].sdk), theirs)
        assert error.response.headers["x-should-retry"] == "false"
        record = error.response.extensions["llmwatch"].record
        assert len(record.attempts) == 3
        if entry_point in HELPERS:
            cause = cause_of(outcome, how, theirs, llmwatch.ProviderError)
            assert (cause.status, cause.retryable, cause.record) == (error.status_code, True, record)
        else:
            assert error.__cause__ is None
    assert sdk_waits == []
