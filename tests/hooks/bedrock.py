"""Clients of botocore with dummy keys, their calls, and a server that keeps the bytes of requests."""

from __future__ import annotations

import base64
import functools
import io
import json
import re
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import botocore.session
from botocore.config import Config

from llmwatch.faults import Script
from llmwatch.faults.shapes.bedrock import frame
from llmwatch.faults.steps import Chunk, End, Head

__all__ = [
    "ANTHROPIC",
    "CALLS",
    "CHUNKS",
    "MODEL",
    "STREAMS",
    "Recorder",
    "chunks",
    "client",
    "masked",
    "use_dummy_keys",
]

MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
SAID = [{"role": "user", "content": [{"text": "Say it."}]}]
ANTHROPIC = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "Say it."}],
}


def use_dummy_keys(setenv: Callable[[str, str], object]) -> None:
    """Give botocore keys, and nothing of this machine's own."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "dummy",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_RETRY_MODE": "standard",
        "NO_PROXY": "",
    }.items():
        setenv(name, value)


@functools.cache
def _loader() -> Any:
    """The loader of botocore's data, which reads each service once."""
    return botocore.session.Session().get_component("data_loader")


@contextmanager
def client(url: str, service: str = "bedrock-runtime", *, verify: Any = None, **config: Any) -> Iterator[Any]:
    """A client as a script that knows nothing of llmwatch makes it."""
    session = botocore.session.Session()
    session.register_component("data_loader", _loader())
    made = session.create_client(service, endpoint_url=url, verify=verify, config=Config(**config))
    try:
        yield made
    finally:
        made.close()


def _converse_stream(made: Any, seen: list[Any]) -> None:
    with closing(made.converse_stream(modelId=MODEL, messages=SAID)["stream"]) as events:
        for event in events:
            seen.append(event)


def _invoke_stream(made: Any, seen: list[Any]) -> None:
    answer = made.invoke_model_with_response_stream(modelId=MODEL, body=json.dumps(ANTHROPIC))
    with closing(answer["body"]) as events:
        for event in events:
            seen.append(event)


def _converse(made: Any, seen: list[Any]) -> None:
    answer = made.converse(modelId=MODEL, messages=SAID)
    seen.append({name: value for name, value in answer.items() if name != "ResponseMetadata"})


def _invoke(made: Any, seen: list[Any]) -> None:
    seen.append(made.invoke_model(modelId=MODEL, body=json.dumps(ANTHROPIC))["body"].read())


CALLS: dict[str, Callable[[Any, list[Any]], None]] = {
    "ConverseStream": _converse_stream,
    "InvokeModelWithResponseStream": _invoke_stream,
    "Converse": _converse,
    "InvokeModel": _invoke,
}
"""The operations that are watched. Each is called on a client, and gives what came to a list."""

STREAMS = ("ConverseStream", "InvokeModelWithResponseStream")

_KIND = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}


def _chunk(value: object) -> bytes:
    return frame(_KIND, {"bytes": base64.b64encode(json.dumps(value).encode()).decode(), "p": "abc"})


CHUNKS = [
    _chunk(value)
    for value in (
        {"type": "message_start", "message": {"id": "m", "role": "assistant", "content": [], "usage": {}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "A dog"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " barks."}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 1, "outputTokenCount": 2}},
    )
]
"""The frames of InvokeModelWithResponseStream for a model of Anthropic's."""


def chunks(*steps: Any) -> Script:
    """A script of InvokeModelWithResponseStream: its head, then ``steps``; all frames without any."""
    head = Head(200, [("Content-Type", "application/vnd.amazon.eventstream")], "chunked")
    return Script.of("chunks", head, *(steps or [*map(Chunk, CHUNKS), End()]))


# -- the bytes of requests -----------------------------------------------------------

_VARYING = re.compile(
    rb"(?i)(?<=\r\n)((?:x-amz-date|authorization|amz-sdk-invocation-id|host|x-amzn-trace-id): )[^\r]*"
)


def masked(request: bytes) -> bytes:
    """``request`` without the values that always differ: date, signature, identifier and port."""
    return _VARYING.sub(rb"\1-", request)


class _Recording(socketserver.StreamRequestHandler):
    server: Recorder

    def handle(self) -> None:
        while head := self._head():
            if b"\r\nexpect: 100-continue\r\n" in head.lower():
                self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = self._body(head)
            with self.server.changed:
                self.server.received.append(head + body)
            self.wfile.write(self.server.answer)

    def _head(self) -> bytes:
        lines: list[bytes] = []
        while line := self.rfile.readline():
            lines.append(line)
            if line == b"\r\n":
                return b"".join(lines)
        return b""

    def _body(self, head: bytes) -> bytes:
        if b"\r\ntransfer-encoding: chunked\r\n" not in head.lower():
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)\r\n", head)
            return self.rfile.read(int(length[1])) if length else b""
        pieces = io.BytesIO()
        while True:
            line = self.rfile.readline()
            pieces.write(line)
            pieces.write(self.rfile.read(int(line.partition(b";")[0], 16) + 2))
            if line.startswith(b"0"):
                return pieces.getvalue()


class Recorder(socketserver.ThreadingTCPServer):
    """A server that gives every request the same ``answer``, and keeps its bytes in ``received``."""

    daemon_threads = False
    allow_reuse_address = True

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.received: list[bytes] = []
        self.changed = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Recording)

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Recorder:
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
