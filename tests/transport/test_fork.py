"""A forked child uses none of its parent's connections, and cuts none of its streams."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator

import pytest

from tests.calibration import VARIABLE
from tests.transport.drive import SCALE

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

_COMMON = """
import faulthandler, os, sys, threading
from llmwatch.faults import FaultServer, Script, steps
from llmwatch.transport.sender import Sender
from tests.transport.drive import GONE, LIMIT, PATIENCE, SCALE, Call

def in_child(work):
    pid = os.fork()
    if pid == 0:
        code = 1
        # A child that hangs says where, and ends.
        faulthandler.dump_traceback_later(8 * SCALE, exit=True)
        try:
            code = 0 if work() else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child ended with {status}"

def gated(context):
    yield from context.answer([steps.Chunk(b"one"), steps.WaitFor("on"), steps.Chunk(b"two")])

GATED = Script(name="gated", description="two words, a gate between them", play=gated)
"""


# Each script runs in a child of a process that has imported everything and opened nothing.
_HOST = """
import json, tempfile

for line in sys.stdin:
    with tempfile.TemporaryFile() as said:
        pid = os.fork()
        if pid == 0:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            exec(compile(json.loads(line), "script", "exec"), globals())
            sys.exit()
        _, status = os.waitpid(pid, 0)
        said.seek(0)
        print(json.dumps([os.waitstatus_to_exitcode(status), said.read().decode()]), flush=True)
"""

Run = Callable[[str], None]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Run a script in a process of its own, which may fork as it likes.

    The script has to end well and print nothing.
    """
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _COMMON + _HOST]
    environment = {**os.environ, VARIABLE: str(SCALE)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as host:
        assert host.stdin is not None
        assert host.stdout is not None
        asked, told = host.stdin, host.stdout

        def one(script: str) -> None:
            print(json.dumps(textwrap.dedent(script)), file=asked, flush=True)
            status, said = json.loads(told.readline())
            assert (status, said) == (0, "")

        yield one
        asked.close()


def test_an_inherited_pool_is_not_used(run: Run) -> None:
    """Parent and child never share a connection.

    The child opens its own, and the parent goes on with its old one.
    """
    run(
        """
        sender = Sender()
        with FaultServer() as server:
            assert Call(sender, server.chat_url).run()

            def work():
                one, two = Call(sender, server.chat_url), Call(sender, server.chat_url)
                reused = [call.attempt.stats.reused for call in (one, two) if call.run()]
                return reused == [False, True]

            in_child(work)
            last = Call(sender, server.chat_url)
            assert last.run() and last.attempt.stats.reused
            assert [request.connection for request in server.requests] == [1, 2, 2, 1]
        sender.close()
        """
    )


def test_a_stream_of_the_parent_goes_on(run: Run) -> None:
    """A stream that is in the middle of its answer at the fork is not cut.

    Neither the child's calls nor its exit cut it.
    """
    run(
        """
        sender = Sender()
        with FaultServer([GATED, "healthy", "healthy"]) as server:
            call = Call(sender, server.chat_url).start()
            assert call.attempt.take() == [b"one"]
            in_child(lambda: Call(sender, server.chat_url).run())
            in_child(lambda: sender.close() is None)
            assert call.attempt.verdict is None
            server.gate("on").set()
            assert call.take() == b"two"
            assert call.verdict.kind.value == "done"
            assert call.attempt.join(PATIENCE)
        sender.close()
        """
    )


def test_an_inherited_attempt_is_over_in_the_child(run: Run) -> None:
    """In the child the parent's attempt is cancelled by ``lifecycle`` and owns nothing.

    Its descriptors are closed.
    """
    run(
        """
        sender = Sender()
        with FaultServer([GATED]) as server:
            call = Call(sender, server.chat_url).start()
            assert call.attempt.take() == [b"one"]
            handle, = call.attempt._handles
            descriptors = {handle.owner.fileno(), handle._duplicate.fileno()}

            def is_open(descriptor):
                try:
                    os.fstat(descriptor)
                except OSError:
                    return False
                return True

            def work():
                verdict = call.attempt.verdict
                assert not any(map(is_open, descriptors))
                assert (verdict.kind.value, verdict.by, call.attempt._handles) == ("cancelled", "lifecycle", [])
                return True

            in_child(work)
            server.gate("on").set()
            assert call.take() == b"two"
            assert call.attempt.join(PATIENCE)
        sender.close()
        """
    )


def test_the_child_is_watched(run: Run) -> None:
    """A silent call in the child is killed there, by a supervisor of its own."""
    run(
        """
        sender = Sender()
        with FaultServer(["healthy", "silent"]) as server:
            assert Call(sender, server.chat_url).run()

            def work():
                call = Call(sender, server.chat_url, limits={"ttfb": LIMIT})
                call.start().take()
                return call.verdict.limit == "ttfb" and call.attempt.join(GONE)

            in_child(work)
        sender.close()
        """
    )


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_many_children_of_a_busy_parent(tls: bool, run: Run) -> None:
    """Forking while other threads of the parent are in the middle of calls does not hang a child.

    The parent's calls are not harmed either.
    """
    run(
        f"""
        import ssl, tempfile, trustme
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        bundle = tempfile.NamedTemporaryFile()
        authority.cert_pem.write_to_path(bundle.name)
        sender, stop, errors = Sender(), threading.Event(), []
        connected = threading.Barrier(5)

        def calls():
            assert Call(sender, server.chat_url, verify=bundle.name).run()
            connected.wait(PATIENCE)
            while not stop.is_set():
                call = Call(sender, server.chat_url, verify=bundle.name)
                if not call.run() or call.error is not None:
                    errors.append(call.error)

        with FaultServer(tls=context if {tls} else None) as server:
            # What requests imports at its first call, and OpenSSL locks for a first connection, would stay locked
            # in a child forked in the middle of it.
            assert Call(sender, server.chat_url, verify=bundle.name).run()
            threads = [threading.Thread(target=calls, daemon=True) for _ in range(4)]
            for thread in threads:
                thread.start()
            connected.wait(PATIENCE)
            for _ in range(10):
                in_child(lambda: Call(sender, server.chat_url, verify=bundle.name).run())
            stop.set()
            for thread in threads:
                thread.join()
        assert errors == [], errors
        sender.close()
        """
    )


@pytest.mark.parametrize("lock", ["jar", "queue", "returning"])
def test_a_lock_that_was_held_at_the_fork_does_not_hang_the_child(lock: str, run: Run) -> None:
    """The child can call and exits normally, whatever step another thread of the parent was in."""
    run(
        f"""
        import gc
        sender = Sender()
        with FaultServer() as server:
            assert Call(sender, server.chat_url).run()
            manager = sender._adapter.poolmanager
            pool, = [manager.pools[key] for key in manager.pools.keys()]
            locks = dict(jar=getattr(sender, "_jar_lock", None), queue=pool.pool.mutex, returning=pool.returning._lock)
            del pool, manager
            held, go = threading.Event(), threading.Event()

            def hold():
                with locks["{lock}"]:
                    held.set()
                    go.wait()

            holder = threading.Thread(target=hold, daemon=True)
            holder.start()
            held.wait()

            def work():
                locks.clear()
                answered = Call(sender, server.chat_url).run()
                gc.collect()
                return answered

            try:
                in_child(work)
            finally:
                go.set()
                holder.join()
        sender.close()
        """
    )


def test_a_child_closes_its_copy_of_an_idle_connection(run: Run) -> None:
    """A connection that the parent closes is closed, although a child that inherited it is still alive."""
    run(
        """
        sender = Sender()
        with FaultServer() as server:
            assert Call(sender, server.chat_url).run()
            ready, done = os.pipe(), os.pipe()

            def work():
                assert Call(sender, server.chat_url).run()
                os.write(ready[1], b"1")
                os.read(done[0], 1)
                return True

            def close():
                os.read(ready[0], 1)
                sender.close()
                try:
                    # The child's own connection stays open.
                    server.wait_for_closed(1)
                finally:
                    os.write(done[1], b"1")

            closer = threading.Thread(target=close, daemon=True)
            closer.start()
            in_child(work)
            closer.join()
            assert server.connections == 2
        """
    )
