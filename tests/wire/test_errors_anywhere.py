"""An error is seen wherever it stands in a stream."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmwatch.errors import MalformedEvent, ProviderError, StreamTruncated
from llmwatch.wire import Decoder, Kind, register_dialect, unregister_dialect
from llmwatch.wire.refusal import provider_error
from tests.rows import each
from tests.wire.dialects.test_anthropic import delta, start
from tests.wire.dialects.test_openai_chat import chunk
from tests.wire.dialects.test_openai_responses import event as response
from tests.wire.streams import lines, sse

WORDS = "context size exceeded"
ERROR = {"error": {"code": 400, "type": "invalid_request_error", "message": WORDS}}
PLAIN = json.dumps(ERROR).encode()
UNESCAPED = b'{"error": {"message": "the "quoted" context size exceeded", "type": "server_error"}}'
SAID = {
    "openai-chat": sse(chunk({"content": "a"})),
    "openai-responses": sse(response("output_text.delta", output_index=0, content_index=0, delta="a")),
    "anthropic": sse(start("text", text=""), delta("text_delta", text="a")),
    "gemini": sse({"candidates": [{"content": {"parts": [{"text": "a"}]}, "index": 0}]}),
    "generic": sse("a"),
}
DONE = sse("[DONE]")


def judged(dialect: str, body: bytes) -> tuple[str, Decoder]:
    """The text and the decoder after a body that was read byte by byte, which is the same as at once."""
    bytewise, decoder = Decoder(dialect), Decoder(dialect)
    events = decoder.feed(body)
    for at in range(len(body)):
        bytewise.feed(body[at : at + 1])
    assert str(bytewise.error) == str(decoder.error)
    assert bytewise.strays == decoder.strays
    return "".join(event.text for event in events), decoder


@each("dialect", SAID)
@each("first", [True, False])
@each(
    "wrapped",
    [
        b"error: " + PLAIN + b"\n\n",
        b"error:" + PLAIN + b"\r\n\r\n",
        b"error: context size exceeded\n\n",
        PLAIN + b"\n\n",
        b": note\n" + PLAIN + b"\n\n",
        json.dumps(ERROR, indent=2).encode() + b"\n\n",
        b'{"detail": "context size exceeded"}\n\n',
        b'{"code": 500, "message": "context size exceeded"}\n\n',
        b'{"id": "x", "message": "context size exceeded"}\n\n',
        b'{"Message": "context size exceeded"}\n\n',
        b"event: error\ndata: " + PLAIN + b"\n\n",
        b"event: error\ndata: context size exceeded\n\n",
        b'event: error\ndata: {"code": 7, "message": "context size exceeded"}\n\n',
        b"event: error\n" + PLAIN + b"\n\n",
        b"error: " + UNESCAPED + b"\n\n",
        UNESCAPED + b"\n\n",
    ],
)
def test_an_error_outside_of_data_is_found(dialect: str, first: bool, wrapped: bytes) -> None:
    """The provider's words are found in a field, in lines of their own, or under their name.

    An end mark may follow.
    """
    said = b"" if first else SAID[dialect]
    if first and wrapped.startswith(b"{"):
        # A body that begins so is no stream at all, and judged as a document.
        wrapped = b": note\n\n" + wrapped
    text, decoder = judged(dialect, said + wrapped + DONE)
    assert isinstance(decoder.error, ProviderError)
    assert WORDS in str(decoder.error)
    assert text == ("" if first else "a")


@pytest.mark.parametrize("dialect", [dialect for dialect in SAID if dialect != "generic"])
@pytest.mark.parametrize("frame", [PLAIN, UNESCAPED, json.dumps({"x": 1, **ERROR}).encode()])
def test_an_error_in_a_frame_of_data_is_found(dialect: str, frame: bytes) -> None:
    """In a frame of data, whole or broken, whatever stands beside it."""
    text, decoder = judged(dialect, SAID[dialect] + b"data: " + frame + b"\n\n" + DONE)
    assert isinstance(decoder.error, ProviderError)
    assert WORDS in str(decoder.error)
    assert text == "a"


@pytest.mark.parametrize(
    ("dialect", "item"),
    [
        ("openai-chat", {"choices": [{"index": 0, "delta": {}, "error": ERROR["error"]}]}),
        ("openai-chat", {"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error", **ERROR}]}),
        ("openai-chat", {"choices": [{"index": 0, "delta": ERROR}]}),
        ("openai-chat", {"choices": [{"index": 0, "delta": {"content": "b"}}], **ERROR}),
        ("openai-chat", {"choices": [], "base_resp": {"status_code": 1008, "status_msg": WORDS}}),
        ("openai-chat", {"object": "error", "message": WORDS, "code": 400}),
        ("openai-chat", {"code": "Throttling", "message": WORDS, "request_id": "q"}),
        ("openai-chat", {"code": 1113, "msg": WORDS, "success": False}),
        ("openai-chat", {"errors": [{"code": 1, "message": WORDS}], "success": False}),
        ("openai-responses", response("failed", response={"status": "failed", **ERROR})),
        ("openai-responses", response("completed", response={"status": "completed", **ERROR})),
        ("openai-responses", ("error", {"type": "server_error", "message": WORDS})),
        ("anthropic", ("error", {"type": "overloaded_error", "message": WORDS})),
        ("gemini", {"candidates": [{"content": {"parts": [{"text": "b"}]}}], **ERROR}),
    ],
)
def test_an_error_inside_a_choice_delta_or_response_is_found(dialect: str, item: Any) -> None:
    """In a choice, in a delta, in a response, or beside them."""
    _, decoder = judged(dialect, SAID[dialect] + sse(item) + DONE)
    assert isinstance(decoder.error, ProviderError)
    assert WORDS in str(decoder.error)


def test_an_error_keeps_its_type_and_code() -> None:
    """The provider's own names come with its words."""
    _, decoder = judged("openai-chat", SAID["openai-chat"] + b"error: " + PLAIN + b"\n\n")
    error = decoder.error
    assert isinstance(error, ProviderError)
    assert (error.type, error.code, error.status) == ("invalid_request_error", "400", 200)


@pytest.mark.parametrize("line", [PLAIN, UNESCAPED, b"error: " + PLAIN])
def test_an_error_among_json_lines_is_found(line: bytes) -> None:
    """Among lines of JSON as well."""
    decoder = Decoder("ndjson")
    decoder.feed(lines({"response": "a"}) + line + b"\n")
    assert isinstance(decoder.error, ProviderError)
    assert WORDS in str(decoder.error)


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("last", [b"error: " + PLAIN, PLAIN, b"data: " + PLAIN, b"event: error\ndata: " + PLAIN])
def test_an_error_needs_no_empty_line(last: bytes, clean: bool) -> None:
    """The last words before a body ends, clean or cut, are heard without an empty line behind them."""
    decoder = Decoder("openai-chat")
    decoder.feed(SAID["openai-chat"] + last)
    decoder.end(clean=clean)
    assert isinstance(decoder.error, ProviderError)
    assert WORDS in str(decoder.error)


@pytest.mark.parametrize(
    ("block", "strays"),
    [
        (b"hello\n\n", 1),
        (b'{"progress": 3}\n\n', 1),
        (b'["a", "b"]\n\n', 1),
        (b'{"id": "x", "message": ""}\n\n', 1),
        (b'{"message": "hello", "to": "bob"}\n\n', 1),
        (b"foo: bar\nbaz\n\n", 2),
        (b"error:\n\n", 1),
        (b": error: not one\n\n", 0),
        (b'data: {"choices": [], "error": null}\nfoo: bar\n\n', 1),
        (b"id: 7\nretry: x\n\n", 0),
    ],
)
def test_stray_lines_are_counted_and_change_no_verdict(block: bytes, strays: int) -> None:
    """A line that is neither field nor comment is counted; the answer is as whole or cut as without it."""
    _, decoder = judged("openai-chat", SAID["openai-chat"] + block)
    assert (decoder.error, decoder.strays) == (None, strays)
    decoder.end()
    assert type(decoder.verdict_at_end()) is StreamTruncated
    _, decoder = judged("openai-chat", SAID["openai-chat"] + block + sse(chunk(None, "stop"), "[DONE]"))
    assert (decoder.error, decoder.settled) == (None, True)


def test_broken_json_that_names_no_error_is_malformed() -> None:
    """Only what names an error is one, and what a model wrote about errors is text."""
    _, decoder = judged("openai-chat", SAID["openai-chat"] + b'data: {"choices": [{"delta": {"content": "x}\n\n')
    assert isinstance(decoder.error, MalformedEvent)
    events = Decoder("openai-chat").feed(sse(chunk({"content": PLAIN.decode()}), chunk({"content": "error: x"})))
    assert [event.kind for event in events] == [Kind.TEXT, Kind.TEXT]


def test_a_broken_error_is_scrubbed() -> None:
    """A key in the provider's words does not come out."""
    key = "sk-proj-" + "a1B2c3D4" * 5
    body = b'data: {"error": {"message": "bad "key" %b given", "type": "auth"}}\n\n' % key.encode()
    _, decoder = judged("openai-chat", SAID["openai-chat"] + body)
    assert isinstance(decoder.error, ProviderError)
    assert key not in str(decoder.error)
    assert "given" in str(decoder.error)


@pytest.mark.parametrize(
    "item",
    [
        {"error": {"code": 500, "message": WORDS}},
        {"error": WORDS, "request_id": "q"},
        {"success": False, "errors": [{"code": 1, "message": WORDS}], "result": None, "messages": []},
    ],
)
def test_an_error_object_in_an_unknown_wire_is_found(item: Any) -> None:
    """An object that is an error and nothing else, behind data of whatever wire."""
    _, decoder = judged("generic", sse({"content": "a"}, item))
    assert isinstance(decoder.error, ProviderError)
    assert WORDS in str(decoder.error)


@pytest.mark.parametrize(
    ("dialect", "item"),
    [
        ("generic", {"id": 3, "error": WORDS}),
        ("generic", {"error": None, "result": "b"}),
        ("generic", {"error": 0.25}),
        ("generic", {"errors": []}),
        ("openai-chat", {"code": 0, "message": "success"}),
        ("openai-chat", {"code": 200, "msg": "ok"}),
        ("openai-chat", {"status": "queued", "message": "waiting"}),
    ],
)
def test_data_that_only_looks_like_an_error_is_none(dialect: str, item: Any) -> None:
    """Data with an error among other things, a measure, and a code that says that all is well."""
    _, decoder = judged(dialect, SAID.get(dialect, b"") + sse(item) + DONE)
    assert decoder.error is None


# One frame that is an error and nothing else, in the words of frameworks and gateways.
ALONE = [
    {"detail": WORDS},
    {"detail": [{"loc": ["body"], "msg": WORDS, "type": "missing"}]},
    {"detail": {"message": WORDS}, "request_id": "q"},
    {"status": "error", "message": WORDS},
    {"status": "failed", "reason": WORDS},
    {"status": 500, "message": WORDS},
    {"statusCode": 502, "message": WORDS},
    {"success": False, "message": WORDS},
    {"success": False, "error": WORDS},
    {"ok": False, "msg": WORDS},
    {"errors": [WORDS]},
    {"error": True, "message": WORDS},
    {"error_message": WORDS},
    {"errorMessage": WORDS, "errorType": "Runtime.ExitError"},
    {"type": "about:blank", "title": "Oops", "status": 500, "detail": WORDS, "message": WORDS},
    {"type": "error", "message": WORDS},
    {"event": "error", "task_id": "t", "status": 400, "code": "completion_error", "message": WORDS},
    {"code": 500, "message": WORDS, "choices": []},
    {"Response": {"Error": {"Code": "LimitExceeded", "Message": WORDS}, "RequestId": "q"}},
    {"ErrorMsg": {"Msg": WORDS, "Code": 4001}, "Choices": [], "Id": "x"},
    {"fault": {"faultstring": WORDS, "detail": {"errorcode": "flow.Timeout"}}},
    {"fault": {"code": 900804, "message": "Throttled out", "description": WORDS}},
    {"__type": "ThrottlingException", "message": WORDS},
    {"__type": "com.example#ModelFault", "Message": WORDS},
    {"error_msg": WORDS},
    {"exception": f"RuntimeError: {WORDS}"},
    {"exception": {"message": WORDS}},
    {"success": False, "result": [], "messages": [], "error": [{"code": 2016, "message": WORDS}]},
    {"error": [{"code": 2016, "message": WORDS}]},
    # A code below 400 means something where the events are known.
    *(
        IN_STATES := [
            {"header": {"code": 10013, "message": WORDS, "sid": "q", "status": 2}},
            {"data": None, "status": {"code": 18, "message": WORDS}},
            {"status": {"code": 500, "message": WORDS}},
            {"code": 110, "message": WORDS},
            {"code": 302, "message": WORDS},
            {"code": 20001, "msg": WORDS},
            {"code": "QUEUE_FULL", "message": WORDS},
            {"code": "PROCESSING_FAILED", "message": WORDS},
        ]
    ),
]
TEXT_OF = {
    **SAID,
    "cohere": sse({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "a"}}}}),
    "baidu": sse({"id": "x", "sentence_id": 0, "is_end": False, "result": "a"}),
    "dashscope": sse({"output": {"text": "a", "finish_reason": "null"}, "request_id": "q"}),
    "tgi": sse({"index": 1, "token": {"id": 1, "text": "a", "special": False}, "generated_text": None}),
    "snowflake": sse({"choices": [{"delta": {"type": "text", "content": "a", "content_list": []}}]}),
    "llamacpp": sse({"content": "a", "stop": False}),
    "cloudflare": sse({"response": "a", "p": "x"}),
    "sglang": sse({"text": "a", "meta_info": {"finish_reason": None}}),
}


@each("frame", ALONE)
def test_a_frame_with_an_error_alone_is_one_in_every_dialect(frame: dict[str, Any]) -> None:
    """In whichever way a framework says it, after text and before ``[DONE]``, in any dialect."""
    for dialect, said in TEXT_OF.items():
        if dialect == "generic":
            if frame in IN_STATES:
                continue
            shown = {name: value for name, value in frame.items() if name != "choices"}
        else:
            shown = frame
        text, decoder = judged(dialect, said + sse(shown) + DONE)
        assert isinstance(decoder.error, ProviderError), dialect
        assert any(words in str(decoder.error) for words in (WORDS, "Oops", "Throttled out")), dialect
        assert text == "a", dialect


@each("frame", [frame for frame in ALONE if "choices" not in frame])
def test_a_line_with_an_error_alone_is_one(frame: dict[str, Any]) -> None:
    """Among lines of JSON as well."""
    decoder = Decoder("ndjson")
    events = decoder.feed(lines({"response": "a"}, frame, {"done": True, "done_reason": "stop"}))
    assert isinstance(decoder.error, ProviderError)
    assert "".join(event.text for event in events) == "a"


@each("dialect", TEXT_OF)
@each("data", ["[DONE]", '"[DONE]"', "null", "{}", "bad luck", '{"choices": []}'])
def test_an_event_named_error_is_one(dialect: str, data: str) -> None:
    """An event with that name is an error with any data, an end mark included."""
    text, decoder = judged(dialect, TEXT_OF[dialect] + b"event: error\ndata: " + data.encode() + b"\n\n" + DONE)
    assert isinstance(decoder.error, ProviderError)
    assert "[DONE]" not in str(decoder.error)
    assert text == "a"


# Signs of progress, of success and of no meaning, with fields that an error might have.
HEALTHY = [
    {"status": "ok", "message": "fine"},
    {"status": "processing", "detail": "searching the web"},
    {"status": "failed", "type": "tool_result", "message": "not found, trying another"},
    {"success": True, "message": "fine"},
    {"success": True},
    {"detail": None},
    {"detail": ""},
    {"detail": "high", "quality": 3},
    {"code": 0, "message": "ok"},
    {"code": "200", "msg": "ok", "detail": "all is well"},
    {"statusCode": 200, "message": "ok"},
    {"error": False, "message": "none"},
    {"error": None, "errors": [], "detail": None},
    {"type": "progress", "detail": "half of it"},
    {"type": "status", "code": "searching", "message": "one moment"},
    {"message": "hello"},
    {"title": "A chat about errors"},
    {"header": {"code": 0, "message": "Success", "sid": "q", "status": 1}},
    {"header": {"title": "A chat"}},
    {"status": {"code": 0, "message": "ok"}},
    {"status": {"code": 200, "message": "fine"}},
    {"status": {"phase": "search", "message": "one moment"}},
    {"ErrorMsg": {"Msg": "", "Code": 0}},
    {"ErrorMsg": {"Msg": "success", "Code": 0}},
    {"ErrorMsg": None, "Id": "x"},
    {"Response": {"RequestId": "q"}},
    {"fault": None},
    {"fault": {}},
    {"exception": None},
    {"exception": "", "message": "hello", "type": "status"},
    {"error_msg": ""},
    {"error": []},
    {"error": {}},
    {"code": "QUEUED", "message": "position 3"},
    {"code": "PROCESSING", "message": "loading model"},
    {"code": "INFO", "message": "cache hit"},
    {"code": 100, "message": "continue"},
    {"code": 102, "message": "working on it"},
    {"code": 202, "message": "position 3"},
    {"code": 1, "message": "Queued."},
    {"code": 20000, "msg": "success", "data": None},
    {"statusCode": 202, "message": "position 3"},
    {"status": {"code": 202, "message": "position 3"}},
]


@each("frame", HEALTHY)
def test_a_healthy_frame_with_error_fields_is_no_error(frame: dict[str, Any]) -> None:
    """A frame that declares another type, or success, is no error in any dialect."""
    for dialect in TEXT_OF.keys() - {"cohere"}:
        _, decoder = judged(dialect, TEXT_OF[dialect] + sse(frame) + TEXT_OF[dialect] + DONE)
        assert (decoder.error, decoder.terminal) == (None, True), dialect


@each("frame", [frame for frame in HEALTHY if frame != {"message": "hello"}])
def test_a_healthy_cohere_frame_with_a_message_is_no_error(frame: dict[str, Any]) -> None:
    """Cohere's errors are a message alone."""
    _, decoder = judged("cohere", TEXT_OF["cohere"] + sse(frame) + DONE)
    assert decoder.error is None
    _, decoder = judged("cohere", TEXT_OF["cohere"] + sse({"message": WORDS}) + DONE)
    assert isinstance(decoder.error, ProviderError)


@pytest.mark.parametrize("frame", [{"detail": WORDS}, {"status": "error", "message": WORDS}])
@pytest.mark.parametrize("name", ["status", "tool_result", "progress"])
def test_an_event_with_another_name_is_no_error(name: str, frame: dict[str, Any]) -> None:
    """A tool's failure, told along the way, is not the answer's."""
    _, decoder = judged("openai-chat", TEXT_OF["openai-chat"] + sse((name, frame)) + DONE)
    assert decoder.error is None


def test_a_registered_dialect_decides_about_errors() -> None:
    """Its function has the last word, about objects and about names."""
    register_dialect(
        "mine", lambda event: Kind.KEEPALIVE if event.event == "error" else Kind.LIFECYCLE, accepts_eof=True
    )
    try:
        _, decoder = judged("mine", sse({"detail": WORDS}, ("error", "x")))
    finally:
        unregister_dialect("mine")
    assert decoder.error is None


@pytest.mark.parametrize("frame", [{"detail": WORDS}, {"status": "error", "message": WORDS}])
def test_an_error_document_in_place_of_a_stream_is_found(frame: dict[str, Any]) -> None:
    """In place of a stream it has the provider's words too."""
    decoder = Decoder("openai-chat", content_type="application/json")
    decoder.feed(json.dumps(frame).encode())
    assert isinstance(decoder.verdict_at_end(), ProviderError)
    assert WORDS in str(decoder.verdict_at_end())


@pytest.mark.parametrize("reason", [None, "stop"])
@pytest.mark.parametrize("delta", [{}, {"content": "b"}])
def test_an_error_beside_groqs_choices_is_found(delta: dict[str, Any], reason: str | None) -> None:
    """Its words stand beside the choices, whatever they have, and a finish mark makes no success of it."""
    beside = {"id": "q", "error": WORDS}
    text, decoder = judged("openai-chat", sse(chunk({"content": "a"}), chunk(delta, reason, x_groq=beside)) + DONE)
    assert isinstance(decoder.error, ProviderError)
    assert WORDS in str(decoder.error)
    assert text == "a" + delta.get("content", "")


@pytest.mark.parametrize("beside", [{"id": "q"}, {"id": "q", "error": None}, {"id": "q", "error": ""}, None, "q"])
def test_groqs_other_fields_are_no_error(beside: Any) -> None:
    """Groq's first chunk has the request's id, and the last chunk counts tokens."""
    items = [chunk({"content": "a"}, x_groq=beside), chunk({"content": "b"}, x_groq=beside), chunk(None, "stop")]
    text, decoder = judged("openai-chat", sse(*items) + DONE)
    assert (text, decoder.error, decoder.settled) == ("ab", None, True)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("code", [50002, "50002"])
def test_a_fastchat_error_code_is_found(code: int | str, first: bool) -> None:
    """Its words stand where the text of its answers does, with a code that is not 0."""
    said = b"" if first else SAID["openai-chat"]
    _, decoder = judged("openai-chat", said + sse({"text": WORDS, "error_code": code}) + DONE)
    assert isinstance(decoder.error, ProviderError)
    assert (decoder.error.code, WORDS in str(decoder.error)) == ("50002", True)


@pytest.mark.parametrize("frame", [{"text": "a", "error_code": 0}, {"text": "a", "error_code": "0"}, {"error_code": 7}])
def test_a_fastchat_code_of_zero_or_without_text_is_no_error(frame: dict[str, Any]) -> None:
    """0 is success, and a number without words is a number."""
    _, decoder = judged("openai-chat", SAID["openai-chat"] + sse(frame, chunk(None, "stop")) + DONE)
    assert (decoder.error, decoder.settled) == (None, True)


@pytest.mark.parametrize("code", [400, 429, 500, 503])
def test_an_error_status_beside_any_word_is_an_error(code: int) -> None:
    """An error status makes an error of any word beside it."""
    _, decoder = judged("openai-chat", SAID["openai-chat"] + sse({"code": code, "message": "queued"}) + DONE)
    assert isinstance(decoder.error, ProviderError)


def test_an_empty_error_with_an_error_status_or_name_is_one() -> None:
    """An empty error counts if its status or the event's name is that of an error."""
    _, decoder = judged("openai-chat", SAID["openai-chat"] + sse(("error", {"error": {}})) + DONE)
    assert isinstance(decoder.error, ProviderError)
    assert provider_error(500, b'{"error": {}}').message == "no message was given"


NO_ERRORS = [
    {"code": 0, "message": ""},
    {"code": "0", "message": "Success."},
    {"code": 0, "msg": "ok"},
    {"code": None, "message": None},
    "none",
    " ",
    {},
]


@each("dialect", [dialect for dialect in TEXT_OF if dialect != "generic"])
@each("error", NO_ERRORS)
def test_an_error_field_without_an_error_is_none(dialect: str, error: Any) -> None:
    """Alone, and beside each piece of the answer."""
    for beside in (False, True):
        frames = TEXT_OF[dialect]
        if beside:
            frames = frames.replace(b"}\n\n", b', "error": ' + json.dumps(error).encode() + b"}\n\n")
        text, decoder = judged(dialect, frames + sse({"error": error}) + frames + DONE)
        assert (decoder.error, decoder.terminal) == (None, True)
        assert text[:1] == "a"


@each("dialect", TEXT_OF)
@each(
    "error",
    [
        {"message": ""},
        {"message": "", "type": None, "code": None},
        {"message": "", "type": "server_error", "code": 0},
        {"code": 0, "message": WORDS},
        {"code": 7, "message": ""},
        {"code": 7, "message": "ok"},
        "none of the workers answers",
    ],
)
def test_an_error_without_a_message_is_one(dialect: str, error: Any) -> None:
    """A code of success needs words of success, and an exception may have no words."""
    _, decoder = judged(dialect, TEXT_OF[dialect] + sse({"error": error}) + DONE)
    assert isinstance(decoder.error, ProviderError)
