"""An error carries a summary of the foreign exception, and no secret of a URL."""

from __future__ import annotations

import contextlib
import pickle
import socket
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from llmwatch.errors import LLMWatchError
from llmwatch.faults import FaultServer, ProxyServer, Script, refused_port, steps
from llmwatch.transport.errors import Summary, chain, translate
from llmwatch.transport.sender import Sender
from tests.transport.drive import Call
from tests.transport.scenes import Network

_KEY = "planted-in-the-query"
_USER = "planted-user"
_PASSWORD = "planted-password"
_TOKEN = "sk-planted-token-0123456789abcdef"
_QUERY = f"/v1/models/x:streamGenerateContent?alt=sse&key={_KEY}&api_key={_KEY}"
_SECRETS = (_KEY, _USER, _PASSWORD, _TOKEN)

_Place = Callable[[Network], "contextlib.AbstractContextManager[tuple[str, dict[str, Any]]]"]


@contextlib.contextmanager
def _refused(network: Network) -> Iterator[tuple[str, dict[str, Any]]]:
    with refused_port() as port:
        yield f"http://{_USER}:{_PASSWORD}@127.0.0.1:{port}{_QUERY}", {}


@contextlib.contextmanager
def _unknown(network: Network) -> Iterator[tuple[str, dict[str, Any]]]:
    system = socket.getaddrinfo

    def unknown(host: Any, *args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    socket.getaddrinfo = unknown
    try:
        yield f"http://{_USER}:{_PASSWORD}@provider.invalid{_QUERY}", {}
    finally:
        socket.getaddrinfo = system


@contextlib.contextmanager
def _untrusted(network: Network) -> Iterator[tuple[str, dict[str, Any]]]:
    with FaultServer(tls=network.tls) as server:
        yield f"https://{_USER}:{_PASSWORD}@{server.netloc}{_QUERY}", {}


@contextlib.contextmanager
def _proxied(network: Network) -> Iterator[tuple[str, dict[str, Any]]]:
    with ProxyServer("refuse", status=407) as proxy:
        proxies = {"https": f"http://{_USER}:{_PASSWORD}@{proxy.netloc}"}
        yield f"https://127.0.0.1:9{_QUERY}", {"proxies": proxies, "verify": network.bundle}


@contextlib.contextmanager
def _no_proxy(network: Network) -> Iterator[tuple[str, dict[str, Any]]]:
    with refused_port() as port:
        proxies = {"https": f"http://{_USER}:{_PASSWORD}@127.0.0.1:{port}"}
        yield f"https://127.0.0.1:9{_QUERY}", {"proxies": proxies, "verify": network.bundle}


@contextlib.contextmanager
def _playing(script: str | Script) -> Iterator[tuple[str, dict[str, Any]]]:
    with FaultServer(script) as server:
        yield f"http://{_USER}:{_PASSWORD}@{server.netloc}{_QUERY}", {}


_ECHO = Script.of("echo", steps.Send(f"HTTP/1.1 {_TOKEN} nonsense\r\n\r\n".encode()), steps.Close())

_PLACES: dict[str, _Place] = {
    "refused": _refused,
    "unknown-host": _unknown,
    "certificate": _untrusted,
    "proxy-refuses": _proxied,
    "proxy-missing": _no_proxy,
    "reset": lambda network: _playing("reset-before-response"),
    "no-answer": lambda network: _playing("fin-before-response"),
    "cut-chunk": lambda network: _playing("cut-chunk"),
    "reset-mid-stream": lambda network: _playing("reset-mid-stream"),
    "short-length": lambda network: _playing("short-length"),
    "echo": lambda network: _playing(_ECHO),
    "bad-url": lambda network: contextlib.nullcontext((f"http://{_USER}:{_PASSWORD}@127.0.0.1:port{_QUERY}", {})),
    "no-scheme": lambda network: contextlib.nullcontext((f"{_USER}:{_PASSWORD}@127.0.0.1{_QUERY}", {})),
    "other-scheme": lambda network: contextlib.nullcontext((f"ws://{_USER}:{_PASSWORD}@127.0.0.1{_QUERY}", {})),
}


@pytest.mark.parametrize("place", _PLACES)
def test_nothing_secret_comes_out(place: str, sender: Sender, network: Network) -> None:
    """No secret is in the error, its cause or its printed traceback.

    Secrets are the keys of a query, the password of a URL or proxy, and tokens.
    """
    with _PLACES[place](network) as (url, kwargs):
        headers = {"Authorization": f"Bearer {_TOKEN}"}
        call = Call(sender, url, headers=headers, **kwargs)
        call.run()
    error = call.error
    assert isinstance(error, LLMWatchError)
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(error.__cause__) + repr(vars(error))
    assert [secret for secret in _SECRETS if secret in shown] == []


@pytest.mark.parametrize("place", ["refused", "unknown-host", "certificate", "proxy-refuses", "no-scheme"])
def test_the_foreign_exception_does_hold_the_query(place: str, sender: Sender, network: Network) -> None:
    """The exceptions of requests and urllib3 in these places print the query.

    The test above therefore tests something.
    """
    with _PLACES[place](network) as (url, kwargs):
        call = Call(sender, url, **kwargs)
        call.run()
    assert _KEY in call.foreign


@pytest.mark.parametrize("place", _PLACES)
def test_the_chain_holds_a_summary_and_nothing_foreign(place: str, sender: Sender, network: Network) -> None:
    """The cause is a :class:`Summary` of text alone, behind which there is nothing.

    There is no foreign context.
    """
    with _PLACES[place](network) as (url, kwargs):
        call = Call(sender, url, **kwargs)
        call.run()
    error = call.error
    assert isinstance(error, LLMWatchError)
    assert type(error.__cause__) is Summary
    assert error.__cause__.__cause__ is None
    assert error.__cause__.__context__ is None
    assert error.__context__ is None
    assert error.__suppress_context__
    assert all(isinstance(argument, str) for argument in error.__cause__.args)
    assert list(chain(error)) == [error, error.__cause__]


@pytest.mark.parametrize("place", _PLACES)
def test_an_error_of_the_transport_can_be_pickled(place: str, sender: Sender, network: Network) -> None:
    """The pickle of an error of the transport keeps its class, its text and its fields."""
    with _PLACES[place](network) as (url, kwargs):
        call = Call(sender, url, **kwargs)
        call.run()
    error = call.error
    assert isinstance(error, LLMWatchError)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_the_summary_names_type_and_errno(sender: Sender) -> None:
    """A summary says what kind of exception it was and its errno by name."""
    with refused_port() as port:
        call = Call(sender, f"http://127.0.0.1:{port}/")
        call.run()
    assert call.error is not None
    assert str(call.error.__cause__).startswith("ConnectionRefusedError [ECONNREFUSED]")


def test_the_summary_takes_no_number_of_another_kind_for_an_errno(sender: Sender, network: Network) -> None:
    """OpenSSL and the resolver have numbers of their own, which are not printed as an errno."""
    with FaultServer(tls=network.tls) as server:
        call = Call(sender, server.chat_url)
        call.run()
    assert call.error is not None
    assert str(call.error.__cause__).startswith("SSLCertVerificationError: ")


def test_an_llmwatch_error_passes_unchanged() -> None:
    """The error comes back as it is, also out of another library's exception that wraps it."""
    ours = LLMWatchError("as it was")
    assert translate(ours, host="h", sent="yes", sockets=1) is ours
    wrapped = RuntimeError("a hook gave up")
    wrapped.__cause__ = ours
    assert translate(wrapped, host="h", sent="yes", sockets=1) is ours


@pytest.mark.parametrize(
    "error", [TypeError("data"), ValueError("x"), KeyError("y"), KeyboardInterrupt(), SystemExit(1)]
)
@pytest.mark.parametrize("sent", ["no", "partly", "yes"])
def test_programming_errors_and_interpreter_exceptions_stay(error: BaseException, sent: str) -> None:
    """Mistakes in the calling program and the interpreter's own exceptions are not translated."""
    assert translate(error, host="h", sent=sent, sockets=1) is error
    assert error.__cause__ is None
