"""What others say in an error of ours: the provider's words, and those of the libraries in between, which may quote it.

What looks like a key or token is masked wherever it stands. What was sent is known by comparison, secrets and prompt,
and masked in what is not ours only, since a prompt may well be about an error of llmwatch, and a tool be called
"stream".
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

# A type or code by which a failure is classified is one word, and stays even if somebody asks what it means.
_WORD = re.compile(r"[A-Za-z0-9_.:/-]*")


def scrubbed(error: LLMWatchError, request: CallRequest, secrets: Secrets) -> LLMWatchError:
    """``error``, the same object, without ``secrets``, those of the requests that were made, without anything else that
    looks like one, and without what it quotes of the prompt in ``request``.
    """
    foreign = _Foreign(request.body, secrets)
    error.message = redact.text(foreign.out_of(error))
    error.args = (error.message,)
    cause = error.__cause__
    if isinstance(cause, Summary):
        error.__cause__ = Summary(cause.type, cause.errno, foreign.masked(cause.text))
    return error


def masker(request: CallRequest, secrets: Secrets) -> Callable[[str], str]:
    """What takes ``secrets`` and quotes of the prompt in ``request`` out of words of others."""
    return _Foreign(request.body, secrets).masked


@dataclass(frozen=True, slots=True)
class _Foreign:
    """What is not to be repeated, taken out of the words of others."""

    body: object
    secrets: Secrets

    def masked(self, text: str) -> str:
        return prompt.masked(self.secrets.masked(text), prompt_texts(self.body))

    def out_of(self, error: LLMWatchError) -> str:
        """The message of ``error``; its type and code, where it has them, are changed in place."""
        message = error.message
        if isinstance(error, NotAStream):
            # What it quotes is the title of a page.
            ours, quote, rest = message.partition('"')
            theirs, end, more = rest.rpartition('"')
            return ours + quote + self.masked(theirs) + end + more
        if not isinstance(error, (ProviderError, ConnectFailed, ConfigError)):
            return message
        ours, colon, theirs = message.partition(": ")
        if isinstance(error, ProviderError):
            if 300 <= (error.status or 0) < 400:
                # All of it is ours, and where it leads to is masked already.
                return message
            names = error.type, error.code
            error.type, error.code = self._name(error.type), self._name(error.code)
            if names != (error.type, error.code):
                # They stand in front of the colon as well.
                return self.masked(message)
        return ours + colon + self.masked(theirs)

    def _name(self, name: str | None) -> str | None:
        if name is None or is_known_word(name):
            return name
        if self.secrets.masked(name) != name:
            # As a whole: what is left of it could be a word that means something.
            return redact.MASK
        return name if _WORD.fullmatch(name) else prompt.masked(name, prompt_texts(self.body))
