"""The estimated size of a prompt."""

from __future__ import annotations

import base64
import json
import random

import pytest

from llmwatch.payload.prompt_size import base64_bytes, growth, prompt_tokens

PAYLOAD = base64.b64encode(random.Random(7).randbytes(300_000)).decode()
PROSE = "The quick brown fox jumps over the lazy dog. " * 2_000

IMAGES = {
    "openai chat": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PAYLOAD}"}},
    "openai responses": {"type": "input_image", "image_url": f"data:image/png;base64,{PAYLOAD}"},
    "openai audio": {"type": "input_audio", "input_audio": {"data": PAYLOAD, "format": "wav"}},
    "anthropic": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PAYLOAD}},
    "gemini": {"inlineData": {"mimeType": "image/png", "data": PAYLOAD}},
    "gemini, snake case": {"inline_data": {"mime_type": "image/png", "data": PAYLOAD}},
    "ollama": {"role": "user", "images": [PAYLOAD]},
    "with parameters": {"url": f"data:audio/wav;rate=16000;base64,{PAYLOAD}"},
    "url-safe": {"data": PAYLOAD.replace("+", "-").replace("/", "_")},
    "in lines": {"data": "\r\n".join(PAYLOAD[at : at + 76] for at in range(0, len(PAYLOAD), 76))},
}


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_base64_payloads_do_not_count(image: dict[str, object]) -> None:
    """Beside a payload in base64, of any provider's shape, only the text of the prompt counts."""
    body = {"messages": [{"content": [{"type": "text", "text": PROSE}, image]}]}
    size = len(json.dumps(body))
    assert size > 490_000
    assert abs(prompt_tokens(body, size) - len(PROSE) / 4) < 2_600 / 4 + 200


@pytest.mark.parametrize(
    "text",
    [
        PROSE,
        "x" * 400_000,
        "=" * 5_000,
        "0123456789abcdef" * 1_000,
        "日本語のとても長い文章" * 1_000,
        "a-long-slug-without-any-space-but-with-words" * 100,
        "data:text/plain," + PROSE,
        PAYLOAD[:2_000] + " " + PAYLOAD[2_000:2_020],
    ],
    ids=["prose", "one letter", "a line", "hex", "Japanese", "slug", "text data URL", "base64 and a word"],
)
def test_text_counts_however_odd(text: str) -> None:
    """Text stays text, however odd."""
    assert base64_bytes({"messages": [{"content": text}]}) == 0


def test_a_plain_document_counts() -> None:
    """A document that is given as text next to a media type is text."""
    assert base64_bytes({"source": {"type": "text", "media_type": "text/plain", "data": PROSE}}) == 0


def test_a_monotonous_payload_in_its_place_is_left_out() -> None:
    """In a field for payloads of a provider's shape, even a payload of a single letter counts as one."""
    assert base64_bytes({"media_type": "image/bmp", "data": "A" * 8_000, "title": PAYLOAD}) == 8_000 + len(PAYLOAD)


def test_short_strings_are_not_looked_at() -> None:
    """An identifier or a signature in base64 is too short to matter."""
    assert base64_bytes({"signature": PAYLOAD[:1_000]}) == 0


@pytest.mark.parametrize(
    ("body_bytes", "tokens"), [(0, 0), (3, 0), (4, 1), (1_023, 255), (128_000, 32_000), (520_000, 130_000), (-5, 0)]
)
def test_a_size_without_a_body_counts_four_bytes_a_token(body_bytes: int, tokens: int) -> None:
    """Without a body its size alone counts, at four bytes a token."""
    assert prompt_tokens(None, body_bytes) == tokens


def test_an_unknown_size_counts_as_zero() -> None:
    """A size that is not known counts as nothing, and never less."""
    assert prompt_tokens({"data": PAYLOAD, "media_type": "x"}, 0) == 0
    assert prompt_tokens({"data": PAYLOAD, "media_type": "x"}, 2_000) == 0


def test_the_number_of_values_looked_at_is_bounded() -> None:
    """A bounded number of values of an endless body is examined, and the others count as text."""
    endless: list[object] = []
    endless.append(endless)
    assert base64_bytes(endless) == 0
    hidden = {"image": f"data:image/png;base64,{PAYLOAD}", "numbers": list(range(60_000))}
    assert base64_bytes(hidden) == 0
    assert base64_bytes({**hidden, "numbers": list(range(40_000))}) == len(PAYLOAD)


def test_a_deep_body_does_not_exhaust_the_stack() -> None:
    """A body nested deeper than Python recurses is walked all the same."""
    body: object = PAYLOAD
    for _ in range(20_000):
        body = [body]
    assert base64_bytes(body) == len(PAYLOAD)


@pytest.mark.parametrize("body", [None, "text", 3, True, b"bytes", object()])
def test_a_body_of_any_type_raises_nothing(body: object) -> None:
    """A body of any type raises nothing."""
    assert base64_bytes(body) == 0


@pytest.mark.parametrize(
    ("tokens", "seconds"),
    [
        (0, 0),
        (999, 0),
        (1_000, 3.5),
        (1_999, 3.5),
        (32_000, 112),
        (130_000, 455),
        (514_999, 1_799),
        (515_000, 1_800),
        (10**9, 1_800),
    ],
)
def test_growth_is_three_and_a_half_seconds_per_thousand_tokens(tokens: int, seconds: float) -> None:
    """3.5 s for every full 1,000 tokens, 1,800 s at most."""
    assert growth(tokens) == seconds
