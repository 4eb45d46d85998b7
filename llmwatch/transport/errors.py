"""Translates foreign exceptions once, at the edge.

requests wraps urllib3, and urllib3 wraps http.client, ssl and socket. The type and errno of the exceptions in that
chain decide, the most specific first; the text of a message never does. The result carries a summary of the foreign
exception as its ``__cause__``, not the exception itself: urllib3 prints URLs with their query strings, which hold some
providers' keys.
"""

from __future__ import annotations

import errno
import http.client
import os
import socket
import ssl
from collections.abc import Iterator

import requests
from urllib3 import exceptions as u3

from llmwatch.errors import ConfigError, ConnectFailed, LLMWatchError, ProviderError, StreamCut
from llmwatch.redaction import redact
from llmwatch.transport.connections import BadChunkSize, BadHead, HeadCut, OtherProtocol, TunnelFailed

try:
    import resource
except ImportError:  # on Windows
    resource = None  # type: ignore[assignment]

__all__ = ["PROXY_SETTINGS", "TRUST_ADVICE", "Summary", "chain", "forget", "is_before_connecting", "translate"]

TRUST_ADVICE = "if it is meant to, pass its authority's bundle as verify=, or name it in REQUESTS_CA_BUNDLE"
"""The advice to a user of requests about a certificate that does not verify."""

# Self-signed, from an unknown authority, or without its chain.
_UNKNOWN_AUTHORITY = {2, 18, 19, 20, 21}

_RESET = {errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ESHUTDOWN}
_NO_DESCRIPTOR = {errno.EMFILE, errno.ENFILE}
_UNREACHABLE = {
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.ETIMEDOUT,
    errno.ENETDOWN,
    errno.EHOSTDOWN,
    errno.EADDRNOTAVAIL,
}


class Summary(Exception):
    """The summary of a foreign exception: its ``type``, ``errno`` and scrubbed ``text``.
    ``errno`` is a name such as ECONNRESET, or empty.
    """

    def __init__(self, type: str, errno: str, text: str) -> None:
        super().__init__(type, errno, text)
        self.type = type
        self.errno = errno
        self.text = text

    def __str__(self) -> str:
        return f"{self.type}{f' [{self.errno}]' if self.errno else ''}: {self.text}"


def chain(error: BaseException) -> Iterator[BaseException]:
    """``error`` and every exception in it: arguments, reasons, causes and contexts."""
    todo, seen = [error], set()
    while todo:
        err = todo.pop(0)
        if id(err) in seen:
            continue
        seen.add(id(err))
        yield err
        inner = [*err.args, getattr(err, "reason", None), err.__cause__, err.__context__]
        todo.extend(item for item in inner if isinstance(item, BaseException))


def forget(error: BaseException) -> None:
    """Drop the tracebacks of an exception that is not raised any further.
    urllib3 keeps errors in the frames that they refer to, and with them pools and connections until a garbage
    collection.
    """
    for err in chain(error):
        err.__traceback__ = None


def summarise(error: BaseException) -> Summary:
    """The most telling exception of the chain in one line."""
    links = list(chain(error))
    tunnel = next((err for err in links if isinstance(err, TunnelFailed)), None)
    outer = links[0] if tunnel is None else tunnel.original_error
    chosen = next((err for err in links if isinstance(err, OSError) and err.errno is not None), outer)
    number = getattr(chosen, "errno", None)
    code = str(errno.errorcode.get(number, number)) if isinstance(number, int) and _has_errno(chosen) else ""
    return Summary(type(chosen).__name__, code, redact.text(str(chosen), cap=300))


def _has_errno(error: BaseException) -> bool:
    # These two keep error numbers of their own kind in errno.
    return not isinstance(error, (ssl.SSLError, socket.gaierror))


def translate(
    error: BaseException, *, host: str, sent: str, sockets: int, trust_advice: str = TRUST_ADVICE
) -> BaseException:
    """The llmwatch error for ``error``; a programmer's error is returned unchanged.

    ``sent`` (no, partly, yes) and ``sockets`` (how many were opened) tell a failure to connect from a failure of the
    stream. ``trust_advice`` says what to do about a certificate that does not verify. The result has its own
    ``__cause__`` and is ready to be raised.
    """
    if isinstance(error, LLMWatchError) or not isinstance(error, Exception):
        return error
    links = list(chain(error))
    own = next((err for err in links if isinstance(err, LLMWatchError)), None)
    if own is not None:
        return own
    connecting = sent == "no"
    if not connecting and _first(links, *_NEVER_CONNECTED) is not None:
        # A redirect or an authentication made another connection, and that connection failed.
        connecting, host = True, _place_of(links) or host
    result = (
        _configuration(links, sent)
        or _no_descriptor(links, host, sent)
        or (_connecting(links, host, sockets, trust_advice) if connecting else _streaming(links, host))
    )
    if result is None:
        return error
    result.__cause__ = summarise(error)
    result.__suppress_context__ = True
    return result


# urllib3 and the system raise these only when no connection was made.
_NEVER_CONNECTED = (
    u3.NewConnectionError,
    u3.ConnectTimeoutError,
    u3.ProxyError,
    socket.gaierror,
    ssl.SSLCertVerificationError,
)
_NOT_CONNECTED = (
    *_NEVER_CONNECTED,
    LLMWatchError,
    u3.LocationValueError,
    u3.EmptyPoolError,
    u3.ClosedPoolError,
)


def _place_of(links: list[BaseException]) -> str | None:
    """Host and port that the connection was meant for; ``None`` where urllib3 does not say."""
    pools = (getattr(err, "pool", None) for err in links if isinstance(err, u3.MaxRetryError))
    pool = next((pool for pool in pools if getattr(pool, "host", None)), None)
    if pool is None:
        return None
    usual = pool.port in (None, {"http": 80, "https": 443}.get(pool.scheme))
    return str(pool.host) if usual else f"{pool.host}:{pool.port}"


def is_before_connecting(error: BaseException) -> bool:
    """Whether ``error`` by itself shows that nothing was sent, where no socket was seen.
    Other errors without a socket come from a stand-in for the network, or from connections that are not seen.
    """
    links = list(chain(error))
    return _first(links, *_NOT_CONNECTED) is not None or _errno(links) in _NO_DESCRIPTOR


def _first(links: list[BaseException], *types: type[BaseException]) -> BaseException | None:
    return next((err for err in links if isinstance(err, types)), None)


def _errno(links: list[BaseException]) -> int | None:
    return next(
        (err.errno for err in links if isinstance(err, OSError) and isinstance(err.errno, int) and _has_errno(err)),
        None,
    )


def _configuration(links: list[BaseException], sent: str) -> LLMWatchError | None:
    bad_url = _first(
        links,
        requests.exceptions.MissingSchema,
        requests.exceptions.InvalidSchema,
        requests.exceptions.InvalidProxyURL,
        requests.exceptions.InvalidURL,
        u3.LocationValueError,
    )
    if bad_url is not None:
        what = "proxy URL" if isinstance(bad_url, requests.exceptions.InvalidProxyURL) else "URL"
        return ConfigError(
            f"The {what} cannot be used: {redact.text(str(bad_url), cap=200)}. Nothing was sent.", field="url"
        )
    bad_header = _first(links, requests.exceptions.InvalidHeader) is not None or any(map(_is_header_text, links))
    # Once the request is sent, the invalid header is the response's.
    if bad_header and sent == "no":
        return ConfigError(
            "A request header has a name or value that HTTP does not allow. Nothing was sent.", field="headers"
        )
    return None


def _is_header_text(error: BaseException) -> bool:
    # http.client writes header values in latin-1 and header names in ASCII; bodies are encoded in UTF-8.
    return isinstance(error, UnicodeEncodeError) and error.encoding in ("latin-1", "ascii")


def _no_descriptor(links: list[BaseException], host: str, sent: str) -> ConnectFailed | None:
    """The system gives out no descriptor.
    The far side is not at fault. An immediate resend would fail too: the holder of the descriptors has to free some.
    """
    number = _errno(links)
    if number not in _NO_DESCRIPTOR:
        return None
    holder = f"This process has{_most_descriptors()} open"
    advice = "close responses, streams and files that are done with, or raise the limit (ulimit -n)"
    if number == errno.ENFILE:
        holder = "All the processes of this machine have as many files open as its kernel allows"
        advice = "end what holds them, or raise the limit (fs.file-max)"
    nothing = " Nothing was sent." if sent == "no" else ""
    return ConnectFailed(
        f"{holder} ({errno.errorcode[number]}), so no connection to {host} can be opened: {advice}.{nothing}",
        cause="descriptors",
    )


def _most_descriptors() -> str:
    if resource is None:
        return " as many files and sockets as it may"
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f" all the {most:,} files and sockets that it may"


def _connecting(links: list[BaseException], host: str, sockets: int, trust_advice: str) -> LLMWatchError | None:
    if _first(links, u3.ProxyError, requests.exceptions.ProxyError) is not None:
        return _through_proxy(links, host, trust_advice)
    dns = _first(links, socket.gaierror)
    if isinstance(dns, socket.gaierror):
        if dns.errno in (socket.EAI_AGAIN,):
            return ConnectFailed(
                f"The name {host} could not be looked up just now; the resolver asks to try again.",
                cause="dns_temporary",
            )
        return ConnectFailed(f"The host {host} does not exist; check the URL, or this machine's resolver.", cause="dns")
    certificate = _first(links, ssl.SSLCertVerificationError)
    if isinstance(certificate, ssl.SSLCertVerificationError):
        known = certificate.verify_code not in _UNKNOWN_AUTHORITY
        advice = "check the URL, and what the server shows" if known else trust_advice
        return ConnectFailed(
            f"The certificate of {host} does not verify ({certificate.verify_message or 'certificate verify failed'});"
            f" {advice}.",
            cause="tls",
        )
    number = _errno(links)
    bundle = next(
        (err for err in links if isinstance(err, ssl.SSLError) and getattr(err, "library", None) in ("X509", "PEM")),
        None,
    )
    if bundle is not None:
        return ConfigError("The file given as verify= or cert= holds no certificate. Nothing was sent.", field="verify")
    if _first(links, ssl.SSLError, u3.SSLError, requests.exceptions.SSLError) is not None:
        return ConnectFailed(
            f"The TLS handshake with {host} failed.",
            cause="tls",
            retryable=number in _RESET
            or _first(links, ssl.SSLEOFError, ssl.SSLZeroReturnError, OtherProtocol) is not None,
        )
    if number == errno.ECONNREFUSED:
        return ConnectFailed(
            f"{host} refused the connection; is the server running, and the port right?", cause="refused"
        )
    if number in _RESET or _first(links, http.client.RemoteDisconnected) is not None:
        return ConnectFailed(f"{host} reset the connection before the request was sent.", cause="reset")
    if (
        number in _UNREACHABLE
        or _first(links, TimeoutError, u3.ConnectTimeoutError, requests.ConnectTimeout) is not None
    ):
        return ConnectFailed(f"{host} could not be reached from this machine.", cause="unreachable")
    if _first(links, requests.exceptions.ConnectionError, ConnectionError) is not None and sockets == 0:
        # No socket was opened and the system reported no error: a stand-in for the network refuses on purpose.
        return ConnectFailed(f"The connection to {host} was refused.", cause="refused", retryable=False)
    bare = next((err for err in links if type(err) is OSError), None)
    if bare is not None and number is None:
        return ConfigError(
            f"The TLS settings cannot be used: {redact.text(str(bare), cap=200)}. Nothing was sent.", field="verify"
        )
    if _first(links, requests.exceptions.RequestException, u3.HTTPError) is not None:
        return ConnectFailed(f"No connection to {host} came about.", cause="unreachable")
    return None


PROXY_SETTINGS = "proxies=, HTTPS_PROXY, HTTP_PROXY or ALL_PROXY"
"""The settings that name a proxy."""


def _through_proxy(links: list[BaseException], host: str, trust_advice: str) -> ConnectFailed:
    """The proxy prevented the connection."""
    number = _errno(links)
    tunnel = next((err for err in links if isinstance(err, TunnelFailed)), None)
    if tunnel is not None and tunnel.status is not None:
        advice = f"check its address in {PROXY_SETTINGS}, and what it lets through"
        if tunnel.status == 407:
            advice = f"give a user and password that it takes in its URL, in {PROXY_SETTINGS}"
        return ConnectFailed(
            f"The proxy {tunnel.proxy} answered HTTP {tunnel.status} and made no connection to {host}; {advice}.",
            cause="proxy",
            status=tunnel.status,
        )
    if tunnel is not None:
        broke = number in _RESET or _first(links, http.client.RemoteDisconnected) is not None
        what = "broke off before it had made" if broke else "sent something other than HTTP in place of"
        return ConnectFailed(
            f"The proxy {tunnel.proxy} {what} a connection to {host}; check its address in {PROXY_SETTINGS}.",
            cause="proxy",
            retryable=broke,
        )
    certificate = _first(links, ssl.SSLCertVerificationError)
    if isinstance(certificate, ssl.SSLCertVerificationError):
        known = certificate.verify_code not in _UNKNOWN_AUTHORITY
        advice = f"check its address in {PROXY_SETTINGS}" if known else trust_advice
        reason = certificate.verify_message or "certificate verify failed"
        return ConnectFailed(
            f"No connection to {host}: the certificate of the proxy{_proxy_of(links)} does not verify ({reason});"
            f" {advice}.",
            cause="proxy",
        )
    return _no_proxy(links, host, number)


def _proxy_of(links: list[BaseException]) -> str:
    """Host and port of the proxy behind a blank; empty where they are unknown."""
    opening = next((err for err in links if isinstance(err, u3.NewConnectionError)), None)
    if opening is not None and opening.conn is not None:
        return f" {opening.conn.host}:{opening.conn.port}"
    pools = [getattr(err, "pool", None) for err in links if isinstance(err, u3.MaxRetryError)]
    proxies = [getattr(pool, "proxy", None) for pool in pools]
    proxy = next((proxy for proxy in proxies if proxy is not None), None)
    return "" if proxy is None else f" {proxy.host}:{proxy.port}"


def _no_proxy(links: list[BaseException], host: str, number: int | None) -> ConnectFailed:
    name = _proxy_of(links)
    dns = next((err for err in links if isinstance(err, socket.gaierror)), None)
    why = redact.text(str(links[-1]), cap=160)
    if dns is not None:
        why = "its name could not be looked up just now" if dns.errno == socket.EAI_AGAIN else "its name does not exist"
    elif _first(links, ssl.SSLError) is not None:
        why = "its TLS handshake failed; a proxy that speaks no TLS itself has a URL that begins with http://"
    elif number is not None:
        why = os.strerror(number)
    return ConnectFailed(
        f"No connection to the proxy{name}, and so none to {host}: {why}. Check {PROXY_SETTINGS}.",
        cause="proxy",
        retryable=number in _RESET | _UNREACHABLE | {errno.ECONNREFUSED}
        or (dns is not None and dns.errno == socket.EAI_AGAIN),
    )


# requests raises these over a connection, not over an answer or a mistake of the user.
_CONNECTION = (
    requests.exceptions.InvalidHeader,
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)


# What came cannot be read as HTTP/1.1. An answer that broke off is none of these.
_NOT_HTTP = (
    BadChunkSize,
    BadHead,
    http.client.BadStatusLine,
    http.client.LineTooLong,
    http.client.UnknownProtocol,
    u3.InvalidChunkLength,
    u3.InvalidHeader,
    requests.exceptions.InvalidHeader,
)


def _streaming(links: list[BaseException], host: str) -> LLMWatchError | None:
    outer = links[0]
    if isinstance(outer, requests.exceptions.HTTPError):
        # A response hook called raise_for_status.
        status = None if outer.response is None else outer.response.status_code
        return ProviderError(f"{host} answered HTTP {status}, and a hook of the caller's raised it.", status=status)
    if isinstance(outer, requests.exceptions.TooManyRedirects):
        status = None if outer.response is None else outer.response.status_code
        return ProviderError(f"{host} redirects in circles; check the URL.", status=status, retryable=False)
    if isinstance(outer, requests.exceptions.RequestException) and not isinstance(outer, _CONNECTION):
        return None
    number = _errno(links)
    if _first(links, HeadCut) is not None:
        return StreamCut(f"{host} closed the connection inside the headers of its answer.")
    if _first(links, http.client.RemoteDisconnected) is not None:
        return StreamCut(f"{host} closed the connection without an answer.")
    if number in _RESET:
        return StreamCut(f"{host} reset the connection.")
    if _first(links, *_NOT_HTTP) is not None:
        return StreamCut(
            f"What {host} sent is not HTTP; check the URL, its port, and any proxy in between.", retryable=False
        )
    if _first(links, http.client.IncompleteRead, u3.IncompleteRead) is not None:
        return StreamCut(f"The body from {host} broke off: less came than its framing announced.")
    if _first(links, ssl.SSLError, u3.SSLError, requests.exceptions.SSLError) is not None:
        return StreamCut(f"The TLS connection to {host} broke.")
    if _first(links, http.client.HTTPException, u3.ProtocolError) is not None:
        return StreamCut(f"The answer from {host} broke off.")
    if _first(links, OSError, u3.HTTPError, requests.exceptions.RequestException) is not None:
        return StreamCut(f"The connection to {host} broke.")
    return None
