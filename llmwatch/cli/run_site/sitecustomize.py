"""What ``site`` imports in the process of a script under ``llmwatch run``, before the script.

It leaves no trace of how it came in: its folder leaves ``sys.path``, ``PYTHONPATH`` is what it was (programs that the
script starts never get here), and a ``sitecustomize`` of this machine takes its place; where there is none, importing
one fails here as it would have. A script is never started without its watchdog: what goes wrong here ends the process.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import signal
import sys
import traceback
from contextlib import suppress
from typing import Any

__all__ = ["VARIABLE"]

VARIABLE = "_LLMWATCH_RUN"
"""JSON: ``process``, the id of the script's process; ``pythonpath``, as it was; ``quiet``."""


def _leave() -> dict[str, Any] | None:
    """Put everything back. What the command said, ``None`` where it was not said to this process."""
    folder = os.path.dirname(__file__)
    sys.path[:] = [entry for entry in sys.path if entry != folder]
    sys.path_importer_cache.pop(folder, None)
    told: dict[str, Any] = json.loads(os.environ.pop(VARIABLE, "{}"))
    if not told:
        return None
    if told["pythonpath"] is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = told["pythonpath"]
    return told if told["process"] == os.getpid() else None


def _begin(told: dict[str, Any]) -> None:
    interrupted = signal.getsignal(signal.SIGINT)
    if interrupted is signal.default_int_handler:
        # There is no script yet that could be told: Ctrl-C ends the process without a word.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        _load_llmwatch()
        from llmwatch.cli.run_startup import start

        start(quiet=told["quiet"])
    except BaseException:
        with suppress(Exception):
            traceback.print_exc(file=sys.__stderr__)
            print("llmwatch: the script was not started.", file=sys.__stderr__, flush=True)
        os._exit(1)
    if interrupted is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupted)


def _load_llmwatch() -> None:
    """Import the very llmwatch whose command was called. A checkout that is not installed lies on no path here."""
    if "llmwatch" in sys.modules:
        return
    folder = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    spec = importlib.util.spec_from_file_location(
        "llmwatch", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["llmwatch"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


if __name__ == "sitecustomize":
    _told = _leave()
    _failed: BaseException | None = None
    del sys.modules["sitecustomize"]
    try:
        importlib.import_module("sitecustomize")
    except BaseException as error:
        _failed = error
    if _told is not None:
        _begin(_told)
    if _failed is not None:
        raise _failed
