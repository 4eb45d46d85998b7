"""Places on the way to an answer where a call gets stuck, each over real sockets."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from llmwatch.faults import Context, FaultServer, ProxyServer, Script, blackhole, steps

__all__ = ["PHASES", "Scene", "scene"]

UPLOAD = b'{"stream": true, "pad": "' + b"x" * (24 << 20) + b'"}'
"""More than a kernel takes into its buffers."""

_LIMITS = {
    "connect": ("connect", "connecting"),
    "handshake": ("connect", "connecting"),
    "proxy handshake": ("connect", "connecting"),
    "CONNECT": ("connect", "connecting"),
    "send": ("send", "sending"),
    "answer": ("ttfb", "waiting"),
    "head": ("ttfb", "headers"),
    "body": ("stale", "content"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A call with ``options`` to ``url`` gets stuck until ``limit`` kills it in ``phase``.

    ``reached()`` returns once it has got there, ``left()`` once the servers have seen it go; ``said`` is what came
    before.
    """

    url: str
    limit: str
    phase: str
    options: dict[str, Any] = field(default_factory=dict)
    said: str = ""
    reached: Callable[[], None] = lambda: None
    left: Callable[[], None] = lambda: None
    requests: Callable[[], int] = lambda: 0


def _late_reading() -> Iterable[steps.Step]:
    return (steps.WaitFor("read on"), steps.ReadBody())


def _stuck(framing: steps.Framing | None, tokens: int) -> Script:
    def play(context: Context) -> Iterator[steps.Step]:
        if framing is None:
            yield steps.Hang()
        else:
            yield from context.answer(
                [*steps.paced(context.part(tokens) if tokens else []), steps.Hang()], framing=framing, ends=False
            )

    return Script(name="stuck", description="begins and falls silent", play=play)


@contextlib.contextmanager
def scene(
    where: str, tls: ssl.SSLContext | None, bundle: str, *, framing: steps.Framing = "chunked", proxy: str = ""
) -> Iterator[Scene]:
    """A place of :data:`PHASES`; ``tls`` is the server's, ``proxy`` is plain or tls."""
    limit, phase = _LIMITS[where]
    with contextlib.ExitStack() as stack:
        if where == "connect":
            host, port = stack.enter_context(blackhole())
            yield Scene(url=f"http{'s' if tls else ''}://{host}:{port}/v1/messages", limit=limit, phase=phase)
            return
        if where == "proxy handshake":
            silent = stack.enter_context(FaultServer(tls_silent=True))
            options = {"verify": bundle, "proxies": {"https": silent.url}}
            yield Scene(
                url="https://127.0.0.1:9/v1/messages",
                limit=limit,
                phase=phase,
                options=options,
                reached=lambda: silent.wait_for_connections(1),
                left=lambda: silent.wait_for_closed(1),
            )
            return
        server = stack.enter_context(_server(where, tls, framing))
        options = {"verify": bundle} if tls else {}
        if where == "send":
            options |= {"data": UPLOAD, "json": None}
        watched: FaultServer | ProxyServer = server
        if proxy:
            mode = "silent" if where == "CONNECT" else "tunnel"
            between = stack.enter_context(ProxyServer(mode, tls=tls if proxy == "tls" else None))  # type: ignore[arg-type]
            options["proxies"] = {"https": between.url}
            watched = between if where == "CONNECT" else server

        def reached() -> None:
            if where in ("answer", "head", "body"):
                server.wait_for_requests(1)
            else:
                watched.wait_for_connections(1)

        def left() -> None:
            server.gate("read on").set()
            watched.wait_for_closed(1)

        yield Scene(
            url=server.messages_url,
            limit=limit,
            phase=phase,
            options=options,
            said="A watchdog counts" if where == "body" else "",
            reached=reached,
            left=left,
            requests=lambda: sum(one.complete for one in server.requests),
        )


def _server(where: str, tls: ssl.SSLContext | None, framing: steps.Framing) -> FaultServer:
    if where == "send":
        late = Script(
            name="late", description="reads late", play=lambda context: context.answer([]), reading=_late_reading
        )
        return FaultServer(late, tls=tls, receive_buffer=65536)
    if where in ("handshake", "CONNECT"):
        return FaultServer(tls_silent=True)
    tokens = 3 if where == "body" else 0
    return FaultServer(_stuck(None if where == "answer" else framing, tokens), tls=tls)


def _places() -> Iterator[tuple[str, bool, steps.Framing, str]]:
    """Where, TLS or plain, framing, proxy: every way of getting stuck in which there is a socket."""
    for secure in (False, True):
        yield "connect", secure, "chunked", ""
        for where in ("send", "answer", "head"):
            yield where, secure, "chunked", ""
        for framing in ("chunked", "length", "close"):
            yield "body", secure, framing, ""  # type: ignore[misc]
    yield "handshake", True, "chunked", ""
    yield "proxy handshake", True, "chunked", "tls"
    for proxy in ("plain", "tls"):
        for where in ("CONNECT", "handshake", "send", "answer", "head", "body"):
            yield where, True, "chunked", proxy


PHASES = tuple(_places())
