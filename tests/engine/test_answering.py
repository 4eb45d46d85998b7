"""``llmwatch.engine.answering`` and ``passthrough``: responses for entry points of existing code.

Their times are tested too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import requests

from llmwatch import Limits, LLMWatchError, Retry, StreamCut, StreamTruncated, WatchTimeout
from llmwatch.engine.answering import ResponseCall
from llmwatch.engine.passthrough import PassthroughExchange, passthroughs
from llmwatch.engine.request import CallRequest
from llmwatch.engine.settings import CallOptions, RequestKind
from llmwatch.recovery import EntryPoint
from tests.end_to_end.calls import eventually, in_thread
from tests.engine.fakes import BUSY, CHUNK, DONE, URL, Answer, FakeReply, FakeSender, Studio, asks, chunk, whole

FINISH = chunk(finish_reason="stop")
STREAM = [CHUNK, FINISH, DONE]


class _Reply(FakeReply):
    """A reply that has a response, as the entry points hand it out."""

    @property
    def response(self) -> requests.Response:
        response = requests.Response()
        response.status_code, response.headers = self.status, self.headers  # type: ignore[assignment]
        return response

    @property
    def over(self) -> bool:
        return not self._left and self._answer.headers.get("content-length") is not None


class _Sender(FakeSender):
    findable = True
    trust_advice = ""

    def open(self, *args: Any, **kwargs: Any) -> Any:
        reply = super().open(*args, **kwargs)
        return _Reply(reply._answer, reply._handle)


class EntryPoints:
    """Makes calls of each kind of request."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def call(
        self,
        *answers: Answer,
        request_kind: RequestKind = RequestKind.STREAM,
        whole: bool = False,
        findable: bool = True,
        **more: Any,
    ) -> tuple[ResponseCall, _Sender]:
        settings = self.studio.settings(**more.pop("settings", {}))
        sender = _Sender(self.studio.time.clock.now, answers)
        sender.findable = findable
        request = CallRequest.build("POST", URL, {"json": {"stream": request_kind is RequestKind.STREAM}})
        if request_kind is RequestKind.OTHER:
            request = replace(request, body=None, readable=False)
        options = CallOptions(
            request=request, entry_point=EntryPoint.SESSION, request_kind=request_kind, whole=whole, **more
        )
        return ResponseCall(passthroughs(sender, settings, options), settings, options), sender  # type: ignore[arg-type]


@pytest.fixture
def entry_points(studio: Studio) -> EntryPoints:
    """Calls on time that only the test moves."""
    return EntryPoints(studio)


def _rest(call: ResponseCall) -> bytes:
    found = b""
    while (batch := call.next_batch()) is not None or (batch := call.rest()) is not None:
        found += b"".join(batch)
    return found


# -- a streamed answer ----------------------------------------------------------


def test_a_stream_is_handed_out_with_its_first_content(entry_points: EntryPoints) -> None:
    """Nothing is handed out before the first content.

    Then come the headers and all bytes from the first, those behind the end too.
    """
    call, sender = entry_points.call(Answer(pieces=[b": hello\n\n", chunk(), *STREAM, b"data: late\n\n"]))
    call.begin()
    head, pieces = call.answer()
    assert head.body is None
    assert head.response.status_code == 200
    found = b"".join(pieces) + _rest(call)
    assert found == b": hello\n\n" + chunk() + b"".join(STREAM) + b"data: late\n\n"
    assert call.record is not None
    assert (call.record.outcome, call.record.entry_point, len(sender.asked)) == ("done", "session", 1)


def test_a_stream_of_keep_alives_is_not_handed_out(entry_points: EntryPoints) -> None:
    """A stream with keep-alives alone ends at ``first_content``."""
    call, _ = entry_points.call(
        Answer(pieces=[b": hello\n\n", chunk()], silent=True), limits=Limits(first_content=5), retry=Retry.none()
    )
    call.begin()
    running = in_thread(call.answer)
    eventually(lambda: call._attempt is not None and call._attempt.stats.comments == 1, "it breathes")
    entry_points.studio.elapse(5.1)
    with pytest.raises(WatchTimeout) as caught:
        running.result()
    assert caught.value.limit == "first_content"


@pytest.mark.parametrize(
    "lost",
    [
        Answer(unsent=requests.ConnectionError("x")),
        Answer(pieces=[b": hello\n\n", chunk()]),
        Answer(pieces=[chunk()], cut=ConnectionResetError(104, "reset"), reused=False),
        BUSY,
        asks(**{"retry-after": "0"}),
    ],
)
def test_only_the_attempt_with_content_is_handed_out(entry_points: EntryPoints, lost: Answer) -> None:
    """The caller gets the answer of the attempt that had content, from its first byte."""
    retry = Retry(backoff=0, max_backoff=0)
    call, sender = entry_points.call(lost, whole(), retry=retry)
    call.begin()
    if lost.unsent is not None:
        # Without a socket it is a stand-in's word, and stands.
        with pytest.raises(requests.ConnectionError):
            call.answer()
        return
    _, pieces = call.answer()
    assert b"".join(pieces) + _rest(call) == b"".join(whole().pieces)
    assert len(sender.asked) == 2


def test_a_failure_is_raised_after_the_bytes_that_came_before_it(entry_points: EntryPoints) -> None:
    """A cut or a missing end is raised once all earlier bytes were handed out, and nothing is sent again."""
    for answer, kind in (
        (Answer(pieces=[CHUNK, CHUNK], cut=ConnectionResetError(104, "reset"), reused=False), StreamCut),
        (Answer(pieces=[CHUNK, CHUNK]), StreamTruncated),
    ):
        call, sender = entry_points.call(answer)
        call.begin()
        _, pieces = call.answer()
        found = b"".join(pieces)
        with pytest.raises(kind) as caught:
            while True:
                batch = call.next_batch()
                assert batch is not None
                found += b"".join(batch)
        assert found == CHUNK + CHUNK
        assert caught.value.record is call.record
        assert len(sender.asked) == 1
        assert call.next_batch() is None


@pytest.mark.parametrize("cut", [None, ConnectionResetError(104, "reset")])
def test_a_stream_that_is_loaded_whole_is_resent_once_after_content(
    entry_points: EntryPoints, cut: Exception | None
) -> None:
    """If nothing is handed out before the end, half an answer may be replaced once, and not twice."""
    half = Answer(pieces=[CHUNK], cut=cut, reused=False)
    retry = Retry(backoff=0, max_backoff=0)
    call, sender = entry_points.call(half, whole(), whole=True, retry=retry)
    call.begin()
    head, pieces = call.whole()
    assert (head.body, b"".join(pieces)) == (None, b"".join(whole().pieces))
    call, sender = entry_points.call(half, half, whole(), whole=True, retry=retry)
    call.begin()
    with pytest.raises(LLMWatchError):
        call.whole()
    assert len(sender.asked) == 2


# -- statuses -------------------------------------------------------------------


@pytest.mark.parametrize("request_kind", [RequestKind.STREAM, RequestKind.PLAIN])
@pytest.mark.parametrize("whole", [True, False])
def test_the_last_status_of_a_model_call_is_its_response(
    entry_points: EntryPoints, request_kind: RequestKind, whole: bool
) -> None:
    """After the resends that it allows, the status is returned with its body.

    The record says what happened.
    """
    call, sender = entry_points.call(
        BUSY, request_kind=request_kind, whole=whole, retry=Retry(backoff=0, max_backoff=0)
    )
    call.begin()
    head, pieces = call.whole() if whole else call.answer()
    assert (head.response.status_code, head.body) == (503, BUSY.pieces[0])
    assert b"".join(pieces) == BUSY.pieces[0]
    assert len(sender.asked) == 3
    assert call.record is not None
    assert (call.record.outcome, call.record.cause) == ("failed", "provider_error")
    assert call.next_batch() is None


@pytest.mark.parametrize("whole", [True, False])
def test_a_status_of_another_request_is_returned_at_once(entry_points: EntryPoints, whole: bool) -> None:
    """A request that is no model call is sent once, and the body of its status is read like any other."""
    call, sender = entry_points.call(BUSY, request_kind=RequestKind.OTHER, whole=whole)
    call.begin()
    head, pieces = call.whole() if whole else call.answer()
    assert head.response.status_code == 503
    assert b"".join(pieces) + _rest(call) == BUSY.pieces[0]
    assert len(sender.asked) == 1
    assert call.record is not None
    assert call.record.outcome == "done"


# -- other than model calls -------------------------------------------------------


def test_a_download_is_handed_over_as_it_comes(entry_points: EntryPoints) -> None:
    """The headers come before the body, and its bytes as they were read, with any content."""
    call, _ = entry_points.call(Answer(pieces=[b"<html>", b"data: {broken\n\n"]), request_kind=RequestKind.OTHER)
    call.begin()
    head, pieces = call.answer()
    assert (head.body, b"".join(pieces) + _rest(call)) == (None, b"<html>data: {broken\n\n")


def test_a_download_of_known_length_is_done_with_its_last_byte(entry_points: EntryPoints) -> None:
    """A caller that has every byte and closes has not cancelled."""
    answer = Answer(pieces=[b"1234", b"56"], headers={"content-length": "6"}, silent=True)
    call, sender = entry_points.call(answer, request_kind=RequestKind.OTHER)
    call.begin()
    _, pieces = call.answer()
    while len(b"".join(pieces)) < 6:
        pieces += call.next_batch() or []
    call.close()
    assert call.record is not None
    assert call.record.outcome == "done"
    sender.handles[0].shutdown()


def test_a_post_that_is_no_model_call_is_resent_only_if_unsent(entry_points: EntryPoints) -> None:
    """A POST that is no model call and was sent is lost with its connection."""
    call, sender = entry_points.call(
        Answer(error=ConnectionResetError(104, "reset"), reused=False), request_kind=RequestKind.OTHER
    )
    call.begin()
    with pytest.raises(StreamCut) as caught:
        call.answer()
    assert caught.value.recovery is not None
    assert (caught.value.recovery.reason, len(sender.asked)) == ("unreadable_body", 1)


def test_a_call_over_unseen_connections_is_not_resent(entry_points: EntryPoints) -> None:
    """Not even a model call is resent over connections that the transport cannot see.

    The facts are unknown there.
    """
    answer = Answer(silent=True)
    call, sender = entry_points.call(answer, request_kind=RequestKind.STREAM, findable=False, limits=Limits(ttfb=5))
    call.begin()
    sender.wait_for(1)
    running = in_thread(call.answer)
    eventually(lambda: call._attempt is not None and call._attempt.stats.sent == "yes", "it is sent")
    call._attempt.stats.opaque = True  # type: ignore[union-attr]  # as it is without a socket
    entry_points.studio.elapse(5.1)
    with pytest.raises(WatchTimeout) as caught:
        running.result()
    assert caught.value.recovery is not None
    assert (caught.value.recovery.reason, len(sender.asked)) == ("facts_unknown", 1)


# -- times ------------------------------------------------------------------------


def test_the_time_to_the_headers_is_that_of_the_last_attempt(entry_points: EntryPoints) -> None:
    """Resends and waits do not count in the time."""
    call, _ = entry_points.call(BUSY, whole(), retry=Retry(backoff=0, max_backoff=0))
    assert call.headers_after() is None
    call.begin()
    call.answer()
    assert call.headers_after() == 0
    call.close()


def test_closing_before_the_end_is_a_cancellation(entry_points: EntryPoints) -> None:
    """A caller that closes before the terminal event has cancelled; after it the call is done."""
    call, sender = entry_points.call(Answer(pieces=[CHUNK], silent=True))
    call.begin()
    call.answer()
    call.close()
    assert call.record is not None
    assert (call.record.outcome, call.record.cause) == ("cancelled", "user_cancel")
    eventually(lambda: sender.handles[0].shut_down.is_set(), "the connection is shut")
    call, _ = entry_points.call(whole())
    call.begin()
    _, pieces = call.answer()
    while DONE not in pieces:
        pieces += call.next_batch() or []
    call.close()
    assert call.record is not None
    assert call.record.outcome == "done"


def test_each_attempt_runs_one_passthrough_with_the_settings_of_its_kind(entry_points: EntryPoints) -> None:
    """One passthrough an attempt, with what the call goes by."""
    call, sender = entry_points.call(whole(), request_kind=RequestKind.PLAIN, findable=False)
    work: Any = call._make_work(call._request, call.limits).run
    assert isinstance(work.__self__, PassthroughExchange)
    assert (work.__self__.request_kind, work.__self__.findable, work.__self__.sender) == (
        RequestKind.PLAIN,
        False,
        sender,
    )
