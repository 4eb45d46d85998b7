"""A call that is made while the interpreter exits.

The call ends at once, for no thread can carry it out any more.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from llmwatch.faults import FaultServer
from tests.end_to_end.times import LONG

SESSION = """
import sys, requests, llmwatch
llmwatch.install()
class Keeper:
    def __init__(self):
        self.session = requests.Session()
        self.session.get(sys.argv[1])
    def __del__(self):
        self.session.delete(sys.argv[1])
keeper = Keeper()
print("end")
"""
CLIENT = """
import sys, llmwatch
class Keeper:
    def __init__(self):
        self.client = llmwatch.Client()
        self.client.request("GET", sys.argv[1])
    def __del__(self):
        self.client.request("DELETE", sys.argv[1])
keeper = Keeper()
print("end")
"""


@pytest.mark.parametrize("program", [SESSION, CLIENT], ids=["session", "client"])
def test_a_finalizer_that_calls_at_exit_does_not_hang(program: str) -> None:
    """The process ends as without llmwatch, and nothing is sent by the late call."""
    with FaultServer("healthy") as server:
        done = subprocess.run(
            [sys.executable, "-c", program, server.url],
            capture_output=True,
            text=True,
            timeout=LONG,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "end\n")
        assert len(server.requests) == 1
