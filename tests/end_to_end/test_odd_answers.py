"""Answers that are whole, or wrong, in a way that their framing does not show.

Each comes through each entry point.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from llmwatch import Limits, LLMWatchError, NotAStream, ProviderError, StreamCut
from llmwatch.faults.catalogue import ANSWER, TOOL_NAME, answer
from llmwatch.faults.shapes import SHAPES
from tests.end_to_end.calls import asking, collect, stream, together
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.test_end_table import ENTRY_POINTS, Came, limits
from tests.end_to_end.times import BEAT, LIMIT, LONG

SPOKEN = [name for name in SHAPES if name != "generic"]
RELAYS = ("Session", "Transport")


def path(shape: str) -> str:
    """The path of a shape."""
    return SHAPES[shape].path.replace("{model}", "m")


def everywhere(serve: Serve, script: str, shape: str, within: Limits | None = None) -> dict[str, Came]:
    """The outcome of the script through each entry point, after one request each."""
    servers = {name: serve(script) for name in ENTRY_POINTS}
    within = within or limits("open")
    calls = [
        partial(ENTRY_POINTS[name], server.url + path(shape), asking(), "", within) for name, server in servers.items()
    ]
    found = dict(zip(servers, together(calls), strict=True))
    assert {name: len(server.requests) for name, server in servers.items()} == dict.fromkeys(servers, 1)
    return found


def texts(found: dict[str, Came]) -> dict[str, Any]:
    return {name: came.what for name, came in found.items() if name not in RELAYS}


@pytest.mark.parametrize("shape", SPOKEN)
@pytest.mark.parametrize("tokens", [0, 3])
def test_content_after_the_finish_reason_is_delivered(serve: Serve, shape: str, tokens: int) -> None:
    """All content is delivered, wherever the finish reason stood.

    A connection that only drains would be closed by the time of the last content.
    """
    within = Limits(finish=LONG, drain=BEAT, ttfb=LONG, first_content=LONG, stale=LONG, progress=LONG)
    found = everywhere(serve, f"finish-then-more:tokens={tokens},delay={LIMIT}", shape, within)
    assert [came.error for came in found.values()] == [None] * len(found)
    assert texts(found) == {"stream": ANSWER, "collect": ANSWER}
    last = answer().rpartition(" ")[2].encode()
    assert all(last in came.what for name, came in found.items() if name in RELAYS)  # type: ignore[operator]


@pytest.mark.parametrize("shape", SPOKEN)
def test_a_restated_whole_is_delivered_once(serve: Serve, shape: str) -> None:
    """An answer whose events restate the whole is delivered once.

    Chat completions restate it after their deltas, the Responses API in its last event.
    """
    found = everywhere(serve, "restated-whole", shape)
    assert [came.error for came in found.values()] == [None] * len(found)
    assert texts(found) == {"stream": ANSWER, "collect": ANSWER}


@pytest.mark.parametrize("shape", SPOKEN)
@pytest.mark.parametrize("script", ["error-field", "error-line"])
@pytest.mark.parametrize("tokens", [0, 3])
def test_an_error_outside_of_data_is_never_a_success(serve: Serve, shape: str, script: str, tokens: int) -> None:
    """An error outside of data is a ``ProviderError`` with its words and what came before.

    Passthroughs hand its bytes on and note it.
    """
    found = everywhere(serve, f"{script}:tokens={tokens},message=planted words", shape)
    for name, came in found.items():
        if name in RELAYS:
            assert came.error is None
            assert b"planted words" in came.what  # type: ignore[operator]
        else:
            assert type(came.error) is ProviderError, name
            assert "planted words" in str(came.error)
    error = found["stream"].error
    assert isinstance(error, LLMWatchError)
    assert error.partial == found["stream"].what == (answer(tokens) if tokens else "")


@pytest.mark.parametrize("shape", ["openai-chat", "anthropic", "ndjson"])
def test_an_end_mark_alone_and_a_cut_are_a_cut(serve: Serve, shape: str) -> None:
    """Every entry point judges the answer as cut."""
    script = "done-then-cut" if shape != "ndjson" else "eof-without-terminal"
    found = everywhere(serve, script, shape)
    kind = StreamCut if shape != "ndjson" else LLMWatchError
    assert all(isinstance(came.error, kind) for came in found.values()), found


@pytest.mark.parametrize("what", ["lines", "nul", "array", "text", "sound"])
def test_an_unknown_wire_is_handed_through_or_refused(serve: Serve, what: str) -> None:
    """Passthroughs hand an unknown wire through.

    A client says that the wire is no stream, and what to use.
    """
    for name, came in everywhere(serve, f"unknown-wire:what={what}", "openai-chat").items():
        if name in RELAYS:
            assert came.error is None
            assert b"watchdog" in came.what  # type: ignore[operator]
        else:
            assert type(came.error) is NotAStream, name
            assert what not in ("text", "sound") or "Session" in str(came.error)


@pytest.mark.parametrize("shape", SPOKEN)
@pytest.mark.parametrize("ask", [stream, collect])
def test_a_call_without_arguments_is_whole(serve: Serve, connect: Connect, shape: str, ask: Any) -> None:
    """A call without arguments is one call with ``{}``, behind text as well; nothing is resent."""
    for tokens in (0, 3):
        server = serve(f"call-without-arguments:tokens={tokens}")
        outcome = ask(connect(), server.url + path(shape))
        outcome.done()
        assert outcome.text == (answer(tokens) if tokens else "")
        complete = [piece for event in outcome.events for piece in event.tools if piece.complete]
        assert len(complete) == 1
        if ask is collect:
            assert [(call.name, call.json()) for call in outcome.value.tool_calls] == [(TOOL_NAME, {})]
        assert len(server.requests) == 1
