"""Playing a case: every entry point over every transport at once, each with a server of its own."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import anthropic
import openai
import pytest

import llmwatch
from llmwatch import Limits, LLMWatchError, Retry
from llmwatch.faults import FaultServer, Request
from llmwatch.faults.catalogue import ANSWER
from llmwatch.faults.shapes.choice import SHAPES
from tests.end_to_end.calls import in_thread
from tests.matrix.entry_points import ENTRY_POINTS, Asking, Seen
from tests.matrix.row import NAMES, TRANSPORTS, Case
from tests.matrix.times import PATIENCE

__all__ = ["Played", "Trust", "play"]

UNKNOWN = "provider.invalid"
MESSAGES = [{"role": "user", "content": "Say it."}]


@dataclass(frozen=True, slots=True)
class Trust:
    """The server's certificate, and who trusts it."""

    server: ssl.SSLContext
    bundle: str
    trusting: ssl.SSLContext


@dataclass(frozen=True, slots=True)
class Played:
    """What was seen at one entry point over one transport, and at its server."""

    entry_point: str
    transport: str
    seen: Seen
    requests: list[Request]


def play(case: Case, trust: Trust, monkeypatch: pytest.MonkeyPatch) -> list[Played]:
    """What every entry point for which ``case`` has an expectation makes of it.

    All cells run at the same time, so that they wait at the same time.
    """
    cells = [
        (name, transport)
        for name in NAMES
        if not isinstance(case.cells[name], str)
        for transport in TRANSPORTS
        if transport not in case.transports
    ]
    if case.server == "unknown host":
        _hide(monkeypatch)
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(_server(case, trust if over == "TLS" else None)) for _, over in cells]
        records: list[llmwatch.CallRecord] = []
        untouched = [server for server, (name, _) in zip(servers, cells, strict=True) if name == "httpx"]
        if untouched:
            llmwatch.install(**_settings(case, untouched), sinks=[records.append])
            stack.callback(llmwatch.uninstall)
        running = []
        for server, (name, over) in zip(servers, cells, strict=True):
            asking = _asking(case, server, trust if over == "TLS" else None)
            running.append(in_thread(_seen, case, name, asking))
        played = []
        for server, (name, over), thread in zip(servers, cells, running, strict=True):
            seen = thread.result(PATIENCE)
            if name == "httpx":
                seen.records = [one for one in records if f":{server.port}/" in one.url][case.warm :]
            played.append(Played(name, over, seen, server.requests[case.warm :]))
        return played


def _seen(case: Case, name: str, asking: Asking) -> Seen:
    seen = Seen()
    with ENTRY_POINTS[name](asking, seen) as call:
        if case.warm:
            call(Seen())
            seen.records.clear()
        try:
            call(seen)
        except (LLMWatchError, openai.OpenAIError, anthropic.AnthropicError) as error:
            # The frames of the traceback hold connections.
            seen.error = error.with_traceback(None)
    return seen


@contextlib.contextmanager
def _server(case: Case, trust: Trust | None) -> Iterator[FaultServer]:
    server = FaultServer(
        case.scripts,
        shape=case.shape,
        tls=trust.server if trust is not None else None,
        receive_buffer=65536 if case.upload else None,
        text=ANSWER if case.said is None else case.said,
    )
    try:
        if case.server in ("up", "not trusted"):
            server.start()
        yield server
    finally:
        server.stop()
    assert server.failures == []


def _settings(case: Case, servers: Sequence[FaultServer]) -> dict[str, Any]:
    retry = {"backoff": 0.01, **case.retry}
    if case.server == "up later":

        def start(resend: llmwatch.Resend) -> None:
            for server in servers:
                if f":{server.port}/" in resend.url:
                    server.start()

        retry["on_retry"] = start
    return {
        "limits": Limits(**case.limits),
        "retry": Retry(**retry),
        "max_event": case.max_event,
    }


def _asking(case: Case, server: FaultServer, trust: Trust | None) -> Asking:
    known = case.server != "unknown host"
    trusted = trust if case.server != "not trusted" else None
    body = {"model": "m", "messages": MESSAGES, "stream": True, **case.body}
    if case.upload:
        body["messages"] = [{"role": "user", "content": "x" * case.upload}]
    return Asking(
        url=server.url if known else server.url.replace(server.host, UNKNOWN),
        path=SHAPES[case.shape].path,
        shape=case.shape,
        body=body,
        verify=trusted.bundle if trusted is not None else None,
        trusting=trusted.trusting if trusted is not None else None,
        settings=_settings(case, [server]),
    )


def _hide(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name server knows the host."""
    asked = socket.getaddrinfo

    def look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host in (UNKNOWN, UNKNOWN.encode()):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return asked(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
