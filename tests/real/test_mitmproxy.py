"""mitmproxy 11.0.2 between llmwatch and a provider, for plain HTTP and inside of TLS.

By default it holds the whole answer back, an event stream as well: nothing comes before the end, neither pings nor
content, and a cut is a 502. ``stream_large_bodies=1`` hands on what comes. It never gives a silent provider up.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from llmwatch import Client, Decision
from llmwatch.faults import FaultServer
from tests.real.running import ENOUGH, SOON, Seen, Servers, failed, proxy, seen

CONTINUE, STOP = Decision.CONTINUE, Decision.STOP
SILENT = failed("WatchTimeout", STOP, 2, limit="ttfb")


@contextmanager
def mitmproxy(servers: Servers, *options: str) -> Iterator[tuple[str, Path]]:
    """Its URL, and the folder with its certificates."""
    folders = []

    def command(port: int, folder: Path) -> list[str]:
        folders.append(folder)
        settings = [
            part for option in (f"confdir={folder}", "ssl_insecure=true", *options) for part in ("--set", option)
        ]
        return [servers.path("bin/mitmdump"), "-q", "--listen-host", "127.0.0.1", "--listen-port", str(port), *settings]

    with proxy(command) as port:
        yield f"http://127.0.0.1:{port}", folders[-1]


@pytest.fixture(scope="module")
def holding(servers: Servers) -> Iterator[tuple[str, Path]]:
    """As it comes."""
    with mitmproxy(servers) as found:
        yield found


@pytest.fixture(scope="module")
def streaming(servers: Servers) -> Iterator[tuple[str, Path]]:
    """Set to hand bodies on."""
    with mitmproxy(servers, "stream_large_bodies=1") as found:
        yield found


@pytest.mark.parametrize(
    ("script", "limit", "held", "streamed"),
    [
        ("healthy", "", Seen(), Seen()),
        ("silent", "ttfb", SILENT, SILENT),
        ("headers-then-silent", "ttfb", SILENT, SILENT),
        ("keepalive-only", "ttfb first_content", SILENT, failed("WatchTimeout", STOP, limit="first_content")),
        ("stall-after-content", "ttfb stale", SILENT, failed("WatchTimeout", CONTINUE, limit="stale")),
        ("pings-after-content", "ttfb progress", SILENT, failed("WatchTimeout", CONTINUE, limit="progress")),
        ("cut-chunk", "", failed("ProviderError", STOP, 2, status=502), failed("StreamCut", CONTINUE)),
        ("reset-mid-stream", "", failed("ProviderError", STOP, 2, status=502), failed("StreamCut", CONTINUE)),
        ("eof-without-terminal", "", failed("StreamTruncated", CONTINUE), failed("StreamTruncated", CONTINUE)),
        (
            "reset-before-response",
            "",
            failed("ProviderError", STOP, 2, status=502),
            failed("ProviderError", STOP, 2, status=502),
        ),
    ],
)
@pytest.mark.parametrize("mode", ["holding", "streaming"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_fault_behind_mitmproxy(
    request: pytest.FixtureRequest, mode: str, scheme: str, script: str, limit: str, held: Seen, streamed: Seen
) -> None:
    """Inside of TLS the request goes through CONNECT, and mitmproxy shows a certificate of its own."""
    url, folder = request.getfixturevalue(mode)
    tls = None
    if scheme == "https":
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    expected = held if mode == "holding" else streamed
    limits = dict.fromkeys(limit.split(), SOON)
    with FaultServer(script, tls=tls) as upstream:
        came = seen(
            upstream.chat_url,
            limits,
            lambda: len(upstream.requests),
            client=Client(retry=ENOUGH),
            proxies={"http": url, "https": url},
            verify=str(folder / "mitmproxy-ca-cert.pem"),
        )
        assert came == expected
        if expected.error == "WatchTimeout":
            # It ends the connection to the provider as well.
            upstream.wait_for_closed(expected.upstream)
