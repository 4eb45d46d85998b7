"""Error bodies, pages and documents."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmwatch.errors import LLMWatchError, NotAStream, ProviderError
from llmwatch.wire import Decoder, StreamError, is_loading, not_a_stream, provider_error
from llmwatch.wire.error_objects import broken_error
from tests.rows import each
from tests.wire.test_decoder import JSON

PAGE = b"<!DOCTYPE html><html><head><title> x.example |\n 520: unknown &amp; error </title></head><body>%b</body>" % (
    b"x" * 5000
)


@each(
    ("status", "body", "expected"),
    [
        (
            401,
            {
                "error": {
                    "message": "bad key",
                    "type": "invalid_request_error",
                    "param": None,
                    "code": "invalid_api_key",
                }
            },
            ("invalid_request_error", "invalid_api_key", "bad key"),
        ),
        (429, {"error": {"code": "429", "message": "slow down"}}, (None, "429", "slow down")),
        (
            529,
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "r"},
            ("overloaded_error", None, "Overloaded"),
        ),
        (
            503,
            {"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE", "details": []}},
            ("UNAVAILABLE", "503", "busy"),
        ),
        (503, [{"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}], ("UNAVAILABLE", "503", "busy")),
        (404, {"error": "model 'm' not found"}, (None, None, "model 'm' not found")),
        (500, {"error": "Server Error", "message": "details"}, (None, None, "details")),
        (
            429,
            {"error": "Model is overloaded", "error_type": "overloaded"},
            ("overloaded", None, "Model is overloaded"),
        ),
        (
            400,
            {"object": "error", "message": "too long", "type": "BadRequestError", "code": 400},
            ("BadRequestError", "400", "too long"),
        ),
        (402, {"error": {"message": "no credits", "code": 402, "metadata": {}}}, (None, "402", "no credits")),
        (401, {"message": "Unauthorized", "request_id": "r"}, (None, None, "Unauthorized")),
        (401, {"statusCode": 401, "message": "Access denied"}, (None, None, "Access denied")),
        (
            422,
            {"detail": [{"loc": ["body"], "msg": "field required", "type": "missing"}]},
            (None, None, "field required"),
        ),
        (404, {"detail": "Not Found"}, (None, None, "Not Found")),
        (
            403,
            {"success": False, "errors": [{"code": 10000, "message": "Authentication error"}]},
            (None, None, "Authentication error"),
        ),
        (500, {"error": {}}, (None, None, "no message was given")),
        (500, {"error": True}, (None, None, "an error of unknown shape")),
        (500, {"hello": "world"}, (None, None, "internal server error")),
        (500, 7, (None, None, "7")),
    ],
)
def test_error_bodies_of_known_shapes_keep_type_code_and_message(
    status: int, body: Any, expected: tuple[str | None, str | None, str]
) -> None:
    """Type, code and message are the provider's own, in every shape that is known."""
    assert provider_error(status, json.dumps(body).encode(), "application/json") == expected


@pytest.mark.parametrize(
    ("status", "body", "content_type", "message"),
    [
        (500, b"", "", "internal server error"),
        (429, b"", "", "too many requests"),
        (524, b"", "", "the server behind the proxy did not answer in time"),
        (799, b"", "", "no reason was given"),
        (502, b"upstream connect error\nor disconnect", "text/plain", "upstream connect error or disconnect"),
        (500, b"\x1f\x8b\x00\x00", "", "internal server error"),
        (500, b'{"error": {"message": "cut o', "application/json", "internal server error"),
        (
            520,
            PAGE,
            "text/html; charset=UTF-8",
            'the server behind the proxy gave an unknown error (a web page titled "x.example | 520: unknown & error")',
        ),
        (
            502,
            b"<html>\r\n<head></head><center><h1>502 Bad Gateway</h1></center>",
            "",
            'bad gateway (a web page titled "502 Bad Gateway")',
        ),
        (502, b"", "text/html", "bad gateway (a web page without a title)"),
    ],
)
def test_other_error_bodies_give_one_short_line(status: int, body: bytes, content_type: str, message: str) -> None:
    """Pages, plain text, bodies that are empty or cut give one short line."""
    assert provider_error(status, body, content_type) == (None, None, message)


EVENT = b'data:{"code":"InvalidParameter","message":"too long","request_id":"r"}\n\n'


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"id:1\nevent:error\n:HTTP_STATUS/400\n" + EVENT, (None, "InvalidParameter", "too long")),
        (b"\xef\xbb\xbf" + EVENT.replace(b"\n", b"\r\n"), (None, "InvalidParameter", "too long")),
        (b": hello\n\n" + EVENT + b"data: [DONE]\n\n", (None, "InvalidParameter", "too long")),
        (b'data: {"error":{"message":"no","type":"t","code":"c"}}', ("t", "c", "no")),
        (b'data: {"error":\ndata: {"message":"no"}}\n\n', (None, None, "no")),
        (b"event: error\ndata: upstream went away\n\n", (None, None, "upstream went away")),
        (b"data: {'error': {'message': 'no', 'code': 400}}\n\n", (None, "400", "no")),
        (b"data: [DONE]\n\n", (None, None, "bad request")),
        (b'data: {"error":{"mess', (None, None, "bad request")),
        (b"data: x\nand words", (None, None, "data: x and words")),
    ],
)
def test_an_error_status_with_events_keeps_type_code_and_message(
    body: bytes, expected: tuple[str | None, str | None, str]
) -> None:
    """Type, code and message are those in the data; a body without events is text."""
    assert provider_error(400, body, "text/event-stream") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{'error': {'message': 'no', 'code': 500, 'type': None}}", (None, "500", "no")),
        ("{'error': {'message': \"don't\", 'type': 't'}}", ("t", None, "don't")),
        ("{'error': 'it\\'s \"x\" \\\\ \\xe9'}", (None, None, 'it\'s "x" \\ é')),
        ("{'error': True, 'message': 'no'}", (None, None, "no")),
        ("{'object': 'error', 'message': 'None of it', 'type': 'T'}", ("T", None, "None of it")),
        ("[{'error': {'message': 'no'}}]", (None, None, "no")),
    ],
)
@pytest.mark.parametrize("name", ["", "event: error\n"])
def test_an_error_printed_by_python_is_read(name: str, text: str, expected: tuple[str | None, str | None, str]) -> None:
    """The provider's words come out of single quotes.

    They come in mid-stream, as a whole body and with an error status.
    """
    assert broken_error(text) == expected
    assert provider_error(500, text.encode()) == expected
    refusal = not_a_stream(200, "application/json", text.encode())
    assert isinstance(refusal, ProviderError)
    assert expected[2] in str(refusal)
    decoder = Decoder("openai-chat")
    decoder.feed(
        b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n' + f"{name}data: {text}\n\ndata: [DONE]\n\n".encode()
    )
    assert isinstance(decoder.error, ProviderError)
    assert (decoder.error.type, decoder.error.code) == expected[:2]


@pytest.mark.parametrize(
    "text",
    [
        "{'text': 'error'}",
        "{'text': 'error', 'at': <object>}",
        "{'error': None, 'text': 'x'}",
        "{'error': None, 'at': <object>}",
        "{'errors': [], 'text': 'x'}",
        "{'text': '\\'error\\': \\'x', 'at': <object>}",
        "'error'",
    ],
)
def test_a_printed_object_without_an_error_is_none(text: str) -> None:
    """An object without an error, half of one, and text that is no literal are no error."""
    assert broken_error(text) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{'error': 'it broke", "it broke"),
        ("{'error': {'message': 'it broke', 'cause': ValueError('x')}}", "it broke"),
        ("{'error': {\"cause\": None, 'message': \"don't\", 'at': <object>}}", "don't"),
        ("{'object': 'error', 'message': 'it broke', 'at': <object>}", "it broke"),
        ("{'error': <Response [500]>}", "{'error': <Response [500]>}"),
    ],
)
def test_a_cut_printed_error_keeps_its_readable_words(text: str, words: str) -> None:
    """A printed error that was cut, or holds objects that are no data, keeps its readable words."""
    assert broken_error(text) == StreamError(None, None, words)


def test_a_printed_object_in_an_event_named_error_is_read() -> None:
    """An object as Python prints it is read in an event with that name."""
    decoder = Decoder("openai-chat")
    decoder.feed(b"event: error\ndata: {'message': 'it broke', 'code': 7}\n\n")
    assert isinstance(decoder.error, ProviderError)
    assert (decoder.error.code, str(decoder.error).rpartition(": ")[2]) == ("7", "it broke")


def test_long_words_of_a_provider_are_cut_short() -> None:
    """Messages, codes and titles have an upper length, with a mark where something is missing."""
    error = provider_error(400, json.dumps({"error": {"message": "word " * 900, "code": "code " * 90}}).encode())
    assert (len(error.message) <= 500, len(error.code or "") <= 80) == (True, True)
    assert error.message.endswith(" characters omitted]")
    page = provider_error(502, b"<title>" + b"word " * 900 + b"</title>")
    assert len(page.message) < 150


@pytest.mark.parametrize("size", [600, 17_000, 64 * 1024])
def test_a_body_without_spaces_shows_its_beginning(size: int) -> None:
    """As much is shown of a single long word as of any other text."""
    body = ("upstream_error:code=17;" * size)[:size].encode()
    said = provider_error(502, body, "text/plain").message
    assert said.startswith("upstream_error:code=17;" * 18)
    assert said.endswith(" characters omitted]")


def test_keys_in_the_words_of_a_provider_are_masked() -> None:
    """A provider does not bring the key that it was sent into a message.

    It repeats the key, or an address with one.
    """
    key = "sk-proj-" + "A1b2C3d4E5f6" * 4
    body = json.dumps({"error": {"message": f"Incorrect API key provided: {key}. See https://x.example/?key={key}"}})
    found = provider_error(401, body.encode())
    refusal = not_a_stream(200, "application/json", body.encode())
    page = not_a_stream(200, "text/html", f"<title>{key}</title>".encode())
    assert "Incorrect API key" in found.message
    assert all("A1b2" not in str(one) for one in (found, refusal, page))


@settings(deadline=None)
@given(st.integers(0, 999), JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=100))
def test_no_error_body_is_too_odd(status: int, body: bytes) -> None:
    """Every body gives a message that is not empty, within its length, on one line."""
    kind, code, message = provider_error(status, body)
    assert 0 < len(message) <= 700
    assert message == " ".join(message.split())
    assert all(name is None or 0 < len(name) <= 80 for name in (kind, code))
    refusal = not_a_stream(200, "application/json", body)
    assert refusal is None or isinstance(refusal, LLMWatchError)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/event-stream", b"data: {}\n\n"),
        ("text/event-stream", b": hello\n\n"),
        ("text/event-stream", b"\n\nid: 1\n"),
        ("application/json", b"data: {}\n\n"),
        ("text/html", b"data: {}\n\n"),
        ("text/plain", b"event: x\n"),
        ("", b""),
        ("application/json", b""),
        ("application/x-ndjson", b'{"response": "a", "done": false}\n'),
        ("application/x-ndjson; charset=utf-8", b'{"error": "x"}'),
    ],
)
def test_a_body_that_begins_like_events_is_a_stream(content_type: str, body: bytes) -> None:
    """A body that begins like events is taken for a stream, whatever its content type.

    So are JSON lines under theirs.
    """
    assert not_a_stream(200, content_type, body) is None


@pytest.mark.parametrize(
    ("content_type", "body", "message"),
    [
        ("text/html", b"<html><title>Sign in</title>", 'a web page titled "Sign in" in place of a model\'s answer'),
        ("text/event-stream", b"\xef\xbb\xbf \r\n<html>", "a web page without a title"),
        ("text/html", b"please log in", "a web page without a title"),
        ("text/html", b"", "a web page without a title"),
        ("application/json", b'{"choices": []}', "ignored stream: true"),
        ("text/event-stream", b'{"choices": [', "ignored stream: true"),
        ("application/json", b'[{"candidates": []}', "alt=sse"),
    ],
)
def test_a_page_or_document_is_named_as_such(content_type: str, body: bytes, message: str) -> None:
    """Pages and documents are named for what they are, with what to change."""
    error = not_a_stream(200, content_type, body)
    assert type(error) is NotAStream
    assert message in str(error)
    assert "answered 200" in str(error)


def test_an_error_document_is_the_providers_error() -> None:
    """An error in place of a stream keeps its type and code, and the status that it came with."""
    error = not_a_stream(200, "application/json", b'{"error": {"type": "t", "code": 9, "message": "boom"}}')
    assert isinstance(error, ProviderError)
    assert (error.status, error.type, error.code) == (200, "t", "9")
    assert str(error) == "The provider answered 200 with an error in place of a stream (t, 9): boom"


def test_json_lines_are_accepted_where_they_are_expected() -> None:
    """A body that begins with an object is fine for the dialect that is made of objects; a page is not."""
    assert not_a_stream(200, "application/json", b'{"a": 1}', dialect="ndjson") is None
    assert type(not_a_stream(200, "", b"<html>", dialect="ndjson")) is NotAStream


def test_stream_errors_are_plain_tuples() -> None:
    """The parts can be taken apart or named."""
    assert StreamError("t", "c", "m") == ("t", "c", "m")


@each(
    ("body", "loading"),
    [
        ({"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}, True),
        ({"message": "Loading model", "type": "unavailable_error", "code": 503}, True),
        ({"error": {"message": "Loading model", "type": "api_error"}}, True),
        ({"error": {"message": "Server is loading model"}}, True),
        ({"status": "loading model"}, True),
        ({"error": "Model m/m is currently loading", "estimated_time": 20.0}, True),
        ({"error": "wait", "estimated_time": 20}, True),
        ({"error": "unexpected server status: llm server loading model"}, True),
        ({"detail": "The model is still loading, please wait."}, True),
        ({"error": {"message": "Failed to load model", "type": "server_error"}}, False),
        ({"error": "error loading model"}, False),
        ({"error": {"message": "Error loading model: no such file"}}, False),
        ({"error": "model is loaded on another host"}, False),
        ({"detail": {"msg": "Server is busy; please try again later.", "type": "service_unavailable"}}, False),
        ({"error": "server busy, please try again.  maximum pending requests exceeded"}, False),
        ({"estimated_time": 20}, False),
        ({"error": "unhealthy", "error_type": "healthcheck"}, False),
        ([], False),
        ("Loading model", False),
    ],
)
def test_a_loading_server_is_recognised(body: Any, loading: bool) -> None:
    """By a type or a field that stands for it, or with nothing but the words; a failure to load is none."""
    assert is_loading(json.dumps(body).encode()) is loading


@pytest.mark.parametrize("body", [b"", b"Loading model", b"{", b"<html>Loading model</html>", b"\xff"])
def test_a_page_is_no_sign_of_a_loading_model(body: bytes) -> None:
    """Pages and pieces are not looked into."""
    assert not is_loading(body)
