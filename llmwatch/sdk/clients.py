"""Clients of the openai and anthropic SDKs on a watched transport."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import requests

from llmwatch.errors import LLMWatchError
from llmwatch.policy import Limits, Retry
from llmwatch.sdk.error_events import without_bad_events
from llmwatch.sdk.event_names import with_event_names
from llmwatch.sdk.http_clients import given_transport
from llmwatch.sdk.translation import as_anthropic, as_openai, status_cause
from llmwatch.sdk.transport import Through, Translate, Transport
from llmwatch.sdk.trust import Verify

if TYPE_CHECKING:
    from anthropic import Anthropic
    from openai import OpenAI

__all__ = ["anthropic", "openai"]


def openai(
    *,
    limits: Limits | None = None,
    retry: Retry | None = None,
    session: requests.Session | None = None,
    verify: Verify | None = None,
    max_event: int | None = None,
    max_body: int | None = None,
    transport: Transport | None = None,
    **kwargs: Any,
) -> OpenAI:
    """An ``openai.OpenAI`` whose calls cannot hang.

    ``limits``, ``retry``, ``session``, ``verify``, ``max_event`` and ``max_body`` are those of :class:`Transport`.
    A ``transport`` in place of them may have its other settings, and share its connections. ``kwargs`` are ``OpenAI``'s
    own (``api_key``, ``base_url``, ``timeout``, ...) without ``http_client``, which is made here. The SDK's own retries
    are off (``max_retries=0``); ``retry`` takes their place. A ``max_retries`` of the user acts only on error statuses
    of requests that are not model calls (files, batches, lists).

    Every failure is an exception of the SDK with llmwatch's message, and with llmwatch's error as its ``__cause__``, in
    mid-stream too: ``APITimeoutError`` for an expired limit; ``APIError`` for an error event (of Responses too, whose
    ``error`` event the SDK itself passes on as an event); the usual status errors with the provider's message; else
    ``APIConnectionError``, also for an answer without its end. ``Cancelled`` and ``ConfigError`` are raised unchanged.
    ``timeout=`` may lower a limit and never raises one. Web sockets (``realtime``) are not watched.

    Close the client, or use it as a context manager. Raises :class:`ImportError` without the package.
    """
    settings = {"limits": limits, "retry": retry, "session": session, "verify": verify, "max_event": max_event}
    watched = given_transport(transport, max_body=max_body, **settings)
    return _client("openai", "OpenAI", as_openai, watched, without_bad_events, kwargs)  # type: ignore[no-any-return]


def anthropic(
    *,
    limits: Limits | None = None,
    retry: Retry | None = None,
    session: requests.Session | None = None,
    verify: Verify | None = None,
    max_event: int | None = None,
    max_body: int | None = None,
    transport: Transport | None = None,
    **kwargs: Any,
) -> Anthropic:
    """An ``anthropic.Anthropic`` whose calls cannot hang.

    ``limits``, ``retry``, ``session``, ``verify``, ``max_event`` and ``max_body`` are those of :class:`Transport`.
    A ``transport`` in place of them may have its other settings, and share its connections. ``kwargs`` are
    ``Anthropic``'s own (``api_key``, ``base_url``, ``timeout``, ...) without ``http_client``, which is made here. The
    SDK's own retries are off (``max_retries=0``); ``retry`` takes their place. A ``max_retries`` of the user acts only
    on error statuses of requests that are not model calls (files, batches, lists), and on the 401 after which the SDK
    renews a token of ``credentials=``; ``max_retries=1`` is enough for that.

    Every failure is an exception of the SDK with llmwatch's message, and with llmwatch's error as its ``__cause__``, in
    mid-stream too, which the SDK itself leaves to httpx: ``APITimeoutError`` for an expired limit; ``APIStatusError``
    for an error event; the usual status errors with the provider's message; else ``APIConnectionError``, also for an
    answer without its end. ``Cancelled`` and ``ConfigError`` are raised unchanged. ``timeout=`` may lower a limit and
    never raises one. An event whose ``event:`` line a gateway has dropped gets its name from its ``type``; the SDK
    itself skips such an event.

    Close the client, or use it as a context manager. Raises :class:`ImportError` without the package.
    """
    settings = {"limits": limits, "retry": retry, "session": session, "verify": verify, "max_event": max_event}
    watched = given_transport(transport, max_body=max_body, **settings)
    return _client("anthropic", "Anthropic", as_anthropic, watched, _named_and_good, kwargs)  # type: ignore[no-any-return]


def _client(
    package: str,
    name: str,
    say: Callable[[Any, LLMWatchError, Any], BaseException],
    transport: Transport,
    through: Through,
    kwargs: dict[str, Any],
) -> Any:
    sdk = _package(package)
    if "http_client" in kwargs:
        raise TypeError(
            f"llmwatch.sdk.{package}() makes the http_client itself; for one of your own give it"
            " transport=llmwatch.sdk.Transport(...) and hand it to the SDK's client"
        )
    # The transport's session decides on proxies.
    watched = _InItsWords(transport, functools.partial(say, sdk), through, f"sdk.{package}")
    http_client = sdk.DefaultHttpxClient(transport=watched, trust_env=False)
    return _explained(getattr(sdk, name)(**{"max_retries": 0, **kwargs}, http_client=http_client), sdk.APIStatusError)


def _named_and_good(pieces: Iterator[bytes]) -> Iterator[bytes]:
    return with_event_names(without_bad_events(pieces))


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ModuleNotFoundError(
            f"llmwatch.sdk.{name}() needs the package {name}: pip install 'llmwatch[sdk]'", name=name
        ) from None


class _InItsWords:
    """A transport that raises what its SDK raises."""

    def __init__(self, transport: Transport, translate: Translate, through: Through, name: str) -> None:
        self._transport = transport
        self._translate = translate
        self._through = through
        self._name = name

    def handle_request(self, request: Any) -> Any:
        return self._transport.exchange(request, self._translate, self._through, self._name)

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> _InItsWords:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


def _explained(client: Any, status_error: type[Exception]) -> Any:
    """``client``, whose status errors, and those of every copy of it, get a cause.

    The SDKs make these errors from a response and raise them ``from None``, past every hook that they offer. A subclass
    of the client would not do: the SDKs look for credentials by its exact type.
    """
    request = client.request

    def explained(*args: Any, **kwargs: Any) -> Any:
        try:
            return request(*args, **kwargs)
        except status_error as error:
            if error.__cause__ is None:
                error.__cause__ = status_cause(error.response)  # type: ignore[attr-defined]
            raise

    def copied(copy: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: _explained(copy(*args, **kwargs), status_error)

    vars(client).update(request=explained, copy=copied(client.copy), with_options=copied(client.with_options))
    return client
