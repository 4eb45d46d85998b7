"""``llmwatch.engine.request``: one request, looked at once and sent as often as is safe."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import requests

from llmwatch import ConfigError
from llmwatch.engine.request import CallRequest, check_url

URL = "https://api.provider.test/v1/chat/completions"


def build(url: Any = URL, method: Any = "POST", **kwargs: Any) -> CallRequest:
    return CallRequest.build(method, url, kwargs)


def test_json_is_written_once_for_all_attempts() -> None:
    """A JSON body becomes bytes whose size is known.

    The body is readable and can be sent again; its type is that of JSON.
    """
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "caf\u00e9"}]}
    request = build(json=body)
    assert request.body == body
    assert json.loads(request.kwargs["data"]) == body
    assert "json" not in request.kwargs
    assert request.size == len(request.kwargs["data"])
    assert (request.readable, request.replayable, request.content_type) == (True, True, "application/json")


@pytest.mark.parametrize("document", [{}, [], 0, "", False])
def test_an_empty_document_is_a_document(document: Any) -> None:
    """Only ``json=None`` means that there is none."""
    assert build(json=document).kwargs["data"] == json.dumps(document).encode()
    assert build(json=None).kwargs == {"json": None}


def test_data_goes_before_json_as_in_requests() -> None:
    """If both are given, requests sends the data."""
    request = build(data=b'{"a": 1}', json={"b": 2})
    assert request.body == {"a": 1}
    assert request.content_type is None


@pytest.mark.parametrize("document", [{"n": float("nan")}, {"o": object()}])
def test_an_unserialisable_document_raises_invalid_json_error(document: Any) -> None:
    """A document that cannot be written as JSON raises requests' ``InvalidJSONError`` at once."""
    with pytest.raises(requests.exceptions.InvalidJSONError):
        build(json=document)


@pytest.mark.parametrize(
    ("data", "body", "readable", "size"),
    [
        (b'{"stream": true}', {"stream": True}, True, 16),
        ('  {"stream": true}', {"stream": True}, True, 18),
        ('{"t": "\u00e9"}', {"t": "\u00e9"}, True, 11),
        (b'{"broken', None, False, 8),
        (b"[1, 2]", None, False, 6),
        ("plain words", None, False, 11),
        (b"", None, True, 0),
        ("", None, True, 0),
        ({"a": "1"}, None, False, 0),
        ([("a", "1")], None, False, 0),
        (None, None, True, 0),
    ],
)
def test_a_body_is_readable_where_it_is_a_json_object(data: Any, body: Any, readable: bool, size: int) -> None:
    """Bytes and text that hold a JSON object are looked into.

    Of anything else only the size is known, if at all.
    """
    request = build(data=data)
    assert (request.body, request.readable, request.size, request.replayable) == (body, readable, size, True)


def test_a_file_is_rewound_to_where_it_stood(tmp_path: Path) -> None:
    """A seekable body can be sent again from where it stood, not from its beginning."""
    path = tmp_path / "body"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        file.seek(4)
        request = build(data=file)
        assert request.replayable
        assert file.read() == b"456789"
        request.rewind()
        assert file.read() == b"456789"


@pytest.mark.parametrize("make", [lambda: iter([b"a"]), lambda: (piece for piece in (b"a",))])
def test_an_iterator_cannot_be_sent_again(make: Any) -> None:
    """A body that the first attempt uses up cannot be sent again, and rewinding it does nothing."""
    request = build(data=make())
    assert (request.replayable, request.readable) == (False, False)
    request.rewind()


def test_a_stream_that_cannot_seek_cannot_be_sent_again() -> None:
    """A pipe has a ``tell`` and no way back."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    assert not build(data=Pipe(b"x")).replayable


def test_files_are_neither_read_nor_sent_again() -> None:
    """A multipart upload is a black box, and its files may be used up."""
    request = build(files={"f": b"x"}, data={"a": "1"})
    assert (request.readable, request.replayable) == (False, False)


@pytest.mark.parametrize(
    ("url", "origin", "host"),
    [
        (URL, "https://api.provider.test", "api.provider.test"),
        ("http://127.0.0.1:8080/x?key=s#y", "http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://user:pass@host.test/", "http://host.test", "host.test"),
        ("HTTP://HOST.test:80/", "http://host.test:80", "host.test:80"),
        ("http://[::1]:9/", "http://[::1]:9", "[::1]:9"),
    ],
)
def test_the_origin_has_no_secret_in_it(url: str, origin: str, host: str) -> None:
    """Scheme, host and port, without user info, path and query."""
    request = build(url=url)
    assert (request.origin, request.host) == (origin, host)


@pytest.mark.parametrize("method", ["", "P OST", "POST\r\n", 1, None, b"POST"])
def test_an_invalid_method_is_a_config_error(method: Any) -> None:
    """A method is a word; anything else is a ``ConfigError`` about it."""
    with pytest.raises(ConfigError) as caught:
        build(method=method)
    assert caught.value.field == "method"


def test_a_method_may_be_lower_case() -> None:
    """``"post"`` is POST."""
    assert build(method="post").method == "POST"


def test_an_unknown_keyword_is_a_type_error() -> None:
    """A keyword that neither llmwatch nor requests has is a mistake in the program."""
    with pytest.raises(TypeError, match="'colour'"):
        build(colour="red")


@pytest.mark.parametrize(
    "url", ["", "x", "ftp://h/", "http://", "http://h:0/", "http://h:x/", "http://[::1", None, b""]
)
def test_an_invalid_url_is_a_config_error(url: Any) -> None:
    """A URL has to be absolute, http or https, with a host and a port that exists."""
    with pytest.raises(ConfigError) as caught:
        check_url(url)
    assert caught.value.field == "url"


def test_the_message_about_a_url_hides_its_secrets() -> None:
    """User info and query values are not repeated."""
    with pytest.raises(ConfigError) as caught:
        check_url("ftp://user:hunter2@host/?key=AIzaSyD-9tSrke72PouQMnMX")
    assert "hunter2" not in str(caught.value)
    assert "AIzaSy" not in str(caught.value)
