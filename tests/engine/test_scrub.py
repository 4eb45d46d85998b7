"""``llmwatch.engine.scrub``: llmwatch's own part of a message, and the foreign part."""

from __future__ import annotations

from typing import Any

import pytest

from llmwatch import ConfigError, ConnectFailed, LLMWatchError, NotAStream, ProviderError, StreamTruncated
from llmwatch.engine.request import CallRequest
from llmwatch.engine.scrub import scrubbed
from llmwatch.errors import StreamCut
from llmwatch.payload import secrets_in
from llmwatch.recovery import could_work, failure_of
from llmwatch.recovery.facts import Facts, Sent
from llmwatch.redaction import Secrets
from llmwatch.transport.errors import Summary
from llmwatch.wire.event import StreamError
from llmwatch.wire.refusal import in_stream_error
from tests.engine.fakes import URL

SECRET = "team7-blue-4471-falcon"
PROMPT = "my patient is called Ada Berg"
# Words that llmwatch uses itself.
TOOLS = ["stream", "request", "connection", "provider", "endpoint", "certificate"]
BODY = {"messages": [{"content": PROMPT}], "tools": [{"name": name} for name in TOOLS]}
REQUEST = CallRequest.build("POST", URL, {"json": BODY})
SECRETS = Secrets.of([(URL, {"X-Key": SECRET})], secrets_in(BODY))


def said(error: LLMWatchError) -> str:
    assert scrubbed(error, REQUEST, SECRETS) is error
    assert error.args == (error.message,)
    return str(error)


@pytest.mark.parametrize(
    ("kind", "ours", "more", "after"),
    [
        (ProviderError, "the provider reported an error in the stream: ", {}, ""),
        (ConnectFailed, "The proxy let no connection through: ", {"cause": "proxy"}, ""),
        (ConfigError, "The endpoint cannot be used: ", {}, ""),
        (NotAStream, 'The endpoint answered with a page titled "', {}, '" and no stream'),
    ],
)
def test_foreign_text_is_masked_and_own_text_stays(
    kind: type[LLMWatchError], ours: str, more: dict[str, Any], after: str
) -> None:
    """Secrets, tools and the prompt are masked in the text of servers and libraries.

    llmwatch's own text stays, even with a tool's name in it.
    """
    error = kind(f"{ours}no {SECRET}, {TOOLS[0]}, {PROMPT}{after}", **more)
    assert said(error) == f"{ours}no ***, ***, [... {len(PROMPT)} characters of the prompt omitted]{after}"


@pytest.mark.parametrize("kind", [StreamCut, StreamTruncated])
def test_an_error_without_foreign_text_stays(kind: type[LLMWatchError]) -> None:
    """An error whose text is llmwatch's own is not searched."""
    assert said(kind("The stream from the provider: it ended.")) == "The stream from the provider: it ended."


def test_the_message_of_a_redirect_stays() -> None:
    """The text is llmwatch's own, and the target was masked before."""
    message = "The provider redirects this request to https://x/***: the stream of the request would be lost."
    assert said(ProviderError(message, status=302)) == message


def test_the_summary_of_a_foreign_exception_is_masked() -> None:
    """The text of the foreign exception is masked in any error; class and errno stay."""
    error = StreamCut("The provider reset the connection.")
    error.__cause__ = Summary("BadStatusLine", "ECONNRESET", f"HTTP/1.1 {SECRET} {PROMPT}")
    said(error)
    assert str(error.__cause__) == (
        f"BadStatusLine [ECONNRESET]: HTTP/1.1 *** [... {len(PROMPT)} characters of the prompt omitted]"
    )


def _classified(error: ProviderError) -> Any:
    return could_work(failure_of(error), Facts(sent=Sent.YES, first_byte=True))


@pytest.mark.parametrize("word", ["overloaded_error", "rate_limit_exceeded", "429"])
def test_words_that_classify_an_error_stay(word: str) -> None:
    """A type or code that decides about the error is no secret, even if a tool or a header has its name."""
    secrets = Secrets.of([(URL, {"X-Key": word})], secrets_in({"tools": [{"name": word}]}))
    error = in_stream_error(StreamError(word, word, "busy"))
    before = _classified(error)
    assert before[0]
    scrubbed(error, REQUEST, secrets)
    assert (error.type, error.code) == (word, word)
    assert _classified(error) == before


@pytest.mark.parametrize("word", [SECRET, f"{SECRET.upper()}_timeout", f"unknown caller: {SECRET}"])
def test_a_type_that_repeats_a_secret_is_masked_as_a_whole(word: str) -> None:
    """No part of it is left in the attributes, in the message, or for the decision."""
    error = in_stream_error(StreamError(word, word, "No."))
    before = _classified(error)
    shown = said(error)
    assert (error.type, error.code) == ("***", "***")
    assert SECRET not in shown.lower()
    assert shown.endswith("No.")
    assert _classified(error) == before


def test_a_type_without_a_secret_stays() -> None:
    """A type that repeats no secret is the provider's, and stays."""
    error = in_stream_error(StreamError("invalid_image", "bad_size", "No."))
    assert said(error) == "The provider reported an error inside the stream (invalid_image, bad_size): No."
    assert (error.type, error.code) == ("invalid_image", "bad_size")
