"""Notices the model calls that a program sends over connections of its own, unwatched.

Two kinds are seen: clients of httpx and httpx2 with a transport of another kind than the library's, and pools of
urllib3 that are used without a manager. The functions that send a request are replaced by functions that count, and
then call the original with the same arguments. Nothing that fails here reaches a call.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import Any

from llmwatch.hooks.httpx_transports import is_httpx_model_call, may_be_watched
from llmwatch.hooks.imports import on_import
from llmwatch.hooks.left_alone import LeftAlone, leave
from llmwatch.hooks.patches import Patches
from llmwatch.hooks.urllib3_managers import is_urllib3_model_call
from llmwatch.interruption import is_interruption
from llmwatch.sdk.transport import AdapterTransport
from llmwatch.transport.context import current

__all__ = ["notice_own_connections"]

_TRANSPORT_REMEDY = "transport=llmwatch.sdk.Transport() in its client watches it."
_POOL_REMEDY = "A urllib3.PoolManager in its place is watched."

_STAND_INS = frozenset({"MockTransport", "WSGITransport"})
"""The library's transports that reach no network."""
_DEPTH = 3
"""How far a transport may lie inside others."""

_SENDERS = frozenset({"urllib3.poolmanager", "urllib3.connectionpool", "requests.adapters", "botocore.httpsession"})
"""The modules whose calls of a pool are watched, or counted, elsewhere."""

Look = Callable[..., None]


def notice_own_connections() -> None:
    """Count and name such model calls from now on (:mod:`llmwatch.hooks.left_alone`). Imports nothing.

    Not seen: a subclass of ``HTTPTransport`` that answers by itself, and a transport that lies deeper in others.
    """
    on_import("httpx", _httpx)
    on_import("httpx2", _httpx)
    on_import("urllib3.connectionpool", _urllib3)


def _httpx(module: ModuleType) -> None:
    def look(client: Any, request: Any) -> None:
        transport = client._transport_for_url(request.url)
        if _reaches(transport, module, _DEPTH) or isinstance(transport, AdapterTransport):
            return
        name = module.__name__
        if may_be_watched(name, request) and is_httpx_model_call(request):
            said = type(transport).__name__ not in _STAND_INS
            leave(name, LeftAlone("a custom transport", said=said), remedy=_TRANSPORT_REMEDY)

    Patches({(module.Client, "_send_single_request"): _looking_first(look)}).apply()


def _reaches(transport: Any, module: ModuleType, depth: int) -> bool:
    """Whether ``transport`` is the library's, or holds one that is, where its calls are watched."""
    if isinstance(transport, module.HTTPTransport):
        return True
    held = vars(transport).values() if depth and hasattr(transport, "__dict__") else ()
    return any(_reaches(inner, module, depth - 1) for inner in held if isinstance(inner, module.BaseTransport))


def _urllib3(module: ModuleType) -> None:
    def look(pool: Any, method: str, url: str, body: Any = None, headers: Any = None, *args: Any, **kw: Any) -> None:
        # First: the body of a watched call is not parsed again.
        if not isinstance(body, (bytes, str)) or _is_theirs():
            return
        whole = url if "://" in url else f"{pool.scheme}://{pool.host}:{pool.port}{url}"
        if is_urllib3_model_call(method, whole, headers or pool.headers or {}, body):
            leave("urllib3", LeftAlone("a pool without a manager"), remedy=_POOL_REMEDY)

    Patches({(module.HTTPConnectionPool, "urlopen"): _looking_first(look)}).apply()


def _is_theirs() -> bool:
    """Whether a library that is watched has called the pool, perhaps through another package's wrapper.
    So is what a watched function does.
    """
    if current() is not None:
        return True
    frame: FrameType | None = sys._getframe(3)
    while frame is not None:
        if frame.f_globals.get("__name__") in _SENDERS:
            return True
        frame = frame.f_back
    return False


def _looking_first(look: Look) -> Callable[[Any], Any]:
    """Makes a function that passes its arguments to ``look`` and then to the original."""

    def make(original: Any) -> Any:
        @functools.wraps(original)
        def send(*args: Any, **kwargs: Any) -> Any:
            try:
                look(*args, **kwargs)
            except Exception as error:
                if is_interruption(error):
                    raise
            return original(*args, **kwargs)

        return send

    return make
