"""Clients of httpx and httpx2 on a watched transport, for SDKs that take one."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Literal, overload

import requests

from llmwatch.policy import Limits, Retry
from llmwatch.sdk.libraries import LIBRARIES, Library
from llmwatch.sdk.transport import Transport
from llmwatch.sdk.trust import Verify

if TYPE_CHECKING:
    import httpx
    import httpx2

__all__ = ["client", "given_transport"]

_PAST_THE_TRANSPORT = {
    "proxy": "give session=, a requests.Session with .proxies",
    "mounts": "give session=, a requests.Session with .proxies",
    "trust_env": "give session=, a requests.Session with .trust_env",
    "cert": "give session=, a requests.Session with .cert",
    "http1": "the transport speaks HTTP/1.1",
    "http2": "the transport speaks HTTP/1.1",
}
"""Arguments of a library's own client that would lead requests past the transport, or not reach it."""


@overload
def client(
    library: Literal["httpx"],
    *,
    limits: Limits | None = None,
    retry: Retry | None = None,
    session: requests.Session | None = None,
    verify: Verify | None = None,
    max_event: int | None = None,
    max_body: int | None = None,
    transport: Transport | None = None,
    **kwargs: Any,
) -> httpx.Client: ...


@overload
def client(
    library: Literal["httpx2"],
    *,
    limits: Limits | None = None,
    retry: Retry | None = None,
    session: requests.Session | None = None,
    verify: Verify | None = None,
    max_event: int | None = None,
    max_body: int | None = None,
    transport: Transport | None = None,
    **kwargs: Any,
) -> httpx2.Client: ...


@overload
def client(
    library: None = None,
    *,
    limits: Limits | None = None,
    retry: Retry | None = None,
    session: requests.Session | None = None,
    verify: Verify | None = None,
    max_event: int | None = None,
    max_body: int | None = None,
    transport: Transport | None = None,
    **kwargs: Any,
) -> Any: ...


def client(
    library: Literal["httpx", "httpx2"] | None = None,
    *,
    limits: Limits | None = None,
    retry: Retry | None = None,
    session: requests.Session | None = None,
    verify: Verify | None = None,
    max_event: int | None = None,
    max_body: int | None = None,
    transport: Transport | None = None,
    **kwargs: Any,
) -> Any:
    """An ``httpx.Client`` or ``httpx2.Client`` whose calls cannot hang, for an SDK that takes one.

    ``library`` names the library, and so the class; the table of :mod:`llmwatch.sdk` has what each SDK takes. Without a
    name it is httpx if that is installed, else httpx2. A type checker learns the class from the name alone.

    ``limits``, ``retry``, ``session``, ``verify``, ``max_event`` and ``max_body`` are those of :class:`Transport`.
    A ``transport`` in place of them may have its other settings, and share its connections. ``kwargs`` are the
    library's own for its client (``headers``, ``timeout``, ``base_url``, ``event_hooks``, ...). Redirects are followed
    unless ``follow_redirects=False``, as SDKs have it. The arguments that would lead past the transport (``proxy``,
    ``mounts``, ``cert``, ``trust_env``, ``http1``, ``http2``) raise :class:`TypeError` with what to give instead.

    Errors, resends and time-outs are those of :class:`Transport`: an SDK's own retries of a model call send nothing.
    Close the client, or use it as a context manager; some SDKs close it with their own. Raises :class:`ImportError`
    without the library.
    """
    if library is not None and library not in LIBRARIES:
        raise TypeError(f"library must be 'httpx' or 'httpx2', not {library!r}")
    past = next((name for name in kwargs if name in _PAST_THE_TRANSPORT), None)
    if past is not None:
        raise TypeError(f"llmwatch.sdk.client() takes no {past}: {_PAST_THE_TRANSPORT[past]}")
    watched = given_transport(
        transport,
        limits=limits,
        retry=retry,
        session=session,
        verify=verify,
        max_event=max_event,
        max_body=max_body,
    )
    chosen = _imported(library)
    # The transport's session decides on proxies.
    return chosen.get("Client")(**{"follow_redirects": True, **kwargs}, transport=watched, trust_env=False)


def given_transport(transport: Transport | None, **settings: Any) -> Transport:
    """``transport``, or one with ``settings``. Raises :class:`TypeError` if both are given."""
    if transport is None:
        return Transport(**settings)
    if not isinstance(transport, Transport):
        raise TypeError(f"transport must be a llmwatch.sdk.Transport, not {type(transport).__name__}")
    given = [name for name, value in settings.items() if value is not None]
    if given:
        raise TypeError(f"give {', '.join(given)} to the transport, or give no transport")
    return transport


def _imported(name: str | None) -> Library:
    """The library ``name``, or the first one of both that is installed."""
    for wanted in LIBRARIES if name is None else (name,):
        try:
            importlib.import_module(wanted)
        except ModuleNotFoundError as error:
            if error.name != wanted:
                raise
        else:
            return Library(wanted)
    missing = name or " or ".join(LIBRARIES)
    raise ModuleNotFoundError(
        f"llmwatch.sdk.client() needs {missing}: pip install {name or LIBRARIES[0]}", name=name or LIBRARIES[0]
    )
