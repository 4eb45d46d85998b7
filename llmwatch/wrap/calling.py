"""One call of a function, watched."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from llmwatch.engine.call import Call
from llmwatch.policy import Limits, Retry
from llmwatch.watch.cancel import CancelToken
from llmwatch.wrap.running import FunctionRaised, run_function
from llmwatch.wrap.starting import Options, make_call

T = TypeVar("T")

__all__ = ["call", "call_with", "refuse_coroutines"]


def call(
    function: Callable[..., T],
    /,
    *args: Any,
    limits: Limits | None = None,
    retry: Retry | None = None,
    abort: Callable[[], object] | None = None,
    cancel: CancelToken | None = None,
    **kwargs: Any,
) -> T:
    """Call ``function(*args, **kwargs)`` in a watched worker thread, and return its value.

    Its exception is raised: the same object, with the function's frames in its traceback, and the function is not run
    again. The call does not hang.

    The limits are those of a plain call (``ttfb`` 600 s from the start to the return or to the first
    :func:`~llmwatch.beat`), with ``limits`` and the environment over them; ``first_event``, ``first_content`` and
    ``progress`` count only where they are set. The function sees the caller's context variables. When a limit expires,
    the caller gets :class:`~llmwatch.WatchTimeout` at once, and the function is made to come back. Connections that it
    opened through requests are shut down without its help. ``abort`` and every :func:`~llmwatch.on_abort` callback are
    called, without arguments, in threads of their own. A function that does not come back is an orphan: ``stats()``
    counts it, and the error and ``record.orphaned`` tell where nothing could be tried. With 64 orphans nothing more
    starts (:class:`~llmwatch.TooManyOrphans`).

    A killed function runs again (``retry``) only where it can have had no effect: it has not beaten, no request in it
    was answered, and there was something to end it with, a connection that waited for an answer or an abort callback.
    ``Retry(resend_with_tools=True)`` says that running it twice is harmless. A function is no host, so there is no
    circuit breaker, and no retry budget unless ``retry`` sets one, whatever the environment says. ``cancel`` and Ctrl-C
    end the call at once.

    It cannot stop a function that computes, and sees no sockets but those of requests. Arguments of the function with
    the names of these options have to be bound before (``functools.partial``). Raises ``TypeError`` for a coroutine or
    generator function.
    """
    if inspect.isgeneratorfunction(function):
        raise TypeError(f"{function!r} makes a generator, which would run outside of the watch; use llmwatch.iterate")
    refuse_coroutines(function)
    options = Options(limits=limits, retry=retry, abort=abort, cancel=cancel)
    return call_with(function, functools.partial(function, *args, **kwargs), options)


def refuse_coroutines(function: object) -> None:
    """Raise ``TypeError`` for objects that cannot be called, and for asynchronous functions."""
    if not callable(function):
        raise TypeError(f"a function is needed, not {function!r}")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{function!r} is asynchronous; llmwatch watches synchronous functions")


def call_with(function: object, bound: Callable[[], T], options: Options) -> T:
    """The value of ``bound()``; ``function`` gives the call its name."""
    made: Call[T] = make_call("CALL", function, functools.partial(run_function, bound), options)
    values: list[T] = []
    try:
        made.begin()
        while (batch := made.next_batch()) is not None:
            values = batch
    except FunctionRaised as raised:
        error = raised.error
    else:
        return values[-1]
    finally:
        made.close()
    try:
        raise error
    finally:
        del error  # else the traceback would hold itself
