"""``llmwatch.transport.connections``: the head of a response, however many and long its headers."""

from __future__ import annotations

import http.client
import io
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmwatch.transport.connections import FinalResponse, HeadCut

PIECE = 32 * 1024
"""Bytes of headers that are read at a time."""


def response(kind: type[http.client.HTTPResponse], wire: bytes) -> http.client.HTTPResponse:
    """The response whose head is the beginning of ``wire``."""
    sock: Any = SimpleNamespace(makefile=lambda mode: io.BytesIO(wire))
    made = kind(sock, method="POST")
    made.begin()
    return made


def head(*headers: tuple[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode("latin-1")


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"X-[A-Za-z0-9]{1,9}", fullmatch=True),
            st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f\x85"), max_size=40),
        ),
        max_size=90,
    )
)
def test_headers_are_those_that_http_client_reads(headers: list[tuple[str, str]]) -> None:
    """The same names and values in the same order, and the body begins at the same byte."""
    wire = head(*headers, ("Content-Length", "4")) + b"body"
    ours, theirs = response(FinalResponse, wire), response(http.client.HTTPResponse, wire)
    assert ours.getheaders() == theirs.getheaders()
    assert ours.read() == theirs.read() == b"body"


@pytest.mark.parametrize("size", [*range(PIECE - 12, PIECE + 3), 2 * PIECE, 65_537, 200_000])
def test_a_long_header_is_whole(size: int) -> None:
    """Wherever the pieces end, at a line's end too, the header and the one behind it are read."""
    found = response(FinalResponse, head(("X-A", "1" * size), ("X-B", "2"), ("Content-Length", "2")) + b"ok")
    assert (found.getheader("X-A"), found.getheader("X-B"), found.read()) == ("1" * size, "2", b"ok")


def test_more_than_a_hundred_headers_are_read() -> None:
    """http.client refuses the 101st."""
    wire = head(*((f"X-{number}", str(number)) for number in range(500)), ("Content-Length", "2")) + b"ok"
    with pytest.raises(http.client.HTTPException, match="more than 100"):
        response(http.client.HTTPResponse, wire)
    found = response(FinalResponse, wire)
    assert [found.getheader(f"X-{number}") for number in range(500)] == [str(number) for number in range(500)]
    assert found.read() == b"ok"


@pytest.mark.parametrize("kept", [1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 90_000])
def test_a_cut_head_is_no_response(kept: int) -> None:
    """Headers that end with the connection are refused wherever they end."""
    headers = (b"X-A: " + b"1" * 95 + b"\r\n") * 1000
    with pytest.raises(HeadCut):
        response(FinalResponse, b"HTTP/1.1 200 OK\r\n" + headers[:kept])


def test_endless_headers_are_refused() -> None:
    """http.client takes 100 pieces, of 32 to 64 KiB each."""
    line = b"X-A: " + b"1" * 60_000 + b"\r\n"
    with pytest.raises(http.client.HTTPException, match="more than 100"):
        response(FinalResponse, b"HTTP/1.1 200 OK\r\n" + line * 120 + b"\r\n")
