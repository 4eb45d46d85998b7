"""A fault server for agents in any language: its lines on standard output, and its recording.

The threads of connections put observations into a queue; the main thread alone writes, so that a full disk or a reader
that left ends the command as it ends any other.
"""

from __future__ import annotations

import json
import os
import queue
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

import typer

from llmwatch.cli.exit_codes import ExitCode
from llmwatch.cli.fault_certificate import Certificate
from llmwatch.cli.sigterm import heeding_sigterm
from llmwatch.cli.terminal import OutputFailed, Terminal, printable
from llmwatch.faults import FaultServer, Observation, Request, Script
from llmwatch.redaction import redact
from llmwatch.redaction.patterns import carries_a_key, scrub
from llmwatch.watch.clock import SYSTEM

__all__ = ["recorded", "serve_until_interrupted"]

_CHECK_SECONDS = 0.2
"""The longest wait for an observation at once.

On CPython 3.10 to 3.12 a signal may leave a longer one waiting.
"""

_TITLES = {
    "openai-chat": "OpenAI chat",
    "openai-responses": "OpenAI Responses",
    "anthropic": "Anthropic",
    "gemini": "Gemini",
    "ndjson": "Ollama",
    "bedrock": "Bedrock",
    "cohere": "Cohere",
}


def serve_until_interrupted(
    terminal: Terminal,
    scripts: Sequence[Script],
    *,
    port: int = 0,
    certificate: Certificate | None = None,
    record: str | None = None,
) -> ExitCode:
    """Serve until Ctrl-C or SIGTERM, then write the summary.

    Raises ``typer.BadParameter`` for a port in use.
    """
    began = SYSTEM.now()
    observations: queue.SimpleQueue[Observation] = queue.SimpleQueue()
    with _recording(record) as recording, _forgetting(certificate):
        try:
            server = FaultServer(
                scripts,
                port=port,
                tls=certificate.context if certificate else None,
                clock=lambda: SYSTEM.now() - began,
                observer=observations.put,
            )
        except OSError as error:
            raise typer.BadParameter(f"{port} cannot be used: {error.strerror}.", param_hint="--port") from None
        report = _Report(terminal, recording)
        try:
            with heeding_sigterm():
                # Before the address is shown: an agent may connect as soon as it reads the line.
                server.start()
                _introduce(terminal, server, scripts, certificate)
                while True:
                    _pass_on(observations, report)
        except KeyboardInterrupt:
            server.stop()
            while not observations.empty():
                report.write(observations.get())
            report.summary(server)
        finally:
            server.stop()
    for failure in server.failures:
        terminal.note(f"llmwatch: the fault server failed: {type(failure).__name__}: {failure}")
    return ExitCode.FAILED if server.failures else ExitCode.INTERRUPTED


def _pass_on(observations: queue.SimpleQueue[Observation], report: _Report) -> None:
    try:
        observation = observations.get(timeout=_CHECK_SECONDS)
    except queue.Empty:
        return
    report.write(observation)


def _introduce(
    terminal: Terminal, server: FaultServer, scripts: Sequence[Script], certificate: Certificate | None
) -> None:
    urls = server.base_urls
    width = max(len(title) for title in _TITLES.values())
    for name, title in _TITLES.items():
        terminal.write(f"{title:<{width}}  {urls[name]}\n")
    if certificate is not None and certificate.authority is not None:
        terminal.write(f"{'authority':<{width}}  {certificate.authority}\n")
    for number, script in enumerate(scripts, 1):
        and_on = " and all that follow" if number == len(scripts) else ""
        terminal.write(printable(f"request {number}{and_on}: {script.label} ({script.description})\n"))


class _Report:
    """The lines about connections and requests, the recording, and the counts of the summary."""

    def __init__(self, terminal: Terminal, recording: TextIO | None) -> None:
        self._terminal = terminal
        self._recording = recording
        self._endings: Counter[tuple[str, str]] = Counter()

    def write(self, observation: Observation) -> None:
        request = observation.request
        if request is not None and observation.what == "answered":
            self._endings[request.script, observation.ending] += 1
            if self._recording is not None:
                _append(self._recording, recorded(observation, request))
        self._terminal.write(f"{observation.at or 0:9.3f}  {_line(observation)}\n")

    def summary(self, server: FaultServer) -> None:
        requests, connections = len(server.requests), server.connections
        self._terminal.write(f"\n{_counted(requests, 'request')} on {_counted(connections, 'connection')}\n")
        for (script, how), count in sorted(self._endings.items()):
            self._terminal.write(f"{count:6}  {script}: {how}\n")


def _line(observation: Observation) -> str:
    place = f"connection {observation.connection}"
    request = observation.request
    if request is None:
        return f"{place} opened" if observation.what == "opened" else f"{place} closed: {observation.ending}"
    place += f", request {request.number}"
    if observation.what == "answered":
        return f"{place}: {request.script}, {observation.sent:,} bytes sent, {observation.ending}"
    whole = "" if request.complete else ", not whole"
    target = printable(redact.url(request.target))
    return f"{place}: {printable(request.method)} {target}, {request.body_bytes:,} bytes{whole}"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def recorded(observation: Observation, request: Request) -> dict[str, Any]:
    """Plain JSON values for a request and the end of its answer.

    Credentials are masked in headers, URL and body.
    """
    return {
        "number": request.number,
        "connection": request.connection,
        "received_at": request.at,
        "ended_at": observation.at,
        "method": request.method,
        "target": redact.url(request.target),
        "headers": [[name, redact.MASK if carries_a_key(name) else scrub(value)] for name, value in request.headers],
        "body": _body(request),
        "body_bytes": request.body_bytes,
        "complete": request.complete,
        "script": request.script,
        "sent_bytes": observation.sent,
        "ending": observation.ending,
    }


def _body(request: Request) -> object:
    """The body as JSON, or as text if it is none."""
    try:
        return _masked(request.json())
    except (ValueError, RecursionError):
        return scrub(request.body.decode("utf-8", "replace"))


def _masked(value: object) -> object:
    if isinstance(value, dict):
        return {
            key: redact.MASK if carries_a_key(key) and isinstance(inner, str) else _masked(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_masked(inner) for inner in value]
    return scrub(value) if isinstance(value, str) else value


def _append(recording: TextIO, line: dict[str, Any]) -> None:
    try:
        # Python reads NaN and infinity in a request's JSON, and writes them the same way.
        recording.write(json.dumps(line) + "\n")
        recording.flush()
    except OSError as error:
        raise OutputFailed(error.strerror or type(error).__name__) from None


@contextmanager
def _recording(path: str | None) -> Iterator[TextIO | None]:
    if path is None:
        yield None
        return
    try:
        # It holds prompts: other users of the machine have no business with it.
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be written: {error.strerror}.", param_hint="--record") from None
    with open(descriptor, "w", encoding="utf-8") as file:
        yield file


@contextmanager
def _forgetting(certificate: Certificate | None) -> Iterator[None]:
    try:
        yield
    finally:
        if certificate is not None:
            certificate.forget()
