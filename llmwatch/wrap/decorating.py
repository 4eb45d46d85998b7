"""The decorator."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, overload

from llmwatch.policy import Limits, Retry
from llmwatch.watch.cancel import CancelToken
from llmwatch.wrap.calling import call_with, refuse_coroutines
from llmwatch.wrap.iterating import iterate_with
from llmwatch.wrap.starting import Options

P = ParamSpec("P")
R = TypeVar("R")

__all__ = ["watched"]


@overload
def watched(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def watched(
    *,
    limits: Limits | None = None,
    retry: Retry | None = None,
    abort: Callable[[], object] | None = None,
    cancel: CancelToken | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def watched(
    function: Callable[..., Any] | None = None,
    /,
    *,
    limits: Limits | None = None,
    retry: Retry | None = None,
    abort: Callable[[], object] | None = None,
    cancel: CancelToken | None = None,
) -> Any:
    """Every call of the decorated function goes through :func:`~llmwatch.call`; of a generator function, through
    :func:`~llmwatch.iterate`, so that calling it returns a watched iterator.

    ``@watched`` and ``@watched(limits=..., retry=..., abort=..., cancel=...)`` are both fine. Name, signature and types
    stay, and the function itself is there as ``__wrapped__``. One ``cancel`` token is for all calls together. Raises
    ``TypeError`` for a coroutine function.
    """
    options = Options(limits=limits, retry=retry, abort=abort, cancel=cancel)
    return functools.partial(_decorate, options) if function is None else _decorate(options, function)


def _decorate(options: Options, function: Callable[..., Any]) -> Callable[..., Any]:
    refuse_coroutines(function)
    if inspect.isgeneratorfunction(function):
        signature = inspect.signature(function)

        @functools.wraps(function)
        def iterating(*args: Any, **kwargs: Any) -> Any:
            # Wrong arguments are an error of the call, not of the first item.
            signature.bind(*args, **kwargs)
            return iterate_with(function, functools.partial(function, *args, **kwargs), options)

        return iterating

    @functools.wraps(function)
    def calling(*args: Any, **kwargs: Any) -> Any:
        return call_with(function, functools.partial(function, *args, **kwargs), options)

    return calling
