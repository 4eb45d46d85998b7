"""Watches the calls of the process, whichever library makes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmwatch.engine.settings import ClientSettings, checked_settings, shows_settings
from llmwatch.errors import ConfigError
from llmwatch.hooks.botocore_sessions import BotocoreHook
from llmwatch.hooks.httpx_transports import HttpxHook
from llmwatch.hooks.urllib3_managers import Urllib3Hook
from llmwatch.hooks.urllib_openers import UrllibHook
from llmwatch.session import unwatch_sessions, watch_sessions

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["LIBRARIES", "install", "uninstall"]

LIBRARIES = ("requests", "httpx", "httpx2", "botocore", "urllib3")
"""The libraries whose calls :func:`install` watches."""

_HOOKS = (
    ("httpx", HttpxHook("httpx")),
    ("httpx2", HttpxHook("httpx2")),
    ("botocore", BotocoreHook()),
    ("urllib3", Urllib3Hook()),
    ("urllib3", UrllibHook()),
)
"""Each hook, and the name that chooses it."""


@shows_settings
def install(*, libraries: Sequence[str] = LIBRARIES, **settings: Unpack[ClientSettings]) -> None:
    """Watch the calls of every synchronous client of ``libraries`` in this process from now on.

    * ``requests``: every existing and future :class:`requests.Session`, those behind ``requests.get`` and behind other
      libraries included. The calls are watched as those of a :class:`~llmwatch.Session` are. Adapters are kept and
      wrapped, as :func:`~llmwatch.mount` does. Not reached: sessions whose class overrides ``get_adapter`` without
      calling the parent's.
    * ``httpx``, ``httpx2``: model calls through every existing and future ``Client``, those of SDKs (openai, anthropic,
      ...) included, as by :class:`llmwatch.sdk.Transport`, over connections with the client's own TLS context, proxy,
      socket options, local address and limits. Its own ``keepalive_expiry`` counts where it is shorter. Every other
      request is left alone. So are async clients, ``http2=True``, SOCKS proxies, Unix sockets, generators as bodies,
      transports that are not the library's own, and requests with an extension ``trace`` or ``target``. One line in
      the log names the reason for a model call. A library that is not imported yet is watched once the program imports
      it; nothing is imported here.
    * ``botocore``: model calls of every existing and future client of Bedrock's runtime: Converse, ConverseStream,
      InvokeModel and InvokeModelWithResponseStream. Certificates, proxies and the size of the pool are those of the
      client; ``read_timeout`` and ``connect_timeout`` count as a ``timeout=`` of requests, their defaults for nothing.
      Every resend is botocore's, which signs it anew: its ``retries=`` decide, and ``retry`` does not count. Headers
      are held until the first content, so that silence behind them is resent as well. An error is llmwatch's and
      botocore's. Every other request is left alone; so are files as bodies.
    * ``urllib3``: model calls through every ``PoolManager`` and ``ProxyManager``, and through ``urllib.request``, over
      connections with the same TLS settings, proxy and limits. The program gets the library's own response, whole or
      in pieces, and its errors are the library's as well. A ``Retry`` of urllib3 follows redirects and sends nothing
      else. Left alone are bodies other than bytes or text, chunked ones, pools without a manager, SOCKS proxies,
      connections of another kind, and for ``urllib.request`` a proxy that is reached by TLS and a debug level.

    Other code may wrap the same functions, before or after: a tracer (OpenTelemetry, Sentry) sees each call once, one
    of urllib3 each request, and a stand-in for the network answers by itself. All share budgets, circuit breakers and
    pacing by origin. A second call exchanges settings and libraries for calls that have not begun; no call is watched
    twice. Raises :class:`~llmwatch.ConfigError` for an unknown library.
    """
    names = set(libraries)
    if isinstance(libraries, str) or not names.issubset(LIBRARIES):
        raise ConfigError(
            f"libraries must be some of {', '.join(LIBRARIES)}, not {libraries!r}.", field="libraries", value=libraries
        )
    checked = checked_settings(**settings)
    if "requests" in names:
        watch_sessions(checked)
    else:
        unwatch_sessions()
    for name, hook in _HOOKS:
        if name in names:
            hook.watch(checked)
        else:
            hook.unwatch()


def uninstall() -> None:
    """Take :func:`install` back; does nothing if nothing is installed. Calls in progress stay watched.

    Every replaced attribute gets back the object that was there. Where other code has wrapped llmwatch's function
    since, that function stays and passes every call on.
    """
    unwatch_sessions()
    for _, hook in _HOOKS:
        hook.unwatch()
