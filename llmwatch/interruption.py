"""Tells an exception of a signal handler from one of the interrupted code.

The handler of the ``SIGALRM`` recipe raises an ordinary ``TimeoutError`` or a class of its own. The exception appears
in any code that runs then, such as a sink, whose own exceptions are only logged. The program that set the alarm waits
for that exception.
"""

from __future__ import annotations

import inspect
from types import FrameType

__all__ = ["is_interruption"]


def is_interruption(error: BaseException) -> bool:
    """Whether ``error`` must end a call anywhere: it is no ``Exception``, or a signal handler raised it.
    Python calls a handler with the number of the signal and the interrupted frame, which is the handler's own caller.
    No other function gets its caller's frame as an argument.
    """
    if not isinstance(error, Exception):
        return True
    place = error.__traceback__
    # The frame that caught the error is no handler. Reading its variables would keep them, with them the error, and
    # with the error the frame: a reference cycle, up to Python 3.12.
    place = place and place.tb_next
    while place is not None:
        if _is_handler(place.tb_frame):
            return True
        place = place.tb_next
    return False


def _is_handler(frame: FrameType) -> bool:
    caller, code = frame.f_back, frame.f_code
    if caller is None:
        return False
    count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & inspect.CO_VARARGS)
    names, values = code.co_varnames[:count], frame.f_locals
    for name in names:
        value = values.get(name)
        if value is caller or (isinstance(value, tuple) and any(element is caller for element in value)):
            return True
    return False
