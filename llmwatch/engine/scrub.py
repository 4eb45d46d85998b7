"""Removes secrets and the prompt from the text of providers and libraries in llmwatch's errors.

What looks like a key or token is masked everywhere. The secrets and the prompt that were sent are found by comparison,
and masked in foreign text only: a prompt may be about an error of llmwatch, and a tool may be called "stream".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from llmwatch.engine.request import CallRequest
from llmwatch.errors import ConfigError, ConnectFailed, LLMWatchError, NotAStream, ProviderError
from llmwatch.payload import prompt_texts
from llmwatch.recovery.retryability import is_known_word
from llmwatch.redaction import Secrets, prompt, redact
from llmwatch.transport.errors import Summary

__all__ = ["masker", "scrubbed"]

# A type or code that classifies a failure is one word, and is kept even if the prompt asks about it.
_WORD = re.compile(r"[A-Za-z0-9_.:/-]*")


def scrubbed(error: LLMWatchError, request: CallRequest, secrets: Secrets) -> LLMWatchError:
    """Remove ``secrets``, other text that looks like a secret, and quotes of the prompt from ``error``.

    ``secrets`` are those of the requests that were sent; the prompt is that of ``request``. Returns the same object.
    """
    foreign = _Foreign(request.body, secrets)
    error.message = redact.text(foreign.out_of(error))
    error.args = (error.message,)
    cause = error.__cause__
    if isinstance(cause, Summary):
        error.__cause__ = Summary(cause.type, cause.errno, foreign.masked(cause.text))
    return error


def masker(request: CallRequest, secrets: Secrets) -> Callable[[str], str]:
    """A function that removes ``secrets`` and quotes of the prompt in ``request`` from foreign text."""
    return _Foreign(request.body, secrets).masked


@dataclass(frozen=True, slots=True)
class _Foreign:
    """Masks secrets and the prompt in foreign text."""

    body: object
    secrets: Secrets

    def masked(self, text: str) -> str:
        return prompt.masked(self.secrets.masked(text), prompt_texts(self.body))

    def out_of(self, error: LLMWatchError) -> str:
        """The message of ``error``, masked. The error's type and code, if any, are masked in place."""
        message = error.message
        if isinstance(error, NotAStream):
            # The quote is the title of a page.
            own, quote, rest = message.partition('"')
            foreign, end, more = rest.rpartition('"')
            return own + quote + self.masked(foreign) + end + more
        if not isinstance(error, (ProviderError, ConnectFailed, ConfigError)):
            return message
        own, colon, foreign = message.partition(": ")
        if isinstance(error, ProviderError):
            if 300 <= (error.status or 0) < 400:
                # The message is llmwatch's own, and the target of the redirect is masked already.
                return message
            names = error.type, error.code
            error.type, error.code = self._name(error.type), self._name(error.code)
            if names != (error.type, error.code):
                # Type and code stand before the colon as well.
                return self.masked(message)
        return own + colon + self.masked(foreign)

    def _name(self, name: str | None) -> str | None:
        if name is None or is_known_word(name):
            return name
        if self.secrets.masked(name) != name:
            # Masked as a whole: the rest of it could be a word with a meaning.
            return redact.MASK
        return name if _WORD.fullmatch(name) else prompt.masked(name, prompt_texts(self.body))
