"""Removal of quotes of the prompt from a provider's message.

A provider's error may quote the prompt (``Invalid content: 'My patient ...'``). A quote is a run of :data:`LEAST`
characters that also stands in the prompt, after escapes and white space are normalised on both sides. Shorter quotes
may remain. A phrase that stands in message and prompt by chance is removed too.

The windows are made from the message, which is short; the prompt is scanned once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from llmwatch.redaction.normalise import Reading, as_read

__all__ = ["LEAST", "masked"]

LEAST = 16
"""Minimum length of a quote, in characters without escapes."""

_MARK = re.compile(r"(\[\.\.\. \d{1,12} characters of the prompt omitted\])")


def masked(message: str, prompt: Iterable[str]) -> str:
    """``message`` with a mark in place of each run of at least 16 characters that the prompt holds too.

    ``prompt`` holds the texts of the prompt (:func:`llmwatch.payload.prompt_texts`). In both, escapes of JSON and of
    Python are undone, and each run of white space counts as one space. The cost grows with the message, which the
    caller caps, and with the texts. Idempotent.
    """
    if len(message) < LEAST:
        return message
    # A mark of an earlier pass is not a quote, even if the prompt holds the same text.
    pieces = [Reading(text) for text in _MARK.split(message)]
    windows = {window for piece in pieces[::2] for window in _windows(piece.text)}
    quoted = _common(windows, prompt) if windows else set()
    if not quoted:
        return message
    return "".join(piece.source if at % 2 else _without(piece, quoted) for at, piece in enumerate(pieces))


def _without(piece: Reading, quoted: set[str]) -> str:
    runs = ((at, at + LEAST) for at, window in enumerate(_windows(piece.text)) if window in quoted)
    return piece.without(runs, lambda size: f"[... {size} characters of the prompt omitted]")


def _windows(reading: str) -> Iterator[str]:
    return (reading[at : at + LEAST] for at in range(len(reading) - LEAST + 1))


def _common(windows: set[str], prompt: Iterable[str]) -> set[str]:
    shared: set[str] = set()
    for text in prompt:
        shared.update(windows.intersection(_windows(as_read(text))))
    return shared
