"""Forks and exits of programs with open calls.

The calls go through an SDK's transport, or wait before they are sent again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from tests.calibration import VARIABLE
from tests.conftest import SCALE
from tests.end_to_end.times import LIMIT, LONG, PATIENCE

_COMMON = """
import faulthandler, os, sys, threading
import httpx, llmwatch
from llmwatch import Client, Limits, Retry, Session
from llmwatch.faults import FaultServer, Script, steps
from llmwatch.sdk import Transport
from tests.end_to_end.calls import asking, eventually

LIMIT, LONG, PATIENCE = map(float, sys.argv[1:])
"""


def _run(script: str, first: str = "") -> subprocess.CompletedProcess[str]:
    program = first + _COMMON + textwrap.dedent(script)
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]
    command += [str(LIMIT), str(LONG), str(PATIENCE)]
    environment = {**os.environ, VARIABLE: str(SCALE)}
    return subprocess.run(command, capture_output=True, text=True, timeout=3 * PATIENCE, env=environment, check=False)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_uses_no_connection_of_its_parents_transport() -> None:
    """A child uses no connection of its parent's transport and closes none of them.

    Its calls are watched. The stream that its parent reads goes on, and so does the parent's pool.
    """
    done = _run(
        """
        limits = Limits(ttfb=LONG)
        with FaultServer(["healthy", "late-terminal", "silent", "healthy", "healthy"]) as server:
            transport = Transport(limits=limits, retry=Retry(max_attempts=1))
            with httpx.Client(transport=transport, timeout=None, trust_env=False) as client:
                assert b"[DONE]" in client.post(server.chat_url, json=asking()).content
                with client.stream("POST", server.chat_url, json=asking()) as response:
                    lines = response.iter_lines()
                    assert next(lines)
                    pid = os.fork()
                    if pid == 0:
                        code = 1
                        # A child that hangs says where, and ends.
                        faulthandler.dump_traceback_later(PATIENCE, exit=True)
                        try:
                            os.environ["LLMWATCH_DEADLINE_SECONDS"] = str(LIMIT)
                            try:
                                client.post(server.chat_url, json=asking())
                            except httpx.ReadTimeout as error:
                                assert error.limit == "deadline"
                                del os.environ["LLMWATCH_DEADLINE_SECONDS"]
                                assert b"[DONE]" in client.post(server.chat_url, json=asking()).content
                                client.close()
                                code = 0
                        finally:
                            os._exit(code)
                    assert os.waitpid(pid, 0)[1] == 0
                    server.gate("terminal").set()
                    assert [line for line in lines if line][-1] == "data: [DONE]"
                assert b"[DONE]" in client.post(server.chat_url, json=asking()).content
            assert [request.connection for request in server.requests] == [1, 1, 2, 3, 1]
        """
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_program_exits_at_once_while_calls_wait() -> None:
    """A program exits at once, with its own exit code and no output, while its calls wait.

    Calls through every entry point wait for a resend or for a provider's wait.
    """
    done = _run(
        """
        busy = b"HTTP/1.1 429 Busy\\r\\nRetry-After: 90\\r\\nContent-Length: 0\\r\\n\\r\\n"
        server = FaultServer(Script.of("busy", steps.Send(busy))).start()
        notices = []
        told = {"on_notice": notices.append}
        client, other = Client(**told), Client(**told)
        session, transport = Session(**told), Transport(**told)
        library = httpx.Client(transport=transport, timeout=None, trust_env=False)
        calls = [
            lambda: client.collect("POST", server.chat_url, json=asking()),
            lambda: other.request("POST", server.chat_url, json=asking(stream=False)),
            lambda: session.post(server.chat_url, json=asking(), stream=True),
            lambda: library.post(server.chat_url, json=asking()),
        ]
        # The second of each is held back, since the first waits.
        for count in (4, 8):
            for call in calls:
                threading.Thread(target=call, daemon=True).start()
            eventually(lambda: len(notices) >= count, "each waits, and says so", PATIENCE)
        assert len(server.requests) == 4
        server.stop()
        sys.exit(7)
        """
    )
    assert (done.returncode, done.stderr) == (7, "")


def test_a_function_that_runs_at_exit_may_wait_for_a_thread_in_a_call() -> None:
    """A daemon thread that waits for an answer is let go while the interpreter exits.

    So what joins it there returns.
    """
    done = _run(
        """
        def call():
            try:
                llmwatch.collect("POST", server.chat_url, json=asking())
            except llmwatch.Cancelled as error:
                print(error.by)

        server = FaultServer("silent").start()
        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        server.wait_for_requests(1, PATIENCE)
        """,
        # Runs behind llmwatch's own.
        first="import atexit; atexit.register(lambda: thread.join(PATIENCE))",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "lifecycle\n", "")
