"""The programs of child processes: ``python -m tests.end_to_end.children SCENE OPTIONS``.

The options are JSON. A program says what happens in lines of JSON on stdout, and waits at some points for a line on
stdin.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import llmwatch
from llmwatch import Client, Limits, Retry
from llmwatch.watch import supervisor

BODY = {"model": "test-model", "stream": True, "messages": []}

# A stream that is still alive when the interpreter exits must be reachable until then.
_kept: list[Any] = []


def say(**what: Any) -> None:
    """One line, in one write, so that those of several threads do not mix."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def wait_for_parent() -> None:
    sys.stdin.readline()


def _client(options: dict[str, Any], **more: Any) -> Client:
    limits, retry = options.get("limits", {}), options.get("retry", {"max_attempts": 1})
    return Client(limits=Limits(**limits), retry=Retry(**retry), **more)


def _say_retry(notice: llmwatch.WaitNotice | llmwatch.RetryNotice | llmwatch.ProgressNotice) -> None:
    if isinstance(notice, llmwatch.RetryNotice):
        say(wait=notice.wait)


def streams(options: dict[str, Any]) -> None:
    """Stream to the end, each call in a thread of its own.

    The program says the outcome of each call by the call's name.
    """
    running = [threading.Thread(target=_stream, args=item) for item in options["calls"].items()]
    for one in running:
        one.start()
    for one in running:
        one.join()


def _stream(name: str, options: dict[str, Any]) -> None:
    text, error, limit = "", None, None
    with _client(options) as client:
        try:
            with client.stream("POST", options["url"], json=BODY) as events:
                for event in events:
                    if not text and event.text:
                        say(call=name, first=True)
                    text += event.text
        except llmwatch.LLMWatchError as caught:
            error, limit = type(caught).__name__, getattr(caught, "limit", None)
    say(call=name, text=text, error=error, limit=limit, at=time.monotonic())


def is_interrupted(options: dict[str, Any]) -> None:
    """Stream from each address until Ctrl-C.

    The program says when it caught the exception, and goes on only when its parent lets it.
    """
    for url in options["urls"]:
        client = _client(options, on_notice=_say_retry)
        made = client.stream("POST", url, json=BODY)
        try:
            with made as events:
                say(began=True)
                first = True
                for event in events:
                    if event.text and first:
                        first = False
                        say(first=True)
        except KeyboardInterrupt:
            now = time.monotonic()
            record = made.record
            assert record is not None
            decisions = [[one.decision.value, one.carried_out] for one in record.decisions]
            say(at=now, outcome=record.outcome, attempts=len(record.attempts), decisions=decisions)
        wait_for_parent()
        client.close()


def is_signalled(options: dict[str, Any]) -> None:
    """A signal, in the middle of making a call, whose handler closes the client."""
    client = _client(options)
    signal.signal(signal.SIGTERM, lambda number, frame: client.close())
    add = client._calls.add

    def interrupted(call: Any) -> None:
        add(call)
        signal.raise_signal(signal.SIGTERM)

    client._calls.add = interrupted  # type: ignore[method-assign]
    try:
        client.collect("POST", options["url"], json=BODY)
    except llmwatch.Cancelled as error:
        say(by=error.by)


def exits(options: dict[str, Any]) -> None:
    """Leave the interpreter with live streams: one whose iterator is kept, one in a daemon thread."""
    client = _client(options)
    for _ in range(2):
        made = client.stream("POST", options["url"], json=BODY)
        _kept.append((client, made, iter(made)))
        next(_kept[-1][2])
    made = client.stream("POST", options["url"], json=BODY)
    started = threading.Event()

    def read() -> None:
        for _ in made:
            started.set()

    threading.Thread(target=read, daemon=True).start()
    started.wait()
    say(ready=True)
    if options.get("raises"):
        raise SystemExit(7)


def forks(options: dict[str, Any]) -> None:
    """Fork in the middle of a stream, once for each way in which the child leaves.

    Each child makes calls of its own, then the parent reads on.
    """
    client = _client(options)
    text = ""
    with client.stream("POST", options["url"], json=BODY) as events:
        for event in events:
            text += event.text
            if text and not _kept:
                _kept.append(True)
                for leaves in options["leaves"]:
                    pid = os.fork()
                    if pid == 0:
                        _in_fork(client, events, options, leaves)
                    _, status = os.waitpid(pid, 0)
                    say(child=os.waitstatus_to_exitcode(status))
    say(text=text, outcome=events.record.outcome if events.record else None)
    client.close()


def _in_fork(client: Client, events: llmwatch.Stream, options: dict[str, Any], leaves: str) -> None:
    found: dict[str, Any] = {}
    try:
        found["before"] = llmwatch.stats()["live_attempts"]
        try:
            list(events)
            found["inherited"] = "went on"
        except llmwatch.Cancelled as error:
            found["inherited"] = error.by
        for name, one in (("same", client), ("fresh", _client(options))):
            began = time.monotonic()
            try:
                with one.stream("POST", options["silent"], json=BODY) as own:
                    list(own)
            except llmwatch.WatchTimeout as error:
                found[name] = [error.limit, time.monotonic() - began]
            found[name + " text"] = one.collect("POST", options["healthy"], json=BODY).text
        say(**found)
        if leaves == "exit":
            sys.exit(0)
    except BaseException as error:
        if not isinstance(error, SystemExit):
            say(failed=repr(error))
            os._exit(3)
        raise
    # As multiprocessing ends its children.
    os._exit(0)


def counts(options: dict[str, Any]) -> None:
    """Stream again and again from the address, and count the functions of the package that are entered.

    The program says of each call how many functions were entered, and in how many modules; the first call is the
    one that connects. After each event it says so, and goes on when its parent lets it. The calls are not made in the
    main thread, which looks for signals ten times a second while it waits: on a busy machine it would be counted once
    more for each look.
    """
    caller = threading.Thread(target=_counts, args=(options,))
    caller.start()
    caller.join()


def _counts(options: dict[str, Any]) -> None:
    package, entered = os.path.dirname(llmwatch.__file__) + os.sep, dict[str, int]()

    def profile(frame: Any, what: str, argument: object) -> None:
        file = frame.f_code.co_filename
        if what == "call" and file.startswith(package):
            entered[file] = entered.get(file, 0) + 1

    # Behind the import, and before the first call starts any thread: every thread of the calls is counted.
    threading.setprofile(profile)
    client, headers = Client(), {"Authorization": "Bearer secret"}
    body = {**BODY, "messages": [{"role": "user", "content": "Hello?"}]}
    idle = client._sender._adapter.workers._idle
    for number in range(options["calls"]):
        entered.clear()
        sys.setprofile(profile)
        with client.stream("POST", options["url"], json=body, headers=headers) as stream:
            for _ in stream:
                sys.setprofile(None)
                say(call=number)
                wait_for_parent()
                sys.setprofile(profile)
        sys.setprofile(None)
        # The work of a call that is over ends in its worker's thread, and in a turn of the supervisor that comes late.
        watch = supervisor.current()
        while not idle or not watch._inbox.empty() or watch._wakes_at == float("-inf"):
            time.sleep(0.001)
        say(call=number, over=True, entered=sum(entered.values()), modules=len(entered))
    client.close()


def imports(_: dict[str, Any]) -> None:
    """Say what importing and making a client has started."""
    client = Client()
    say(threads=[thread.name for thread in threading.enumerate()])
    client.close()


SCENES: dict[str, Callable[[dict[str, Any]], None]] = {
    "streams": streams,
    "is_interrupted": is_interrupted,
    "exits": exits,
    "forks": forks,
    "imports": imports,
    "counts": counts,
    "is_signalled": is_signalled,
}

if __name__ == "__main__":
    # A shell that starts the tests in the background has them ignore Ctrl-C, and a child inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    SCENES[sys.argv[1]](json.loads(sys.argv[2]))
