"""The hook before a resend: another endpoint, new credentials, a smaller body."""

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
    """What ``Retry(on_retry=...)`` is called with, after the wait and before the request is sent again.

    ``attempt`` is the number of the attempt to come (2 for the first resend), ``error`` what ended the one before,
    ``url`` where it is about to go, ``kwargs`` requests' keyword arguments that it is about to be sent with. Return
    ``None`` to send the same again, or a mapping with what is to change: ``url``, ``headers`` (merged into the old
    ones, whatever the case of their names; ``None`` as a value removes one, the session's too), ``json``, ``data``,
    ``params``, ``auth``, ``cookies``.

    Where the first attempt would have to wait, since its host answers nobody or has told another call to wait, the
    function is called before that wait as well: with the number 1 and a :class:`~llmwatch.CircuitOpen`. What it returns
    then is heeded where another host, model or credential is what it changes.
    """

    attempt: int
    error: LLMWatchError
    url: str
    kwargs: Mapping[str, Any]


def changed_request(
    request: CallRequest, hook: Callable[[Resend], Mapping[str, Any] | None], attempt: int, error: LLMWatchError
) -> CallRequest:
    """``request`` as ``hook`` wants it sent. A hook that raises or returns nonsense is logged, and the request stays
    as it was.
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
        # Where the old address has led to says nothing of the new one; what is left of the redirects does not grow.
        trail = Trail(hops=trail.hops)
    return replace(changed, trail=trail)


def _merged(*sources: Mapping[str, Any] | None) -> dict[str, Any]:
    """The later ones win. A ``None`` stays: to requests it means that a session's header of that name is not sent."""
    headers: CaseInsensitiveDict[Any] = CaseInsensitiveDict()
    for source in sources:
        for name, value in (source or {}).items():
            headers[name.decode("latin-1") if isinstance(name, bytes) else name] = value
    return dict(headers)
