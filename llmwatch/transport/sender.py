"""Sends one request through requests, and reads its response as it comes.

A session that the user passes lends its settings and stays unchanged. Every attempt prepares and sends through its own
session, which reads the lender's headers, auth, cookies, proxies, verify, cert, trust_env and hooks at that moment. All
of it happens in the worker's thread.
"""

from __future__ import annotations

import functools
import io
import netrc  # noqa: F401  (requests imports it with its first request; a fork in that moment would leave its lock held)
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, getproxies_environment

import requests
from requests import sessions
from requests.adapters import BaseAdapter
from requests.cookies import RequestsCookieJar
from urllib3.exceptions import DecodeError
from urllib3.response import BaseHTTPResponse, HTTPResponse
from urllib3.util import Timeout

from llmwatch import at_fork
from llmwatch.policy import environment
from llmwatch.transport import context as contexts
from llmwatch.transport.adapter import WatchedAdapter, request_id_of
from llmwatch.transport.connections import FinalResponse
from llmwatch.transport.context import RequestContext
from llmwatch.transport.encoding import body_too_large
from llmwatch.transport.hooks import unbind
from llmwatch.transport.redirects import follow, follow_all, moved, request_after, same_origin, target_of
from llmwatch.watch.workers import Workers

__all__ = ["READ_SIZE", "EnvironmentSession", "Opener", "Reply", "Sender", "same_origin"]

READ_SIZE = 65536
_DECODED_AT_ONCE = 16 * 1024
"""Bytes of a loaded body that are decoded at once; urllib3 before 2.6 counts the encoded bytes."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_REQUEST_KEYS = frozenset({"params", "data", "headers", "cookies", "files", "auth", "hooks", "json"})

_FIND = sessions.get_environ_proxies
_MOST_SERVERS = 256
_PLAIN_DATA = (type(None), str, bytes, dict, list, tuple)
"""The classes of bodies in whose sending no code of the user takes part."""


def _names(headers: Mapping[str, Any]) -> set[str]:
    return set(map(str.lower, map(str, headers)))


def _nothing(environ: Mapping[str, str]) -> dict[tuple[str, str | None], dict[str, str]]:
    return {}


_proxies = environment.Reading(_nothing)
"""The proxies that the environment names for each server, until a variable changes."""


class EnvironmentSession(requests.Session):
    """A requests session that looks through the environment once, not twice for each request."""

    def merge_environment_settings(self, url: Any, proxies: Any, stream: bool | None, verify: Any, cert: Any) -> Any:
        """As requests' own, which reads each variable of the environment to find the proxies."""
        if self.trust_env:
            if proxies is not None:
                for scheme, proxy in _environ_proxies(url, proxies.get("no_proxy")).items():
                    proxies.setdefault(scheme, proxy)
            if verify is True or verify is None:
                verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or verify
        return {
            "proxies": _merged(proxies, self.proxies),
            "stream": _merged(stream, self.stream),
            "verify": _merged(verify, self.verify),
            "cert": _merged(cert, self.cert),
        }


_merged: Callable[[Any, Any], Any] = sessions.merge_setting


def _environ_proxies(url: str, no_proxy: str | None) -> dict[str, str]:
    """What requests finds, which depends on the server alone where no other system setting counts."""
    find = sessions.get_environ_proxies
    if find is not _FIND or getproxies is not getproxies_environment:
        return find(url, no_proxy=no_proxy)
    known, server = _proxies(os.environ), ("/".join(url.split("/", 3)[:3]), no_proxy)
    found = known.get(server)
    if found is None:
        found = find(url, no_proxy=no_proxy)
        if len(known) < _MOST_SERVERS and _proxies(os.environ) is known:
            known[server] = found
    return found


class _Borrowing(EnvironmentSession):
    """A session for one attempt, with the settings of another on the client's adapters."""

    def __init__(
        self, lender: requests.Session, adapters: OrderedDict[str, BaseAdapter], jar: RequestsCookieJar
    ) -> None:
        # requests.Session.__init__ would build two adapters with their pools for every attempt.
        self.headers = lender.headers
        self.auth = lender.auth
        self.proxies = lender.proxies
        self.hooks = lender.hooks
        # Without any, requests would encode none with some effort.
        self.params = lender.params or None  # type: ignore[assignment]
        self.stream = True
        self.verify = lender.verify
        self.cert = lender.cert
        self.max_redirects = lender.max_redirects
        self.trust_env = lender.trust_env
        self.cookies = jar
        self.adapters = adapters

    def get_adapter(self, url: str) -> BaseAdapter:
        """The client's adapter, even while adapters are intercepted: this call is watched already."""
        for prefix, adapter in self.adapters.items():
            if url.lower().startswith(prefix):
                return adapter
        return super().get_adapter(url)

    def resolve_redirects(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Nothing: ``send`` would read the body of a redirect that is not followed.
        The sender follows redirects itself.
        """
        return iter(())


def _prompt_read(raw: BaseHTTPResponse) -> Callable[..., bytes]:
    """The method of ``raw`` that returns what is there."""
    original, file = getattr(raw, "_original_response", None), getattr(raw, "_fp", None)
    if isinstance(original, FinalResponse) and file is not None and file is not original:
        # A listener in between, such as a cache, knows only this way to read.
        original.reads_promptly = True
        return raw.read
    return raw.read1


def _decoded(encoded: HTTPResponse, most: int) -> bytes:
    """The content of ``encoded``, or a little more than ``most`` bytes of it."""
    pieces: list[bytes] = []
    size = 0
    while size <= most and (piece := encoded.read(_DECODED_AT_ONCE, decode_content=True)):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


class Reply:
    """A response whose body only the worker reads. ``forced``: its adapter would have sent again."""

    def __init__(self, response: requests.Response, *, forced: bool = False) -> None:
        self.response = response
        self.forced = forced
        # A response hook has read the body, or an adapter made the response by hand: requests' decoded copy is left.
        kept: object = response._content
        self._kept = None if kept is False else io.BytesIO(kept if isinstance(kept, bytes) else b"")
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.read = self._reader(response.raw)
        """Returns undecoded bytes as soon as there are any; ``b""`` at the end of the body."""

    def _reader(self, raw: Any) -> Callable[[], bytes]:
        if self._kept is not None:
            return functools.partial(self._kept.read, READ_SIZE)
        if isinstance(raw, BaseHTTPResponse):
            return functools.partial(_prompt_read(raw), READ_SIZE, decode_content=False)
        # The response of a stand-in for the network, or of an adapter with its own connections.
        read = getattr(raw, "read1", None) or getattr(raw, "read", None)
        return bytes if read is None else lambda: read(READ_SIZE) or b""

    @property
    def encoding(self) -> str:
        """The content encoding of what :meth:`read` returns."""
        return "" if self._kept is not None else self.response.headers.get("content-encoding", "")

    @property
    def decoded(self) -> bool:
        """Whether :meth:`read` returns bytes that were read and decoded before."""
        return self._kept is not None

    @property
    def over(self) -> bool:
        """Whether the end of the body is known to be reached, without another read."""
        return self._kept is None and getattr(self.response.raw, "closed", False) is True

    @property
    def refused(self) -> bool:
        """Whether this is an error or a redirect, of whose body only a little is to be read."""
        return self.status >= 400 or self.response.is_redirect

    @property
    def challenges(self) -> bool:
        """Whether the server asks for credentials; these may be bound to the same connection (NTLM)."""
        return self.status in (401, 407)

    @property
    def location(self) -> str | None:
        """The target of a redirect, as an absolute URL; ``None`` if the target is no URL."""
        return target_of(self.response)

    def load(self, body: bytes, most: int, *, cut: bool = False) -> requests.Response:
        """The response with ``body``, all bytes from the wire, as its content, decoded here.
        Raises :class:`~llmwatch.BodyTooLarge` beyond ``most`` decoded bytes, unless the content may be ``cut`` there.
        """
        response = self.response
        if self._kept is not None:
            return response
        encoded = HTTPResponse(
            body=io.BytesIO(body),
            headers=dict(response.headers),
            status=response.status_code,
            preload_content=False,
            enforce_content_length=False,
        )
        try:
            content = _decoded(encoded, most)
        except DecodeError:
            # As requests does, except that nothing is lost: undecodable bytes stay as they came.
            content = body
        if len(content) > most and not cut:
            raise body_too_large(urlsplit(response.url).netloc.rpartition("@")[2], most)
        response._content = content[:most]
        response._content_consumed = True  # type: ignore[attr-defined]
        return response

    def answered(self) -> None:
        """The answer is complete: tell the pool that the connection will be back in a moment."""
        raw = self.response.raw
        pool, conn = getattr(raw, "_pool", None), getattr(raw, "connection", None)
        if conn is not None and pool is not None and hasattr(pool, "expect"):
            pool.expect(conn)

    def close(self) -> None:
        """Close the connection, unless the whole body was read and it is back in its pool."""
        if self.response.raw is not None:
            self.response.close()


class Opener(Protocol):
    """Sends one request for an attempt and returns once the headers are here."""

    def open(
        self,
        context: RequestContext,
        method: str,
        url: str,
        kwargs: Mapping[str, Any],
        *,
        streaming: bool,
        content_type: str | None = None,
    ) -> Reply:
        """See :meth:`Sender.open`."""

    def workers(self, kwargs: Mapping[str, Any]) -> Workers | None:
        """The threads that may send a request with these arguments; ``None`` if code of the user takes part."""


class Sender:
    """The connections of one client."""

    def __init__(self, session: requests.Session | None = None) -> None:
        self._lender = session or requests.Session()
        adapter = WatchedAdapter(verifies_proxies=True)
        self._adapters: OrderedDict[str, BaseAdapter] = OrderedDict([("https://", adapter), ("http://", adapter)])
        self._adapter = adapter
        # The cookies that servers set; the lender's own jar is only read.
        self._jar = RequestsCookieJar()
        self._jar_lock = threading.RLock()  # protects _jar; a leaf
        at_fork.follow(self)

    def open(
        self,
        context: RequestContext,
        method: str,
        url: str,
        kwargs: Mapping[str, Any],
        *,
        streaming: bool,
        content_type: str | None = None,
    ) -> Reply:
        """Prepare, connect, send, and return once the headers are here. Blocks; runs in the worker.

        ``content_type`` is that of the body, where no header says otherwise. POST and its like follow 307 and 308
        within the origin and no other redirect, and begin at the end of the request context's trail. GET follows all.
        Neither follows if ``allow_redirects`` is false.
        """
        with contexts.running(context):
            try:
                return self._open(context, method, url, kwargs, streaming=streaming, content_type=content_type)
            except BaseException:
                # The exception, of a hook for instance, keeps its frames, and they keep the response.
                for response in context.responses:
                    response.close()
                raise
            finally:
                for response in context.bounded:
                    unbind(response)

    def _open(
        self,
        context: RequestContext,
        method: str,
        url: str,
        kwargs: Mapping[str, Any],
        *,
        streaming: bool,
        content_type: str | None,
    ) -> Reply:
        jar = RequestsCookieJar()
        jar.update(self._lender.cookies)
        with self._jar_lock:
            jar.update(self._jar)
        session = _Borrowing(self._lender, self._adapters, jar)
        settings, prepared = self._prepare(
            context, session, method, url, kwargs, streaming=streaming, content_type=content_type
        )
        context.observer.check()
        safe, trail = prepared.method in _SAFE_METHODS, context.trail
        if trail.url is not None and not safe:
            prepared = moved(session, prepared, trail.url)
        response = session.send(prepared, allow_redirects=False, **settings)
        if response.is_redirect and kwargs.get("allow_redirects", True):
            if safe:
                response = follow_all(session, response, prepared, settings)
            else:
                response = follow(session, response, settings, trail)
        with self._jar_lock:
            for hop in (*response.history, response):
                self._jar.update(hop.cookies)
        reply = Reply(response)
        context.observer.headers(reply.status, refused=reply.refused, request_id=request_id_of(response))
        if response.is_redirect:
            response._next = request_after(session, response, response.request, settings)  # type: ignore[attr-defined]
        return reply

    @staticmethod
    def _prepare(
        context: RequestContext,
        session: requests.Session,
        method: str,
        url: str,
        kwargs: Mapping[str, Any],
        *,
        streaming: bool,
        content_type: str | None,
    ) -> tuple[dict[str, Any], requests.PreparedRequest]:
        asked = {name: value for name, value in kwargs.items() if name in _REQUEST_KEYS}
        headers = dict(asked.pop("headers", None) or {})
        names = _names(headers)
        if streaming and "accept-encoding" not in names:
            # Compression holds events back in the compressor.
            headers["Accept-Encoding"] = "identity"
        if content_type is not None and "content-type" not in names and "content-type" not in _names(session.headers):
            headers["Content-Type"] = content_type
        request = requests.Request(method.upper(), url, headers=headers, **asked)
        request.params = request.params or None
        prepared = session.prepare_request(request)
        settings: dict[str, Any] = dict(
            session.merge_environment_settings(
                prepared.url, kwargs.get("proxies") or {}, True, kwargs.get("verify"), kwargs.get("cert")
            )
        )
        settings["timeout"] = Timeout(connect=context.connect_backstop, read=context.read_backstop)
        return settings, prepared

    def workers(self, kwargs: Mapping[str, Any]) -> Workers | None:
        """See :meth:`Opener.workers`.
        Auth, hooks, and a body that is produced as it is sent run in the worker.
        """
        lender = self._lender
        foreign = (
            type(lender) is not requests.Session
            or lender.auth is not None
            or any(lender.hooks.values())
            or any(kwargs.get(name) is not None for name in ("auth", "hooks", "files"))
            or not isinstance(kwargs.get("data"), _PLAIN_DATA)
        )
        return None if foreign else self._adapter.workers

    def after_fork(self) -> None:
        """In a forked child: make a new lock."""
        self._jar_lock = threading.RLock()

    def close(self) -> None:
        """Close the pooled connections. Calls in progress are not touched."""
        self._adapter.close()
