"""Places on the way to an answer where a worker can be stuck, each over real sockets."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from llmwatch.faults import FaultServer, ProxyServer, Script, blackhole, steps

__all__ = ["UPLOAD", "Network", "Scene", "stalled_upload"]

UPLOAD = bytes(32 * 1024 * 1024)
"""More than a kernel takes into its buffers."""

_BEGINNING = b"data: one\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A worker that goes to ``url`` gets stuck there until ``limit`` kills it in ``phase``.

    ``leaves`` is called afterwards with a number of connections: it waits until the servers saw so many of them closed.
    """

    url: str
    limit: str
    phase: str
    data: bytes = b"{}"
    beginning: bytes = b""
    kwargs: dict[str, Any] = field(default_factory=dict)
    leaves: Callable[[int], None] = lambda count: None

    @property
    def options(self) -> dict[str, Any]:
        """The options that a call needs to get there, without its limit."""
        return {"data": self.data, **self.kwargs}


def _stalled_reading() -> Iterable[steps.Step]:
    return (steps.WaitFor("read on"), steps.ReadBody())


def stalled_upload() -> Script:
    """Does not read the request's body until the gate "read on" opens."""
    return Script(
        name="stalled", description="reads late", play=lambda context: context.answer([]), reading=_stalled_reading
    )


def _silent(framing: steps.Framing | None, beginning: bytes) -> Script:
    def play(context: Any) -> Iterator[steps.Step]:
        if framing is not None:
            pieces = [steps.Chunk(beginning)] if beginning else []
            yield from context.answer([*pieces, steps.Hang()], framing=framing, ends=False)
        yield steps.Hang()

    return Script(name="silent", description="begins and falls silent", play=play)


class Network:
    """Servers and proxies of this test run, with their certificates."""

    def __init__(self, tls: ssl.SSLContext, bundle: str) -> None:
        self.tls = tls
        self.bundle = bundle

    @contextlib.contextmanager
    def scene(
        self, where: str, *, tls: bool = False, framing: steps.Framing = "chunked", proxy: str | None = None
    ) -> Iterator[Scene]:
        """A server, or an address, where an attempt gets stuck at ``where``.

        ``where`` is connect, proxy-handshake, CONNECT, handshake, send, answer, head or body. ``proxy`` is plain or
        tls.
        """
        with contextlib.ExitStack() as stack:
            if where == "connect":
                host, port = stack.enter_context(blackhole())
                yield Scene(
                    url=f"{'https' if tls else 'http'}://{host}:{port}/", limit="connect", phase="connecting", kwargs={}
                )
                return
            if where == "proxy-handshake":
                yield self._silent_proxy(stack)
                return
            server = stack.enter_context(self._server(where, tls, framing))
            listeners: list[FaultServer | ProxyServer] = [server]
            kwargs: dict[str, Any] = {"verify": self.bundle}
            if proxy is not None:
                mode = "silent" if where == "CONNECT" else "tunnel"
                between = stack.enter_context(
                    ProxyServer(mode, tls=self.tls if proxy == "tls" else None)  # type: ignore[arg-type]
                )
                listeners = [between] if where == "CONNECT" else [server, between]
                kwargs["proxies"] = {"https": between.url}

            def leaves(count: int) -> None:
                for listener in listeners:
                    listener.wait_for_closed(count)

            limit, phase = _LIMITS[where]
            yield Scene(
                url=server.chat_url,
                limit=limit,
                phase=phase,
                data=UPLOAD if where == "send" else b"{}",
                beginning=_BEGINNING if where == "body" else b"",
                kwargs=kwargs,
                leaves=leaves,
            )

    def _server(self, where: str, tls: bool, framing: steps.Framing) -> FaultServer:
        if where == "send":
            server = FaultServer(stalled_upload(), tls=self.tls if tls else None, receive_buffer=4096)
            # Made with the server, so that its descriptors do not come in between two counts.
            server.gate("read on")
            return server
        script = _silent(framing if where in ("head", "body") else None, _BEGINNING if where == "body" else b"")
        if where in ("handshake", "CONNECT"):
            return FaultServer(script, tls_silent=True)
        return FaultServer(script, tls=self.tls if tls else None)

    def _silent_proxy(self, stack: contextlib.ExitStack) -> Scene:
        server = stack.enter_context(FaultServer(tls_silent=True))
        return Scene(
            url="https://127.0.0.1:9/",
            limit="connect",
            phase="connecting",
            kwargs={"verify": self.bundle, "proxies": {"https": server.url}},
            leaves=server.wait_for_closed,
        )


_LIMITS = {
    "CONNECT": ("connect", "connecting"),
    "handshake": ("connect", "connecting"),
    "send": ("send", "sending"),
    "answer": ("ttfb", "waiting"),
    "head": ("ttfb", "headers"),
    "body": ("stale", "content"),
}
