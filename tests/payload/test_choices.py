"""How many answers a body asks for, and when they are all there."""

from __future__ import annotations

from typing import Any

import pytest

from llmwatch.errors import StreamTruncated
from llmwatch.payload import asks_nothing, choices_asked, pieces_asked
from llmwatch.wire import Decoder
from tests.rows import each
from tests.wire.dialects.test_openai_chat import chunk
from tests.wire.streams import sse


@each(
    ("body", "expected"),
    [
        ({}, 1),
        ({"n": 3}, 3),
        ({"n": 1}, 1),
        ({"n": 0}, 1),
        ({"n": -2}, 1),
        ({"n": True}, 1),
        ({"n": "3"}, 1),
        ({"n": None}, 1),
        ({"n": 2, "prompt": ["a", "b", "c"]}, 6),
        ({"prompt": ["a", "b"]}, 2),
        ({"prompt": [1, 2, 3]}, 1),
        ({"prompt": [[1, 2], [3]]}, 2),
        ({"prompt": []}, 1),
        ({"prompt": "ab"}, 1),
        ({"prompt": {"id": "p"}}, 1),
        ({"generationConfig": {"candidateCount": 4}}, 4),
        ({"input": {"prompt": "p"}, "parameters": {"n": 3}}, 3),
        ({"input": {"prompt": "p"}, "parameters": {"n": "3"}}, 1),
        ({"input": {"prompt": "p"}, "parameters": 3}, 1),
        ({"inputs": "p", "parameters": {"n": 3}}, 1),
        ({"generation_config": {"candidate_count": 4}}, 4),
        ({"generationConfig": {"candidateCount": [4]}}, 1),
        ({"generationConfig": [4]}, 1),
        (None, 1),
        ([2], 1),
    ],
)
def test_a_body_asks_for_one_choice_unless_it_says_more(body: Any, expected: int) -> None:
    """One, unless the body says more in a way that can be read."""
    assert choices_asked(body) == expected


def test_a_choice_that_has_not_begun_is_waited_for() -> None:
    """One of two that is finished does not finish the answer, though nothing of the other has come."""
    decoder = Decoder("openai-chat", choices=2)
    (event,) = decoder.feed(sse(chunk({"content": "a"}, "stop")))
    assert (event.finish, decoder.finished, decoder.accepts_eof) == (False, False, False)
    assert isinstance(decoder.verdict_at_end(), StreamTruncated)
    decoder.feed(sse(chunk({"content": "b"}, index=1)))
    assert decoder.finished is False
    (event,) = decoder.feed(sse(chunk(None, "stop", 1)))
    assert (event.finish, decoder.finished, decoder.accepts_eof) == (True, True, True)


def test_the_terminal_event_ends_fewer_choices() -> None:
    """A server that gives one choice where two were asked for, and says that this is all, is believed."""
    decoder = Decoder("openai-chat", choices=2)
    decoder.feed(sse(chunk({"content": "a"}, "stop"), "[DONE]"))
    assert (decoder.terminal, decoder.verdict_at_end()) == (True, None)


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ({"parameters": {"incremental_output": True}}, True),
        ({"parameters": {"incremental_output": False}}, False),
        ({"parameters": {"incremental_output": "true"}}, False),
        ({"parameters": ["incremental_output"]}, False),
        ({"incremental_output": True}, False),
        ([], False),
        (None, False),
    ],
)
def test_only_dashscopes_documented_parameter_asks_for_pieces(body: object, asked: bool) -> None:
    """Only the parameter that DashScope documents asks for pieces."""
    assert pieces_asked(body) is asked


@pytest.mark.parametrize(
    ("body", "nothing"),
    [
        ({"model": "m"}, True),
        ({"model": "m", "prompt": "", "keep_alive": 0}, True),
        ({"model": "m", "messages": []}, True),
        ({"model": "m", "prompt": "hi"}, False),
        ({"model": "m", "messages": [{"role": "user", "content": "hi"}]}, False),
        ({"model": "m", "images": ["aGk="]}, False),
        (None, False),
        ("hi", False),
    ],
)
def test_a_body_without_a_prompt_only_loads_a_model(body: Any, nothing: bool) -> None:
    """A model is to be loaded; of a body that is not known nothing is said."""
    assert asks_nothing(body) is nothing
