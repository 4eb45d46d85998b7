"""Notices the model calls of async clients, which llmwatch does not watch.

The clients are those of httpx, httpx2 and aiohttp. The functions that send a request are replaced by coroutine
functions that count, and then await the original with the same arguments. A library is touched only once the program
has imported it. Nothing that fails here reaches a call.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from llmwatch.hooks.httpx_transports import is_httpx_model_call, may_be_watched
from llmwatch.hooks.imports import on_import
from llmwatch.hooks.left_alone import LeftAlone, count_other, leave
from llmwatch.hooks.patches import Patches
from llmwatch.interruption import is_interruption
from llmwatch.payload import is_model_call, may_be_model_call

__all__ = ["notice_async_calls"]

_REASON = "an async client"
_SDK_REMEDY = (
    "A synchronous client (openai.OpenAI, {client}, ...) in a function that"
    " asyncio.to_thread(function) runs is watched."
)
_REMEDIES = {
    "httpx": _SDK_REMEDY.format(client="httpx.Client"),
    "httpx2": _SDK_REMEDY.format(client="httpx2.Client"),
    "aiohttp": _SDK_REMEDY.format(client="requests.Session"),
}

Look = Callable[..., None]


def notice_async_calls() -> None:
    """Count and name the model calls of async clients from now on (:mod:`llmwatch.hooks.left_alone`).

    Imports nothing. Calls of a transport that is not the library's own are not seen.
    """
    on_import("httpx", _httpx)
    on_import("httpx2", _httpx)
    on_import("aiohttp", _aiohttp)


def _httpx(module: ModuleType) -> None:
    name = module.__name__

    def look(transport: Any, request: Any) -> None:
        if may_be_watched(name, request):
            _count(name, is_httpx_model_call(request))

    Patches({(module.AsyncHTTPTransport, "handle_async_request"): _looking_first(look)}).apply()


def _aiohttp(module: ModuleType) -> None:
    def look(session: Any, method: str, url: Any, **given: Any) -> None:
        body, data = given.get("json"), given.get("data")
        if body is None and isinstance(data, (bytes, str)):
            raw = data.encode() if isinstance(data, str) else data
            body = _parsed(raw) if may_be_model_call(method, str(url), raw) else None
        _count("aiohttp", isinstance(body, Mapping) and is_model_call(method, str(url), body))

    Patches({(module.ClientSession, "_request"): _looking_first(look)}).apply()


def _parsed(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _count(library: str, model_call: bool) -> None:
    if model_call:
        leave(library, LeftAlone(_REASON), remedy=_REMEDIES[library])
    else:
        count_other(library)


def _looking_first(look: Look) -> Callable[[Any], Any]:
    """Makes a coroutine function that passes its arguments to ``look`` and then to the original."""

    def make(original: Any) -> Any:
        @functools.wraps(original)
        async def send(*args: Any, **kwargs: Any) -> Any:
            try:
                look(*args, **kwargs)
            except Exception as error:
                if is_interruption(error):
                    raise
            return await original(*args, **kwargs)

        return send

    return make
