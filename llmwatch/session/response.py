"""The response that is handed out: one of requests' own, over a body that a worker reads."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, NoReturn, SupportsIndex

import requests
from requests.adapters import BaseAdapter

from llmwatch.engine.answering import ResponseCall
from llmwatch.engine.combined_errors import copy_of
from llmwatch.engine.exchange import Head
from llmwatch.engine.passthrough import Piece
from llmwatch.errors import LLMWatchError, StreamCut
from llmwatch.records import CallRecord
from llmwatch.transport.body import BodyReader, StreamedResponse

__all__ = ["ErrorMapper", "WatchedResponse", "hand_out"]

ErrorMapper = Callable[[LLMWatchError, requests.PreparedRequest, "requests.Response | None"], BaseException]
"""Makes of an error what the entry point's users catch: the error, the request, and the response if it is being
read.
"""


class WatchedResponse(requests.Response):
    """A :class:`requests.Response` that knows what happened to its call.

    ``elapsed`` is the time from the start of the attempt that answered to its headers, which is what requests means by
    it; resends, waits and what was held back are not in it.

    A pickle or a copy is a plain :class:`requests.Response` of what requests itself keeps, without the record: a
    program that has no llmwatch can load it.
    """

    _measured: timedelta | None = None

    @property
    def elapsed(self) -> timedelta:
        """From the sending of the request to its headers."""
        return self.__dict__.get("elapsed", timedelta(0)) if self._measured is None else self._measured

    @elapsed.setter
    def elapsed(self, value: timedelta) -> None:
        # The session sets it after the adapter has returned, and counts everything.
        self.__dict__["elapsed"] = value

    @property
    def llmwatch_record(self) -> CallRecord | None:
        """What happened: attempts, timings, decisions. ``None`` while the body is still to be read."""
        found: CallRecord | None = getattr(self.raw, "llmwatch_record", None)
        return found

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        if type(self) is not WatchedResponse:
            return super().__reduce_ex__(protocol)
        return requests.Response, (), super().__getstate__()  # type: ignore[misc]


class _WatchedRaw(StreamedResponse):
    """The raw response, with the call behind it."""

    call: ResponseCall

    @property
    def llmwatch_record(self) -> CallRecord | None:
        """See :class:`WatchedResponse`."""
        return self.call.record


class _Body:
    """Where a reader gets its bytes from. Refers to no response, so that one that is dropped ends its call at once."""

    def __init__(self, call: ResponseCall, pieces: Sequence[bytes], fail: Callable[[LLMWatchError], NoReturn]) -> None:
        self._call = call
        self._pieces = deque(pieces)
        self._fail = fail
        self._failure: LLMWatchError | None = None

    def pull(self) -> bytes | None:
        """The next bytes, ``None`` at the end. Raises what ended the body before that, however often it is called."""
        try:
            return self._pull()
        except LLMWatchError:
            raise
        except BaseException as error:
            # Ctrl-C, or what a stand-in for the network raises: the call is closed, and its end would look like one.
            self._failure = self._failure or StreamCut(
                f"The body was not read to its end: {type(error).__name__} was raised in an earlier read of it.",
                retryable=False,
            )
            raise

    def _pull(self) -> bytes | None:
        while not self._pieces:
            batch = self._next_batch()
            if self._failure is not None:
                self._fail(copy_of(self._failure))
            if batch is None:
                return None
            self._pieces.extend(batch)
            while self._call.answered and (rest := self._call.next_batch()) is not None:
                # With its last piece the call is settled, whether the reader asks for more or drops the response.
                self._pieces.extend(rest)
        piece = self._pieces.popleft()
        if isinstance(piece, Piece) and piece.text:
            # Handed out from here on, as far as an error that comes later can know.
            self._call.partial.append(piece.text)
        return bytes(piece)

    def _next_batch(self) -> list[bytes] | None:
        if self._failure is not None:
            return None
        try:
            batch: list[bytes] | None = self._call.next_batch()
        except LLMWatchError as error:
            # Frames in its traceback refer to it. The copy is never raised, so that it refers to none.
            self._failure = copy_of(error.with_traceback(None))
            return None
        return self._call.rest() if batch is None else batch


def hand_out(
    call: ResponseCall,
    head: Head,
    pieces: Sequence[bytes],
    *,
    ended: bool,
    promptly: bool,
    error: ErrorMapper,
    connection: BaseAdapter | None,
) -> requests.Response:
    """A response like that of ``head``, whose body is ``pieces`` and, unless it has ``ended``, what ``call`` still
    gives.
    """
    real = head.response
    cls = WatchedResponse if type(real) is requests.Response else type(real)
    handed: Any = cls.__new__(cls)
    state = {name: value for name, value in real.__dict__.items() if name not in ("_content", "_content_consumed")}
    handed.__dict__.update(state, _content=False, _content_consumed=False)
    request, handed_ref = real.request, weakref.ref(handed)

    def fail(found: LLMWatchError) -> NoReturn:
        response = handed_ref()
        found = found.with_traceback(None)  # as in opening
        raise error(found, request, real if response is None else response) from found.__cause__

    body = _Body(call, pieces, fail)
    if ended:
        waiting = deque(pieces)
        reader = BodyReader(lambda: waiting.popleft() if waiting else None)
    else:
        reader = BodyReader(body.pull, end=call.close, interrupt=call.leave, drop=call.abandon)
    raw = _WatchedRaw(reader, real.raw, promptly=promptly, decoded=head.decoded, method=request.method)
    raw.call = call
    handed.raw = raw
    if connection is not None:
        handed.connection = connection
    after = call.headers_after()
    if isinstance(handed, WatchedResponse) and after is not None:
        handed._measured = timedelta(seconds=after)
    return handed  # type: ignore[no-any-return]
