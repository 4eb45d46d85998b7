"""Quotes of the prompt are removed from a message."""

from __future__ import annotations

import json
import time
import timeit
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llmwatch.payload.confidential import MOST_PROMPT, PROMPT_FIELDS, prompt_texts
from llmwatch.redaction import prompt as prompts
from llmwatch.redaction import redact
from llmwatch.redaction.prompt import LEAST
from tests.rows import each

MANY = settings(max_examples=400, deadline=None)
PATIENT = "My patient Anna Berg of Malmö says: it hurts"
MARK = f"[... {len(PATIENT)} characters of the prompt omitted]"

# Escapes, quotes and white space more often than chance would have it; no lone halves of characters, which JSON of
# UTF-8 cannot carry.
_nasty = st.text(st.sampled_from("ab \\\"'\n\t\x01é語🐕nu0041x/"), max_size=60)
texts = st.one_of(_nasty, st.text(st.characters(exclude_categories=["Cs"]), max_size=80))


def masked(message: str, body: object) -> str:
    return prompts.masked(message, prompt_texts(body))


def nested(name: str) -> dict[str, Any]:
    """A body with the prompt in the field ``name``."""
    body: Any = PATIENT
    for part in reversed(name.split(".")):
        body = {part: body}
    return dict(body)


def asking(prompt: str) -> dict[str, Any]:
    return {"model": "test-model", "messages": [{"role": "user", "content": prompt}]}


WAYS = {
    "as it is": str,
    "on one line": lambda text: " ".join(text.split()),
    "as JSON": json.dumps,
    "as JSON of UTF-8": lambda text: json.dumps(text, ensure_ascii=False),
    "as JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "as Python": repr,
    "as a Python dictionary": lambda text: repr(asking(text)["messages"]),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_a_quote_is_masked_however_it_is_written(way: Any) -> None:
    """A prompt in quotes, escaped once or more, on one line or several, is not in the message any more."""
    prompt = 'Dear "Dr. Müller",\n\n\tmy patient\'s name is C:\\Anna\\Berg, 語 and 🐕.\r\nWhat now, what then?'
    message = masked(f"Invalid content: {way(prompt)} is not allowed here", asking(prompt))
    for piece in ("Dear", "ller", "patient", "Anna", "Berg", "What now", "what then"):
        assert piece not in message
    assert message.startswith("Invalid content: ")
    assert message.endswith(" is not allowed here")
    assert "characters of the prompt omitted]" in message


@given(texts, st.sampled_from(sorted(WAYS)), texts, texts)
@MANY
def test_no_long_run_of_the_prompt_survives(prompt: str, way: str, before: str, after: str) -> None:
    """The masked message has no sixteen characters in common with the prompt.

    This holds for any prompt in any surroundings.
    """
    once = masked(f"{before}'{WAYS[way](prompt)}'{after}", asking(prompt))
    assert masked(once, asking(prompt)) == once
    for at in range(len(prompt) - LEAST + 1):
        piece = prompt[at : at + LEAST]
        # Where escapes and blanks are not in question, it can be said without the function's own reading.
        if "\\" not in piece and piece.isprintable() and "  " not in piece:
            assert piece not in once


@given(texts, texts)
@MANY
def test_text_that_is_not_in_the_prompt_survives(prompt: str, message: str) -> None:
    """Without a common run a message is left word for word.

    What is left of a message with common runs was in it before.
    """
    shown = masked(message, asking(prompt))
    if "characters of the prompt omitted]" not in shown:
        assert shown == message
    assert masked(message, {"model": message, "max_tokens": 3, "metadata": {"user": message}}) == message


@given(texts, st.integers(0, 70), st.integers(0, 70))
@MANY
def test_any_piece_of_the_prompt_is_a_quote_from_sixteen_characters_on(prompt: str, start: int, size: int) -> None:
    """The piece alone becomes a mark alone; a shorter one is left."""
    piece = prompt[start : start + size]
    assume(piece.isprintable() and "\\" not in piece and "  " not in piece)
    shown = masked(f"\u2039{piece}\u203a", asking(prompt))
    if len(piece) >= LEAST and "\\" not in prompt:
        assert shown == f"\u2039[... {len(piece)} characters of the prompt omitted]\u203a"
    elif len(piece) < LEAST:
        assert shown == f"\u2039{piece}\u203a"


@each(
    "body",
    [
        *(nested(name) for name in PROMPT_FIELDS),
        {"messages": [{"role": "user", "content": [{"type": "text", "text": PATIENT}]}]},
        {"messages": [{"role": "tool", "tool_call_id": "call_1", "content": PATIENT}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "n", "arguments": PATIENT}}]}]},
        {"messages": [{"content": [{"type": "tool_use", "id": "t", "input": {"status": PATIENT}}]}]},
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": PATIENT}]}]},
        {"contents": [{"parts": [{"text": "x"}, {"text": PATIENT}]}]},
        {"systemInstruction": {"parts": [{"text": PATIENT}]}},
        {"system": [{"type": "text", "text": PATIENT, "cache_control": {"type": "ephemeral"}}]},
        {"tools": [{"type": "function", "function": {"name": "f", "description": PATIENT}}]},
        {"tools": [{"name": "f", "input_schema": {"properties": {"a": {"description": PATIENT}}}}]},
        {"functions": [{"name": "f", "description": PATIENT}]},
    ],
)
def test_every_field_of_a_prompt_counts(body: dict[str, Any]) -> None:
    """Wherever the bodies of the known providers hold what was asked, it is found."""
    assert masked(f"Bad value '{PATIENT}' here.", body) == f"Bad value '{MARK}' here."


@pytest.mark.parametrize(
    ("message", "body"),
    [
        ("The model claude-opus-4-20250514 does not exist", {"model": "claude-opus-4-20250514"}),
        ("Unknown role 'a_very_long_role_name'", {"messages": [{"role": "a_very_long_role_name", "content": "x"}]}),
        ("No output for function_call_output", {"input": [{"type": "function_call_output", "output": "x"}]}),
        ("Unknown tool_use_id toolu_0123456789abcdef", {"messages": [{"tool_use_id": "toolu_0123456789abcdef"}]}),
        ("Invalid schema for function 'get_the_weather'", {"tools": [{"function": {"name": "get_the_weather"}}]}),
        ("Rate limit reached for requests per min", asking("What is a rate limit, please?")),
        ("maximum context length is 8192 tokens", asking("maximum context")),
    ],
)
def test_model_names_roles_types_and_ids_survive(message: str, body: dict[str, Any]) -> None:
    """Names of models, roles, types, ids and tools are no prompt, nor are phrases that it does not share."""
    assert masked(message, body) == message


@pytest.mark.parametrize("body", [None, [], "text", 7, {}, {"messages": None}, {"prompt": [1, 2, 3]}, {1: PATIENT}])
def test_a_body_without_a_prompt_masks_nothing(body: object) -> None:
    """An unknown body, or one of another shape, masks nothing."""
    assert masked(f"Bad value '{PATIENT}' here.", body) == f"Bad value '{PATIENT}' here."


def test_a_mark_is_no_quote() -> None:
    """A prompt that holds the mark itself does not count what was left out a second time."""
    once = masked(f"It said {PATIENT}", asking(f"{PATIENT} {MARK}"))
    assert once == f"It said {MARK}"
    assert masked(once, asking(f"{PATIENT} {MARK}")) == once


def test_redacting_twice_changes_nothing() -> None:
    """Redacting a message with a mark in it changes nothing, and does not take it for one of its own."""
    message = f"Invalid content: '{MARK}'"
    assert redact.text(message) == message
    assert not redact.is_cut(MARK)


def test_both_ends_of_a_long_prompt_are_compared() -> None:
    """64 KiB from each end of a prompt of megabytes are compared, within one text and over many."""
    filler = "word " * (MOST_PROMPT // 2)
    first, middle, last = "the first words of it", "the words amid all", "the last words of it"
    for prompt in (
        {"input": f"{first}{filler}{middle}{filler}{last}"},
        {
            "messages": [
                {"content": one} for one in (first, *[filler[:100]] * 2000, middle, *[filler[:100]] * 2000, last)
            ]
        },
        {"input": [first, *range(30_000), middle, *range(30_000), last]},
    ):
        shown = masked(f"<{first}> <{middle}> <{last}>", prompt)
        assert first not in shown
        assert last not in shown
        assert middle in shown
        assert sum(map(len, prompt_texts(prompt))) <= 2 * MOST_PROMPT


@given(st.lists(st.integers(0, 3 * MOST_PROMPT), max_size=5))
@settings(max_examples=50, deadline=None)
def test_the_compared_part_of_a_prompt_is_bounded(sizes: list[int]) -> None:
    """However the prompt is cut into texts, what is compared is bounded.

    A short text is compared once.
    """
    found = list(prompt_texts({"input": ["a b" * (size // 3) for size in sizes]}))
    total = sum(size // 3 * 3 for size in sizes)
    assert sum(map(len, found)) <= 2 * MOST_PROMPT
    if total <= MOST_PROMPT:
        assert sum(map(len, found)) == total


def test_pictures_do_not_use_up_the_compared_bytes() -> None:
    """A picture in front, however large, leaves what was said about it to be compared."""
    for data in ("data:image/png;base64," + "iVBORw0K" * 40_000, "iVBORw0K" * 40_000):
        parts = [{"type": "image", "data": data}, {"type": "text", "text": PATIENT}, {"type": "image", "data": data}]
        assert PATIENT not in masked(PATIENT, {"messages": [{"content": parts}]})


def test_a_deeply_nested_body_is_walked() -> None:
    """A body that is nested more deeply than functions can be called is gone through all the same."""
    body: Any = PATIENT
    for _ in range(5_000):
        body = [{"content": body}]
    assert masked(PATIENT, {"messages": body}) == MARK


HARD = [
    "a",
    "\\",
    "\\u",
    "\\ud83d\\",
    "\\ud83d" + "\\" * 17,
    " ",
    "\n",
    "ab" * 7,
    "[... 1 characters of the prompt omitted]",
]


@pytest.mark.parametrize("piece", HARD)
def test_the_cost_grows_with_the_length_only(piece: str) -> None:
    """No message and no prompt, however nasty, costs more than its length."""

    def cost(size: int) -> float:
        text = (piece * (size // len(piece) + 1))[:size]
        run = timeit.Timer(lambda: masked(text[: size // 8], {"input": text + "x"}), timer=time.process_time)
        return min(run.repeat(number=1, repeat=5))

    small, large = cost(MOST_PROMPT // 8), cost(MOST_PROMPT)
    assert large < max(32 * small, 0.05)
