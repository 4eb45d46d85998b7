"""Wrapped functions in whole processes: forks, the exit of the interpreter, Ctrl-C."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.end_to_end.scripts import late
from tests.end_to_end.times import PATIENCE
from tests.wrap.conftest import Serve


def _run(*arguments: str) -> None:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "tests.wrap.processes", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3 * PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_a_forked_child_is_not_in_the_parents_function(serve: Serve) -> None:
    """In the child no function of the parent is watched.

    Requests and wrapped functions work there as ever.
    """
    server = serve()
    _run("forks", server.url)
    assert len(server.requests) == 3


def test_the_interpreter_exits_at_once_while_functions_hang() -> None:
    """At once, and without a traceback."""
    _run("exits", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a signal has to reach the main thread")
def test_ctrl_c_shuts_the_hanging_request_of_a_function(serve: Serve) -> None:
    """The caller is free, and the connection is shut."""
    server = serve(late())
    _run("interrupts", server.url)
    server.wait_for_closed(1)
    assert len(server.requests) == 1
