"""Libraries that reach below ``response.raw``.

They find what they find there in urllib3's own, and come to an end.
"""

from __future__ import annotations

import io
import select
import selectors
import ssl
from collections.abc import Callable
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import HTTPResponse

import llmwatch
from llmwatch.faults import FaultServer, Script, steps
from tests.end_to_end.calls import asking, eventually
from tests.session.entry_points import Way, caught
from tests.session.scripts import LINES, encoded, reply


def _put_back(response: requests.Response) -> None:
    """Read all, and put a plain file in the place of what was read.

    A cache that keeps a response does so.
    """
    raw: Any = response.raw
    body = raw.read(decode_content=False)
    raw._fp, raw._fp_bytes_read, raw.length_remaining = io.BytesIO(body), 0, len(body)


def _read1(raw: Any, size: int) -> bytes:
    """``size`` bytes from below, by short reads."""
    found = b""
    while len(found) < size:
        found += raw._fp.fp.read1(1024)
    return found


@pytest.mark.parametrize("framing", ["chunked", "close", "length"])
@pytest.mark.parametrize("read", ["iter_lines", "iter_content", "content", "stream", "read1", "file"])
def test_a_body_replaced_by_a_file_is_read_to_its_end(way: Way, framing: Any, read: str) -> None:
    """A body that a cache has read and replaced with an unclosed file comes once, and its end is the end."""
    readers = {
        "iter_lines": lambda response: b"\n".join([*response.iter_lines(), b""]),
        "iter_content": lambda response: b"".join(response.iter_content(100)),
        "content": lambda response: response.content,
        "stream": lambda response: b"".join(response.raw.stream(100)),
        "read1": lambda response: b"".join(iter(lambda: response.raw.read1(100), b"")),
        "file": lambda response: b"".join(response.raw),
    }

    def act(session: requests.Session, server: FaultServer) -> bytes:
        response = session.get(server.url, stream=True)
        if framing == "chunked" and read == "stream":
            # urllib3's own takes the file for one without chunks.
            assert response.raw.supports_chunked_reads()
        _put_back(response)
        found: bytes = readers[read](response)
        assert response.raw.read(10) == b""
        return found

    assert way.alike(act, reply(LINES, framing=framing)) == LINES


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_replaced_by_a_compressed_file_is_decoded(way: Way, encoding: str) -> None:
    """A body that was put back as it came over the wire is decoded when it is read."""

    def act(session: requests.Session, server: FaultServer) -> bytes:
        response = session.get(server.url, stream=True)
        _put_back(response)
        return b"".join(response.iter_content(100))

    assert way.alike(act, encoded(LINES, encoding)) == LINES


def test_a_model_stream_replaced_by_a_file_is_read_to_its_end(way: Way) -> None:
    """The same for a streamed answer."""

    def act(session: requests.Session, server: FaultServer) -> Any:
        response = session.post(server.chat_url, json=asking(), stream=True)
        _put_back(response)
        return list(response.iter_lines())

    assert b"data: [DONE]" in way.alike(act, "healthy", ignoring=("accept-encoding",))


@pytest.mark.parametrize("size", [100, None])
def test_an_unsized_read_of_a_replaced_body_ends(way: Way, size: int | None) -> None:
    """Reading such a file as one piece ends as well."""
    with FaultServer([reply(LINES)]) as server, way.session() as session:
        response = session.get(server.url, stream=True)
        _put_back(response)
        assert b"".join(response.iter_content(size)) == LINES


def test_events_that_are_read_below_urllib3_come_at_once(way: Way) -> None:
    """A parser that asks ``raw._fp.fp`` for short reads gets the first event at once.

    The second event is still to come.
    """
    first = reply(b"data: first\n\n", after=[steps.WaitFor("rest"), steps.Chunk(b"data: second\n\n")], framing="close")

    def act(session: requests.Session, server: FaultServer) -> Any:
        raw: Any = session.get(server.url + "/events", stream=True).raw
        assert _read1(raw, 13) == b"data: first\n\n"
        server.gate("rest").set()
        rest = b""
        while raw._fp.fp is not None and (piece := raw._fp.fp.read1(1024)):
            rest += piece
        return rest + raw.read(10)

    assert way.alike(act, first) == b"data: second\n\n"


def test_chunks_read_below_urllib3_are_whole(way: Way) -> None:
    """A library that reads one byte of ``raw`` and the rest of its chunk below has whole chunks.

    The rest comes from ``raw._fp``.
    """

    def act(session: requests.Session, server: FaultServer) -> Any:
        raw: Any = session.get(server.url, stream=True).raw
        assert raw._fp.chunked
        found = []
        while not raw.closed and (data := raw.read(1)):
            found.append(data + (raw._fp.read(raw._fp.chunk_left) if raw._fp.chunk_left else b""))
        return b"".join(found)

    assert way.alike(act, reply(LINES, framing="chunked")) == LINES


def test_the_object_below_raw_has_the_head_of_the_response(way: Way) -> None:
    """The object below ``raw`` has the head of the response that was read from the wire.

    Status, reason, version, headers, framing and length are those of that response.
    """

    def act(session: requests.Session, server: FaultServer) -> Any:
        raw: Any = session.get(server.url, stream=True).raw
        below = raw._fp
        found = [
            (below.status, below.code, below.reason, below.version, below.chunked, below.will_close, below.length),
            (
                below.getheader("X-A"),
                below.getheader("x-none", "no"),
                below.info()["x-a"],
                ("X-A", "1") in below.getheaders(),
            ),
            (below.isclosed(), below.readable(), raw._original_response is below, raw.supports_chunked_reads()),
        ]
        raw.read()
        found.append((below.isclosed(), below.fp, below.length))
        return found

    for framing in ("length", "chunked"):
        way.alike(act, reply(LINES, framing=framing, headers=[("X-A", "1")]))


@pytest.mark.parametrize("stream", [True, False])
def test_the_certificate_of_the_server_can_be_seen(
    way: Way, server_tls: ssl.SSLContext, bundle: str, stream: bool
) -> None:
    """The certificate is seen through ``raw._fp`` and ``raw._connection``.

    Authentication that is bound to the channel looks for it there. It is seen even where the whole body was read before
    a hook sees the response, since without llmwatch a hook sees it before.
    """
    seen: list[Any] = []

    def hook(response: requests.Response, **_: Any) -> None:
        raw: Any = response.raw
        below = raw._original_response.fp.raw._sock
        connection = raw._connection.sock
        for sock in (below, connection):
            seen.append(
                (sock.getpeercert(True), sock.getpeercert(), sock.version(), sock.cipher(), sock.getpeername()[0])
            )

    def act(session: requests.Session, server: FaultServer) -> Any:
        seen.clear()
        session.verify = bundle
        assert session.get(server.url, stream=stream, hooks={"response": hook}).content == LINES
        return list(seen)

    (certificate, decoded, *_), again = way.alike(act, reply(LINES), tls=server_tls)
    assert certificate.startswith(b"0")
    assert decoded["subjectAltName"]
    assert again[0] == certificate


def test_a_plain_connection_shows_no_certificate(way: Way) -> None:
    """A plain connection shows no certificate.

    Code that asks for one goes by the ``AttributeError`` of a socket without TLS. Nothing that it gets hold of can
    close the connection.
    """

    def act(session: requests.Session, server: FaultServer) -> Any:
        response = session.get(server.url, stream=True)
        raw: Any = response.raw
        sock = raw._fp.fp.raw._sock
        address = sock.getpeername()
        assert not hasattr(sock, "getpeercert")
        return address[0], response.content

    assert way.alike(act, reply(LINES))[1] == LINES
    with FaultServer([reply(LINES)] * 2) as server, way.session() as session:
        for _ in range(2):
            raw: Any = session.get(server.url, stream=True).raw
            raw._connection.sock.close()
            raw._connection.close()
            assert raw.read() == LINES
        assert {one.connection for one in server.requests} == {1}


def test_a_cut_body_raises_in_a_read_below_urllib3(way: Way) -> None:
    """A cut body is never taken for whole, by any way of reading."""
    cut = Script.of("cut", steps.Head(200, (), "chunked"), steps.Chunk(b"half"), steps.Close())
    for read in (
        lambda raw: b"".join(iter(lambda: raw._fp.fp.read1(2), b"")),
        lambda raw: b"".join(raw._fp),
        lambda raw: b"".join(iter(lambda: raw._fp.peek() and raw._fp.read(1), b"")),
    ):
        with FaultServer([cut]) as server, way.session() as session:
            raw = session.get(server.url, stream=True).raw
            with pytest.raises(llmwatch.StreamCut):
                read(raw)


class _Listener:
    """Passes a file on, knows the plain ``read`` alone, and keeps what it saw once the file is closed."""

    def __init__(self, file: Any, keep: Callable[[bytes], None]) -> None:
        self._file = file
        self._keep = keep
        self._seen = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, size: int | None = None) -> bytes:
        data: bytes = self._file.read(size)
        self._seen += data
        if self._file.fp is None and self._seen:
            seen, self._seen = self._seen, b""
            self._keep(seen)
        return data


class _Listening(HTTPAdapter):
    """An adapter that listens to what is read of its responses, as one does that fills a cache."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[bytes] = []

    def build_response(self, req: Any, resp: Any) -> requests.Response:
        resp._fp = _Listener(resp._fp, self.kept.append)
        return super().build_response(req, resp)


@pytest.mark.parametrize("stream", [True, False])
def test_an_adapter_that_records_gets_the_whole_body(way: Way, stream: bool) -> None:
    """For any framing, and for an answer of a model as for a file; nothing of a cut body is kept."""
    cut = Script.of("cut", steps.Head(200, (), "chunked"), steps.Chunk(b"half"), steps.Close())
    framings: list[Any] = ["length", "chunked", "close"]
    scripts = [*(reply(LINES, framing=framing) for framing in framings), "healthy", cut]
    prepared, adapter = requests.Session(), _Listening()
    prepared.mount("http://", adapter)
    with FaultServer(scripts) as server, way.session(prepared) as session:
        for _ in framings:
            assert session.get(server.url, stream=stream).content == LINES
        answer = session.post(server.chat_url, json=asking(), stream=stream).content
        # The end of a streamed answer's body is read after its caller has the last event.
        eventually(lambda: adapter.kept == [LINES] * 3 + [answer], "all four bodies are heard")
        with pytest.raises(llmwatch.StreamCut):
            session.post(server.url + "/orders", stream=stream).content  # noqa: B018 (a streamed body is read here)
        assert len(adapter.kept) == 4


class _Bound(AuthBase):
    """Answers a challenge on the connection that it came by, in two further steps."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.register_hook("response", self.go_on)  # type: ignore[no-untyped-call]
        return request

    def go_on(self, response: Any, **how: Any) -> requests.Response:
        for _ in range(2):
            if response.status_code in (401, 407):
                assert response.content == b"no"
                response.raw.release_conn()
                again = response.request.copy()
                again.headers["Authorization"] = "Bound again"
                response = response.connection.send(again, **how)
        found: requests.Response = response
        return found


@pytest.mark.parametrize("status", [401, 407])
@pytest.mark.parametrize("model", ["plain", "stream", "none"])
def test_an_authentication_that_is_bound_to_its_connection(way: Way, status: int, model: str) -> None:
    """All three steps go over one connection, for a call of a model too.

    Any other refusal of a model's call gives its connection up.
    """

    def act(session: requests.Session, server: FaultServer) -> Any:
        session.auth = _Bound()
        url = server.url + "/orders" if model == "none" else server.chat_url
        response = session.post(url, json=asking(stream=model == "stream"), stream=model == "stream")
        return response.status_code, [one.connection for one in server.requests]

    refused = reply(b"no", status=status, headers=[("WWW-Authenticate", "Bound")])
    found = way.alike(act, refused, refused, "healthy", ignoring=("accept-encoding",))
    assert found == (200, [1, 1, 1])
    with FaultServer([reply(b"no", status=400), "healthy"]) as server, way.session() as session:
        session.post(server.chat_url, json=asking(stream=False))
        assert session.post(server.chat_url, json=asking(stream=False)).ok
        assert [one.connection for one in server.requests] == [1, 2]


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate", "ntlm", "Bearer"])
def test_a_step_of_a_handshake_is_not_sent_on_another_connection(way: Way, scheme: str) -> None:
    """A step of a handshake that is lost or met with silence raises.

    Other credentials are sent again. On another connection those of a handshake would be taken for wrong.
    """
    bound = scheme != "Bearer"
    for header in ("Authorization", "Proxy-Authorization"):
        with FaultServer(["reset-before-response", "healthy"]) as server, way.session() as session:
            asked = {"json": asking(stream=False), "headers": {header: f"{scheme} abc"}}
            if bound:
                error = caught(requests.ConnectionError, session.post, server.chat_url, **asked)
                assert error.recovery.reason == "body_not_replayable"  # type: ignore[attr-defined]
            else:
                assert session.post(server.chat_url, **asked).ok
            assert len(server.requests) == (1 if bound else 2)


class _Replays(HTTPConnection):
    """A connection that has its answers in a drawer, as one does that replays a recording."""

    def connect(self) -> None:
        """No server is called."""
        self.is_verified = True

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is sent."""

    def getresponse(self) -> Any:
        body = b'data: {"choices": [{"delta": {"content": "hi"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
        headers = {"Content-Type": "text/event-stream", "Content-Length": str(len(body))}
        return HTTPResponse(io.BytesIO(body), headers, 200, preload_content=False)


class _Replayed(_Replays):
    """The same for http."""


class _ReplayedTls(_Replays, HTTPSConnection):
    """The same for https."""


def test_connection_classes_replaced_by_another_library_are_used(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request uses the replaced connection classes while they are there.

    New pools and old ones use them. Afterwards all is as before.
    """
    with FaultServer([reply(b"before"), "healthy"]) as server, way.session() as session:
        assert session.get(server.url).content == b"before"
        with monkeypatch.context() as patched:
            patched.setattr(HTTPConnectionPool, "ConnectionCls", _Replayed)
            patched.setattr(HTTPSConnectionPool, "ConnectionCls", _ReplayedTls)
            session.close()
            for host in (server.url, "http://elsewhere.invalid", "https://elsewhere.invalid"):
                url = f"{host}/v1/chat/completions"
                assert b"[DONE]" in session.post(url, json=asking(), stream=True).content
                assert session.get(f"{host}/file").content.startswith(b"data: ")
        session.close()
        assert len(server.requests) == 1
        assert b"[DONE]" in session.post(server.chat_url, json=asking(), stream=True).content
        assert len(server.requests) == 2


@pytest.mark.parametrize("streams", [True, False])
def test_there_is_no_descriptor_to_wait_on(way: Way, streams: bool) -> None:
    """``fileno`` raises at once: the socket would never be ready for bytes that the worker has read."""
    with FaultServer(reply(LINES)) as server, way.session() as session:
        response = session.post(server.chat_url, json=asking(stream=streams), stream=True)
        with pytest.raises(io.UnsupportedOperation, match="read1"):
            response.raw.fileno()
        with pytest.raises(ValueError, match="select"):
            select.select([response.raw], [], [], 0)
        with selectors.DefaultSelector() as selector, pytest.raises(ValueError, match="file object"):
            selector.register(response.raw, selectors.EVENT_READ)
        assert response.content == LINES


@pytest.mark.parametrize("framing", ["chunked", "close", "length"])
def test_a_body_is_sent_on_as_it_comes(way: Way, framing: Any) -> None:
    """A downloaded body can be uploaded while it is read, as with requests' own response."""

    def act(session: requests.Session, server: FaultServer) -> tuple[str, bytes]:
        source = session.get(server.url, stream=True)
        answer = session.post(server.url, data=source.raw)
        sent = server.requests[-1]
        return answer.request.headers.get("Transfer-Encoding", ""), sent.body

    found = way.alike(act, reply(LINES, framing=framing), reply(b"thanks"), ignoring=("connection",))
    assert found == ("chunked", LINES)
