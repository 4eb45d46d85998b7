"""The user's hook before a resend: another endpoint, new credentials, a smaller body."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from requests.structures import CaseInsensitiveDict

from llmwatch.engine.request import CallRequest
from llmwatch.errors import LLMWatchError
from llmwatch.interruption import is_interruption
from llmwatch.records.log import say
from llmwatch.redaction import redact
from llmwatch.transport.redirects import Trail

__all__ = ["Resend", "changed_request"]

_CHANGEABLE = frozenset({"url", "headers", "json", "data", "params", "auth", "cookies"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Resend:
    """The argument of ``Retry(on_retry=...)``, which is called after the wait and before each resend.

    ``attempt`` is the number of the next attempt (2 for the first resend), ``error`` the error of the last one, ``url``
    and ``kwargs`` (requests' keyword arguments) what is about to be sent. Return ``None`` to send the same again, or a
    mapping of changes: ``url``, ``headers`` (merged into the old ones, ignoring case; a ``None`` value removes a
    header, the session's included), ``json``, ``data``, ``params``, ``auth``, ``cookies``.

    If the first attempt would have to wait, because its host answers no call or told another call to wait, the function
    is also called before that wait, with the number 1 and a :class:`~llmwatch.CircuitOpen`. Its changes are then used
    only if they give another host, model or credential.
    """

    attempt: int
    error: LLMWatchError
    url: str
    kwargs: Mapping[str, Any]


def changed_request(
    request: CallRequest, hook: Callable[[Resend], Mapping[str, Any] | None], attempt: int, error: LLMWatchError
) -> CallRequest:
    """``request`` with the changes of ``hook``.
    A hook that raises or returns invalid changes is logged, and ``request`` is returned unchanged.
    """
    try:
        changes = hook(Resend(attempt=attempt, error=error, url=request.url, kwargs=dict(request.kwargs)))
        return request if not changes else _changed(request, changes)
    except Exception as failed:
        if is_interruption(failed):
            raise
        message = "llmwatch: on_retry raised %s; the request is sent again unchanged"
        say(logging.ERROR, message, redact.described(failed))
        return request


def _changed(request: CallRequest, changes: Mapping[str, Any]) -> CallRequest:
    unknown = sorted(set(changes) - _CHANGEABLE)
    if unknown:
        raise TypeError(f"on_retry may change {', '.join(sorted(_CHANGEABLE))}, not {unknown[0]!r}")
    kwargs = dict(request.kwargs)
    kwargs.update({name: value for name, value in changes.items() if name not in ("url", "headers")})
    if "json" in changes:
        kwargs.pop("data", None)
    if "headers" in changes:
        kwargs["headers"] = _merged(kwargs.get("headers"), changes["headers"])
    changed = CallRequest.build(request.method, changes.get("url") or request.url, kwargs)
    trail = request.trail
    if "url" in changes or "params" in changes:
        # Where redirects led from the old address says nothing about the new one. The count of redirects stays.
        trail = Trail(hops=trail.hops)
    return replace(changed, trail=trail)


def _merged(*sources: Mapping[str, Any] | None) -> dict[str, Any]:
    """Later sources win. A ``None`` stays: requests then omits the session's header of that name."""
    headers: CaseInsensitiveDict[Any] = CaseInsensitiveDict()
    for source in sources:
        for name, value in (source or {}).items():
            headers[name.decode("latin-1") if isinstance(name, bytes) else name] = value
    return dict(headers)
