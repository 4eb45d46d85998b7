"""The response of requests that the caller gets, over a body that a worker reads."""

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
"""Maps the error, the request, and the response being read to an error of the entry point's users."""


class WatchedResponse(requests.Response):
    """A :class:`requests.Response` that carries the record of its call.

    ``elapsed`` is the time from the start of the attempt that answered to its headers, as requests defines it. It
    includes no resend, no wait and no held-back time. A pickle or a copy is a plain :class:`requests.Response` with
    requests' own data and no record, so a program without llmwatch can load it.
    """

    _measured: timedelta | None = None

    @property
    def elapsed(self) -> timedelta:
        """From the start of the attempt that answered to its headers."""
        return self.__dict__.get("elapsed", timedelta(0)) if self._measured is None else self._measured

    @elapsed.setter
    def elapsed(self, value: timedelta) -> None:
        # The session sets it after the adapter has returned, and counts everything.
        self.__dict__["elapsed"] = value

    @property
    def llmwatch_record(self) -> CallRecord | None:
        """The call's record: attempts, timings, decisions. ``None`` while the body is still to be read."""
        record: CallRecord | None = getattr(self.raw, "llmwatch_record", None)
        return record

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
    """The source of a reader's bytes.
    It refers to no response, so a dropped response ends its call at once.
    """

    def __init__(self, call: ResponseCall, pieces: Sequence[bytes], fail: Callable[[LLMWatchError], NoReturn]) -> None:
        self._call = call
        self._pieces = deque(pieces)
        self._fail = fail
        self._failure: LLMWatchError | None = None

    def pull(self) -> bytes | None:
        """The next bytes, ``None`` at the end. Raises the error that ended the body on every further call."""
        try:
            return self._pull()
        except LLMWatchError:
            raise
        except BaseException as error:
            # Ctrl-C, or an error of a stand-in for the network, closes the call; that must not read like the body's
            # end.
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
                # The call is settled with its last piece, whether the reader asks for more or drops the response.
                self._pieces.extend(rest)
        piece = self._pieces.popleft()
        if isinstance(piece, Piece) and piece.text:
            # A later error counts this text as handed out.
            self._call.partial.append(piece.text)
        return bytes(piece)

    def _next_batch(self) -> list[bytes] | None:
        if self._failure is not None:
            return None
        try:
            batch: list[bytes] | None = self._call.next_batch()
        except LLMWatchError as error:
            # Frames in its traceback refer to the error. The copy is never raised, so no frame refers to it.
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
    """A response like that of ``head``, whose body is ``pieces`` and the rest of ``call``.
    With ``ended`` there is no rest.
    """
    real = head.response
    cls = WatchedResponse if type(real) is requests.Response else type(real)
    handed: Any = cls.__new__(cls)
    state = {name: value for name, value in real.__dict__.items() if name not in ("_content", "_content_consumed")}
    handed.__dict__.update(state, _content=False, _content_consumed=False)
    request, handed_ref = real.request, weakref.ref(handed)

    def fail(failure: LLMWatchError) -> NoReturn:
        response = handed_ref()
        failure = failure.with_traceback(None)  # as in open_response
        raise error(failure, request, real if response is None else response) from failure.__cause__

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
