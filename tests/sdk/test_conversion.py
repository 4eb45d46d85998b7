"""A request of httpx's in the words of requests, where no socket is needed to see it."""

from __future__ import annotations

from typing import Any

import httpx
import httpx2
import pytest

from llmwatch.sdk.conversion import prepare

libraries = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


@libraries
def test_headers_keep_their_order_and_their_bytes(library: Any) -> None:
    """The bytes are those of the library, in any encoding."""
    headers = [(b"X-Utf8", "é".encode()), (b"A", b"1"), (b"X-Latin", b"\xe9"), (b"B", b"2")]
    prepared = prepare(library.Request("GET", "http://h/", headers=headers))
    written = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in prepared.headers.items()]
    assert written == [(b"Host", b"h"), *headers]


@libraries
def test_several_cookie_lines_are_joined(library: Any) -> None:
    """Their separator is not the comma of other lists."""
    prepared = prepare(library.Request("GET", "http://h/", headers=[("cookie", "a=1"), ("x", "1"), ("Cookie", "b=2")]))
    assert prepared.headers["cookie"] == "a=1; b=2"


@libraries
@pytest.mark.parametrize(
    ("url", "body", "identity"),
    [
        ("http://h/v1/responses", b'{"stream": true}', True),
        ("http://h/v1/responses", b'{"model":"m","stream":true}', True),
        ("http://h/v1/responses", b'{"stream": false, "input": "\\"stream\\": true"}', False),
        ("http://h/v1/responses", b"{}", False),
        ("http://h/v1beta/models/m:streamGenerateContent", b"{}", True),
        ("http://h/v1/responses", b"", False),
    ],
)
def test_only_a_stream_is_requested_uncompressed(library: Any, url: str, body: bytes, identity: bool) -> None:
    """Any other request keeps its Accept-Encoding."""
    request = library.Client().build_request("POST", url, content=body)
    usual = request.headers["accept-encoding"]
    assert prepare(request).headers["accept-encoding"] == ("identity" if identity else usual)


@libraries
def test_a_loaded_body_is_bytes_and_a_stream_stays_one(library: Any) -> None:
    """Nothing is read that was not read before, unless it is JSON."""
    assert prepare(library.Request("POST", "http://h/", content=b"x")).body == b"x"
    assert prepare(library.Request("GET", "http://h/")).body is None
    json_type = {"Content-Type": "application/vnd.api+json"}
    prepared = prepare(library.Request("POST", "http://h/", content=iter([b"{", b"}"]), headers=json_type))
    assert (prepared.body, prepared.headers["content-length"]) == (b"{}", "2")
    assert "transfer-encoding" not in prepared.headers
    taken: list[int] = []

    def pieces() -> Any:
        taken.append(1)
        yield b"x"

    stream: Any = prepare(library.Request("POST", "http://h/", content=pieces())).body
    assert taken == []
    assert list(stream) == [b"x"]
