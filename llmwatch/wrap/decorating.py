"""The decorator for functions and generator functions."""

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
    """Watch every call of the decorated function, as :func:`~llmwatch.call` does.

    A generator function goes through :func:`~llmwatch.iterate`, so calling it returns a watched iterator. Use
    ``@watched`` or ``@watched(limits=..., retry=..., abort=..., cancel=...)``. Name, signature and types stay;
    ``__wrapped__`` is the function itself. One ``cancel`` token serves all calls. Raises ``TypeError`` for a coroutine
    function.
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
