"""The module that ``site`` imports before the script in a process under ``llmwatch run``.

The module removes its traces: its folder leaves ``sys.path``, and ``PYTHONPATH`` gets its old value, so that programs
that the script starts do not import it. Then the machine's own ``sitecustomize`` is imported; without one the import
fails as usual. A script is never started without its watchdog: an error in this module ends the process.
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
"""JSON for the script's process.

``process``: its id; ``pythonpath``: the old value; ``quiet``; ``json``: the path of the summary's file, or null.
"""


def _leave() -> dict[str, Any] | None:
    """Restore the path and the variables. Return the command's message, ``None`` in another process."""
    folder = os.path.dirname(__file__)
    sys.path[:] = [entry for entry in sys.path if entry != folder]
    sys.path_importer_cache.pop(folder, None)
    message: dict[str, Any] = json.loads(os.environ.pop(VARIABLE, "{}"))
    if not message:
        return None
    if message["pythonpath"] is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = message["pythonpath"]
    return message if message["process"] == os.getpid() else None


def _begin(message: dict[str, Any]) -> None:
    interrupted = signal.getsignal(signal.SIGINT)
    if interrupted is signal.default_int_handler:
        # Before the script begins, Ctrl-C ends the process without a message.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        _load_llmwatch()
        from llmwatch.cli.run_startup import start

        start(quiet=message["quiet"], json=message["json"])
    except BaseException:
        with suppress(Exception):
            traceback.print_exc(file=sys.__stderr__)
            print("llmwatch: the script was not started.", file=sys.__stderr__, flush=True)
        os._exit(1)
    if interrupted is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupted)


def _load_llmwatch() -> None:
    """Import the llmwatch whose command was called, which may be a checkout that is not on ``sys.path``."""
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
