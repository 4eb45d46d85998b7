"""One request of a client, relayed by a watched call, and its answer, passed on as it comes.

Status, headers and body are the upstream's, byte for byte; a compressed body stays compressed. Left out are the headers
that concern one connection (RFC 9110, 7.6.1), and those for the proxy itself. A request for a stream asks for an
uncompressed one, as every stream of llmwatch does: a compressor holds events back. Redirects and cookies are passed on;
the proxy follows no redirect and keeps no cookie. Keys are passed on and kept nowhere.

A failure before the first byte is an error document with a status (:mod:`llmwatch.proxy.error_answers`). In mid-stream
it is the provider's error event, where the last event was whole, and then a cut: the answer never ends like a
whole one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import requests
from requests.structures import CaseInsensitiveDict

from llmwatch.engine.settings import Settings
from llmwatch.errors import Cancelled, ConfigError, LLMWatchError
from llmwatch.payload.streaming import may_be_streaming
from llmwatch.proxy.admission import Admission, values
from llmwatch.proxy.error_answers import Form, form_of, retry_headers, status_of, type_of
from llmwatch.proxy.request_bodies import BrokenBody, Incoming
from llmwatch.proxy.routes import Routes, Unroutable
from llmwatch.proxy.tuning_headers import PREFIX, limits_of
from llmwatch.redaction import redact
from llmwatch.session.watching_adapter import open_response
from llmwatch.transport.adapter import WatchedAdapter
from llmwatch.transport.context import Overrides
from llmwatch.transport.header_lines import HeaderLines, joined
from llmwatch.transport.sender import EnvironmentSession
from llmwatch.watch.cancel import CancelToken

__all__ = ["RECORDED_AS", "Asked", "ClientGone", "ClientSide", "Relay"]

RECORDED_AS = "proxy"
"""The entry point's name in the records."""

_CONNECTION_HEADERS = frozenset(
    (
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    )
)
_PIECE = 65536
_EVENT_ENDS = (b"\n\n", b"\r\r", b"\r\n\r\n", b"\n\r\n")

_log = logging.getLogger("llmwatch")


class ClientGone(Exception):
    """The client has closed its connection, or cannot be written to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as it came. ``target`` is what stands in its first line."""

    method: str
    target: str
    headers: HeaderLines
    body: Incoming


class ClientSide(Protocol):
    """The client of one request. Each method but ``cut`` raises :class:`ClientGone`."""

    gone: bool

    def begin(self, status: int, reason: str, headers: Sequence[tuple[str, str]]) -> None:
        """Send the head of the answer. Without a Content-Length the body is sent in chunks."""

    def write(self, data: bytes) -> None:
        """Send a piece of the body, at once."""

    def end(self) -> None:
        """The body is whole."""

    def cut(self, last: bytes = b"") -> None:
        """Send ``last`` and close the connection, so that the client sees that the body is not whole."""

    def close_after(self) -> None:
        """The connection takes no further request."""


class Relay:
    """Relays requests to ``routes``. The calls share connections, retry budget and breakers."""

    def __init__(self, routes: Routes, admission: Admission, settings: Settings) -> None:
        self._routes = routes
        self._admission = admission
        self._settings = settings
        self._adapter = WatchedAdapter(verifies_proxies=True)
        self._environment = EnvironmentSession()

    def close(self) -> None:
        """Close the idle connections to upstreams."""
        self._adapter.close()

    def serve(self, asked: Asked, client: ClientSide, cancel: CancelToken) -> None:
        """Answer ``asked``. ``cancel`` ends the call. Raises :class:`ClientGone`."""
        form = form_of(*_addressed(asked.target))
        refused = self._admission.refusal(asked.headers)
        if refused is not None:
            # The rest of the connection would be the page's as well.
            client.close_after()
            _refuse(client, form, *refused)
            return
        try:
            route, url = self._routes.find(asked.target)
            limits = limits_of(asked.headers)
        except Unroutable as error:
            _refuse(client, form, 404, str(error))
            return
        except ConfigError as error:
            _refuse(client, form, 400, str(error))
            return
        form = form_of(route.name, urlsplit(url).path)
        try:
            body = asked.body.read(json=_is_json(asked.headers))
        except BrokenBody as error:
            client.close_after()
            _refuse(client, form, 400, str(error))
            return
        lines = _sent_on(asked, url, body)
        prepared = requests.PreparedRequest()
        prepared.method, prepared.url, prepared.hooks = asked.method, url, {"response": []}
        prepared.headers = CaseInsensitiveDict(joined(lines).values())
        prepared.body = (body or None) if body is not None else iter(asked.body)  # type: ignore[assignment]
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if "?" in url else "")
        environment = self._environment.merge_environment_settings(url, {}, True, None, None)
        try:
            response = open_response(
                self._adapter,
                prepared,
                self._settings,
                stream=True,
                verify=environment["verify"],
                cert=environment["cert"],
                proxies=environment["proxies"],
                limits=limits,
                cancel=cancel,
                error=_as_it_is,
                overrides=Overrides(target=target, header_lines=lines),
                documents_whole=True,
                recorded_as=RECORDED_AS,
            )
        except LLMWatchError as error:
            self._fail(client, form, error)
            return
        except BrokenBody as error:
            # Of an upload, which the worker reads.
            client.close_after()
            _refuse(client, form, 400, str(error))
            return
        except Exception as error:
            _log.error("llmwatch: the proxy could not relay a request: %s", redact.described(error))
            _refuse(client, form, 500, f"The proxy could not relay this request ({type(error).__name__}).")
            return
        try:
            _pass_on(response, client, form)
        finally:
            response.close()

    def _fail(self, client: ClientSide, form: Form, error: LLMWatchError) -> None:
        """Answer a call that failed before the first byte."""
        if client.gone:
            raise ClientGone
        status, record = status_of(error), error.record
        message = "The proxy is stopping." if isinstance(error, Cancelled) else str(error)
        headers = [*retry_headers(error)]
        if record is not None:
            headers += _about(len(record.attempts), record.call_id)
        _answer(client, status, form.body(status, *type_of(error), message), headers)


def _addressed(target: str) -> tuple[str, str]:
    """The route and the path of a target."""
    path = target.partition("?")[0]
    return path[1:].partition("/")[0], path


def _is_json(headers: HeaderLines) -> bool:
    return any("json" in value.lower() for value in values(headers, "content-type"))


def _sent_on(asked: Asked, url: str, body: bytes | None) -> HeaderLines:
    """The headers of the request to the upstream; ``body`` is ``None`` for an upload."""
    of_connection = _of_connection(asked.headers) | {"host", "expect"}
    framing = {"content-length"} if body is not None else set()
    lines = [("Host", urlsplit(url).netloc)]
    for name, value in asked.headers:
        lower = name.lower()
        if lower in of_connection or lower in framing or lower.replace("_", "-").startswith(PREFIX):
            continue
        lines.append((name, value))
    if body is None:
        if not values(tuple(lines), "content-length"):
            lines.append(("Transfer-Encoding", "chunked"))
    elif body or values(asked.headers, "content-length"):
        lines.append(("Content-Length", str(len(body))))
    if body is not None and may_be_streaming(url, body, CaseInsensitiveDict(joined(lines).values())):
        lines = [(name, "identity" if name.lower() == "accept-encoding" else value) for name, value in lines]
    return tuple(lines)


def _of_connection(headers: Sequence[tuple[str, str]]) -> frozenset[str]:
    """The names of the headers that concern one connection, those that it names included."""
    named = ",".join(value for name, value in headers if name.lower() == "connection")
    return _CONNECTION_HEADERS | {name.strip().lower() for name in named.split(",")}


def _about(attempts: int, call_id: str) -> list[tuple[str, str]]:
    return [("x-llmwatch-attempts", str(attempts)), ("x-llmwatch-call", call_id)]


def _pass_on(response: requests.Response, client: ClientSide, form: Form) -> None:
    raw: Any = response.raw
    call = raw.call
    came = [(name, value) for name, value in raw.headers.items() if not name.lower().startswith(PREFIX)]
    left_out = _of_connection(came)
    headers = [(name, value) for name, value in came if name.lower() not in left_out]
    record = raw.llmwatch_record
    if record is not None and response.status_code >= 400 and record.decisions:
        # The resends were made; the SDK would multiply them.
        last = record.decisions[-1]
        if len(record.attempts) > 1 or not (last.safe and last.could_work):
            headers = [pair for pair in headers if pair[0].lower() != "x-should-retry"]
            headers.append(("x-should-retry", "false"))
    headers += _about(call.number if record is None else len(record.attempts), call.call_id)
    client.begin(response.status_code, response.reason or "", headers)
    tail = b""
    try:
        for piece in _pieces(raw):
            client.write(piece)
            tail = piece if len(piece) > 3 else tail[-3:] + piece
        client.end()
    except LLMWatchError as error:
        client.cut(_last_event(raw, form, error, tail))


def _pieces(raw: Any) -> Iterator[bytes]:
    pieces: Iterator[bytes] = raw.stream(_PIECE, decode_content=False)
    return pieces


def _last_event(raw: Any, form: Form, error: LLMWatchError, tail: bytes) -> bytes:
    """The error event for a stream that was cut after ``tail``; empty where a client could not read it."""
    content_type = raw.headers.get("content-type", "").lower()
    if "content-encoding" in raw.headers or isinstance(error, Cancelled):
        return b""
    lines = "ndjson" in content_type or "jsonl" in content_type
    whole = tail.endswith(b"\n") if lines else tail.endswith(_EVENT_ENDS)
    if lines != form.lines or not (lines or "event-stream" in content_type) or not whole:
        return b""
    return form.block(status_of(error), *type_of(error), str(error))


def _refuse(client: ClientSide, form: Form, status: int, message: str) -> None:
    kinds = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 500: "api_error"}
    body = form.body(status, kinds.get(status, "invalid_request_error"), "llmwatch_refused", message)
    _answer(client, status, body, [("x-should-retry", "false")])


_REASONS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


def _answer(client: ClientSide, status: int, body: bytes, headers: Sequence[tuple[str, str]]) -> None:
    content = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    client.begin(status, _REASONS[status], [*content, *headers])
    client.write(body)
    client.end()


def _as_it_is(
    error: LLMWatchError, prepared: requests.PreparedRequest, response: requests.Response | None
) -> BaseException:
    return error
