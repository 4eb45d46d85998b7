"""What a provider's message repeats of the prompt, taken out of it.

``Invalid content: 'My patient ...'``: an error in the provider's own words may quote what was sent. A quote is known by
comparison: a run of :data:`LEAST` characters that also stands in the body's prompt, whatever escapes and white space
stand in it on either side. What is shorter may be left, and so may a quote of what :data:`MOST_PROMPT` leaves unread.
A phrase that the provider and the prompt have in common by chance goes too.

The windows are made of the message, which is short, and the prompt is passed over once.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from typing import Any

from llmwatch.redaction.normalise import Reading, as_read

__all__ = ["LEAST", "MOST_PROMPT", "PROMPT_FIELDS", "masked", "prompt_texts"]

LEAST = 16
"""Characters in a row, as they read without escapes, that make a quote."""

MOST_PROMPT = 64 * 1024
"""Characters of the prompt that are compared, from its beginning and as many from its end."""

PROMPT_FIELDS = (
    "messages",
    "input",
    "inputs",
    "prompt",
    "suffix",
    "system",
    "contents",
    "instructions",
    "system_instruction",
    "systemInstruction",
    "message",
    "preamble",
    "chat_history",
    "documents",
)
"""Fields of a request's body that hold what a person or a program asked, in the words of OpenAI, Anthropic, Google,
Ollama and Cohere."""

_TOOL_FIELDS = ("tools", "functions")

# Names that the provider gives, or gave: they are in the prompt's fields, and no prompt.
_STRUCTURE = frozenset(
    ("role", "type", "id", "call_id", "tool_call_id", "tool_use_id", "status", "media_type", "mime_type", "mimeType")
)
_IDENTIFIER = re.compile(r"[A-Za-z0-9_.:/+-]*")
_MOST_VALUES = 20_000

# Pictures and sound are no words, and would use up what is compared.
_LEAST_PAYLOAD = 1024
_PAYLOAD = re.compile(r"(?:data:[a-z0-9.+/-]{1,80}[;,]|[A-Za-z0-9+/_-]{256})")

_MARK = re.compile(r"(\[\.\.\. \d{1,12} characters of the prompt omitted\])")


def masked(message: str, body: object) -> str:
    """``message`` with a mark in place of each run of at least 16 characters that it has in common with the prompt in
    ``body``, the parsed JSON body of the request.

    Escapes (of JSON and of Python) read as what they stand for, and white space of any length as one space, in both.
    The cost grows with the message, which the caller has capped; that of the prompt is bounded. A body that is no JSON
    object holds no prompt. Doing it again changes nothing.
    """
    if len(message) < LEAST or not isinstance(body, Mapping):
        return message
    # A mark of an earlier pass is no quote, whatever the prompt holds.
    pieces = [Reading(text) for text in _MARK.split(message)]
    windows = {window for piece in pieces[::2] for window in _windows(piece.text)}
    quoted = _common(windows, body) if windows else set()
    if not quoted:
        return message
    return "".join(piece.source if at % 2 else _without(piece, quoted) for at, piece in enumerate(pieces))


def _without(piece: Reading, quoted: set[str]) -> str:
    runs = ((at, at + LEAST) for at, window in enumerate(_windows(piece.text)) if window in quoted)
    return piece.without(runs, lambda size: f"[... {size} characters of the prompt omitted]")


def _windows(reading: str) -> Iterator[str]:
    return (reading[at : at + LEAST] for at in range(len(reading) - LEAST + 1))


def _common(windows: set[str], body: Mapping[Any, Any]) -> set[str]:
    found: set[str] = set()
    for text in prompt_texts(body):
        found.update(windows.intersection(_windows(as_read(text))))
    return found


def prompt_texts(body: Mapping[Any, Any]) -> Iterator[str]:
    """The texts of the prompt in ``body``, as far as they are compared: 64 KiB from either end, pieces of those that
    reach beyond. Payloads of pictures and the like are left out.
    """
    complete = yield from _texts(body, backwards=False)
    if not complete:
        yield from _texts(body, backwards=True)


def _texts(body: Mapping[Any, Any], *, backwards: bool) -> Generator[str, None, bool]:
    """The texts from one end; whether these are all of them."""
    # By hand: a body may be nested more deeply than functions can be called.
    fields = [(body.get(name), name, name in _TOOL_FIELDS) for name in (*_TOOL_FIELDS, *PROMPT_FIELDS)]
    todo: list[tuple[Any, str, bool]] = fields if backwards else fields[::-1]
    left, values = MOST_PROMPT, _MOST_VALUES
    while todo:
        value, name, tools = todo.pop()
        values -= 1
        if left <= 0 or values < 0:
            return False
        if isinstance(value, str):
            if (name == "description" or not tools) and not _is_name(name, value) and not _is_payload(value):
                yield value[-left:] if backwards else value[:left]
                left -= len(value)
        elif isinstance(value, Mapping):
            inner = [(one, str(key), tools) for key, one in list(value.items())]
            todo += inner if backwards else inner[::-1]
        elif isinstance(value, (list, tuple)):
            # Its elements go by its own name. A list of tokens can be as long as a book.
            some = value[-_MOST_VALUES:] if backwards else value[_MOST_VALUES - 1 :: -1]
            todo += [(one, name, tools) for one in some]
    return left >= 0


def _is_name(name: str, text: str) -> bool:
    return name in _STRUCTURE and _IDENTIFIER.fullmatch(text) is not None


def _is_payload(text: str) -> bool:
    return len(text) >= _LEAST_PAYLOAD and _PAYLOAD.match(text) is not None
