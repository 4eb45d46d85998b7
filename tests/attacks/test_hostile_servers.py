"""Hostile, broken and odd servers.

Every call ends within its limits, with an answer or an error of llmwatch.

The next call on the same client succeeds, no more is sent than the attempts allow, and nothing is left behind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import httpx
import httpx2
import pytest
import requests

import llmwatch
from llmwatch import Client, Limits, LLMWatchError, Retry, Session, WatchTimeout
from llmwatch.faults import Context, FaultServer, Script, catalogue, steps
from llmwatch.faults.network import refused_port
from llmwatch.sdk import Transport
from tests.attacks.answers import CHAT, ROWS, TEXT, Row
from tests.end_to_end.calls import asking, eventually, together
from tests.end_to_end.times import LIMIT, LIVELY, LONG

ATTEMPTS = 2
RETRY = Retry(max_attempts=ATTEMPTS, backoff=0, max_retry_after=1)
FINE = "Fine."
"""What a healthy server answers to the next call."""
_AT_ONCE = 6
"""Rows whose calls are made at the same time, for which five threads each are not too many."""
SMALL = 1 << 20
"""Bytes that a body may have decoded."""


def _limits(row: Row) -> Limits:
    """Short limits for calls that only a limit can end.

    They are so long that none expires where the call has to end by itself.

    Of two that expire at the same time a grace would choose, so the limits on content are long. The call that follows
    on the same client has to live under them.
    """
    last = LIVELY if row.hangs else LONG
    return Limits(ttfb=last, first_content=LONG, stale=last, progress=LONG, finish=last, drain=LIMIT)


def _given(body: bytes) -> str:
    return "answer" if TEXT.encode() in body and b"[DONE]" in body else "handed"


def _told(error: Exception, own: type[Exception] | None = None) -> str:
    """The class of ``error``.

    For an error of llmwatch, the public class; in the library ``own`` it is the library's as well.
    """
    if not isinstance(error, LLMWatchError):
        assert own is not None
        assert isinstance(error, own)
        return f"{type(error).__module__.partition('.')[0]}.{type(error).__name__}"
    assert own is None or isinstance(error, (own, llmwatch.ConfigError)), repr(error)
    # What is invalid is found before a call begins.
    assert (error.record is None) is isinstance(error, llmwatch.ConfigError)
    found = next(one for one in type(error).__mro__ if one.__module__ == "llmwatch.errors")
    if isinstance(error, llmwatch.StreamCut) and not error.retryable:
        return "StreamCut:final"
    return f"{found.__name__}:{error.limit}" if isinstance(error, WatchTimeout) else found.__name__


def _client(row: Row) -> Client:
    return Client(limits=_limits(row), retry=RETRY, max_body=SMALL, max_event=SMALL)


def _stream(row: Row, url: str, then: str) -> str:
    with _client(row) as client:
        try:
            with client.stream("POST", url, json=asking()) as made:
                came = "answer" if "".join(event.text for event in made) == TEXT else "handed"
        except LLMWatchError as error:
            came = _told(error)
        with client.stream("POST", then, json=asking()) as made:
            assert "".join(event.text for event in made) == FINE
    return came


def _collect(row: Row, url: str, then: str) -> str:
    with _client(row) as client:
        try:
            came = "answer" if client.collect("POST", url, json=asking()).text == TEXT else "handed"
        except LLMWatchError as error:
            came = _told(error)
        assert client.collect("POST", then, json=asking()).text == FINE
    return came


def _request(row: Row, url: str, then: str) -> str:
    with _client(row) as client:
        try:
            came = _given(client.request("POST", url, json=asking(stream=False)).content)
        except LLMWatchError as error:
            came = _told(error)
        assert client.request("POST", then, json=asking(stream=False)).json()
    return came


def _session(row: Row, url: str, then: str) -> str:
    with Session(limits=_limits(row), retry=RETRY, max_body=SMALL, max_event=SMALL) as session:
        try:
            with session.post(url, json=asking(), stream=True) as response:
                came = _given(b"".join(response.iter_content(None)))
        except (LLMWatchError, requests.RequestException) as error:
            came = _told(error, requests.RequestException)
        assert b"[DONE]" in session.post(then, json=asking(), stream=True).content
    return came


def _transport(row: Row, url: str, then: str) -> str:
    transport = Transport(limits=_limits(row), retry=RETRY, max_body=SMALL, max_event=SMALL)
    with httpx.Client(transport=transport, timeout=None, trust_env=False) as client:
        try:
            with client.stream("POST", url, json=asking()) as response:
                came = _given(b"".join(response.iter_bytes()))
        except (LLMWatchError, httpx.HTTPError) as error:
            came = _told(error, httpx.HTTPError)
        assert b"[DONE]" in client.post(then, json=asking()).content
    return came


ENTRY_POINTS: dict[str, Callable[[Row, str, str], str]] = {
    "stream": _stream,
    "collect": _collect,
    "request": _request,
    "Session": _session,
    "Transport": _transport,
}


def _played(rows: list[Row]) -> Script:
    """A server of all the rows.

    The first part of the path is a row's number, or ``then`` for what follows it.
    """

    def play(context: Context) -> Iterator[steps.Step]:
        number = context.request.path.split("/")[1]
        if number.isdecimal():
            return iter(rows[int(number)].played)
        return iter(catalogue.SCRIPTS["healthy"].play(context))

    return Script(name="hostile", description="answers of a test's table", play=play)


@pytest.fixture(autouse=True)
def nothing_left(baseline: None) -> Iterator[None]:
    """Threads and descriptors are as they were, and no worker is left behind."""
    yield
    eventually(lambda: not llmwatch.stats()["workers"], "all workers are gone")
    assert llmwatch.stats()["orphans"] == 0


def came_of(rows: list[Row], at_once: int) -> dict[str, dict[str, str]]:
    """The outcome of each entry point, row by row, ``at_once`` rows at the same time.

    A call that hangs fails.
    """
    found: dict[str, dict[str, str]] = {}
    with FaultServer(_played(rows), text=FINE) as server:
        for start in range(0, len(rows), at_once):
            some = [(number, rows[number]) for number in range(start, min(start + at_once, len(rows)))]
            cells = [
                partial(call, row, f"{server.url}/{number}/{name}{row.path}", f"{server.url}/then{CHAT}")
                for number, row in some
                for name, call in ENTRY_POINTS.items()
            ]
            came = iter(together(cells))
            for _, row in some:
                found[row.name] = {name: next(came) for name in ENTRY_POINTS}
        sent = Counter("/".join(request.path.split("/")[1:3]) for request in server.requests)
    assert all(count <= ATTEMPTS for cell, count in sent.items() if not cell.startswith("then")), sent
    for number, row in enumerate(rows):
        for name, came_to in found[row.name].items():
            assert came_to != "StreamCut:final" or sent[f"{number}/{name}"] == 1, (row.name, name)
    return found


def _words(row: Row) -> dict[str, str]:
    """The expectation of a row for each entry point.

    Two words with a slash are those of ``stream`` and ``collect``, or of ``Session`` and ``Transport``.
    """
    asked, plain, passed_through = row.came.split()
    first, _, second = asked.partition("/")
    third, _, fourth = passed_through.partition("/")
    words = (first, second or first, plain, third, fourth or third)
    return dict(zip(ENTRY_POINTS, words, strict=True))


@pytest.mark.parametrize("theme", ROWS)
def test_an_ending_answer_gives_what_the_table_says(theme: str) -> None:
    """The outcome through every entry point is that of the table, and no limit has to end the call."""
    rows = [row for row in ROWS[theme] if not row.hangs]
    assert came_of(rows, _AT_ONCE) == {row.name: _words(row) for row in rows}


def test_an_endless_answer_is_ended_by_a_limit() -> None:
    """A limit ends it, or what came is an answer without the end that is missing."""
    rows = [row for theme in ROWS.values() for row in theme if row.hangs]
    assert came_of(rows, len(rows)) == {row.name: _words(row) for row in rows}


def test_every_row_has_its_own_name() -> None:
    """No row hides another."""
    names = [row.name for theme in ROWS.values() for row in theme]
    assert len(names) == len(set(names))
    assert len(names) >= 120


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_an_invalid_port_is_a_mistake_in_the_url(library: Any) -> None:
    """httpx does not look at it before it connects: it is a mistake in the URL, and nothing is sent.

    A port that only refuses is the network's doing.
    """
    with library.Client(transport=Transport(retry=Retry.none()), trust_env=False) as client:
        with pytest.raises(llmwatch.ConfigError, match="its host or port is not valid"):
            client.post("http://127.0.0.1:99999/v1/chat/completions", json=asking())
        with refused_port() as port, pytest.raises(library.ConnectError):
            client.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=asking())
