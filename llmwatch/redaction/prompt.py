"""What a provider's message repeats of the prompt, taken out of it.

``Invalid content: 'My patient ...'``: an error in the provider's own words may quote what was sent. A quote is known by
comparison: a run of :data:`LEAST` characters that also stands in the body's prompt, whatever escapes and white space
stand in it on either side. What is shorter may be left. A phrase that the provider
and the prompt have in common by chance goes too.

The windows are made of the message, which is short, and the prompt is passed over once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from llmwatch.redaction.normalise import Reading, as_read

__all__ = ["LEAST", "masked"]

LEAST = 16
"""Characters in a row, as they read without escapes, that make a quote."""

_MARK = re.compile(r"(\[\.\.\. \d{1,12} characters of the prompt omitted\])")


def masked(message: str, prompt: Iterable[str]) -> str:
    """``message`` with a mark in place of each run of at least 16 characters that it has in common with one of the
    texts of the ``prompt`` (:func:`llmwatch.payload.prompt_texts`).

    Escapes (of JSON and of Python) read as what they stand for, and white space of any length as one space, in both.
    The cost grows with the message, which the caller has capped, and with the texts. Doing it again changes nothing.
    """
    if len(message) < LEAST:
        return message
    # A mark of an earlier pass is no quote, whatever the prompt holds.
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
    found: set[str] = set()
    for text in prompt:
        found.update(windows.intersection(_windows(as_read(text))))
    return found
