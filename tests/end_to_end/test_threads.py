"""One client, many threads."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import llmwatch
from llmwatch import Limits
from llmwatch.faults import Context, Script, steps
from llmwatch.faults.catalogue import ANSWER
from llmwatch.watch import workers
from llmwatch.watch.attempt import Attempt
from tests.end_to_end.calls import asking, collect, eventually, in_thread, request, stream
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import LIMIT, LONG


def _echo(context: Context) -> Iterator[steps.Step]:
    """An answer that says what was asked, so that no two are alike."""
    asked = context.request.json()["messages"][0]["content"]
    words = [block for word in [f"{asked} "] * 20 for block in context.shape.text(word)]
    if context.streaming:
        yield from context.answer(steps.paced([*context.opening(), *words, *context.ending()]))
    else:
        yield from context.answer([steps.Chunk(json.dumps(context.shape.plain(asked)).encode())])


@pytest.mark.parametrize(("threads", "secure"), [(100, False), (25, True)], ids=["plain", "TLS"])
def test_many_threads_on_one_client_get_their_own_answers(
    serve: Serve, connect: Connect, server_tls: Any, bundle: str, threads: int, secure: bool
) -> None:
    """Many threads on one client get the right answers and none of another's.

    There are a hundred threads (over TLS fewer) with three calls each, through every entry point.
    """
    server = serve(
        Script(name="echo", description="says what was asked", play=_echo), tls=server_tls if secure else None
    )
    client = connect(limits=Limits(connect=LONG))
    start, before = threading.Event(), set(threading.enumerate())

    def calls(number: int) -> list[bool]:
        assert start.wait(LONG)
        right = []
        for turn in range(3):
            asked = f"{number}:{turn}"
            body = asking(messages=[{"role": "user", "content": asked}])
            entry_point = (stream, collect, request)[(number + turn) % 3]
            outcome = entry_point(
                client, server.chat_url, json={**body, "stream": entry_point is not request}, verify=bundle
            )
            outcome.done()
            if entry_point is request:
                said, wanted = outcome.value.json()["choices"][0]["message"]["content"], asked
            else:
                said, wanted = outcome.text, f"{asked} " * 20
            right.append(said == wanted)
        return right

    running = [in_thread(calls, number) for number in range(threads)]
    start.set()
    assert all(all(one.result(LONG)) for one in running)
    assert len(server.requests) == 3 * threads
    assert server.connections <= 2 * threads
    # Tests of the supervisor itself may have left theirs in this process.
    assert [thread.name for thread in set(threading.enumerate()) - before].count("llmwatch-supervisor") <= 1


def test_calls_in_a_row_share_one_connection(serve: Serve, connect: Connect) -> None:
    """A hundred calls in a row are one connection, and leave no thread behind."""
    server, client = serve(text="Yes."), connect()
    for _ in range(100):
        assert collect(client, server.chat_url).value.text == "Yes."
    assert len(server.requests) == 100
    assert server.connections == 1


def test_streams_may_be_interleaved_in_one_thread(serve: Serve, connect: Connect) -> None:
    """Several streams of one client can be read by turns in a single thread."""
    server, client = serve(), connect()
    made = [client.stream("POST", server.chat_url, json=asking()) for _ in range(5)]
    texts = [""] * 5
    live = set(range(5))
    while live:
        for number in sorted(live):
            event = next(made[number], None)
            if event is None:
                live.discard(number)
            else:
                texts[number] += event.text
    assert texts == [ANSWER] * 5
    assert len(server.requests) == 5


def test_a_client_may_be_made_in_one_thread_and_used_in_another(serve: Serve, connect: Connect) -> None:
    """Making, streaming, cancelling and closing may each happen in a thread of its own."""
    server = serve("endless-content:every=0.001")
    client = in_thread(connect).result()
    made = in_thread(client.stream, "POST", server.chat_url, json=asking()).result()
    assert in_thread(next, made).result() is not None
    in_thread(made.cancel).result()
    with pytest.raises(llmwatch.Cancelled):
        in_thread(list, made).result()
    in_thread(client.close).result()
    server.wait_for_closed(1)


def test_a_batch_outlives_a_storm_of_refusals(serve: Serve, connect: Connect) -> None:
    """Twenty-four answers of 429 with a named wait lose no prompt of sixteen threads.

    Each refusal costs one request.
    """
    refusal = f"retry-after:value={LIMIT}"
    server = serve(*["healthy"] * 10, *[refusal] * 24, "healthy")
    client, prompts = connect(), iter(range(100))

    def calls() -> list[str]:
        return [collect(client, server.chat_url).text for _ in prompts]

    # The rate that is learned is a part of what this process has sent: on a busy machine the batch takes longer.
    texts = [text for calling in [in_thread(calls) for _ in range(16)] for text in calling.result(LONG)]
    assert texts == [ANSWER] * 100
    assert len(server.requests) == 124


def test_calls_in_a_row_share_one_thread(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """The idle thread of a client takes its next call, and ends with the client.

    A call with code of the user in its worker, here a hook, has a thread of its own, so nothing that the hook leaves
    in a thread-local variable is there in another call.
    """
    monkeypatch.setattr(workers, "IDLE", LONG)
    server, client, local = serve(text="Yes."), connect(), threading.local()
    found: list[str] = []
    threads: list[threading.Thread] = []
    begin = Attempt._run

    def run(self: Attempt[Any], work: Any) -> None:
        threads.append(threading.current_thread())
        begin(self, work)

    def leave(response: Any, **kwargs: Any) -> None:
        found.append(getattr(local, "left", "nothing"))
        local.left = "something"

    def is_idle() -> bool:
        return len(client._sender._adapter.workers._idle) == 1

    monkeypatch.setattr(Attempt, "_run", run)
    for _ in range(10):
        assert collect(client, server.chat_url).value.text == "Yes."
        eventually(is_idle, "the thread is idle")
    assert len(set(threads)) == 1
    for _ in range(3):
        assert collect(client, server.chat_url, hooks={"response": leave}).value.text == "Yes."
    assert found == ["nothing"] * 3
    assert len(set(threads)) == 4
    client.close()
    threads[0].join(LONG)
    assert not threads[0].is_alive()
