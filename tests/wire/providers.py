"""Healthy answers of providers, and what they say.

The providers' own libraries read them so (see ``tests/providers``).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.wire.frames import chunk_frame, event_frame

WORDS = ("Hel", "lo ", "wörld")
TEXT = "".join(WORDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A body, how it is asked for and announced, and what is in it."""

    path: str
    dialect: str
    parts: tuple[bytes, ...]
    content_type: str = "text/event-stream"
    text: str = TEXT
    reasoning: str = ""
    calls: tuple[tuple[str | None, str, dict[str, Any]], ...] = ()
    usage: dict[str, Any] | None = None
    request: dict[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(self.parts)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def data(value: Any, event: str = "") -> bytes:
    """A server-sent event."""
    return (f"event: {event}\n".encode() if event else b"") + b"data: " + _json(value) + b"\n\n"


def typed(kind: str, **more: Any) -> bytes:
    """A server-sent event that names its type twice, as Cohere's do."""
    return data({"type": kind, **more}, kind)


def line(value: Any) -> bytes:
    """A line of JSON."""
    return _json(value) + b"\n"


# Cohere v2 ------------------------------------------------------------------------------------------------------------


def _content(kind: str, index: int, *words: str) -> list[bytes]:
    start = {"message": {"content": {"type": kind, kind: ""}}}
    deltas = [typed("content-delta", index=index, delta={"message": {"content": {kind: word}}}) for word in words]
    return [typed("content-start", index=index, delta=start), *deltas, typed("content-end", index=index)]


_COHERE_USAGE = {
    "billed_units": {"input_tokens": 5, "output_tokens": 3},
    "tokens": {"input_tokens": 71, "output_tokens": 3},
}
_COHERE_START = typed(
    "message-start",
    id="f1",
    delta={"message": {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}},
)
_CITATION = {"start": 0, "end": 3, "text": "Hel", "sources": [{"type": "document", "id": "d1"}], "type": "TEXT_CONTENT"}


def _cohere_end(reason: str) -> bytes:
    return typed("message-end", id="f1", delta={"finish_reason": reason, "usage": _COHERE_USAGE})


COHERE = Answer(
    path="/v2/chat",
    dialect="cohere",
    parts=(
        _COHERE_START,
        *_content("thinking", 0, "Let me ", "see."),
        *_content("text", 1, *WORDS),
        typed("citation-start", index=0, delta={"message": {"citations": _CITATION}}),
        typed("citation-end", index=0),
        _cohere_end("COMPLETE"),
        b"data: [DONE]\n\n",
    ),
    reasoning="Let me see.",
    usage=_COHERE_USAGE,
)


def _cohere_call(index: int, identity: str, name: str, *fragments: str) -> list[bytes]:
    function = {"name": name, "arguments": ""}
    call = {"id": identity, "type": "function", "function": function}
    pieces = [{"message": {"tool_calls": {"function": {"arguments": fragment}}}} for fragment in fragments]
    return [
        typed("tool-call-start", index=index, delta={"message": {"tool_calls": call}}),
        *[typed("tool-call-delta", index=index, delta=piece) for piece in pieces],
        typed("tool-call-end", index=index),
    ]


COHERE_TOOLS = Answer(
    path="/v2/chat",
    dialect="cohere",
    parts=(
        _COHERE_START,
        typed("tool-plan-delta", delta={"message": {"tool_plan": "I will "}}),
        typed("tool-plan-delta", delta={"message": {"tool_plan": "look."}}),
        *_cohere_call(0, "weather_1", "weather", "", '{"city"', ': "Malmö"}'),
        *_cohere_call(1, "list_2", "list_tasks"),
        _cohere_end("TOOL_CALL"),
    ),
    text="",
    reasoning="I will look.",
    calls=(("weather_1", "weather", {"city": "Malmö"}), ("list_2", "list_tasks", {})),
    usage=_COHERE_USAGE,
)

# Cohere v1 ------------------------------------------------------------------------------------------------------------

_V1_META = {
    "billed_units": {"input_tokens": 5, "output_tokens": 3},
    "tokens": {"input_tokens": 71, "output_tokens": 3},
}


def _v1(kind: str, **more: Any) -> bytes:
    return line({"is_finished": kind == "stream-end", "event_type": kind, **more})


def _v1_end(text: str, reason: str = "COMPLETE", **more: Any) -> bytes:
    response = {"response_id": "r", "generation_id": "g", "text": text, "finish_reason": reason, "meta": _V1_META}
    return _v1("stream-end", finish_reason=reason, response={**response, **more})


COHERE_V1 = Answer(
    path="/v1/chat",
    dialect="cohere",
    content_type="application/stream+json",
    parts=(
        _v1("stream-start", generation_id="g"),
        *[_v1("text-generation", text=word) for word in WORDS],
        _v1("citation-generation", citations=[{"start": 0, "end": 3, "text": "Hel", "document_ids": ["d1"]}]),
        _v1_end(TEXT),
    ),
    usage=_V1_META,
)
_V1_CALL = {"name": "weather", "parameters": {"city": "Malmö"}}


def _v1_chunk(**delta: Any) -> bytes:
    return _v1("tool-calls-chunk", tool_call_delta={"index": 0, **delta})


COHERE_V1_TOOLS = Answer(
    path="/v1/chat",
    dialect="cohere",
    content_type="application/stream+json",
    parts=(
        _v1("stream-start", generation_id="g"),
        _v1("tool-calls-chunk", text="I will look."),
        _v1_chunk(name="weather"),
        _v1_chunk(parameters='{"city": '),
        _v1_chunk(parameters='"Malmö"}'),
        _v1("tool-calls-generation", text="I will look.", tool_calls=[_V1_CALL]),
        _v1_end("I will look.", tool_calls=[_V1_CALL]),
    ),
    text="I will look.",
    calls=((None, "weather", {"city": "Malmö"}),),
    usage=_V1_META,
)
COHERE_GENERATE = Answer(
    path="/v1/generate",
    dialect="cohere",
    content_type="application/stream+json",
    parts=(
        *[line({"text": word, "is_finished": False, "event_type": "text-generation"}) for word in WORDS],
        line(
            {
                "is_finished": True,
                "event_type": "stream-end",
                "finish_reason": "COMPLETE",
                "response": {"id": "g", "prompt": "hi", "generations": [{"id": "h", "text": TEXT}]},
            }
        ),
    ),
)

# Baidu ----------------------------------------------------------------------------------------------------------------

_BAIDU_USAGE = {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}


def baidu(result: str, place: int, *, end: bool = False, **more: Any) -> bytes:
    """A piece of an answer of Baidu's."""
    return data(
        {
            "id": "as-1",
            "object": "chat.completion",
            "created": 1700000000,
            "sentence_id": place,
            "is_end": end,
            "is_truncated": False,
            "result": result,
            "need_clear_history": False,
            "usage": {**_BAIDU_USAGE, "completion_tokens": place + 1, "total_tokens": place + 3},
            **more,
        }
    )


_BAIDU_PATH = "/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/completions"
BAIDU = Answer(
    path=_BAIDU_PATH,
    dialect="baidu",
    parts=tuple(
        baidu(word, place, end=place == 2, finish_reason="normal" if place == 2 else "")
        for place, word in enumerate(WORDS)
    ),
    usage=_BAIDU_USAGE,
)
BAIDU_TOOLS = Answer(
    path=_BAIDU_PATH,
    dialect="baidu",
    parts=(
        baidu(
            "",
            0,
            end=True,
            finish_reason="function_call",
            function_call={"name": "weather", "thoughts": "I will look.", "arguments": '{"city":"Malmö"}'},
        ),
    ),
    text="",
    reasoning="I will look.",
    calls=((None, "weather", {"city": "Malmö"}),),
    usage={"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3},
)

# DashScope ------------------------------------------------------------------------------------------------------------

_DASHSCOPE_PATH = "/api/v1/services/aigc/text-generation/generation"
_DASHSCOPE_USAGE = {"total_tokens": 25, "input_tokens": 22, "output_tokens": 3}


def dashscope(number: int, output: Any, *, usage: Any = _DASHSCOPE_USAGE, event: str = "result") -> bytes:
    """An event of DashScope's: no space after the colons, and the status in a comment."""
    value = {"output": output, "usage": usage, "request_id": "q"}
    return f"id:{number}\nevent:{event}\n:HTTP_STATUS/200\ndata:".encode() + _json(value) + b"\n\n"


def dashscope_choice(content: str, reason: str = "null", **more: Any) -> dict[str, Any]:
    """The output of one piece, in the form of messages."""
    return {"choices": [{"message": {"role": "assistant", "content": content, **more}, "finish_reason": reason}]}


DASHSCOPE = Answer(
    path=_DASHSCOPE_PATH,
    dialect="dashscope",
    parts=(
        dashscope(1, dashscope_choice("", reasoning_content="Let me ")),
        dashscope(2, dashscope_choice("", reasoning_content="see.")),
        *[dashscope(3 + place, dashscope_choice(word, reasoning_content="")) for place, word in enumerate(WORDS)],
        dashscope(6, dashscope_choice("", "stop", reasoning_content="")),
    ),
    reasoning="Let me see.",
    usage=_DASHSCOPE_USAGE,
    request={"parameters": {"result_format": "message", "incremental_output": True}},
)
DASHSCOPE_CUMULATIVE = Answer(
    path=_DASHSCOPE_PATH,
    dialect="dashscope",
    parts=(
        dashscope(1, dashscope_choice("Hel")),
        dashscope(2, dashscope_choice("Hello ")),
        dashscope(3, dashscope_choice(TEXT)),
        dashscope(4, dashscope_choice(TEXT, "stop")),
    ),
    usage=_DASHSCOPE_USAGE,
    request={"parameters": {"result_format": "message"}},
)
DASHSCOPE_TEXT = Answer(
    path=_DASHSCOPE_PATH,
    dialect="dashscope",
    parts=(
        dashscope(1, {"finish_reason": "null", "text": "Hel"}),
        dashscope(2, {"finish_reason": "null", "text": "Hello "}),
        dashscope(3, {"finish_reason": "stop", "text": TEXT}),
    ),
    usage=_DASHSCOPE_USAGE,
)


def _dashscope_call(arguments: str, **more: Any) -> dict[str, Any]:
    call = {"index": 0, "id": "", "type": "function", "function": {"arguments": arguments}, **more}
    return dashscope_choice("", tool_calls=[call])


_DASHSCOPE_NAME = {"id": "call_1", "function": {"name": "weather", "arguments": ""}}
DASHSCOPE_TOOLS = Answer(
    path=_DASHSCOPE_PATH,
    dialect="dashscope",
    parts=(
        dashscope(1, _dashscope_call("", **_DASHSCOPE_NAME)),
        dashscope(2, _dashscope_call('{"city": ')),
        dashscope(3, _dashscope_call('"Malmö"}')),
        dashscope(4, dashscope_choice("", "tool_calls", tool_calls=[])),
    ),
    text="",
    calls=(("call_1", "weather", {"city": "Malmö"}),),
    usage=_DASHSCOPE_USAGE,
    request={"parameters": {"result_format": "message", "incremental_output": True}},
)

# Text Generation Inference --------------------------------------------------------------------------------------------

_TGI_DETAILS = {"finish_reason": "eos_token", "generated_tokens": 4, "seed": None, "input_length": 2}


def tgi(index: int, text: str, *, special: bool = False, whole: str | None = None, details: Any = None) -> bytes:
    """A token of TGI's."""
    token = {"id": index + 100, "text": text, "logprob": -0.5, "special": special}
    value = {"index": index, "token": token, "generated_text": whole, "details": details}
    return b"data:" + _json(value) + b"\n\n"


TGI = Answer(
    path="/",
    dialect="tgi",
    parts=(
        *[tgi(place + 1, word) for place, word in enumerate(WORDS)],
        tgi(4, "</s>", special=True, whole=TEXT, details=_TGI_DETAILS),
    ),
    usage={"generated_tokens": 4},
)

# Snowflake Cortex -----------------------------------------------------------------------------------------------------

_SNOWFLAKE_PATH = "/api/v2/cortex/inference:complete"
_SNOWFLAKE_USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "guard_tokens": 0, "total_tokens": 10}


def snowflake(delta: dict[str, Any], usage: Any = None) -> bytes:
    """An event of Snowflake's."""
    return data({"id": "s", "model": "m", "choices": [{"delta": delta}], "usage": usage or {}})


def _snowflake_text(word: str) -> dict[str, Any]:
    return {"type": "text", "content": word, "content_list": [{"type": "text", "text": word}], "text": word}


SNOWFLAKE = Answer(
    path=_SNOWFLAKE_PATH,
    dialect="snowflake",
    parts=(
        *[snowflake(_snowflake_text(word)) for word in WORDS[:-1]],
        snowflake(_snowflake_text(WORDS[-1]), _SNOWFLAKE_USAGE),
    ),
    usage=_SNOWFLAKE_USAGE,
)
_SNOWFLAKE_CALL = {"type": "tool_use", "tool_use_id": "tooluse_1", "name": "weather"}


def _snowflake_call(**piece: Any) -> dict[str, Any]:
    # The fields stand twice: beside the type, and in the list of contents.
    return {"type": "tool_use", **piece, "content_list": [piece], "text": ""}


SNOWFLAKE_TOOLS = Answer(
    path=_SNOWFLAKE_PATH,
    dialect="snowflake",
    parts=(
        snowflake(_snowflake_text("I will look.")),
        snowflake(_snowflake_call(tool_use_id="tooluse_1", name="weather")),
        snowflake(_snowflake_call(input='{"city": ')),
        snowflake(_snowflake_call(input='"Malmö"}')),
        snowflake({"type": "text", "content": "", "content_list": [], "text": ""}, _SNOWFLAKE_USAGE),
    ),
    text="I will look.",
    calls=(("tooluse_1", "weather", {"city": "Malmö"}),),
    usage=_SNOWFLAKE_USAGE,
)

# Bedrock --------------------------------------------------------------------------------------------------------------

FRAMES = "application/vnd.amazon.eventstream"
_BEDROCK_USAGE = {"inputTokens": 7, "outputTokens": 3, "totalTokens": 10}


def converse(delta: dict[str, Any], index: int = 0) -> bytes:
    """A piece of ConverseStream, with the padding that hides its length."""
    return event_frame("contentBlockDelta", {"contentBlockIndex": index, "delta": delta, "p": "abcdefghij"})


def converse_start(start: dict[str, Any], index: int) -> bytes:
    """The beginning of a block that is no text."""
    return event_frame("contentBlockStart", {"contentBlockIndex": index, "start": start, "p": "ab"})


def converse_stop(index: int = 0) -> bytes:
    """The end of a block."""
    return event_frame("contentBlockStop", {"contentBlockIndex": index, "p": "abc"})


CONVERSE_START = event_frame("messageStart", {"role": "assistant", "p": "abcd"})
CONVERSE_METADATA = event_frame("metadata", {"usage": _BEDROCK_USAGE, "metrics": {"latencyMs": 321}, "p": "abcde"})


def converse_end(reason: str) -> bytes:
    """The end of a message."""
    return event_frame("messageStop", {"stopReason": reason, "p": "abcdef"})


BEDROCK = Answer(
    path="/model/anthropic.claude-v2/converse-stream",
    dialect="bedrock",
    content_type=FRAMES,
    parts=(
        CONVERSE_START,
        converse({"reasoningContent": {"text": "Let me "}}),
        converse({"reasoningContent": {"text": "see."}}),
        converse({"reasoningContent": {"signature": "c2ln"}}),
        converse_stop(),
        *[converse({"text": word}, 1) for word in WORDS],
        converse_stop(1),
        converse_end("end_turn"),
        CONVERSE_METADATA,
    ),
    reasoning="Let me see.",
    usage=_BEDROCK_USAGE,
)
BEDROCK_TOOLS = Answer(
    path="/model/anthropic.claude-v2/converse-stream",
    dialect="bedrock",
    content_type=FRAMES,
    parts=(
        CONVERSE_START,
        converse({"text": "I will look."}),
        converse_stop(),
        converse_start({"toolUse": {"toolUseId": "t1", "name": "weather"}}, 1),
        converse({"toolUse": {"input": ""}}, 1),
        converse({"toolUse": {"input": '{"city": '}}, 1),
        converse({"toolUse": {"input": '"Malmö"}'}}, 1),
        converse_stop(1),
        converse_start({"toolUse": {"toolUseId": "t2", "name": "list_tasks"}}, 2),
        converse_stop(2),
        converse_end("tool_use"),
        CONVERSE_METADATA,
    ),
    text="I will look.",
    calls=(("t1", "weather", {"city": "Malmö"}), ("t2", "list_tasks", {})),
    usage=_BEDROCK_USAGE,
)
_METRICS = {"inputTokenCount": 7, "outputTokenCount": 3}
_MESSAGE = {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "claude", "stop_reason": None}
BEDROCK_MESSAGES = Answer(
    path="/model/anthropic.claude-v2/invoke-with-response-stream",
    dialect="bedrock",
    content_type=FRAMES,
    parts=(
        chunk_frame(
            {"type": "message_start", "message": {**_MESSAGE, "usage": {"input_tokens": 7, "output_tokens": 1}}}
        ),
        chunk_frame({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        *[
            chunk_frame({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}})
            for word in WORDS
        ],
        chunk_frame({"type": "content_block_stop", "index": 0}),
        chunk_frame({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}),
        chunk_frame(
            {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 7, "outputTokenCount": 3}}
        ),
    ),
    usage=_METRICS,
)
BEDROCK_TITAN = Answer(
    path="/model/amazon.titan-text-express-v1/invoke-with-response-stream",
    dialect="bedrock",
    content_type=FRAMES,
    parts=(
        *[chunk_frame({"outputText": word, "index": 0, "completionReason": None}) for word in WORDS],
        chunk_frame({"outputText": "", "index": 0, "completionReason": "FINISH"}),
    ),
)
BEDROCK_NOVA = Answer(
    path="/model/amazon.nova-lite-v1/invoke-with-response-stream",
    dialect="bedrock",
    content_type=FRAMES,
    parts=(
        chunk_frame({"messageStart": {"role": "assistant"}}),
        *[chunk_frame({"contentBlockDelta": {"delta": {"text": word}, "contentBlockIndex": 0}}) for word in WORDS],
        chunk_frame({"contentBlockStop": {"contentBlockIndex": 0}}),
        chunk_frame({"messageStop": {"stopReason": "end_turn"}}),
        chunk_frame({"metadata": {"usage": _BEDROCK_USAGE, "metrics": {}}}),
    ),
    usage=_BEDROCK_USAGE,
)

ANSWERS = {
    "cohere": COHERE,
    "cohere-tools": COHERE_TOOLS,
    "cohere-v1": COHERE_V1,
    "cohere-v1-tools": COHERE_V1_TOOLS,
    "cohere-generate": COHERE_GENERATE,
    "baidu": BAIDU,
    "baidu-tools": BAIDU_TOOLS,
    "dashscope": DASHSCOPE,
    "dashscope-cumulative": DASHSCOPE_CUMULATIVE,
    "dashscope-text": DASHSCOPE_TEXT,
    "dashscope-tools": DASHSCOPE_TOOLS,
    "tgi": TGI,
    "snowflake": SNOWFLAKE,
    "snowflake-tools": SNOWFLAKE_TOOLS,
    "bedrock": BEDROCK,
    "bedrock-tools": BEDROCK_TOOLS,
    "bedrock-messages": BEDROCK_MESSAGES,
    "bedrock-titan": BEDROCK_TITAN,
    "bedrock-nova": BEDROCK_NOVA,
}
