"""The fault server: an HTTP server in threads that plays scripts on raw sockets."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from typing import Literal

from llmwatch.faults import catalogue
from llmwatch.faults.link import Gate, Link
from llmwatch.faults.listener import Listener
from llmwatch.faults.observation import Observation, Observer, ending
from llmwatch.faults.request import Incoming, Request, RequestHead, RequestReader
from llmwatch.faults.script import ANSWER, FRAMINGS, Context, Script
from llmwatch.faults.shapes.choice import NAMES, SHAPES, for_path
from llmwatch.faults.shapes.openai_chat import Chat
from llmwatch.faults.steps import Exchange, Framing

__all__ = ["FaultServer"]


class FaultServer(Listener):
    """Plays one script for each request; the last script repeats for all further requests.

    * ``scripts``: names of the catalogue (with parameters: ``"keepalive-only:every=0.02"``) or :class:`Script` objects,
      one or several, counted over all connections.
    * ``shape``: ``auto`` (by the request's path) or a fixed shape; ``framing``: ``chunked``, ``length`` or ``close``.
    * ``tls``: a server-side context; ``tls_silent``: the handshake is never answered.
    * ``text``: the text of healthy answers; ``clock``: returns the ``at`` of each request.
    * ``receive_buffer``: size of the socket's buffer in bytes; a small one makes a large upload stall early.
    * ``observer``: gets each :class:`Observation` as it happens, in the thread of its connection.

    The constructor binds the port, which refuses connections until ``start()`` or the ``with`` block. So :meth:`stop`
    must be called in any case.
    """

    def __init__(
        self,
        scripts: str | Script | Iterable[str | Script] = "healthy",
        *,
        shape: str = "auto",
        framing: Framing = "chunked",
        tls: ssl.SSLContext | None = None,
        tls_silent: bool = False,
        text: str = ANSWER,
        host: str = "127.0.0.1",
        port: int = 0,
        receive_buffer: int | None = None,
        clock: Callable[[], float] | None = None,
        observer: Observer | None = None,
    ) -> None:
        if isinstance(scripts, (str, Script)):
            scripts = [scripts]
        self._scripts = [catalogue.get(one) if isinstance(one, str) else one for one in scripts]
        if not self._scripts:
            raise ValueError("at least one script is needed")
        if shape != "auto" and shape not in SHAPES:
            raise ValueError(f"shape is {shape!r}, not one of auto, {', '.join(NAMES)}")
        if framing not in FRAMINGS:
            raise ValueError(f"framing is {framing!r}, not one of {', '.join(FRAMINGS)}")
        super().__init__(host=host, port=port, receive_buffer=receive_buffer)
        self._shape = shape
        self._framing = framing
        self._tls = tls
        self._tls_silent = tls_silent
        self._text = text
        self._clock = clock
        self._observer = observer
        self._gates: dict[str, Gate] = {}
        self._numbered = 0
        self._recorded: list[Request] = []

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        scheme = "https" if self._tls is not None or self._tls_silent else "http"
        return f"{scheme}://{self.netloc}"

    @property
    def chat_url(self) -> str:
        """The URL of OpenAI's chat completions."""
        return self.url + SHAPES["openai-chat"].path

    @property
    def responses_url(self) -> str:
        """The URL of OpenAI's Responses."""
        return self.url + SHAPES["openai-responses"].path

    @property
    def messages_url(self) -> str:
        """The URL of Anthropic's Messages."""
        return self.url + SHAPES["anthropic"].path

    @property
    def base_urls(self) -> dict[str, str]:
        """For each shape by its name the URL that its SDK takes as the base, without a trailing slash."""
        return {name: self.url + shape.base for name, shape in SHAPES.items()}

    @property
    def endpoint(self) -> str:
        """The usual URL of the server's shape; the URL of chat completions for ``auto``."""
        return self.url + SHAPES.get(self._shape, Chat).path

    @property
    def requests(self) -> list[Request]:
        """A copy of the list of requests, in the order in which they were recorded."""
        with self._changed:
            return list(self._recorded)

    def wait_for_requests(self, count: int, timeout: float = 30.0) -> None:
        """Return once ``count`` requests were recorded; ``TimeoutError`` after ``timeout`` seconds."""
        self._wait(lambda: len(self._recorded) >= count, timeout, lambda: f"{len(self._recorded)} of {count} requests")

    def gate(self, name: str) -> Gate:
        """The gate ``name``: a script waits for it with ``WaitFor(name)``, a test opens it with ``set()``."""
        with self._changed:
            if name not in self._gates:
                self._gates[name] = Gate()
            return self._gates[name]

    def stop(self) -> None:
        super().stop()
        with self._changed:
            gates = list(self._gates.values())
        for gate in gates:
            gate.bell.close()

    def serve(self, link: Link, number: int) -> None:
        self._observe("opened", number)
        try:
            self._serve_requests(link, number)
        except BaseException as exc:
            self._observe("closed", number, ending=ending(exc))
            raise
        self._observe("closed", number, ending=ending(None))

    def _serve_requests(self, link: Link, number: int) -> None:
        if self._tls_silent:
            link.wait(None)
        if self._tls is not None:
            link.handshake(self._tls)
        reader = RequestReader(link)
        while True:
            try:
                head = reader.head()
                if head is None:
                    return
                incoming = Incoming(reader, head)
            except ValueError:
                link.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            if not self._answer(link, head, incoming, number):
                return

    def _answer(self, link: Link, head: RequestHead, incoming: Incoming, connection: int) -> bool:
        """Play one script; return whether the connection can take another request."""
        with self._changed:
            self._numbered += 1
            number = self._numbered
        script = self._scripts[min(number, len(self._scripts)) - 1]
        exchange = _ServedExchange(self, link, head, incoming, number, connection, script)
        try:
            try:
                for step in script.read_steps():
                    step.play(exchange)
            finally:
                exchange.record()
            for step in script.answer_steps(self._context(exchange.request, script)):
                step.play(exchange)
        except BaseException as exc:
            self._answered(exchange, ending(exc))
            raise
        self._answered(exchange, ending(None) if exchange.ended else "the script came to its end")
        wants_close = "close" in (head.header("connection") or "").lower()
        return exchange.ended and incoming.complete and not wants_close

    def _context(self, request: Request, script: Script) -> Context:
        fixed = script.shape or (self._shape if self._shape != "auto" else None)
        shape = SHAPES[fixed] if fixed else for_path(request.path)
        return Context(
            request=request,
            shape=shape(request.number),
            framing=script.framing or self._framing,
            text=self._text if script.text is None else script.text,
            streaming=_streaming(request, shape.name),
            url=self.url,
        )

    def _record(self, request: Request) -> None:
        with self._changed:
            self._recorded.append(request)
            self._changed.notify_all()
        self._observe("request", request.connection, request=request)

    def _answered(self, exchange: _ServedExchange, how: str) -> None:
        if self._observer is None:
            return
        request = exchange.request
        answer = Observation(
            what="answered",
            connection=request.connection,
            request=request,
            ending=how,
            sent=exchange.sent,
            answer=bytes(exchange.answer),
            began=exchange.began,
            at=self._now(),
        )
        self._observer(answer)

    def _observe(
        self,
        what: Literal["opened", "request", "closed"],
        connection: int,
        *,
        request: Request | None = None,
        ending: str = "",
    ) -> None:
        if self._observer is not None:
            self._observer(
                Observation(what=what, connection=connection, request=request, ending=ending, at=self._now())
            )

    def _now(self) -> float | None:
        return self._clock() if self._clock is not None else None


class _ServedExchange(Exchange):
    """An exchange that knows its server."""

    def __init__(
        self,
        server: FaultServer,
        link: Link,
        head: RequestHead,
        incoming: Incoming,
        number: int,
        connection: int,
        script: Script,
    ) -> None:
        super().__init__(link, incoming)
        self._server = server
        self._head = head
        self._number = number
        self._connection = connection
        self._script = script
        self._request: Request | None = None
        self.began: float | None = None
        """The time just before the first byte of the answer, by the server's clock."""

    def send(self, data: bytes) -> None:
        if self.began is None and self._server._observer is not None:
            self.began = self._server._now()
        super().send(data)

    @property
    def request(self) -> Request:
        self.record()
        assert self._request is not None
        return self._request

    def gate(self, name: str) -> Gate:
        return self._server.gate(name)

    def record(self) -> None:
        if self._request is not None:
            return
        self._request = Request(
            number=self._number,
            connection=self._connection,
            method=self._head.method,
            target=self._head.target,
            headers=self._head.headers,
            body=bytes(self.incoming.kept),
            body_bytes=self.incoming.count,
            complete=self.incoming.complete,
            script=self._script.name,
            at=self._server._now(),
            tail=self.incoming.tail,
        )
        self._server._record(self._request)


def _streaming(request: Request, shape: str) -> bool:
    """Whether the request asks for a stream, in the provider's form."""
    asked = request.asks_stream
    if shape == "gemini":
        return request.path.endswith(":streamGenerateContent")
    if shape == "bedrock":
        return not request.path.endswith("/converse")
    if shape == "ndjson":
        # Ollama streams by default.
        return b'"stream":false' not in request.body.replace(b" ", b"")
    if asked is None:
        return shape == "generic" or "event-stream" in (request.header("accept") or "")
    return asked
