"""Sets a wrapped call up: checks the arguments and finds the settings."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from llmwatch.engine.call import Call, Work
from llmwatch.engine.hosts import Hosts
from llmwatch.engine.request import CallRequest
from llmwatch.engine.settings import CallOptions, RequestKind, Settings
from llmwatch.policy import EffectiveLimits, Limits, Retry, environment, resolve_keepalive, resolve_limits
from llmwatch.policy.limit_table import EVENT_LIMITS
from llmwatch.recovery import EntryPoint
from llmwatch.watch.cancel import CancelToken
from llmwatch.wrap.function_request import FunctionRequest
from llmwatch.wrap.running import mark

T = TypeVar("T")

__all__ = ["Options", "make_call"]

RunWith = Callable[[Callable[[], object] | None, float, Any], None]

# A function is no host: all calls of requests.get share its name, so one call says nothing about the next. There is no
# circuit breaker, and no budget of resends unless the call's own retry sets one, which calls of functions of that name
# then share.
_SETTINGS = Settings(retry=Retry(breaker=0, budget=0, pace=False), started=mark, hosts=Hosts())


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of every wrapping function. Raises ``TypeError`` for a value of the wrong type."""

    limits: Limits | None = None
    retry: Retry | None = None
    abort: Callable[[], object] | None = None
    cancel: CancelToken | None = None

    def __post_init__(self) -> None:
        if self.limits is not None and not isinstance(self.limits, Limits):
            raise TypeError(f"limits must be a Limits, such as Limits(ttfb=45), not {self.limits!r}")
        if self.retry is not None and not isinstance(self.retry, Retry):
            raise TypeError(f"retry must be a Retry, such as Retry(max_attempts=3), not {self.retry!r}")
        if self.abort is not None and not callable(self.abort):
            raise TypeError(f"abort must be a function without arguments, not {self.abort!r}")
        if self.cancel is not None and not isinstance(self.cancel, CancelToken):
            raise TypeError(f"cancel must be an llmwatch.CancelToken, not {type(self.cancel).__name__}")


def make_call(method: str, function: object, run: RunWith, options: Options) -> Call[Any]:
    """The call, not begun, that runs ``run(abort, keepalive, attempt)`` in each attempt's worker.
    ``method`` is ``CALL``, with the limits of a plain call, or ``ITERATE``, with those of a stream. Raises
    :class:`~llmwatch.ConfigError` for an invalid environment.
    """
    profile = environment.profile_from(environment.settings(os.environ)) or "hosted"
    keepalive = resolve_keepalive(None, os.environ)

    def make_work(request: CallRequest, limits: EffectiveLimits) -> Work:
        def work(attempt: Any) -> None:
            run(options.abort, keepalive, attempt)

        return Work(work)

    once = method == "CALL"
    call_options = CallOptions(
        request=FunctionRequest.naming(method, function),
        entry_point=EntryPoint.WRAP,
        request_kind=RequestKind.OTHER if once else RequestKind.STREAM,
        limits=options.limits,
        retry=options.retry,
        cancel=options.cancel,
        caps=_content_limits(options.limits, profile) if once else {},
        caps_source="set explicitly",
    )
    return Call(make_work, replace(_SETTINGS, profile=profile), call_options)


def _content_limits(limits: Limits | None, profile: str) -> dict[str, float]:
    """The content limits of a function that beats: they count only where the user has set them."""
    resolved = resolve_limits(call=limits, environ=os.environ, profile=profile)
    return {
        name: limit.value
        for name, limit in resolved.limits.items()
        if name in EVENT_LIMITS and limit.explicit and limit.value is not None
    }
