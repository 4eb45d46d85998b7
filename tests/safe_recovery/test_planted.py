"""A thousand failures with secrets planted in them.

The failures go through the code that every real failure goes through.
"""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import pickle
import random
import socket
import ssl
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import pytest
import requests
import urllib3
from urllib3 import exceptions as u3

import llmwatch
from llmwatch import LLMWatchError, Retry
from llmwatch.engine.exchange import Exchange
from llmwatch.engine.request import CallRequest
from llmwatch.errors import ConfigError, ConnectFailed
from llmwatch.faults import Context, Script, steps
from llmwatch.policy import resolve_limits
from llmwatch.records import AttemptRecord, CallRecord
from llmwatch.records.log import EVERY, log_failure
from llmwatch.records.sinks import notify
from llmwatch.recovery import failure_of
from llmwatch.watch.stats import AttemptStats
from llmwatch.wire import MAX_EVENT
from tests.end_to_end.calls import asking, collect, request, stream
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import BEAT
from tests.safe_recovery.planted import Plant, words

CASES = int(os.environ.get("LLMWATCH_TEST_CASES", "1050"))
"""The number of failures in all.

A rule of the scrubbing that is missing shows in the first few hundred, or not in ten thousand either.
``LLMWATCH_TEST_CASES`` asks for more after the rules themselves were changed.
"""
LIMITS = resolve_limits(environ={})


class Line:
    """The attempt that there is not: what a worker does goes through it, in this thread."""

    verdict = None

    def __init__(self, *, sent: str = "yes", sockets: int = 1) -> None:
        self.stats = AttemptStats()
        self.stats.sent, self.stats.sockets = sent, sockets

    def pieces(self, read: Callable[[], bytes]) -> Iterator[bytes]:
        """The body, on no limit."""
        return iter(read, b"")

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name in ("reading", "deliver", "refuse", "check"):
            return lambda *args, **kwargs: None
        raise AttributeError(name)


class Reply:
    """A response of bytes that are at hand."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes, location: str | None) -> None:
        self.status, self.location = status, location
        self.headers = requests.structures.CaseInsensitiveDict(headers)
        self.encoding = ""
        self._left = [body[at : at + 700] for at in range(0, len(body), 700)]

    def read(self) -> bytes:
        return self._left.pop(0) if self._left else b""

    def answered(self) -> None:
        """No call waits."""

    def close(self) -> None:
        """Nothing is open."""


class Sender:
    """Answers with a reply, or fails as the libraries below do."""

    def __init__(self, answer: Reply | Exception) -> None:
        self._answer = answer

    def open(self, *args: Any, **kwargs: Any) -> Reply:
        if isinstance(self._answer, Exception):
            # As requests does: one exception raised while another is handled.
            try:
                raise self._answer
            except Exception as error:
                raise requests.exceptions.ConnectionError(error, request=None) from error
        return self._answer


def _tools(plant: Plant) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": plant.tool, "parameters": {"type": "object"}}}]


def _failed(plant: Plant, answer: Reply | Exception, *, dialect: str = "auto", sent: str = "yes") -> LLMWatchError:
    """The error of one attempt at an address full of secrets."""
    url = plant.url(user_info=plant.user_info)
    body = asking(messages=[{"role": "user", "content": plant.prompt()}], tools=_tools(plant))
    exchange = Exchange(
        sender=Sender(answer),  # type: ignore[arg-type]
        request=CallRequest.build("POST", url, {"json": body, "headers": plant.headers}),
        limits=LIMITS,
        keepalive=10.0,
        dialect=dialect,
        wall=lambda: 1_700_000_000.0,
        max_event=MAX_EVENT,
        max_body=1 << 30,
    )
    with pytest.raises(LLMWatchError) as caught:
        exchange.run_stream(Line(sent=sent))  # type: ignore[arg-type]
    return caught.value


def _status(plant: Plant) -> LLMWatchError:
    headers = {
        "content-type": plant.draw.choice(["application/json", "text/html", "text/plain", plant.text()]),
        "retry-after": plant.draw.choice(["3", plant.key()]),
        "www-authenticate": f"Bearer realm={plant.password()}",
        "x-request-id": plant.key(),
    }
    status = plant.draw.choice([400, 401, 403, 404, 413, 422, 429, 500, 502, 503, 520, 529])
    return _failed(plant, Reply(status, headers, plant.body(), None))


def _redirect(plant: Plant) -> LLMWatchError:
    location = plant.url(plant.draw.choice(["http", "https", "ftp"]), "login.example.com")
    location = location.replace(".com/", f".com/{quote(plant.echo())}/", plant.draw.randrange(2))
    return _failed(plant, Reply(plant.draw.choice([301, 302, 303, 307, 308]), {}, plant.body(), location))


_DIALECTS = ("auto", "openai-chat", "openai-responses", "anthropic", "gemini", "ndjson", "generic")


def _in_stream(plant: Plant) -> LLMWatchError:
    dialect = plant.draw.choice(_DIALECTS)
    document = json.dumps(plant.error_document())
    if dialect == "ndjson":
        body = f'{{"error": {json.dumps(plant.said())}, "prompt": {json.dumps(plant.prompt())}}}\n'
    elif dialect == "openai-responses":
        document = json.dumps({"type": "error", "code": plant.key(), "message": plant.said(), "param": plant.prompt()})
        body = f"event: error\ndata: {document}\n\n"
    elif plant.draw.random() < 0.3:
        # Words alone, in an event of that name.
        body = f"event: error\ndata: {plant.said()}\n\n"
    else:
        body = f"event: error\ndata: {document}\n\n"
    return _failed(plant, Reply(200, {"content-type": "text/event-stream"}, body.encode(), None), dialect=dialect)


def _malformed(plant: Plant) -> LLMWatchError:
    dialect = plant.draw.choice([name for name in _DIALECTS if name not in ("auto", "generic", "ndjson")])
    body = f'data: {{"choices": [{{"delta": {{"content": "{plant.prompt()}", "{plant.key()}\n\n'
    return _failed(plant, Reply(200, {"content-type": "text/event-stream"}, body.encode(), None), dialect=dialect)


def _instead(plant: Plant) -> LLMWatchError:
    document = json.dumps(plant.draw.choice([plant.error_document(), {"answer": plant.prompt()}, [plant.prompt()]]))
    body = plant.draw.choice([plant.page(), document])
    return _failed(plant, Reply(200, {"content-type": f"text/html; {plant.key()}"}, body.encode(), None))


_POOL = urllib3.HTTPSConnectionPool("api.example.com", 443)


def _handshake(words: str) -> ssl.SSLError:
    error = ssl.SSLError(1, words)
    # As the module itself sets them; one that is made in Python has none.
    error.library, error.reason = "SSL", "WRONG_VERSION_NUMBER"
    return error


Foreign = Callable[[Plant, str], Exception]

_BEFORE: tuple[Foreign, ...] = (
    lambda plant, path: u3.MaxRetryError(_POOL, path, u3.NewConnectionError(_POOL, plant.said())),  # type: ignore[arg-type]
    lambda plant, path: u3.MaxRetryError(
        _POOL, plant.url(), u3.ProxyError(plant.said(), OSError(errno.ECONNREFUSED, plant.said()))
    ),
    lambda plant, path: u3.MaxRetryError(_POOL, path, u3.SSLError(_handshake(plant.said()))),
    lambda plant, path: socket.gaierror(socket.EAI_NONAME, plant.said()),
    lambda plant, path: socket.gaierror(socket.EAI_AGAIN, plant.said()),
    lambda plant, path: OSError(errno.ECONNREFUSED, plant.said(), plant.url()),
    lambda plant, path: TimeoutError(plant.said()),
    lambda plant, path: requests.exceptions.InvalidURL(f"Failed to parse: {plant.url()}"),
    lambda plant, path: u3.LocationParseError(plant.url()),
    lambda plant, path: requests.exceptions.InvalidProxyURL(f"Please check proxy URL {plant.url()}"),
    lambda plant, path: requests.exceptions.InvalidHeader(f"Invalid header value {plant.key()!r}"),
)
_AFTER: tuple[Foreign, ...] = (
    lambda plant, path: u3.ProtocolError(
        f"Connection aborted. {plant.said()}", ConnectionResetError(errno.ECONNRESET, plant.said())
    ),
    lambda plant, path: u3.ReadTimeoutError(_POOL, path, f"Read timed out. {plant.said()}"),
    lambda plant, path: u3.MaxRetryError(_POOL, plant.url(), u3.ResponseError(plant.said())),
    lambda plant, path: OSError(errno.EPIPE, plant.said()),
)


def _transport(plant: Plant) -> LLMWatchError:
    sent = plant.draw.choice(["no", "no", "partly", "yes"])
    path = plant.url().partition("127.0.0.1:9")[2]
    return _failed(plant, plant.draw.choice(_BEFORE if sent == "no" else _AFTER)(plant, path), sent=sent)


def _configuration(plant: Plant) -> LLMWatchError:
    address = plant.draw.choice(
        [
            plant.url("ftp"),
            plant.url("https", "127.0.0.1:port"),
            plant.url("https", ""),
            plant.url("https", "127.0.0.1:99999"),
            plant.url("https", "[::1"),
            f"user:{plant.password()}@127.0.0.1/v1?key={plant.password()}",
            f"//user:{plant.password()}@127.0.0.1/v1",
        ]
    )
    with pytest.raises(ConfigError) as caught:
        CallRequest.build("POST", address, {"json": {"input": plant.prompt()}})
    return caught.value


WAYS = (_status, _redirect, _in_stream, _malformed, _instead, _transport, _configuration)
KINDS = {
    _status: {"ProviderError"},
    _redirect: {"ProviderError"},
    _in_stream: {"ProviderError"},
    _malformed: {"MalformedEvent"},
    _instead: {"ProviderError", "NotAStream"},
    _transport: {"ConnectFailed", "StreamCut", "ConfigError"},
    _configuration: {"ConfigError"},
}


def _remembered(plant: Plant, error: LLMWatchError) -> CallRecord:
    """The records of such a call, given everything that there was to keep."""
    attempt = AttemptRecord(
        number=1,
        started_at=1_700_000_000.0,
        method="POST",
        url=plant.url(),
        origin=plant.url(),
        request_id=plant.key(),
        cause="provider_error",
        close_reason="failed",
        error=type(error).__name__,
        message=f"{error} {plant.text()}",
        evidence={
            "causes": [plant.text(), str(error.__cause__)],
            "location": plant.url(),
            "provider_code": plant.key(),
            "body": plant.prompt(),
            plant.key(): plant.prompt(),
        },
    )
    return CallRecord(
        call_id="0" * 32,
        started_at=1_700_000_000.0,
        method="POST",
        url=plant.url(),
        origin=plant.url(),
        attempts=(attempt,),
        outcome="failed",
        cause="provider_error",
    )


def _raised(error: LLMWatchError, frames: int | None = None) -> str:
    """The printed traceback, causes and contexts included, as an interpreter prints it.

    ``frames`` limits the frames of each.
    """
    try:
        raise error
    except LLMWatchError as caught:
        shown = io.StringIO()
        traceback.print_exception(caught, limit=frames, file=shown)
        return shown.getvalue()


class _Log(logging.Handler):
    """Every line of a logger, with its fields and tracebacks."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{self.format(record)} {vars(record)}")


@pytest.mark.parametrize("way", WAYS)
def test_a_thousand_planted_failures_repeat_no_secret(way: Callable[[Plant], LLMWatchError]) -> None:
    """Keys, tokens, passwords and prompts that a failure repeats are in nothing that llmwatch shows.

    A provider, a proxy, a redirect or a library repeats them. None of them is in an error's text, its attributes, its
    printed traceback, a record, its JSON, or a line of the log.
    """
    log, logger = _Log(), logging.getLogger("llmwatch")
    logger.addHandler(log)
    level, logger.level, logger.propagate = logger.level, logging.DEBUG, False
    leaks: list[tuple[int, list[str], str]] = []
    kinds = set()
    try:
        for seed in range(-(-CASES // len(WAYS))):
            plant = Plant(random.Random(seed))
            error = way(plant)
            kinds.add(type(error).__name__)
            failure_of(error)
            # Frames are lines of source, without values: they cost much, and show them now and then.
            said = [str(error), repr(error), repr(vars(error)), str(pickle.dumps(error))]
            said += [repr(error.__cause__), repr(error.__context__), _raised(error, None if seed % 50 == 0 else 0)]
            record = _remembered(plant, error)
            said += [json.dumps(record.to_dict()), repr(record) if seed % 10 == 0 else ""]

            def broken(record: CallRecord, plant: Plant = plant) -> None:
                raise OSError(errno.EIO, plant.text())

            log.lines.clear()
            notify([log_failure, broken], record, now=EVERY * seed)
            assert len(log.lines) == 2
            said += log.lines
            found = plant.found("\n".join(said))
            if found:
                leaks.append((seed, found, next(one for one in said if plant.found(one))))
    finally:
        logger.removeHandler(log)
        logger.level, logger.propagate = level, True
    assert kinds == KINDS[way]
    assert not leaks, f"{len(leaks)} leaks, such as {leaks[:3]}"


def _said(error: BaseException | None, told: list[Any], caplog: pytest.LogCaptureFixture) -> str:
    said = [repr(one) for one in told] + [f"{one.getMessage()} {vars(one)}" for one in caplog.records]
    if error is not None:
        said += ["".join(traceback.format_exception(error)), repr(vars(error)), str(pickle.dumps(error))]
    return "\n".join(said)


@pytest.mark.parametrize("entry_point", [stream, collect, request])
def test_dozens_of_planted_failures_over_sockets(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture, entry_point: Any
) -> None:
    """Failures over real sockets repeat no secret either, at every entry point.

    The failures are statuses, redirects, error events, documents and broken HTTP.
    """
    caplog.set_level(logging.DEBUG, "llmwatch")
    plant, told = Plant(random.Random(20)), []

    def play(context: Context) -> Iterator[steps.Step]:
        way = context.request.number % 5
        if way == 0:
            status, headers = plant.draw.choice([400, 401, 429, 503]), [("x-request-id", plant.header.upper())]
            yield from context.answer([steps.Chunk(plant.body())], status=status, headers=headers, framing="length")
        elif way == 1:
            location = [("Location", plant.url("http").replace(":9/", f":9/{plant.cookie}/"))]
            yield from context.answer([], status=302, headers=location, framing="length")
        elif way == 2:
            event = f"event: error\ndata: {json.dumps(plant.error_document())}\n\n".encode()
            yield from context.answer([steps.Chunk(event)], content_type="text/event-stream")
        elif way == 3:
            yield from context.answer([steps.Chunk(plant.page().encode())], content_type="text/html")
        else:
            yield steps.Send(f"HTTP/1.1 {plant.said()}\r\n\r\n".encode())
            yield steps.Close()

    server = serve(Script(name="leaky", description="repeats secrets", play=play))
    client = connect(
        retry=Retry(max_attempts=2, backoff=0, budget=0), sinks=[told.append], on_notice=told.append, notice_every=BEAT
    )
    for _ in range(25):
        url = f"{server.chat_url.replace('://', f'://{plant.user_info}@')}?key={plant.password()}"
        body = asking(messages=[{"role": "user", "content": plant.prompt()}], tools=_tools(plant))
        outcome = entry_point(client, url, json=body, headers={**plant.headers, "X-Api-Key": plant.key()})
        error = outcome.error
        if entry_point is request and error is None:
            assert outcome.record is not None
        else:
            assert isinstance(error, LLMWatchError)
        said = _said(error, [*told, outcome.record], caplog)
        assert plant.found(said) == [], said
        told.clear()
        caplog.clear()
    assert len(server.requests) >= 25


def test_a_tls_error_without_its_library_is_translated() -> None:
    """A TLS failure that another library made up is one like any other, and its words stay inside."""
    plant = Plant(random.Random(4))
    pool = urllib3.HTTPSConnectionPool("api.example.com", 443)
    raw = u3.MaxRetryError(pool, f"/v1?key={plant.key()}", u3.SSLError(ssl.SSLError(f"bad handshake: {plant.text()}")))
    error = _failed(plant, raw, sent="no")
    assert isinstance(error, ConnectFailed)
    assert plant.found(_raised(error)) == []


def test_prose_survives_the_scrubbing() -> None:
    """Only secrets are masked: plain words stay."""
    for seed in range(200):
        said = words(random.Random(seed)).strip()
        plant = Plant(random.Random(seed))
        document = json.dumps({"error": {"message": said, "type": "invalid_request_error"}}).encode()
        error = _failed(plant, Reply(400, {"content-type": "application/json"}, document, None))
        assert " ".join(said.split()) in str(error)


def test_a_message_that_quotes_the_prompt_does_not_repeat_it() -> None:
    """A provider that repeats the prompt in its own words does not get it into errors and records."""
    plant = Plant(random.Random(1))
    url, prompt = "https://api.example.com/v1/chat/completions", plant.prompt()
    document = json.dumps({"error": {"message": f"Invalid content: '{prompt}'", "type": "invalid"}}).encode()
    exchange = Exchange(
        sender=Sender(Reply(400, {}, document, None)),  # type: ignore[arg-type]
        request=CallRequest.build("POST", url, {"json": asking(messages=[{"role": "user", "content": prompt}])}),
        limits=LIMITS,
        keepalive=10.0,
        dialect="auto",
        wall=lambda: 0.0,
        max_event=MAX_EVENT,
        max_body=1 << 30,
    )
    with pytest.raises(llmwatch.ProviderError) as caught:
        exchange.run_stream(Line())  # type: ignore[arg-type]
    assert prompt not in str(caught.value)


def test_the_cases_are_hard_enough() -> None:
    """The secrets do stand in what the product is given: without its scrubbing every case would leak."""
    raw = 0
    for seed in range(200):
        plant = Plant(random.Random(seed))
        raw += bool(plant.found(plant.body().decode() + plant.url()))
    assert raw == 200
    assert isinstance(_transport(Plant(random.Random(3))), (ConnectFailed, ConfigError, llmwatch.StreamCut))
