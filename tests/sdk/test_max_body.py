"""``max_body``: how large an answer may be once it is decoded, through every entry point."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import requests
from urllib3 import response as urllib3_response
from urllib3.response import HTTPResponse

import llmwatch
from llmwatch import BodyTooLarge, Client, Limits, NotAStream, ProviderError, Retry
from llmwatch.faults import FaultServer, Script, steps
from llmwatch.sdk import Transport
from llmwatch.transport.encoding import Unread, unread_for
from tests.end_to_end.calls import asking
from tests.end_to_end.times import LONG
from tests.memory import peak_of
from tests.rows import each
from tests.session.entry_points import caught

MIB = 1 << 20
MOST = MIB
HELD = 64 * MIB
ROOM = 6 * MIB
"""What a call may take above the bound.

It is the bytes on the wire, a piece under way, and the frames of all that.
"""

SETTINGS: dict[str, Any] = {"limits": Limits(ttfb=LONG), "retry": Retry(backoff=0.01)}
ONCE = Retry.none()
PLAIN = {"model": "m", "messages": []}

EntryPoint = Callable[[str, dict[str, Any], dict[str, Any]], bytes]


def _packed(size: int, encoding: str = "gzip", begin: bytes = b"", end: bytes = b"") -> bytes:
    """``size`` zeros between two ends, compressed."""
    packer = zlib.compressobj(9, wbits=zlib.MAX_WBITS + (16 if encoding == "gzip" else 0))
    zeros = bytes(MIB)
    parts = [packer.compress(begin), *(packer.compress(zeros) for _ in range(size // MIB)), packer.compress(end)]
    return b"".join(parts) + packer.flush()


def _answer(body: bytes, encoding: str, status: int = 200, content_type: str = "application/json") -> Script:
    headers = [("Content-Type", content_type)]
    if encoding:
        headers.append(("Content-Encoding", encoding))
    head = steps.Head(status, headers, "length", len(body))
    return Script.of("answer", head, steps.Chunk(body), steps.End())


@pytest.fixture(scope="module")
def bombs() -> dict[str, bytes]:
    """Small bodies that are large once they are decoded, by their encoding."""
    once = _packed(HELD)
    return {"gzip": once, "deflate": _packed(HELD, "deflate"), "gzip, gzip": gzip.compress(once)}


def _client_request(url: str, body: dict[str, Any], more: dict[str, Any]) -> bytes:
    with Client(**{**SETTINGS, **more}) as client:
        return client.request("POST", url, json=body).content


def _client_collect(url: str, body: dict[str, Any], more: dict[str, Any]) -> bytes:
    with Client(**{**SETTINGS, **more}) as client:
        return client.collect("POST", url, json=body).text.encode()


def _client_stream(url: str, body: dict[str, Any], more: dict[str, Any]) -> bytes:
    with Client(**{**SETTINGS, **more}) as client, client.stream("POST", url, json=body) as stream:
        return "".join(event.text for event in stream).encode()


def _session(url: str, body: dict[str, Any], more: dict[str, Any]) -> bytes:
    with llmwatch.Session(**{**SETTINGS, **more}) as session:
        return session.post(url, json=body).content


def _session_streaming(url: str, body: dict[str, Any], more: dict[str, Any]) -> bytes:
    with llmwatch.Session(**{**SETTINGS, **more}) as session:
        response = session.post(url, json=body, stream=True)
        # A piece is forgotten as soon as it is counted, so what is held is ours.
        return b"x" * sum(map(len, response.iter_content(65536)))


def _mount(url: str, body: dict[str, Any], more: dict[str, Any]) -> bytes:
    with requests.Session() as session:
        llmwatch.mount(session, **{**SETTINGS, **more})
        return session.post(url, json=body).content


def _install(url: str, body: dict[str, Any], more: dict[str, Any]) -> bytes:
    llmwatch.install(**{**SETTINGS, **more})
    try:
        return requests.post(url, json=body).content
    finally:
        llmwatch.uninstall()


def _transport(url: str, body: dict[str, Any], more: dict[str, Any]) -> bytes:
    with httpx.Client(transport=Transport(**{**SETTINGS, **more}), timeout=None) as client:
        return client.post(url, json=body).content


RELAYS: list[EntryPoint] = [_session, _session_streaming, _mount, _install, _transport]
PLAIN_ENTRY_POINTS: list[EntryPoint] = [_client_request, *RELAYS]
STREAM_ENTRY_POINTS: list[EntryPoint] = [_client_collect, _client_stream, *RELAYS]


def _refused(
    entry_point: EntryPoint, url: str, body: dict[str, Any], more: dict[str, Any], *, begun: bool = False
) -> None:
    with pytest.raises(BodyTooLarge) as found:
        entry_point(url, body, more)
    error = found.value
    assert error.retryable is False
    assert error.recovery is not None
    assert str(error.recovery.reason) == ("output_delivered" if begun else "body_too_large")
    assert f"{more['max_body']:,} bytes" in str(error)
    assert "LLMWATCH_MAX_BODY_BYTES" in str(error)
    assert error.record is not None
    assert len(error.record.attempts) == 1


@each(
    ("entry_point", "streaming", "encoding"),
    [
        *(
            (entry_point, False, encoding)
            for entry_point in PLAIN_ENTRY_POINTS
            for encoding in ("gzip", "deflate", "gzip, gzip")
        ),
        *((entry_point, True, "gzip") for entry_point in STREAM_ENTRY_POINTS),
    ],
)
def test_a_compressed_bomb_ends_with_body_too_large(
    entry_point: EntryPoint, streaming: bool, encoding: str, bombs: dict[str, bytes]
) -> None:
    """64 MiB in a few kilobytes end a call with BodyTooLarge after one request.

    They take no more memory than the bound and a constant, whichever entry point reads them.
    """
    content_type = "text/event-stream" if streaming else "application/json"
    with FaultServer(_answer(bombs[encoding], encoding, content_type=content_type)) as server:
        body = asking() if streaming else PLAIN
        peak = peak_of(lambda: _refused(entry_point, server.chat_url, body, {"max_body": MOST}))
        assert len(server.requests) == 1
    assert peak < MOST + ROOM


@each("entry_point", [*PLAIN_ENTRY_POINTS])
def test_the_error_of_a_status_is_cut(entry_point: EntryPoint, bombs: dict[str, bytes]) -> None:
    """An error's body is read up to the bound and not beyond it; the status stays what it says."""
    with FaultServer(_answer(bombs["gzip"], "gzip", 400)) as server:
        sizes: list[int] = []
        peak = peak_of(lambda: sizes.append(len(entry_point(server.chat_url, PLAIN, {"max_body": MOST}))))
    assert MOST // 2 < sizes[0] <= MOST
    assert peak < MOST + ROOM


def test_the_error_of_a_stream_is_cut(bombs: dict[str, bytes]) -> None:
    """A stream's error status is a ProviderError with its message, for a body of any decoded size."""
    body = _packed(HELD, begin=b'{"error": {"message": "the model is busy"}}')
    with FaultServer(_answer(body, "gzip", 400)) as server:
        errors: list[ProviderError] = []
        peak = peak_of(lambda: errors.append(caught(ProviderError, _client_collect, server.chat_url, asking(), {})))
    assert errors[0].status == 400
    assert peak < ROOM


@each("entry_point", PLAIN_ENTRY_POINTS)
def test_a_body_at_the_bound_is_whole(entry_point: EntryPoint) -> None:
    """A body of exactly the bound comes whole, compressed or not, and one byte more does not."""
    data = random.Random(1).randbytes(MOST)
    for encoding, packed in (("gzip", gzip.compress(data)), ("", data)):
        with FaultServer(_answer(packed, encoding)) as server:
            assert len(entry_point(server.chat_url, PLAIN, {"max_body": MOST})) == MOST
            _refused(
                entry_point, server.chat_url, PLAIN, {"max_body": MOST - 1}, begun=entry_point is _session_streaming
            )


@each("entry_point", PLAIN_ENTRY_POINTS)
def test_max_body_of_zero_removes_the_bound(entry_point: EntryPoint) -> None:
    """0 removes the cap, and the default is far above what an answer needs."""
    size = 3 * MIB
    with FaultServer(_answer(_packed(size), "gzip")) as server:
        assert len(entry_point(server.chat_url, PLAIN, {"max_body": 0})) == size
        assert len(entry_point(server.chat_url, PLAIN, {})) == size


@each("entry_point", PLAIN_ENTRY_POINTS)
def test_max_body_comes_from_the_environment(entry_point: EntryPoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """``LLMWATCH_MAX_BODY_BYTES`` holds where no argument says otherwise, and is read at every call."""
    size = 3 * MIB
    with FaultServer(_answer(_packed(size), "gzip")) as server:
        monkeypatch.setenv("LLMWATCH_MAX_BODY_BYTES", str(MOST))
        with pytest.raises(BodyTooLarge):
            entry_point(server.chat_url, PLAIN, {})
        assert len(entry_point(server.chat_url, PLAIN, {"max_body": size})) == size
        monkeypatch.delenv("LLMWATCH_MAX_BODY_BYTES")
        assert len(entry_point(server.chat_url, PLAIN, {})) == size


@each("entry_point", RELAYS)
def test_a_request_that_is_no_model_call_is_not_bounded(entry_point: EntryPoint) -> None:
    """Another request of a session may bring what it likes, in an answer and in an error."""
    size = 3 * MIB
    for status in (200, 503):
        with FaultServer(_answer(_packed(size), "gzip", status)) as server:
            assert len(entry_point(f"{server.url}/files/one", {"a": 1}, {"max_body": MOST})) == size


def _transport_following(url: str, body: dict[str, Any], more: dict[str, Any]) -> bytes:
    settings = {**SETTINGS, **more}
    with httpx.Client(transport=Transport(**settings), timeout=None, follow_redirects=True) as client:
        return client.post(url, json=body).content


def _redirect(status: int, body: bytes = b"") -> Script:
    headers = [("Location", "/answer"), *([("Content-Encoding", "gzip")] if body else [])]
    return Script.of("redirect", steps.Head(status, headers, "length", len(body)), steps.Chunk(body), steps.End())


FOLLOWING: list[EntryPoint] = [_session, _session_streaming, _mount, _install, _transport_following]


@each(("entry_point", "status"), [(entry_point, status) for entry_point in FOLLOWING for status in (302, 307)])
def test_a_redirected_model_call_keeps_its_bound(entry_point: EntryPoint, status: int, bombs: dict[str, bytes]) -> None:
    """The answer behind a redirect of a model call has the bound of that call.

    The method that the redirect left makes no difference. The body of each redirect and that of an error behind them
    have the bound too.
    """
    bomb = bombs["gzip"]
    with FaultServer([_redirect(status, bomb), _redirect(302, bomb), _answer(bomb, "gzip")]) as server:

        def large() -> None:
            with pytest.raises(BodyTooLarge) as found:
                entry_point(server.chat_url, PLAIN, {"max_body": MOST})
            assert found.value.retryable is False
            assert f"{MOST:,} bytes" in str(found.value)

        peak = peak_of(large)
        assert len(server.requests) == 3
    assert peak < MOST + ROOM
    with FaultServer([_redirect(status), _answer(bomb, "gzip", 400)]) as server:
        sizes: list[int] = []
        peak = peak_of(lambda: sizes.append(len(entry_point(server.chat_url, PLAIN, {"max_body": MOST}))))
        assert len(server.requests) == 2
    assert MOST // 2 < sizes[0] <= MOST
    assert peak < MOST + ROOM


@each("entry_point", FOLLOWING)
def test_another_redirected_request_is_not_bounded(entry_point: EntryPoint) -> None:
    """A redirect gives no bound to a request that is no model call.

    It gives none below its own to the answer of one.
    """
    size = 3 * MIB
    body = _packed(size)
    for asked, most in (({"a": 1}, MOST), (PLAIN, size), (PLAIN, 0)):
        with FaultServer([_redirect(302), _answer(body, "gzip")]) as server:
            url = f"{server.url}/files/one" if "a" in asked else server.chat_url
            assert len(entry_point(url, asked, {"max_body": most})) == size
            assert len(server.requests) == 2


def test_a_stream_is_delivered_up_to_the_bound() -> None:
    """The events of a long answer come out until its bytes are beyond the bound; then the call ends."""
    event = b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % (b"x" * 1000)
    got: list[str] = []
    with FaultServer(_answer(event * 40, "", content_type="text/event-stream")) as server:
        with (
            Client(**SETTINGS, max_body=len(event) * 20) as client,
            client.stream("POST", server.chat_url, json=asking()) as stream,
            pytest.raises(BodyTooLarge) as found,
        ):
            got.extend(event.text for event in stream)
        assert len(server.requests) == 1
    assert found.value.partial == "".join(got)
    assert found.value.retryable is False


@each("entry_point", [_client_request, _session, _transport])
def test_a_body_that_decodes_to_nothing_is_bounded_on_the_wire(entry_point: EntryPoint) -> None:
    """Compressed bytes that never decode to anything count as they come over the wire."""
    packer = zlib.compressobj(wbits=31)
    begin = packer.compress(b"{") + packer.flush(zlib.Z_SYNC_FLUSH)
    blank = b"\x00\x00\x00\xff\xff" * 4096
    script = Script(
        name="blank",
        description="a body of empty blocks",
        play=lambda context: [
            steps.Head(200, [("Content-Type", "application/json"), ("Content-Encoding", "gzip")], "close"),
            steps.Chunk(begin),
            steps.Repeat([steps.Chunk(blank)], every=0.0),
        ],
    )
    with FaultServer(script) as server:
        _refused(entry_point, server.chat_url, PLAIN, {"max_body": MOST})


def test_a_page_in_place_of_a_stream_is_read_in_order() -> None:
    """A compressed page whose first read holds more than one piece is a page all the same.

    It is no damaged stream.
    """
    for seed in range(6):
        page = gzip.compress(b"<html><head>" + b" " * MIB + random.Random(seed).randbytes(200_000))
        with FaultServer(_answer(page, "gzip", content_type="text/html")) as server:
            assert "web page" in str(caught(NotAStream, _client_collect, server.chat_url, asking(), {"retry": ONCE}))


class _Stored:
    """An encoding of a package that may not be installed: a byte, and how often it stands for itself."""

    def __init__(self) -> None:
        self._left = b""
        self._times = 0

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        if data[:1] == b"?":
            raise ValueError("not of this encoding")
        if data:
            self._left, self._times = data[:1], self._times + int(data[1:])
        most = self._times if max_length < 0 else min(max_length, self._times)
        self._times -= most
        return self._left * most

    @property
    def has_unconsumed_tail(self) -> bool:
        return self._times > 0

    def flush(self) -> bytes:
        return b""


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """urllib3 undoes an encoding that nothing here reads."""
    monkeypatch.setattr(HTTPResponse, "CONTENT_DECODERS", [*HTTPResponse.CONTENT_DECODERS, "stored"])
    monkeypatch.setattr(HTTPResponse, "DECODER_ERROR_CLASSES", (*HTTPResponse.DECODER_ERROR_CLASSES, ValueError))
    plain = urllib3_response._get_decoder
    monkeypatch.setattr(urllib3_response, "_get_decoder", lambda mode: _Stored() if mode == "stored" else plain(mode))


@each("entry_point", PLAIN_ENTRY_POINTS)
def test_an_encoding_of_another_package_is_bounded_decoded(entry_point: EntryPoint, stored: None) -> None:
    """What urllib3 undoes by another package is bounded by what it holds as well.

    An error's body is left out where it holds more, and its status stays.
    """
    with FaultServer(_answer(b"x%d" % HELD, "stored")) as server:
        peak = peak_of(lambda: _refused(entry_point, server.chat_url, PLAIN, {"max_body": MOST}))
    assert peak < MOST + ROOM
    with FaultServer(_answer(b"x%d" % HELD, "stored", 400)) as server:
        sizes: list[int] = []
        peak = peak_of(lambda: sizes.append(len(entry_point(server.chat_url, PLAIN, {"max_body": MOST}))))
    assert sizes[0] <= MOST
    assert peak < MOST + ROOM
    whole = b"x%d" % MOST if entry_point is _transport else b"x" * MOST  # httpx knows no such encoding
    for status in (200, 400):
        with FaultServer(_answer(b"x%d" % MOST, "stored", status)) as server:
            assert entry_point(server.chat_url, PLAIN, {"max_body": MOST}) == whole


def test_undecodable_bytes_are_handed_on(stored: None) -> None:
    """Bytes that the package cannot undo reach the reader as they came."""
    with FaultServer(_answer(b"?", "stored")) as server, llmwatch.Session(**SETTINGS, max_body=MOST) as session:
        response = session.post(server.chat_url, json=PLAIN, stream=True)
        assert response.raw.read(decode_content=False) == b"?"
        with pytest.raises(requests.exceptions.ContentDecodingError):
            session.post(server.chat_url, json=PLAIN).content  # noqa: B018


@each("encoding", ["br-of-tomorrow", "", "identity", "x, y", ","])
def test_an_unknown_encoding_is_bounded_on_the_wire(encoding: str) -> None:
    """The content of an encoding that urllib3 does not know cannot be measured.

    So its bytes on the wire count.
    """
    assert isinstance(unread_for(encoding), Unread)


def test_a_decoder_that_cannot_be_bounded_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a package would decode a whole body at once, it is not used: the bytes count as they come."""

    class BrotliDecoder:
        """Of urllib3 2.6, over a Brotli before 1.2."""

        _obj = object()

        def decompress(self, data: bytes, max_length: int = -1) -> bytes:
            raise AssertionError("it is entered")

    class Old:
        """Of urllib3 before 2.6."""

        def decompress(self, data: bytes) -> bytes:
            raise AssertionError("it is entered")

    monkeypatch.setattr(HTTPResponse, "CONTENT_DECODERS", ["br"])
    for kind in (BrotliDecoder, Old):
        monkeypatch.setattr(urllib3_response, "_get_decoder", lambda mode, kind=kind: kind())
        assert isinstance(unread_for("br"), Unread)
