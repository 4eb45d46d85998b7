"""The sockets of an attempt.

They are shut under its lock, never after they were given back, and looked at before a kill.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from llmwatch.watch.attempt import BatchMeaning
from llmwatch.watch.interfaces import Aborted
from llmwatch.watch.machine import GRACE, READ_DRIVEN, VerdictKind
from llmwatch.watch.states import EVENT_DRIVEN
from tests.watch.scripted import PATIENCE, Caller, Socket, Stage

MakeStage = Callable[..., Stage]
LATE = 0.25


# -- ownership ---------------------------------------------------------------


def test_every_socket_is_shut_before_the_caller_is_free(stage: MakeStage) -> None:
    """A kill shuts all sockets that the attempt owns; the worker releases each once."""
    one = stage(ttfb=10.0)
    sockets = [one.open(), one.socket(), one.socket()]
    shut_when_free: list[bool] = []

    def take() -> None:
        assert one.attempt.take() is None
        shut_when_free.extend(socket.shut_down.is_set() for socket in sockets)

    caller = Caller(take)
    one.clock.next_waiter()  # type: ignore[attr-defined]
    one.supervisor.clock.advance(10.0 + LATE)  # type: ignore[attr-defined]
    one.supervisor.look()
    caller.result()
    assert shut_when_free == [True] * 3
    one.leave()
    assert [socket.log.count("release") for socket in sockets] == [1, 1, 1]


def test_a_socket_that_was_given_back_is_not_touched(stage: MakeStage) -> None:
    """Once disowned a socket is released and never shut, whatever happens to the attempt."""
    one = stage(ttfb=10.0)
    given_back = one.open()
    kept = one.socket()
    assert one.worker.do(lambda attempt: attempt.disown(given_back)) is True
    assert given_back.log == ["release"]
    one.pass_time(10.0 + LATE)
    assert given_back.log == ["release"]
    assert kept.shut_down.is_set()


def test_a_socket_disowned_before_the_verdict_may_be_reused(stage: MakeStage) -> None:
    """A connection whose body was read to its end before the attempt ended is fit for reuse."""
    one = stage()
    socket = one.open()
    assert one.worker.do(lambda attempt: attempt.disown(socket)) is True
    one.receive("whole answer", terminal=True)
    assert one.verdict.kind is VerdictKind.DONE


def test_a_socket_disowned_after_a_drain_may_be_reused(stage: MakeStage) -> None:
    """A drained connection is fit for reuse."""
    one = stage(drain=5.0)
    socket = one.open()
    one.receive("end", terminal=True)
    assert one.worker.do(lambda attempt: attempt.disown(socket)) is True
    one.pass_time(5.0 + LATE)
    assert socket.log == ["release"]


@pytest.mark.parametrize("how", ["the drain is over", "close"])
def test_a_socket_disowned_after_its_shutdown_is_not_reused(stage: MakeStage, how: str) -> None:
    """A connection that was shut is not fit for reuse, although its attempt is done."""
    one = stage(drain=5.0)
    socket = one.open()
    one.receive("end", terminal=True)
    if how == "close":
        one.attempt.close()
    else:
        one.pass_time(5.0 + LATE)
    assert one.verdict.kind is VerdictKind.DONE
    assert one.worker.do(lambda attempt: attempt.disown(socket)) is False
    assert socket.shut_down.is_set()
    assert socket.released


@pytest.mark.parametrize("end", ["kill", "cancel"])
def test_a_socket_of_a_killed_or_cancelled_attempt_is_not_reused(stage: MakeStage, end: str) -> None:
    """The connection of a killed or cancelled attempt never returns to the pool.

    Disowning it does not raise.
    """
    one = stage(stale=10.0)
    socket = one.open()
    one.receive("a")
    if end == "kill":
        one.pass_time(10.0 + LATE)
    else:
        one.attempt.cancel("user")
    assert one.worker.do(lambda attempt: attempt.disown(socket)) is False
    assert socket.released
    assert one.worker.do(lambda attempt: attempt.disown(socket)) is False
    assert socket.log.count("release") == 1


def test_disowning_an_unknown_socket_releases_nothing(stage: MakeStage) -> None:
    """A socket that was never adopted is not released; the answer is about the attempt."""
    one = stage()
    one.open()
    strange = Socket(one.attempt)
    assert one.worker.do(lambda attempt: attempt.disown(strange)) is True
    assert strange.log == []
    one.attempt.cancel("user")
    assert one.worker.do(lambda attempt: attempt.disown(strange)) is False


@pytest.mark.parametrize("end", ["kill", "cancel", "hang up"])
def test_a_socket_adopted_after_the_end_is_released_and_the_worker_aborts(stage: MakeStage, end: str) -> None:
    """A socket that comes too late is released at once, and the worker stops."""
    one = stage(total=10.0, drain=1.0)
    one.open()
    one.receive("a", terminal=end == "hang up")
    if end == "cancel":
        one.attempt.cancel("user")
    else:
        one.pass_time(10.0 + LATE)
    late = Socket(one.attempt)
    with pytest.raises(Aborted):
        one.worker.do(lambda attempt: attempt.adopt(late))
    assert late.log == ["release"]


def test_a_socket_disowned_between_verdict_and_shutdown_stays_open(stage: MakeStage) -> None:
    """The worker may give the socket back between the verdict on a drain and the shutdown.

    The socket then stays open.
    """
    one = stage(drain=1.0)
    socket = one.open()
    one.receive("end", terminal=True)
    one.clock.advance(1.0 + LATE)  # type: ignore[attr-defined]
    one.attempt.examine(one.clock.now())
    assert one.worker.do(lambda attempt: attempt.disown(socket)) is True
    one.attempt.abort()
    assert socket.log == ["release"]


@pytest.mark.parametrize("what", ["shutdown", "release"])
def test_shutting_and_releasing_exclude_each_other(stage: MakeStage, what: str) -> None:
    """A shutdown and a release never run at the same time: the attempt's lock is held throughout either."""
    one = stage(stale=10.0)
    inside, go = threading.Event(), threading.Event()

    class Slow(Socket):
        def shutdown(self) -> None:
            if what == "shutdown":
                inside.set()
                assert go.wait(PATIENCE)
            super().shutdown()

        def release(self) -> None:
            if what == "release":
                inside.set()
                assert go.wait(PATIENCE)
            super().release()

    one.open()
    socket = Slow(one.attempt)
    one.sockets.append(socket)
    one.worker.do(lambda attempt: attempt.adopt(socket))

    def disown() -> None:
        one.worker.begin(lambda attempt: attempt.disown(socket))

    def cancel() -> Caller:
        return Caller(lambda: one.attempt.cancel("user"))

    if what == "shutdown":
        canceller = cancel()
        assert inside.wait(PATIENCE)
        disown()
    else:
        disown()
        assert inside.wait(PATIENCE)
        canceller = cancel()
    assert not one.attempt._lock.acquire(blocking=False)
    go.set()
    assert canceller.result() is True
    assert one.worker.result() is (what == "release")
    assert socket.log == (["shutdown", "release"] if what == "shutdown" else ["release"])


# -- misbehaving handles -----------------------------------------------------


class Raising(Socket):
    """A handle that breaks its promise not to raise."""

    def __init__(self, *args: Any, at: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.at = at

    def shutdown(self) -> None:
        super().shutdown()
        if self.at == "shutdown":
            raise RuntimeError("shutdown")

    def waiting(self) -> bool:
        super().waiting()
        if self.at == "waiting":
            raise RuntimeError("waiting")
        return False


@pytest.mark.parametrize("end", ["kill", "cancel", "close"])
def test_a_handle_that_raises_stops_no_other_shutdown(stage: MakeStage, end: str) -> None:
    """The other sockets are shut and the caller is free all the same."""
    one = stage(stale=10.0, drain=100.0)
    first = one.open()
    broken = Raising(one.attempt, at="shutdown")
    one.worker.do(lambda attempt: attempt.adopt(broken))
    last = one.socket()
    one.receive("a", terminal=end == "close")
    caller = Caller(lambda: [one.attempt.take(), one.attempt.take()])
    if end == "kill":
        one.pass_time(10.0 + LATE)
    elif end == "cancel":
        one.attempt.cancel("user")
    else:
        one.attempt.close()
    caller.result()
    assert first.shut_down.is_set()
    assert broken.shut_down.is_set()
    assert last.shut_down.is_set()


def test_a_handle_that_cannot_tell_of_waiting_bytes_gives_no_grace(stage: MakeStage) -> None:
    """A handle that raises when it is asked for waiting bytes counts as one without waiting bytes.

    The attempt is killed with a verdict.
    """
    one = stage(stale=10.0)
    one.open()
    broken = Raising(one.attempt, at="waiting")
    one.sockets.append(broken)
    one.worker.do(lambda attempt: attempt.adopt(broken))
    one.receive("a")
    one.pass_time(10.0 + LATE)
    assert (one.verdict.kind, one.verdict.limit) == (VerdictKind.KILLED, "stale")


# -- look before you kill ----------------------------------------------------

# The steps that a worker has reported when the limit runs.
REPORTED = {"headers": 0, "ttfb": 1, "first_event": 2, "first_content": 3, "stale": 4, "progress": 4, "finish": 5}


def _until(one: Stage, limit: str) -> Socket:
    """Bring the attempt to where that read limit runs."""
    one.start()
    socket = one.socket()
    one.worker.do(lambda attempt: attempt.connected())
    one.worker.do(lambda attempt: attempt.sent())
    steps: list[Callable[[Any], object]] = [
        lambda attempt: attempt.headers(200, refused=False),
        lambda attempt: (attempt._received(1), attempt._read_on()),
        lambda attempt: attempt.deliver(["created"], 1, BatchMeaning(content=False)),
        lambda attempt: attempt.deliver(["a"], 1, BatchMeaning(content=True)),
        lambda attempt: attempt.deliver(["stop"], 1, BatchMeaning(content=False, finish=True)),
    ]
    for step in steps[: REPORTED[limit]]:
        one.worker.do(step)
    return socket


@pytest.mark.parametrize("limit", sorted(READ_DRIVEN))
def test_bytes_in_the_kernel_give_one_second_of_grace(stage: MakeStage, limit: str) -> None:
    """For every read limit, a socket with unread bytes is not shut for a second, then it is."""
    one = stage(**{limit: 10.0})
    socket = _until(one, limit)
    socket.readable = True
    one.pass_time(10.0 + LATE)
    assert one.attempt.verdict is None
    assert socket.log == ["waiting"]
    one.pass_time(GRACE)
    assert one.attempt.verdict is None
    one.pass_time(LATE)
    assert (one.verdict.limit, one.verdict.lag) == (limit, None if limit == "finish" else LATE)
    assert socket.log.count("waiting") == 1
    assert socket.shut_down.is_set()


@pytest.mark.parametrize("limit", sorted(EVENT_DRIVEN))
def test_bytes_in_the_kernel_give_a_working_worker_no_grace(stage: MakeStage, limit: str) -> None:
    """A worker that decodes one piece for longer than a second could have read, so no grace is given."""
    one = stage(**{limit: 10.0})
    socket = _until(one, limit)
    one.worker.do(lambda attempt: attempt._received(1))
    socket.readable = True
    one.pass_time(10.0 + LATE)
    one.pass_time(LATE)
    assert (one.verdict.limit, socket.shut_down.is_set()) == (limit, True)


def test_one_readable_socket_of_several_is_enough(stage: MakeStage) -> None:
    """Any of the attempt's sockets with unread bytes excuses the attempt."""
    one = stage(stale=10.0)
    one.open()
    second = one.socket()
    one.receive("a")
    second.readable = True
    one.pass_time(10.0 + LATE)
    assert one.attempt.verdict is None


def test_a_starved_worker_reads_on_within_its_grace(stage: MakeStage) -> None:
    """A process that was starved reads the waiting bytes, and the next wait has a grace of its own."""
    one = stage(stale=10.0)
    socket = one.open()
    one.receive("a")
    socket.readable = True
    for item in "bcd":
        one.pass_time(10.0 + LATE)
        assert one.attempt.verdict is None
        one.receive(item)
    socket.readable = False
    one.pass_time(10.0 + LATE)
    assert one.verdict.limit == "stale"
    assert one.taken() == list("abcd")


def test_a_stopped_process_gets_a_second_to_read(stage: MakeStage) -> None:
    """A supervisor that wakes far too late gives the worker a second to read, bytes seen or not."""
    one = stage(stale=10.0, progress=10.0)
    one.open()
    one.receive("a")
    one.pass_time(3_600.0)
    assert one.attempt.verdict is None
    one.receive("b")
    one.pass_time(10.0)
    assert one.attempt.verdict is None


@pytest.mark.parametrize("limit", ["connect", "send", "total"])
def test_a_strict_limit_has_no_grace_for_waiting_bytes(stage: MakeStage, limit: str) -> None:
    """Waiting bytes do not excuse an expired connect, send or total."""
    one = stage(**{limit: 10.0})
    one.start()
    socket = one.socket()
    socket.readable = True
    if limit != "connect":
        one.worker.do(lambda attempt: attempt.connected())
    if limit == "total":
        one.worker.do(lambda attempt: attempt.sent())
    one.pass_time(10.0 + LATE)
    assert one.verdict.limit == limit
    assert "waiting" not in socket.log


STARVED = 0.6
"""Seconds late: more than a supervisor is that was free to run, less than excuses a limit by itself."""


def test_a_late_supervisor_gives_the_worker_a_second_look(stage: MakeStage) -> None:
    """A worker that has read is not killed for a report that comes after the supervisor's look."""
    one = stage(ttfb=10.0)
    one.open()
    one.pass_time(10.0 + STARVED)
    assert one.attempt.verdict is None
    one.receive("it", content=True)
    one.pass_time(1.0)
    assert one.attempt.verdict is None


def test_an_expired_limit_kills_at_the_second_look(stage: MakeStage) -> None:
    """Without a report of the worker the limit kills a moment later."""
    one = stage(ttfb=10.0)
    one.open()
    one.pass_time(10.0 + STARVED)
    assert one.attempt.verdict is None
    one.pass_time(0.05)
    assert (one.verdict.kind, one.verdict.limit) == (VerdictKind.KILLED, "ttfb")
