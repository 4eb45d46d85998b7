"""A connection that is on its way back to the pool is waited for, but only for a moment.

A call does not wait in vain again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from urllib3.connectionpool import HTTPConnectionPool

from llmwatch.faults import FaultServer, Script, steps
from llmwatch.transport import pools
from llmwatch.transport.pools import Returning
from llmwatch.transport.sender import Sender
from llmwatch.watch.clock import SYSTEM
from tests.transport.drive import GONE, LIMIT, PATIENCE, Call

_END = b"data: [DONE]\n\n"


def _late_end(context: Any) -> Iterator[steps.Step]:
    yield from context.answer([steps.Chunk(_END), steps.WaitFor("end")])


_LATE_END = Script(
    name="late-end", description="the terminal event, and the end of the body when it is let go", play=_late_end
)


def _returning(sender: Sender) -> Returning:
    manager = sender._adapter.poolmanager
    (pool,) = [manager.pools[key] for key in manager.pools.keys()]  # noqa: SIM118 - it is no mapping
    found = pool.returning
    assert isinstance(found, Returning)
    return found


def test_the_next_call_waits_for_the_last_bytes_of_the_body(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call right after the terminal event uses the connection again.

    This holds although the body's last bytes come only then.
    """
    with FaultServer([_LATE_END, "healthy"]) as server:
        first = Call(sender, server.chat_url, mark=_END).start()
        assert first.take() == _END
        wait = Returning.wait

        def waiting(self: Returning) -> None:
            # The next call is here, and the pool is empty: now the first body ends.
            server.gate("end").set()
            wait(self)

        monkeypatch.setattr(Returning, "wait", waiting)
        assert not server.gate("end").is_set()
        second = Call(sender, server.chat_url)
        assert second.run()
        assert second.attempt.stats.reused
        assert server.connections == 1
        assert first.attempt.join(GONE)


def test_many_calls_in_a_row_share_one_connection(sender: Sender) -> None:
    """Calls that begin at the terminal event of the one before never open a second connection."""
    with FaultServer() as server:
        calls = []
        for _ in range(30):
            calls.append(Call(sender, server.chat_url, mark=b"[DONE]").start())
            assert calls[-1].take()
        assert server.connections == 1
        assert all(call.attempt.join(GONE) for call in calls)


def test_a_lingering_server_costs_one_wait(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a body that stayed open the next call waits for the bound, once.

    The calls after it do not wait again.
    """
    bound = 2 * LIMIT
    monkeypatch.setattr(pools, "RETURN_BOUND", bound)
    with FaultServer("linger-after-done") as server:
        waited = []
        for _ in range(4):
            began = SYSTEM.now()
            call = Call(sender, server.chat_url, limits={"drain": 1.5 * bound}, mark=_END).start()
            assert call.take()
            waited.append(SYSTEM.now() - began >= bound)
            if len(waited) == 2:
                # Both drains run out, and their connections are closed.
                server.wait_for_closed(2)
        assert waited == [False, True, False, False]
        server.wait_for_closed(4)
        assert call.attempt.join(GONE)


def test_no_connection_is_expected_after_the_last_attempt(sender: Sender) -> None:
    """Every connection that was announced has come back or was given up, whatever became of its attempt."""
    with FaultServer([_LATE_END, "linger-after-done", "healthy"]) as server:
        killed = Call(sender, server.chat_url, limits={"drain": LIMIT}, mark=_END).start()
        killed.take()
        assert killed.attempt.join(GONE)
        lingering = Call(sender, server.chat_url, limits={"drain": LIMIT}, mark=_END).start()
        lingering.take()
        assert lingering.attempt.join(GONE)
        healthy = Call(sender, server.chat_url, mark=_END).start()
        healthy.take()
        assert healthy.attempt.join(GONE)
        assert _returning(sender)._expected == 0


def test_a_wait_ends_when_the_expected_connection_is_closed(sender: Sender) -> None:
    """A connection that breaks on its way back ends the wait of the next call, which opens its own."""

    def play(context: Any) -> Iterator[steps.Step]:
        yield from context.answer([steps.Chunk(_END), steps.WaitFor("end"), steps.Reset()], ends=False)

    with FaultServer([Script(name="broken", description="breaks late", play=play), "healthy"]) as server:
        first = Call(sender, server.chat_url, mark=_END).start()
        assert first.take() == _END
        server.gate("end").set()
        second = Call(sender, server.chat_url)
        assert second.run()
        assert second.error is None
        assert server.connections == 2
        assert first.verdict.kind.value == "done"
        assert first.attempt.join(GONE)


def test_a_connection_is_in_the_pool_before_it_is_announced(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that waits for a connection is woken once the connection can be taken."""
    found: list[int] = []
    put = HTTPConnectionPool._put_conn

    def spy(self: Any, conn: Any) -> None:
        found.append(self.returning._expected)
        put(self, conn)

    with FaultServer() as server, monkeypatch.context() as patch:
        patch.setattr(HTTPConnectionPool, "_put_conn", spy)
        call = Call(sender, server.chat_url, mark=_END).start()
        assert call.take()
        assert call.attempt.join(GONE)
        assert found == [1]
        assert _returning(sender)._expected == 0


def test_a_return_is_noticed_although_another_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait ends at the first return, also when another connection was announced meanwhile.

    No server counts as lingering.
    """
    monkeypatch.setattr(pools, "RETURN_BOUND", PATIENCE)
    returning = Returning()
    returning.expect()
    waits: list[float] = []

    def wait() -> None:
        began = SYSTEM.now()
        returning.wait()
        waits.append(SYSTEM.now() - began)

    waiter = threading.Thread(target=wait)
    waiter.start()
    until = SYSTEM.now() + PATIENCE
    while not returning._lock._waiters and SYSTEM.now() < until:  # type: ignore[attr-defined]
        pass
    returning.expect()
    returning.returned(fit=True)
    waiter.join(PATIENCE)
    assert waits[0] < PATIENCE
    assert not returning._lingers
