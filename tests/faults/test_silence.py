"""Scripts that say nothing, or nothing of meaning, or take their time."""

from __future__ import annotations

import contextlib
import re
import time

import pytest

from llmwatch.faults import FaultServer, catalogue
from tests.faults import reading
from tests.faults.client import PATHS, SHAPES, WireClient, asking

KEEPALIVES = {"anthropic": b'event: ping\ndata: {"type":"ping"}\n\n', "ndjson": b"\n"}
COMMENT = b": keep-alive\n\n"
MEBI = 1 << 20
TERMINAL = {
    "openai-chat": rb"\[DONE\]",
    "openai-responses": b'"type":"response.completed"',
    "anthropic": b'"type":"message_stop"',
    "generic": rb"\[DONE\]",
    "gemini": b'"finishReason":"STOP"',
    "ndjson": b'"done":true',
    "cohere": b'"type":"message-end"',
}


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_silent_notices_that_the_client_left(leave: str):
    """A silent server sends nothing at all, and lets go of a client that goes, by FIN or by RST."""
    with FaultServer("silent") as server, WireClient(server.url) as client:
        client.send(PATHS["anthropic"])
        server.wait_for_requests(1)
        assert client.is_quiet()
        assert server.open_connections == 1
        client.reset() if leave == "reset" else client.sock.close()
        server.wait_for_closed(1)
        assert server.open_connections == 0


def test_headers_then_silent_sends_a_head_alone():
    """The head comes at once and promises a stream of which nothing comes."""
    with FaultServer("headers-then-silent") as server, asking(server) as client:
        assert (client.status, client.headers["content-type"]) == (200, "text/event-stream")
        assert (client.read(reads=0).body, client.buffer) == (b"", b"")


def test_late_headers_come_after_their_time():
    """The head does not come before its time, and a whole answer follows it."""
    with FaultServer("late-headers:after=0.1") as server, WireClient(server.url) as client:
        began = time.monotonic()
        client.ask()
        assert time.monotonic() - began >= 0.1
        assert reading.text("openai-chat", client.read().body) == catalogue.ANSWER


def test_comment_then_silent_sends_no_event():
    """One comment, or half an event, is all that comes."""
    for shape in SHAPES:
        comment = KEEPALIVES["ndjson"] if shape == "ndjson" else COMMENT
        with FaultServer(["comment-then-silent", "comment-then-silent:what=half"]) as server:
            with asking(server, shape) as client:
                assert client.read(at_least=len(comment)).body == comment
            with asking(server, shape) as client:
                half = client.read(at_least=1).body
                for name in (b"message_start", b"response.created", b"message-start"):
                    half = half.removeprefix(b"event: " + name + b"\n")
                assert b"\n" not in half
                assert client.is_quiet()


def test_keepalive_only_goes_on():
    """The keep-alives of the provider come, and nothing else."""
    for shape in SHAPES:
        one = KEEPALIVES.get(shape, COMMENT)
        with FaultServer("keepalive-only:every=0.005") as server, asking(server, shape) as client:
            assert client.read(at_least=len(one) * 4).body[: len(one) * 4] == one * 4


def test_keepalives_keep_their_distance():
    """The time between keep-alives is the script's."""
    with FaultServer("keepalive-only:every=0.02") as server, WireClient(server.url) as client:
        began = time.monotonic()
        client.ask().read(at_least=len(COMMENT) * 6)
        assert time.monotonic() - began >= 0.02 * 5


@pytest.mark.parametrize("kind", ["comment", "ping", "blank", "empty"])
def test_kind_of_keepalives_can_be_chosen(kind: str):
    """Any shape can send any kind of keep-alive."""
    expected = {
        "comment": COMMENT,
        "ping": KEEPALIVES["anthropic"],
        "blank": b"\n",
        "empty": b'"delta":{},',
    }
    with FaultServer(f"keepalive-only:every=0.005,kind={kind}") as server, asking(server) as client:
        client.read(until=expected[kind] if kind != "blank" else b"\n\n")


@pytest.mark.parametrize(
    ("shape", "first"),
    [
        ("openai-chat", ['"role":"assistant"']),
        ("openai-responses", ["response.created", "response.in_progress"]),
        ("anthropic", ["message_start"]),
    ],
)
def test_lifecycle_only_begins_and_waits(shape: str, first: list[str]):
    """The events before the content come once, then keep-alives."""
    with FaultServer("lifecycle-only:every=0.005") as server, asking(server, shape) as client:
        body = client.read(until=KEEPALIVES.get(shape, COMMENT) * 2).body
        begun = [data for name, data in reading.events(body) if name != "ping"]
        assert len(begun) == len(first)
        assert all(sign in data for sign, data in zip(first, begun, strict=True))
        assert reading.text(shape, body) == ""


def test_stall_after_content_says_so_many_tokens():
    """Exactly the tokens that were asked for come, then nothing."""
    for shape in SHAPES:
        with FaultServer("stall-after-content:tokens=4") as server, asking(server, shape) as client:
            client.read(until=reading.says(shape, catalogue.answer(4)))
            assert client.is_quiet()
            assert client.ended == ""


def test_pings_after_content_say_nothing_more():
    """After the tokens only keep-alives come."""
    for shape in SHAPES:
        one = KEEPALIVES.get(shape, COMMENT)
        with FaultServer("pings-after-content:every=0.005") as server, asking(server, shape) as client:
            body = client.read(until=one * 3).body
            assert reading.text(shape, body) == catalogue.answer(3)


def test_stall_in_a_plain_call_is_half_a_document():
    """A plain call stalls in the middle of its document."""
    with FaultServer(["healthy", "stall-after-content"]) as server, WireClient(server.url) as client:
        whole = client.send(PATHS["openai-chat"], {}).head().read().body
        half = whole[: len(whole) // 2].replace(b"fault1", b"fault2")
        begun = client.send(PATHS["openai-chat"], {}).head().read(at_least=len(half)).body
        assert client.headers["content-type"] == "application/json"
        assert begun == half
        assert client.is_quiet()


def test_long_gap_is_in_the_middle():
    """The gap comes after the first tokens and before the rest of a whole answer."""
    with FaultServer(["long-gap:gap=60,tokens=2", "long-gap:gap=0.1,tokens=2"]) as server:
        with asking(server) as client:
            client.read(until=reading.says("openai-chat", catalogue.answer(2)))
            assert client.is_quiet()
        with WireClient(server.url) as client:
            began = time.monotonic()
            assert reading.text("openai-chat", client.ask().read().body) == catalogue.ANSWER
            assert time.monotonic() - began >= 0.1


def test_drip_sends_a_few_bytes_at_a_time():
    """Content comes in chunks of so many bytes, and does not end with the answer."""
    with FaultServer("drip:size=64,every=0.001") as server, asking(server, "generic") as client:
        client.read(at_least=2000)
        assert {len(chunk) for chunk in client.chunks if len(chunk) != 64} <= {_rest_of_content() % 64}
        assert reading.text("generic", client.body[: _rest_of_content() * 2]) == catalogue.ANSWER * 2


def _rest_of_content() -> int:
    with FaultServer("healthy") as server, asking(server, "generic") as client:
        return len(client.read().body) - len(b"data: [DONE]\n\n")


def test_endless_content_starts_over():
    """After the end of the answer's text the content starts over."""
    for shape in SHAPES:
        last = catalogue.ANSWER.split()[-1].encode()
        with FaultServer("endless-content:every=0") as server, asking(server, shape) as client:
            while client.body.count(last) < 3:
                client.read(at_least=len(client.body) + 1)
            text = reading.text(shape, client.body[: client.body.rindex(b"\n\n" if shape != "ndjson" else b"\n") + 2])
            assert text.startswith(catalogue.ANSWER * 2)


def test_linger_after_done_leaves_the_body_open():
    """The answer is whole, terminal event included, but the body does not end."""
    for shape in SHAPES:
        with FaultServer("linger-after-done") as server, asking(server, shape) as client:
            last = TERMINAL[shape] + (b".*\n" if shape == "ndjson" else b".*\n\n")
            client.read(until=re.compile(last).search).read(reads=3)
            assert reading.is_terminated(shape, client.body)
            assert client.ended == ""


@pytest.mark.parametrize("shape", ["openai-chat", "anthropic", "openai-responses"])
def test_finish_without_done_never_terminates(shape: str):
    """The reason for finishing comes, and keep-alives in place of what ends the answer."""
    sign = {"openai-chat": "finish_reason", "anthropic": "stop_reason", "openai-responses": "output_item.done"}
    with FaultServer("finish-without-done:every=0.005") as server, asking(server, shape) as client:
        body = client.read(until=KEEPALIVES.get(shape, COMMENT) * 2).body
        last = [data for name, data in reading.events(body) if name != "ping"][-1]
        assert sign[shape] in last
        assert reading.text(shape, body) == catalogue.ANSWER
        assert not any(end in body for end in (b"[DONE]", b"message_stop", b"response.completed"))


def test_late_terminal_waits_for_its_gate():
    """All but the last event comes; that comes when the gate opens."""
    for shape in SHAPES:
        with FaultServer("late-terminal") as server, asking(server, shape) as client:
            client.read(until=reading.says(shape, catalogue.ANSWER)).read(reads=3)
            assert client.ended == ""
            assert not reading.is_terminated(shape, client.body)
            server.gate("terminal").set()
            client.read()
            assert client.ended == "end"
            assert reading.is_terminated(shape, client.body)


@pytest.mark.parametrize("head", ["no", "yes"])
def test_buffered_comes_at_once(head: str):
    """The whole body is one chunk after a wait; the head waits with it or goes before it."""
    with FaultServer(f"buffered:delay=0.1,head={head}") as server, WireClient(server.url) as client:
        began = time.monotonic()
        client.send(PATHS["openai-chat"]).head()
        if head == "yes":
            assert (client.read(reads=0).body, client.buffer) == (b"", b"")
        client.read()
        assert time.monotonic() - began >= 0.1
        assert len(client.chunks) == 1
        assert reading.text("openai-chat", client.body) == catalogue.ANSWER


def test_upload_stall_leaves_the_body_unread():
    """The request is recorded without its body, and the client's writing comes to a halt."""
    with FaultServer("upload-stall", receive_buffer=65536) as server, WireClient(server.url) as client:
        client.sock.sendall(b"POST /v1/messages HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (32 * MEBI))
        client.sock.settimeout(0.3)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 32 * MEBI:
                sent += client.sock.send(bytes(MEBI))
        assert sent < 32 * MEBI
        (request,) = server.requests
        assert (request.body, request.body_bytes, request.complete) == (b"", 0, False)
        assert server.open_connections == 1


def test_slow_upload_takes_its_time():
    """The body is read slowly, but all of it, and the answer follows."""
    with FaultServer("slow-upload:size=65536,every=0.01") as server, WireClient(server.url) as client:
        began = time.monotonic()
        client.ask(padding="x" * MEBI).read()
        assert time.monotonic() - began >= 0.01 * (MEBI // 65536)
        assert reading.text("openai-chat", client.body) == catalogue.ANSWER
        assert server.requests[0].complete


@pytest.mark.parametrize(("leave", "ended"), [("fin", "eof"), ("reset", "reset")])
def test_healthy_can_drop_an_idle_connection(leave: str, ended: str):
    """After its answer the connection is dropped while it is idle, in the way that was asked for."""
    with FaultServer(f"healthy:leave={leave},idle=0.02") as server, asking(server) as client:
        assert client.read().ended == "end"
        assert client.end_of_connection() == ended


def test_healthy_can_take_its_time_between_tokens():
    """A delay comes after every event."""
    with FaultServer("healthy:tokens=5,delay=0.01") as server, WireClient(server.url) as client:
        began = time.monotonic()
        client.ask("generic").read()
        assert time.monotonic() - began >= 0.05
        assert reading.text("generic", client.body) == catalogue.answer(5)
