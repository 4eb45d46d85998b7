"""The Gemini dialect."""

from __future__ import annotations

from typing import Any

from llmwatch.wire import Decoder, Kind, StreamError, ToolDelta
from tests.rows import each
from tests.wire.dialects.rows import Row, row
from tests.wire.streams import decode, sse

USAGE = {"promptTokenCount": 1}


def chunk(*parts: dict[str, Any], reason: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    """A response with one candidate."""
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": index}
    return {"candidates": [candidate | ({"finishReason": reason} if reason else {})], "usageMetadata": USAGE, **more}


def call(key: str, name: str, arguments: str, identity: str | None = None) -> ToolDelta:
    """A call in one piece."""
    return ToolDelta(key, identity, name, arguments, complete=True, whole=True)


def piece(path: str, **value: Any) -> dict[str, Any]:
    """One assignment of a call that is being streamed."""
    return chunk({"functionCall": {"partialArgs": [{"jsonPath": path, **value}], "willContinue": True}})


BEGUN = chunk({"functionCall": {"name": "f", "willContinue": True}})
END = chunk({"functionCall": {}})


@each(
    "row",
    [
        row("text", chunk({"text": "hi"}), Kind.TEXT, text="hi"),
        row("two texts", chunk({"text": "a"}, {"text": "b"}), Kind.TEXT, text="ab"),
        row("thought", chunk({"text": "hm", "thought": True}), Kind.REASONING, reasoning="hm"),
        row(
            "thought and text",
            chunk({"text": "hm", "thought": True}, {"text": "a"}),
            Kind.TEXT,
            text="a",
            reasoning="hm",
        ),
        row("signature", chunk({"text": "", "thoughtSignature": "xyz"}), Kind.REASONING),
        row("picture", chunk({"inlineData": {"mimeType": "image/png", "data": "x"}}), Kind.TEXT),
        row("code", chunk({"executableCode": {"code": "1"}}), Kind.TOOL_INPUT),
        row("code result", chunk({"codeExecutionResult": {"output": "1"}}), Kind.TOOL_INPUT),
        row("empty text", chunk({"text": ""}), Kind.USAGE),
        row("no parts", {"candidates": [{"content": {"role": "model"}, "index": 0}]}, Kind.KEEPALIVE),
        row(
            "call",
            chunk({"functionCall": {"name": "f", "args": {"a": 1}}}),
            Kind.TOOL_CALL,
            tools=(call("0", "f", '{"a": 1}'),),
        ),
        row(
            "call with id and signature",
            chunk({"functionCall": {"name": "f", "args": {}, "id": "c"}, "thoughtSignature": "x"}),
            Kind.TOOL_CALL,
            tools=(call("0", "f", "{}", "c"),),
        ),
        row(
            "call without arguments",
            chunk({"functionCall": {"name": "f"}}),
            Kind.TOOL_CALL,
            tools=(call("0", "f", "{}"),),
        ),
        row(
            "two calls",
            chunk({"functionCall": {"name": "f", "args": {}}}, {"functionCall": {"name": "g", "args": {}}}),
            Kind.TOOL_CALL,
            tools=(call("0", "f", "{}"), call("1", "g", "{}")),
        ),
        row(
            "next call",
            chunk({"functionCall": {"name": "g", "args": {}}}),
            Kind.TOOL_CALL,
            tools=(call("1", "g", "{}"),),
            before=(chunk({"functionCall": {"name": "f", "args": {}}}),),
        ),
        row(
            "text and call",
            chunk({"text": "hi"}, {"functionCall": {"name": "f", "args": {}}}),
            Kind.TOOL_CALL,
            text="hi",
            tools=(call("0", "f", "{}"),),
        ),
        row("streamed call", BEGUN, Kind.TOOL_INPUT, tools=(ToolDelta("0", None, "f"),)),
        row("streamed arguments", piece("$.a", stringValue="x"), Kind.TOOL_INPUT, before=(BEGUN,)),
        row(
            "end of a streamed call",
            END,
            Kind.TOOL_CALL,
            tools=(call("0", "f", '{"a": "xy", "b": [1]}'),),
            before=(
                BEGUN,
                piece("$.a", stringValue="x", willContinue=True),
                piece("$.a", stringValue="y"),
                piece("$.b[0]", numberValue=1),
            ),
        ),
        row(
            "streamed call in one piece",
            chunk({"functionCall": {"name": "f", "partialArgs": [{"jsonPath": "$.a", "boolValue": True}]}}),
            Kind.TOOL_CALL,
            tools=(call("0", "f", '{"a": true}'),),
        ),
        row(
            "end of a streamed call without arguments",
            END,
            Kind.TOOL_CALL,
            tools=(call("0", "f", "{}"),),
            before=(BEGUN,),
        ),
        row(
            "end of a streamed call in the middle of an argument",
            END,
            Kind.TOOL_INPUT,
            before=(BEGUN, piece("$.a", stringValue="x", willContinue=True)),
        ),
        row("end of a call that was not begun", END, Kind.TOOL_INPUT, tools=(ToolDelta("0"),)),
        row(
            "arguments of a call that was not begun",
            piece("$.a", stringValue="x"),
            Kind.TOOL_INPUT,
            tools=(ToolDelta("0"),),
        ),
        row(
            "arguments of another shape",
            chunk({"functionCall": {"name": "f", "args": [1]}}),
            Kind.TOOL_INPUT,
            tools=(ToolDelta("0", None, "f"),),
        ),
        row(
            "call that is not passed on",
            chunk(reason="MALFORMED_FUNCTION_CALL"),
            Kind.TOOL_INPUT,
            tools=(ToolDelta("0"),),
            finish=True,
        ),
        row("finish", chunk({"text": ""}, reason="STOP"), Kind.USAGE, finish=True),
        row(
            "finish without usage", {"candidates": [{"finishReason": "SAFETY"}]}, Kind.LIFECYCLE, finish=True, cut=True
        ),
        row(
            "finish with text", chunk({"text": "hi"}, reason="MAX_TOKENS"), Kind.TEXT, text="hi", finish=True, cut=True
        ),
        row("unspecified reason", chunk({"text": "hi"}, reason="FINISH_REASON_UNSPECIFIED"), Kind.TEXT, text="hi"),
        row("finish of one of two", chunk(reason="STOP"), Kind.USAGE, before=(chunk({"text": "x"}, index=1),)),
        row("usage", {"usageMetadata": USAGE}, Kind.USAGE),
        row(
            "blocked prompt",
            {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": USAGE},
            Kind.TERMINAL,
            finish=True,
        ),
        row("named ping", ("ping", {}), Kind.KEEPALIVE),
        row("unknown object", {"hello": "world"}, Kind.LIFECYCLE),
        row(
            "error",
            {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}},
            Kind.ERROR,
            error=StreamError("UNAVAILABLE", "503", "overloaded"),
        ),
        row("end marker of a proxy", "[DONE]", Kind.TERMINAL),
        row("end marker with blanks", " [DONE]  ", Kind.TERMINAL),
    ],
)
def test_each_chunk_of_gemini_has_its_meaning(row: Row) -> None:
    """Each event means what the API reference says."""
    events, _ = decode("gemini", *row.before, row.data)
    row.check(events[-1])


def test_a_finish_mark_and_the_end_of_the_body_end_an_answer() -> None:
    """Without a terminal event, the end of the body is accepted once every candidate has its reason.

    It is not accepted before.
    """
    decoder = Decoder("gemini")
    decoder.feed(sse(chunk({"text": "a"}), chunk({"text": "b"}, index=1), chunk(reason="STOP")))
    assert (decoder.finished, decoder.accepts_eof) == (False, False)
    assert type(decoder.verdict_at_end()).__name__ == "StreamTruncated"
    decoder.feed(sse(chunk(reason="STOP", index=1)))
    assert (decoder.finished, decoder.accepts_eof, decoder.verdict_at_end()) == (True, True, None)


def test_an_answer_with_fewer_candidates_ends_with_its_body() -> None:
    """The answer is finished when as many candidates are as were asked for.

    The end of the body ends fewer as well.
    """
    decoder = Decoder("gemini", choices=2)
    decoder.feed(sse(chunk({"text": "a"}, reason="STOP")))
    assert (decoder.finished, decoder.accepts_eof, decoder.verdict_at_end()) == (False, True, None)
    decoder.feed(sse(chunk({"text": "b"}, index=1)))
    assert (decoder.finished, decoder.accepts_eof) == (False, False)
    decoder.feed(sse(chunk(reason="STOP", index=1)))
    assert (decoder.finished, decoder.accepts_eof) == (True, True)
