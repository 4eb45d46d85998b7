"""Scripts that answer with an HTTP status other than 200."""

from __future__ import annotations

import json

import pytest

from llmwatch.faults import FaultServer
from llmwatch.faults.steps import reason
from tests.faults import reading
from tests.faults.client import PATHS, SHAPES, WireClient, asking


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_bad_request_has_an_error_document(status: int):
    """The status comes with the error document of the provider, and the connection goes on."""
    for shape in SHAPES:
        with FaultServer([f"bad-request:status={status}", "healthy"]) as server, WireClient(server.url) as client:
            client.ask(shape).read()
            assert (client.status, client.ended) == (status, "end")
            assert ("message" if shape == "cohere" else "error") in json.loads(client.body)
            assert client.ask(shape).read().status == 200


def test_status_takes_a_body():
    """Any status can come with any body."""
    script = "status:status=418,body=short, and stout,content_type=text/plain"
    with FaultServer(script) as server, asking(server) as client:
        assert client.read().body == b"short, and stout"
        assert (client.status, client.headers["content-type"]) == (418, "text/plain")


@pytest.mark.parametrize("status", [502, 520, 524])
def test_html_52x_is_a_page(status: int):
    """A gateway's status comes with a page of HTML of about the size that was asked for."""
    with FaultServer(f"html-52x:status={status},size=50000") as server, asking(server) as client:
        client.read()
        assert (client.status, client.ended) == (status, "end")
        assert 49_000 < len(client.body) <= 50_000
        assert f"<h1>{status} {reason(status)}</h1>".encode() in client.body


def test_html_52x_can_stall():
    """The page can be left open."""
    with FaultServer("html-52x:stall=yes") as server, asking(server) as client:
        client.read(until=b"</html>").read(reads=1)
        assert client.ended == ""


@pytest.mark.parametrize("every", ["0", "0.005"])
def test_error_body_never_ends(every: str):
    """The error document begins and never ends, in silence or with a byte now and then."""
    with FaultServer(f"error-body-stall:status=503,every={every}") as server, asking(server) as client:
        assert client.status == 503
        if every == "0":
            assert not client.read(reads=3).body.endswith(b" ")
        else:
            client.read(until=b" " * 3)
        assert client.ended == ""


@pytest.mark.parametrize(
    ("options", "header", "value"),
    [
        ("value=3", "retry-after", "3"),
        ("value=1.5,status=503", "retry-after", "1.5"),
        ("header=retry-after-ms,value=250", "retry-after-ms", "250"),
        (
            "value=Wed, 21 Oct 2026 07:28:00 GMT,date=Wed, 21 Oct 2026 07:27:58 GMT",
            "date",
            "Wed, 21 Oct 2026 07:27:58 GMT",
        ),
        ("value=Wed, 21 Oct 2026 07:28:00 GMT", "retry-after", "Wed, 21 Oct 2026 07:28:00 GMT"),
        ("value=-1", "retry-after", "-1"),
        ("value=soon", "retry-after", "soon"),
        ("value=,should_retry=true", "x-should-retry", "true"),
        ("should_retry=false", "retry-after", "1"),
    ],
)
def test_retry_after_sends_its_header(options: str, header: str, value: str):
    """The header has the name and value that were asked for, word by word."""
    with FaultServer(f"retry-after:{options}") as server, asking(server) as client:
        client.read()
        assert client.status == (503 if "503" in options else 429)
        assert client.headers[header] == value
        assert ("retry-after" in client.headers) == ("value=," not in options and "-ms" not in options)


@pytest.mark.parametrize("status", [302, 307])
def test_redirect_leads_to_the_next_script(status: int):
    """A redirect names an address of the same path on the same server.

    The next request is answered there.
    """
    with FaultServer([f"redirect-{status}", "healthy"]) as server, WireClient(server.url) as client:
        client.ask("anthropic").read()
        assert client.status == status
        assert client.headers["location"] == f"{server.messages_url}?redirected=1"
        target = client.headers["location"].removeprefix(server.url)
        assert reading.is_terminated("anthropic", client.send(target).head().read().body)
        assert [request.script for request in server.requests] == [f"redirect-{status}", "healthy"]


def test_redirect_takes_a_location():
    """The address can be chosen."""
    with FaultServer("redirect-307:location=http://127.0.0.1:9/elsewhere") as server, asking(server) as client:
        assert client.headers["location"] == "http://127.0.0.1:9/elsewhere"


def test_redirect_loop_leads_back():
    """A loop names the very address that was asked for, each time."""
    with FaultServer("redirect-loop") as server, WireClient(server.url) as client:
        for _ in range(3):
            client.send(PATHS["openai-chat"]).head().read()
            assert (client.status, client.headers["location"]) == (307, server.chat_url)


def test_unusual_statuses_have_a_reason():
    """Statuses of delivery networks have their phrase, and unknown ones have one as well."""
    assert [reason(status) for status in (200, 524, 799)] == ["OK", "A Timeout Occurred", "Unknown"]
