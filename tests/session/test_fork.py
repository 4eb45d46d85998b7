"""The entry points in a forked child.

What belongs to the parent is left to it, and the child's own calls are watched.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from tests.session.entry_points import Way
from tests.session.times import PATIENCE, SOON

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

_COMMON = """
import faulthandler, os, sys, tempfile, threading
import requests, llmwatch
from llmwatch import Limits
from llmwatch.faults import FaultServer
from tests.end_to_end.calls import asking
from tests.session.entry_points import Way, record_of
from tests.session.scripts import reply

way = Way(sys.argv[1])
LIMIT, PATIENCE = map(float, sys.argv[2:])

def in_child(work):
    # Its watchdog thread is not there in a child, which would wait for it.
    faulthandler.cancel_dump_traceback_later()
    pid = os.fork()
    if pid == 0:
        code = 1
        # A child that hangs says where, and ends.
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        try:
            code = 0 if work() else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child ended with {status}"
"""


def _run(way: Way, script: str, limit: float = SOON) -> None:
    """Run a script in a process of its own, which may fork as it likes; none of its children outlives it."""
    command = [
        sys.executable,
        "-W",
        "ignore::DeprecationWarning",
        "-c",
        _COMMON + textwrap.dedent(script),
        way.name,
        str(limit),
        str(PATIENCE),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as one:
        try:
            said, errors = one.communicate(timeout=3 * PATIENCE)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(one.pid, signal.SIGKILL)
    assert (one.returncode, errors) == (0, ""), said + errors


def test_a_child_calls_over_connections_of_its_own(way: Way) -> None:
    """Parent and child never share an idle connection, whichever process made the adapter.

    Both go on reusing their own.
    """
    _run(
        way,
        """
        with FaultServer(reply(b"yes")) as server, way.session() as session:
            session.get(server.url)

            def work():
                answers = [session.get(server.url) for _ in range(2)]
                reused = [record_of(one).attempts[0].socket_reused for one in answers]
                return reused == [False, True] and all(one.content == b"yes" for one in answers)

            in_child(work)
            in_child(work)
            assert record_of(session.get(server.url)).attempts[0].socket_reused
            assert [one.connection for one in server.requests] == [1, 2, 2, 3, 3, 1]
        """,
    )


def test_a_stream_of_the_parent_goes_on(way: Way) -> None:
    """A stream that is being read at the fork continues in the parent.

    This holds whatever the child calls, drops or closes.
    """
    _run(
        way,
        """
        with FaultServer(["late-terminal", "healthy"]) as server, way.session() as session:
            response = session.post(server.chat_url, json=asking(), stream=True)
            lines = response.iter_lines()
            first = next(lines)

            def work():
                global response, lines
                assert session.post(server.chat_url, json=asking()).status_code == 200
                response.close()
                session.close()
                response = lines = None
                return True

            in_child(work)
            in_child(lambda: True)
            server.gate("terminal").set()
            assert [line for line in lines if line][-1] == b"data: [DONE]"
            assert record_of(response).outcome == "done"
        """,
    )


def test_a_stream_of_the_parent_is_over_in_the_child(way: Way) -> None:
    """A child that reads its parent's stream gets an error.

    The error says that the stream belongs to another process.
    """
    _run(
        way,
        """
        with FaultServer(["late-terminal"]) as server, way.session() as session:
            response = session.post(server.chat_url, json=asking(), stream=True)
            assert next(response.iter_lines())

            def work():
                try:
                    for _ in response.iter_lines():
                        pass
                except llmwatch.Cancelled as error:
                    return error.by == "lifecycle" and not isinstance(error, requests.RequestException)
                return False

            in_child(work)
            response.close()
        """,
    )


def test_a_child_is_watched(way: Way) -> None:
    """Calls of the child have limits and recover, and so do those of its own children."""
    _run(
        way,
        """
        with FaultServer(["silent", reply(b"yes"), "silent", reply(b"yes")]) as server:
            with way.session(limits=Limits(ttfb=LIMIT)) as session:

                def recovers():
                    response = session.get(server.url)
                    return response.content == b"yes" and record_of(response).outcome == "recovered"

                def work():
                    in_child(recovers)
                    return recovers()

                in_child(work)
                assert len(server.requests) == 4
        """,
    )


def test_a_fork_under_load_blocks_no_child(way: Way) -> None:
    """The child can call and uninstall, whatever locks the parent's threads hold at the fork."""
    _run(
        way,
        """
        done = threading.Event()
        with FaultServer(reply(b"yes")) as server, way.session() as session:

            def calls():
                with requests.Session() as own:
                    while not done.is_set():
                        assert session.get(server.url).content == b"yes"
                        assert own.get(server.url).content == b"yes"

            def installs():
                while not done.is_set():
                    llmwatch.install()
                    if way.name != "install":
                        llmwatch.uninstall()

            targets = [calls] * 4 + [installs]
            threads = [threading.Thread(target=target, daemon=True) for target in targets]
            for thread in threads:
                thread.start()

            def work():
                ok = session.get(server.url).content == b"yes" and requests.get(server.url).content == b"yes"
                llmwatch.install()
                llmwatch.uninstall()
                return ok

            for _ in range(12):
                in_child(work)
            done.set()
            for thread in threads:
                thread.join()
        """,
    )


def test_every_lock_may_be_held_at_the_fork(way: Way) -> None:
    """A child works although a thread of the parent holds every lock of the library at the fork.

    The locks are those of modules and of all that lives, but for the one that a fork takes. The child calls through
    each entry point, registers what is its own, closes what it inherited, and ends.
    """
    _run(
        way,
        """
        import gc
        from llmwatch.wire import register_dialect
        LOCKS = (type(threading.Lock()), type(threading.RLock()), threading.Condition)

        def named(value, place, found):
            if isinstance(value, LOCKS):
                found.setdefault(id(value), (place, value))

        def locks():
            found = {}
            for name, module in list(sys.modules.items()):
                if name.split(".")[0] == "llmwatch":
                    for key, value in vars(module).items():
                        named(value, f"{name}.{key}", found)
            for one in gc.get_objects():
                kind = type(one)
                module = str(kind.__module__)
                if module.split(".")[0] == "llmwatch" and "faults" not in module:
                    slots = [name for base in kind.__mro__ for name in base.__dict__.get("__slots__", ())]
                    for key in {*getattr(one, "__dict__", ()), *slots} - {"__dict__"}:
                        named(getattr(one, key, None), f"{module}.{kind.__qualname__}.{key}", found)
            # A fork itself takes this one, and waits for whoever has it.
            del found[id(llmwatch.lazy_names._loading)]
            return found

        auth = llmwatch.refreshing(lambda: "token", token=None)
        folder = tempfile.mkdtemp()
        os.environ["LLMWATCH_INCIDENT_LOG"] = os.path.join(folder, "incidents.jsonl")
        with FaultServer("healthy") as server, way.session() as session, llmwatch.Client() as client:
            plain = requests.Session()

            def work():
                assert session.post(server.chat_url, json=asking(), auth=auth).status_code == 200
                assert client.collect("POST", server.chat_url, json=asking()).text
                assert llmwatch.collect("POST", server.chat_url, json=asking()).text
                llmwatch.install()
                assert plain.post(server.chat_url, json=asking()).status_code == 200
                llmwatch.uninstall()
                assert llmwatch.call(len, "four") == 4
                assert list(llmwatch.iterate(lambda: iter("ab"))) == ["a", "b"]
                dropped = client.stream("POST", server.chat_url, json=asking())
                next(dropped)
                del dropped
                gc.collect()
                assert llmwatch.stats()["workers"] >= 0
                llmwatch.register_model_url("/our-model")
                llmwatch.register_reasoning_model("our-thinker")
                register_dialect("ours", print)
                client.collect("POST", server.chat_url, json=asking(), cancel=token)
                token.cancel()
                kept.close()
                unread.close()
                client.close()
                return True

            token = llmwatch.CancelToken()
            kept = client.stream("POST", server.chat_url, json=asking(), cancel=token)
            next(kept)
            unread = session.post(server.chat_url, json=asking(), stream=True)
            assert session.post(server.chat_url, json=asking(), auth=auth).status_code == 200
            assert llmwatch.collect("POST", server.chat_url, json=asking()).text
            assert llmwatch.call(len, "four") == 4
            held, go, taken = threading.Event(), threading.Event(), []
            everywhere = locks()

            def hold():
                for place, lock in everywhere.values():
                    if lock.acquire(timeout=1):
                        taken.append((place, lock))
                held.set()
                go.wait()
                for _, lock in taken:
                    lock.release()

            holder = threading.Thread(target=hold)
            holder.start()
            held.wait()
            assert len(taken) > 20, sorted({place for place, _ in taken})
            try:
                in_child(work)
            finally:
                go.set()
                holder.join()
            kept.close()
            unread.close()
        """,
    )
