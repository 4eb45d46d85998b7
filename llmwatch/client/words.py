"""What others say in an error of ours: the provider's words, and those of the libraries in between, which may quote it.

Keys and tokens are masked wherever they stand; a quote of the prompt only in what is not ours, since a prompt may well
be about an error of llmwatch.
"""

from __future__ import annotations

import re

from llmwatch.client.request import CallRequest
from llmwatch.errors import LLMWatchError, NotAStream, ProviderError
from llmwatch.records import quotes, redact
from llmwatch.transport.failures import Summary

__all__ = ["scrubbed"]

# A type or code by which a failure is classified is one word, and stays even if somebody asks what it means.
_WORD = re.compile(r"[A-Za-z0-9_.:/-]*")


def scrubbed(error: LLMWatchError, request: CallRequest) -> LLMWatchError:
    """``error``, the same object, without secrets and without what it quotes of the prompt in ``request``."""
    body = request.body
    error.message = redact.text(_without_prompt(error, body))
    error.args = (error.message,)
    cause = error.__cause__
    if isinstance(cause, Summary):
        error.__cause__ = Summary(cause.type, cause.errno, quotes.masked(cause.text, body))
    return error


def _without_prompt(error: LLMWatchError, body: object) -> str:
    message = error.message
    if isinstance(error, NotAStream):
        return quotes.masked(message, body)
    if not isinstance(error, ProviderError):
        return message
    ours, colon, theirs = message.partition(": ")
    names = error.type, error.code
    error.type, error.code = _name(error.type, body), _name(error.code, body)
    if names != (error.type, error.code):
        # They stand in front of the colon as well.
        return quotes.masked(message, body)
    return ours + colon + quotes.masked(theirs, body)


def _name(name: str | None, body: object) -> str | None:
    return name if name is None or _WORD.fullmatch(name) else quotes.masked(name, body)
