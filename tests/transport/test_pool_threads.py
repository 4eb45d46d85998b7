"""Threads that share one sender get right answers, without mixing.

Connections are shared one after the other.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator

import pytest
import requests

from llmwatch.errors import ConnectFailed, StreamCut
from llmwatch.faults import Context, FaultServer, Script, steps
from llmwatch.transport.sender import Sender
from llmwatch.watch.machine import VerdictKind
from tests.transport.drive import PATIENCE, SCALE, Call
from tests.transport.scenes import Network

_THREADS = 20
_CALLS = 8


def _play(context: Context) -> Iterator[steps.Step]:
    body = context.request.body
    pieces = [body[start : start + 7] for start in range(0, len(body), 7)]
    cookie = ("Set-Cookie", f"c{context.request.number}=1")
    yield from context.answer([steps.Chunk(piece) for piece in pieces], headers=[cookie])


_ECHO = Script(name="echo", description="says what it was told, in pieces", play=_play)


def _all(work: Callable[[int], None]) -> None:
    """Run the work in many threads, each with a number, and let what they raise out."""
    errors: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5 * PATIENCE)
    if errors:
        raise errors[0]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_every_thread_gets_its_own_answer(tls: bool, sender: Sender, network: Network) -> None:
    """Threads that share a sender get the answers to their own questions.

    There are no more connections than threads.
    """
    with FaultServer(_ECHO, tls=network.tls if tls else None) as server:

        def work(number: int) -> None:
            for turn in range(_CALLS):
                question = f"thread {number} asks for the {turn}th time ".encode() * 5
                call = Call(sender, server.chat_url, data=question, verify=network.bundle)
                assert call.run() == question
                assert call.error is None

        _all(work)
        assert len(server.requests) == _THREADS * _CALLS
        assert server.connections <= _THREADS


def test_cancelled_calls_leave_other_calls_untouched(sender: Sender) -> None:
    """Calls that are cancelled at random moments leave other calls untouched.

    The other calls are those of other threads, and the next ones.
    """
    with FaultServer(_ECHO) as server:

        def work(number: int) -> None:
            moments = random.Random(number)
            for turn in range(_CALLS):
                question = f"thread {number} asks for the {turn}th time ".encode() * 5
                call = Call(sender, server.chat_url, data=question)
                if moments.random() < 0.5:
                    call.start().attempt.take(call.attempt.created_at + moments.uniform(0, 0.004) * SCALE)
                    call.attempt.cancel("user")
                    assert call.attempt.join(PATIENCE)
                else:
                    assert call.run() == question
                    assert call.verdict.kind is VerdictKind.DONE

        _all(work)


def test_an_adapter_without_a_request_context_works_as_plain_requests(sender: Sender) -> None:
    """A session that uses the same adapter from a thread without an attempt works as ever, and shares the
    connections.
    """
    with FaultServer() as server, requests.Session() as session:
        session.mount("http://", sender._adapter)
        assert Call(sender, server.chat_url).run()
        assert session.post(server.chat_url, json={}).ok
        with session.post(server.chat_url, json={"stream": True}, stream=True) as response:
            assert b"".join(response.iter_content(None))
        call = Call(sender, server.chat_url)
        assert call.run()
        assert call.attempt.stats.reused
        assert server.connections == 1


def test_closing_while_others_call_breaks_none_of_them() -> None:
    """A sender that is closed again and again while threads call fails no call."""
    sender = Sender()
    stop = threading.Event()
    with FaultServer(_ECHO) as server:

        def close() -> None:
            while not stop.wait(0.001):
                sender.close()

        closer = threading.Thread(target=close)
        closer.start()

        def work(number: int) -> None:
            for turn in range(_CALLS):
                call = Call(sender, server.chat_url, data=b"%d %d" % (number, turn))
                taken = call.run()
                assert not isinstance(call.error, (ConnectFailed, StreamCut)), call.foreign
                assert taken == b"%d %d" % (number, turn)

        try:
            _all(work)
        finally:
            stop.set()
            closer.join(PATIENCE)
    sender.close()
