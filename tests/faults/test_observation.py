"""What a fault server reports while it runs."""

from __future__ import annotations

import ssl
import threading

import pytest

from llmwatch.faults import FaultServer, Observation
from llmwatch.faults.steps import ANSWER_KEPT
from tests.faults.client import WireClient, asking


class Seen:
    """The observations of a server, and the waiting for the end of connections."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.all: list[Observation] = []

    def __call__(self, observation: Observation) -> None:
        with self._changed:
            self.all.append(observation)
            self._changed.notify_all()

    def until_closed(self) -> list[Observation]:
        with self._changed:
            assert self._changed.wait_for(lambda: any(seen.what == "closed" for seen in self.all), 30)
            return list(self.all)


def test_a_request_is_reported_from_its_connection_to_the_end():
    """A healthy answer is four observations, with the server's time and the bytes that were sent."""
    seen = Seen()
    with FaultServer("healthy:framing=length", observer=seen, clock=iter(range(100)).__next__) as server:
        with asking(server) as client:
            client.read()
        found = seen.until_closed()
    assert [(one.what, one.connection, one.ending) for one in found] == [
        ("opened", 1, ""),
        ("request", 1, ""),
        ("answered", 1, "in good order"),
        ("closed", 1, "in good order"),
    ]
    assert found[0].request is None
    assert found[3].request is None
    assert found[1].request is found[2].request is server.requests[0]
    assert [one.sent > 1_000 for one in found] == [False, False, True, False]
    # The second reading of the clock is the request's own, the fourth that before the first byte of the answer.
    assert [one.at for one in found] == [0, 2, 4, 5]
    assert [one.began for one in found] == [None, None, 3, None]
    assert server.requests[0].at == 1
    assert found[2].answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert len(found[2].answer) == found[2].sent


def test_the_beginning_of_a_long_answer_is_kept():
    """Memory is bounded, and the number of bytes is still that of all."""
    seen = Seen()
    with FaultServer("giant-event", observer=seen) as server:
        with asking(server) as client:
            client.read()
        answered = seen.until_closed()[2]
    assert (len(answered.answer), answered.sent > 2 * ANSWER_KEPT) == (ANSWER_KEPT, True)


@pytest.mark.parametrize(
    ("script", "ending"),
    [
        ("reset-mid-stream", "reset by the script"),
        ("fin-before-response", "closed by the script"),
        ("eof-without-terminal:framing=close", "the body ended with its connection"),
    ],
)
def test_the_end_of_an_answer_has_its_reason(script: str, ending: str):
    """The answer and its connection are reported with what ended them."""
    seen = Seen()
    with FaultServer(script, observer=seen) as server, WireClient(server.url) as client:
        client.send("/v1/chat/completions").end_of_connection()
        found = seen.until_closed()
    assert [(one.what, one.ending) for one in found[2:]] == [("answered", ending), ("closed", ending)]


def test_a_client_that_leaves_a_silent_server():
    """The client's end is reported as such, and so is that of the server."""
    for leave, ending in ((True, "the client left while we waited"), (False, "the server is stopping")):
        seen = Seen()
        with FaultServer("silent", observer=seen) as server:
            with WireClient(server.url) as client:
                client.send("/v1/chat/completions")
                server.wait_for_requests(1)
                if not leave:
                    server.stop()
                    client.end_of_connection()
            found = seen.until_closed()
        assert [(one.what, one.sent, one.ending) for one in found[2:]] == [
            ("answered", 0, ending),
            ("closed", 0, ending),
        ]


def test_a_handshake_that_fails_is_named(server_tls: ssl.SSLContext):
    """A client that speaks no TLS is a connection without a request."""
    seen = Seen()
    with FaultServer("healthy", tls=server_tls, observer=seen) as server:
        with WireClient(f"http://{server.netloc}") as client:
            client.send("/v1/chat/completions").end_of_connection()
        found = seen.until_closed()
    assert [(one.what, one.ending) for one in found] == [("opened", ""), ("closed", "the handshake failed")]


def test_an_observer_that_raises_fails_the_server():
    """A report that is lost does not pass unnoticed."""

    def broken(observation: Observation) -> None:
        raise RuntimeError("broken observer")

    with pytest.raises(RuntimeError, match="broken observer"), FaultServer("healthy", observer=broken) as server:
        with WireClient(server.url) as client:
            client.send("/v1/chat/completions").end_of_connection()
        server.wait_for_closed(1)


def test_base_urls_are_those_of_the_sdks():
    """OpenAI's SDK appends to a base URL with the version; the others append the version themselves."""
    with FaultServer("healthy") as server:
        assert server.base_urls.pop("openai-chat") == server.base_urls["openai-responses"] == f"{server.url}/v1"
        others = {name: url for name, url in server.base_urls.items() if not name.startswith("openai-")}
    assert set(others) == {"anthropic", "generic", "gemini", "ndjson", "bedrock", "cohere"}
    assert set(others.values()) == {server.url}
