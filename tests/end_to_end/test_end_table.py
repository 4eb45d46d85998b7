"""The table of ends: each mark or none, and each way in which a body ends.

Each end is tried in each dialect, through each entry point.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pytest
import requests

from llmwatch import Client, Limits, LLMWatchError, Retry, Session, StreamCut, StreamTruncated
from llmwatch.faults import Context, Script, steps
from llmwatch.sdk import Transport
from tests.end_to_end.calls import together
from tests.end_to_end.conftest import Serve
from tests.end_to_end.rebuilt import line
from tests.end_to_end.times import BEAT, LIMIT, LONG
from tests.replay.playing import asking
from tests.replay.streams import DONE, STREAMS, Stream, event


def limits(ends: str) -> Limits:
    """The limits under which only a body that stays open is waited for until a limit expires.

    Every other end is there to be seen.
    """
    last = LIMIT if ends == "open" else LONG
    return Limits(finish=last, drain=last, ttfb=LONG, first_content=LONG, stale=LONG, progress=LONG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """The parts of a stream before its marks, and its marks: finish mark, end mark, or both in one event."""

    stream: Stream
    said: bytes
    finish: bytes = b""
    end: bytes = b""
    both: bytes = b""

    @property
    def bodies(self) -> dict[str, bytes]:
        """The body for each set of marks that this dialect can send."""
        found = {"neither": self.said}
        if self.finish:
            found["finish"] = self.said + self.finish
        if self.end:
            found["end"] = self.said + self.end
        if self.both or (self.finish and self.end):
            found["both"] = self.said + (self.both or self.finish + self.end)
        return found


def _wire(name: str, marks: int, **mark: int) -> Wire:
    """A replayed stream without its last ``marks`` parts.

    Each mark is one of those parts, by its place from the end.
    """
    stream = STREAMS[name]
    found: dict[str, Any] = {what: stream.parts[place] for what, place in mark.items()}
    return Wire(stream=stream, said=b"".join(stream.parts[:-marks]), **found)


def _ollama(**more: Any) -> bytes:
    return line(model="m", message={"role": "assistant", "content": ""}, **more)


WIRES = {
    "chat": _wire("openai", 3, finish=-3, end=-1),
    "completions": _wire("openai-completions", 2, finish=-2, end=-1),
    "a call": Wire(
        stream=STREAMS["openai-tools"],
        said=b"".join(STREAMS["openai-tools"].parts[:-2]),
        finish=STREAMS["openai-tools"].parts[-2],
        # An end mark alone closes no call.
        both=b"".join(STREAMS["openai-tools"].parts[-2:]),
    ),
    "messages": _wire("anthropic", 2, finish=-2, end=-1),
    "responses": Wire(
        stream=STREAMS["openai-responses"],
        said=b"".join(STREAMS["openai-responses"].parts[:-1]),
        end=DONE,
        both=STREAMS["openai-responses"].parts[-1],
    ),
    "gemini": _wire("gemini", 1, finish=-1),
    "ollama": Wire(
        stream=STREAMS["ollama"],
        said=b"".join(STREAMS["ollama"].parts[:-1]),
        finish=_ollama(done=False, done_reason="stop"),
        end=_ollama(done=True),
        both=STREAMS["ollama"].parts[-1],
    ),
    "bedrock": Wire(
        stream=STREAMS["bedrock"],
        said=b"".join(STREAMS["bedrock"].parts[:-2]),
        finish=STREAMS["bedrock"].parts[-2],
        both=b"".join(STREAMS["bedrock"].parts[-2:]),
    ),
    "bedrock, messages": _wire("bedrock-messages", 2, finish=-2, end=-1),
    "cohere": _wire("cohere", 2, both=-2),
    "cohere v1": _wire("cohere-v1", 1, both=-1),
    "baidu": _wire("baidu", 1, both=-1),
    "dashscope": _wire("dashscope", 1, finish=-1),
    "tgi": _wire("tgi", 1, both=-1),
    "snowflake": _wire("snowflake", 1, finish=-1),
    "llama.cpp": _wire("llama.cpp-completion", 1, both=-1),
    "cloudflare": _wire("cloudflare", 2, finish=-2, end=-1),
    "sglang": Wire(
        stream=STREAMS["sglang-generate"],
        said=b"".join(STREAMS["sglang-generate"].parts[:-2]),
        # It has the last piece too.
        finish=STREAMS["sglang-generate"].parts[-2],
        both=b"".join(STREAMS["sglang-generate"].parts[-2:]),
    ),
}
CUTS = ("missing last chunk", "short length", "reset", "no close_notify", "no close_notify, unframed")


def played(body: bytes, content_type: str, ends: str) -> Script:
    """A server of this body, which then ends as it is told: ``clean``, ``open``, or in one of ``CUTS``."""

    def play(context: Context) -> Iterator[steps.Step]:
        framing: Any = {"short length": "length", "no close_notify, unframed": "close"}.get(ends, "chunked")
        last: list[steps.Step] = {"open": [steps.Hang()], "reset": [steps.Wait(BEAT), steps.Reset()]}.get(ends, [])
        yield from context.answer(
            [steps.Chunk(body), *last], content_type=content_type, framing=framing, ends=ends == "clean"
        )
        if ends != "clean":
            yield steps.Close(notify=False)

    return Script(name="ends", description="a body with an end of a test's choice", play=play)


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """The outcome of one entry point: text or bytes, the error, and the end in the record."""

    what: str | bytes
    error: BaseException | None = None
    end: str | None = None


def _by_stream(url: str, body: Any, bundle: str, limits: Limits) -> Came:
    pieces: list[str] = []
    with (
        Client(limits=limits, retry=Retry.none()) as client,
        client.stream("POST", url, json=body, verify=bundle) as made,
    ):
        try:
            pieces.extend(one.text for one in made)
        except LLMWatchError as error:
            return Came(what="".join(pieces), error=error.with_traceback(None))
    assert made.record is not None
    return Came(what="".join(pieces), end=made.record.end)


def _by_collect(url: str, body: Any, bundle: str, limits: Limits) -> Came:
    with Client(limits=limits, retry=Retry.none()) as client:
        try:
            answer = client.collect("POST", url, json=body, verify=bundle)
        except LLMWatchError as error:
            # It returns nothing of an answer that is not whole.
            return Came(what="", error=error.with_traceback(None))
    return Came(what=answer.text, end=answer.end)


def _by_session(url: str, body: Any, bundle: str, limits: Limits) -> Came:
    pieces: list[bytes] = []
    with (
        Session(limits=limits, retry=Retry.none()) as session,
        session.post(url, json=body, stream=True, verify=bundle) as response,
    ):
        try:
            pieces.extend(response.iter_content(None))
        except requests.RequestException as error:
            return Came(what=b"".join(pieces), error=error.with_traceback(None))
        return Came(what=b"".join(pieces), end=response.llmwatch_record.end)  # type: ignore[attr-defined]


def _by_transport(url: str, body: Any, bundle: str, limits: Limits) -> Came:
    pieces: list[bytes] = []
    lender = requests.Session()
    lender.verify = bundle
    with httpx.Client(transport=Transport(session=lender, limits=limits, retry=Retry.none()), timeout=None) as client:
        with client.stream("POST", url, json=body) as response:
            try:
                pieces.extend(response.iter_raw())
            except httpx.TransportError as error:
                return Came(what=b"".join(pieces), error=error.with_traceback(None))
        return Came(what=b"".join(pieces), end=response.extensions["llmwatch"].record.end)


ENTRY_POINTS: dict[str, Callable[[str, Any, str, Limits], Came]] = {
    "stream": _by_stream,
    "collect": _by_collect,
    "Session": _by_session,
    "Transport": _by_transport,
}


def right(marks: str, ends: str) -> str | type[LLMWatchError]:
    """The expectation of the table: the end of a whole answer, or the error."""
    if marks == "both":
        return "terminal"
    if ends in CUTS:
        return StreamCut
    if marks == "end":
        return "terminal"
    if marks == "finish":
        return "eof" if ends == "clean" else "finish"
    return StreamTruncated


@dataclass(frozen=True, slots=True)
class Cell:
    """One end of one body through one entry point, and what came of it."""

    ends: str
    entry_point: str
    came: Came


PAIRS = (("stream", "Session"), ("collect", "Transport"))
"""The pairs of entry points that take turns at the bodies that are cut.

A cut is seen below all entry points and judged by one decoder: each body is cut in each way for one of these pairs, and
the next body in that way for the other.
"""


def each(
    serve: Serve,
    tls: ssl.SSLContext,
    bundle: str,
    stream: Stream,
    body: bytes,
    asked_for: dict[str, tuple[str, ...]],
) -> list[Cell]:
    """These ends through these entry points, with one request each.

    The calls run at the same time, so that their waits coincide.
    """

    def call(ends: str, entry_point: str) -> Cell:
        asked = asking(stream.path, stream.request)
        came = ENTRY_POINTS[entry_point](servers[ends].url + stream.path, asked, bundle, limits(ends))
        return Cell(ends, entry_point, came)

    servers = {
        ends: serve(played(body, stream.content_type, ends), **({"tls": tls} if "close_notify" in ends else {}))
        for ends in asked_for
    }
    found = together(
        [partial(call, ends, entry_point) for ends, entry_points in asked_for.items() for entry_point in entry_points]
    )
    for ends, server in servers.items():
        assert len(server.requests) == len(asked_for[ends]), ends
    return found


CELLS = [(name, marks) for name, wire in WIRES.items() for marks in wire.bodies]


@pytest.mark.parametrize(("name", "marks"), CELLS, ids=[f"{name}-{marks}" for name, marks in CELLS])
def test_an_end_is_judged_by_marks_and_body(
    serve: Serve, server_tls: ssl.SSLContext, bundle: str, name: str, marks: str
) -> None:
    """The answer is whole by its last mark, or an error with what came before.

    This holds after one request, through every entry point.
    """
    wire = WIRES[name]
    body, text = wire.bodies[marks], wire.stream.text
    # Without a mark an open body is silence.
    asked_for = dict.fromkeys(("clean",) if marks == "neither" else ("clean", "open"), tuple(ENTRY_POINTS))
    turn = list(WIRES).index(name) + list(wire.bodies).index(marks)
    asked_for |= {cut: PAIRS[number % 2] for number, cut in enumerate(CUTS, turn)}
    for cell in each(serve, server_tls, bundle, wire.stream, body, asked_for):
        expected, came = right(marks, cell.ends), cell.came
        if isinstance(expected, str):
            assert (came.error, came.end) == (None, expected), cell
        else:
            assert isinstance(came.error, expected), cell
        if isinstance(came.what, bytes):
            assert came.what == body, cell
        elif cell.entry_point == "stream" or came.error is None:
            # Without its mark the last piece of the text may be missing: some send both in one event.
            assert text.startswith(came.what) if marks == "neither" else came.what == text, cell


def test_an_unknown_wire_ends_with_its_body(serve: Serve, server_tls: ssl.SSLContext, bundle: str) -> None:
    """A body of no dialect is whole where it ends cleanly, and never where it is cut."""
    body = event({"piece": "Hé"}) + event({"piece": "llo"})
    stream = Stream(provider="", source="", path="/stream", parts=(body,))
    for cell in each(serve, server_tls, bundle, stream, body, dict.fromkeys(("clean", *CUTS), tuple(ENTRY_POINTS))):
        if cell.ends == "clean":
            assert (cell.came.error, cell.came.end) == (None, "eof"), cell
        else:
            assert isinstance(cell.came.error, StreamCut), cell
