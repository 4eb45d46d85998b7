"""Events of no known provider, and dialects that are registered."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from llmwatch.errors import ConfigError, MalformedEvent
from llmwatch.wire import (
    Decoder,
    Event,
    Kind,
    Meaning,
    StreamError,
    ToolDelta,
    check_dialect,
    names,
    register_dialect,
    unregister_dialect,
)
from tests.rows import each
from tests.wire.dialects.rows import Row, row
from tests.wire.streams import decode, sse

NAME = "custom"


@pytest.fixture(autouse=True)
def _nothing_stays_registered() -> Iterator[None]:
    yield
    unregister_dialect(NAME)
    unregister_dialect(NAME + " 2")


@each(
    "row",
    [
        row("text", "hello", Kind.TEXT, text="hello"),
        row("JSON is text", {"a": 1}, Kind.TEXT, text='{"a": 1}'),
        row("named", ("note", "hello"), Kind.TEXT, text="hello"),
        row("empty", "", Kind.KEEPALIVE),
        row("blank", "  ", Kind.KEEPALIVE),
        row("ping", ("ping", "x"), Kind.KEEPALIVE),
        row("heartbeat", ("heartbeat", "x"), Kind.KEEPALIVE),
        row("done", "[DONE]", Kind.TERMINAL),
        row(
            "failed run",
            ("thread.run.failed", {"status": "failed", "last_error": {"code": "rate_limit_exceeded", "message": "no"}}),
            Kind.ERROR,
            error=StreamError(None, "rate_limit_exceeded", "no"),
        ),
        row(
            "expired run",
            ("thread.run.expired", {"status": "expired", "last_error": None}),
            Kind.ERROR,
            error=StreamError(None, None, "the run expired, no reason was given"),
        ),
        row("run that was not read", ("thread.run.completed", "x"), Kind.TEXT, text="x"),
        row(
            "text that names a failed run",
            ("note", "thread.run.failed"),
            Kind.TEXT,
            text="thread.run.failed",
        ),
        row("printed error", "{'error': 'boom'}", Kind.ERROR, error=StreamError(None, None, "boom")),
        row("printed object", "{'text': 'error'}", Kind.TEXT, text="{'text': 'error'}"),
        row("error", ("error", "boom"), Kind.ERROR, error=StreamError(None, None, "boom")),
        row(
            "JSON error", ("error", {"type": "x", "message": "boom"}), Kind.ERROR, error=StreamError("x", None, "boom")
        ),
    ],
)
def test_data_without_a_dialect_is_text(row: Row) -> None:
    """Without a dialect, data is text."""
    events, _ = decode("generic", *row.before, row.data)
    row.check(events[-1])


def test_end_of_the_body_is_the_end_unless_an_event_is_cut() -> None:
    """Generic streams need no terminal event; an event that was cut is still evidence of truncation."""
    assert decode("generic", "a")[1].verdict_at_end() is None
    _, decoder = decode("generic", body=b"data: a\n\ndata: b")
    assert (decoder.accepts_eof, decoder.pending) == (False, 7)
    assert type(decoder.verdict_at_end()).__name__ == "StreamTruncated"


def custom(event: Event) -> Kind | Meaning:
    """A dialect of our own."""
    if event.data == "end":
        return Kind.TERMINAL
    value = event.json()
    if "oops" in value:
        return Kind.ERROR
    if "last" in value:
        return Meaning(Kind.TEXT, text=value["last"], finish=True)
    return (
        Meaning(Kind.TEXT, text=value["say"], reasoning="r", tools=(ToolDelta("k"),)) if "say" in value else Kind.TEXT
    )


def test_a_plain_function_is_a_dialect() -> None:
    """A registered function reads events, and may say no more than a kind."""
    register_dialect(NAME, custom)
    events, decoder = decode(NAME, {"say": "hi"}, {"x": 1}, "end")
    assert [(event.kind, event.text, event.reasoning, event.tool) for event in events] == [
        (Kind.TEXT, "hi", "r", ToolDelta("k")),
        (Kind.TEXT, '{"x": 1}', "", None),
        (Kind.TERMINAL, "", "", None),
    ]
    assert (decoder.dialect, decoder.terminal, decoder.verdict_at_end()) == (NAME, True, None)


def test_a_registered_dialect_ends_as_it_says() -> None:
    """The end of the body ends it only after a finish, or when it was registered so."""
    register_dialect(NAME, custom)
    assert type(decode(NAME, {"say": "hi"})[1].verdict_at_end()).__name__ == "StreamTruncated"
    assert decode(NAME, {"last": "hi"})[1].verdict_at_end() is None
    register_dialect(NAME, custom, accepts_eof=True)
    assert decode(NAME, {"say": "hi"})[1].verdict_at_end() is None


def test_a_registered_dialect_can_report_an_error() -> None:
    """A bare ERROR takes its words from the event."""
    register_dialect(NAME, custom)
    events, decoder = decode(NAME, {"oops": 1, "error": {"type": "x", "message": "boom"}})
    assert events[0].error == StreamError("x", None, "boom")
    assert str(decoder.error) == "The provider reported an error inside the stream (x): boom"


def test_registered_dialects_are_found() -> None:
    """``auto`` asks registered detectors first: with the URL, and then with the first event.

    The latest one wins.
    """
    register_dialect(NAME, custom, lambda url, event: "custom.example" in url)
    register_dialect(NAME + " 2", custom, lambda url, event: event is not None and event.event == "custom")
    assert Decoder("auto", url="https://custom.example/v1/chat/completions").dialect == NAME
    decoder = Decoder("auto", url="https://other.example/")
    assert decoder.dialect is None
    decoder.feed(sse(("custom", {"say": "hi"})))
    assert decoder.dialect == NAME + " 2"


def test_a_detector_that_raises_recognises_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A broken detector is logged without its words, and the others are asked."""

    def broken(url: str, event: Event | None) -> bool:
        raise RuntimeError("secret")

    register_dialect(NAME, custom, broken)
    with caplog.at_level(logging.WARNING, logger="llmwatch"):
        assert Decoder("auto", url="https://x.example/v1/messages").dialect == "anthropic"
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("answer", ["raise", None, "text"])
def test_a_dialect_function_that_raises_gives_a_malformed_event(answer: str | None) -> None:
    """An exception in the function, or an answer that is no kind, fails the stream.

    Nothing is quoted.
    """

    def function(event: Event) -> Kind:
        if answer == "raise":
            raise KeyError("secret")
        return answer  # type: ignore[return-value]

    register_dialect(NAME, function)
    events, decoder = decode(NAME, "secret")
    assert events == []
    assert isinstance(decoder.error, MalformedEvent)
    assert "dialect function" in str(decoder.error)
    assert "secret" not in str(decoder.error)


def test_built_in_and_registered_names_are_known() -> None:
    """All built-in names are known, and a registered one is until it is unregistered."""
    providers = ("bedrock", "cohere", "baidu", "dashscope", "tgi", "snowflake", "cortex-agent")
    providers = (*providers, "llamacpp", "cloudflare", "sglang")
    built_in = ("auto", "openai-chat", "openai-responses", "anthropic", "gemini", "ndjson", *providers, "generic")
    assert names() == built_in
    register_dialect(NAME, custom)
    assert names() == (*built_in, NAME)
    check_dialect(NAME)
    unregister_dialect(NAME)
    for dialect in (NAME, "", "OpenAI"):
        with pytest.raises(ConfigError, match="is not known") as caught:
            check_dialect(dialect)
        assert caught.value.field == "dialect"
        with pytest.raises(ConfigError):
            Decoder(dialect)


def test_built_in_names_and_non_callables_cannot_be_registered() -> None:
    """Built-in names cannot be taken, and only something callable is a dialect."""
    for name in ("auto", "anthropic", ""):
        with pytest.raises(ConfigError):
            register_dialect(name, custom)
    with pytest.raises(TypeError):
        register_dialect(NAME, "custom")  # type: ignore[arg-type]
