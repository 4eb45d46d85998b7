"""The start of a process under ``llmwatch run``.

The process is the script's own, or a Python process that the script starts.

``sitecustomize`` loads this file by its path and calls :func:`begin`, before the script and before llmwatch is there.
The traces of the start are removed: the folder leaves ``sys.path``, and ``os.environ`` shows ``PYTHONPATH`` as it would
be without llmwatch. Then the machine's own ``sitecustomize`` is imported; without one the import fails as usual. A
script is never started without its watchdog: an error in its start ends the process. A child always starts.

Children inherit the environment of the C library, where the two variables stay: ``os.environ`` does not show them, and
a child whose environment the program puts together itself does not get them. Three functions of ``os`` are replaced:
``putenv`` and ``unsetenv``, by which the program changes the ``PYTHONPATH`` that its children find, and
``posix_spawn`` (``posix_spawnp``), for which ``os.environ`` itself means the inherited environment.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import ModuleType
from typing import Any

__all__ = ["PYTHONPATH", "VARIABLE", "begin", "joined"]

VARIABLE = "_LLMWATCH_RUN"
"""JSON for the processes.

``process``: the id of the script's own; ``empty``: ``PYTHONPATH`` is set, and empty; ``quiet``; ``json``: the path of
the summary's file, or null; ``children``: whether children are watched; ``folder``: where the processes count, or null;
``python``: prefix and version of the Python that runs the script; ``errors``: which file its standard error is.
"""

PYTHONPATH = "PYTHONPATH"

_LOADED = ("llmwatch", "requests", "urllib3", "sseclient", "certifi", "idna", "charset_normalizer")
"""Packages that the start imports."""

_HELPERS = "from multiprocessing.resource_tracker import main"
"""How multiprocessing starts a process that runs nothing of the program's."""


def joined(folder: str, value: str | None) -> str:
    """The ``PYTHONPATH`` with ``folder`` in front of ``value``; ``None``: it is not set."""
    # With an empty part Python would search the current directory.
    return f"{folder}{os.pathsep}{value}" if value else folder


def _without(folder: str, value: str, *, empty: bool) -> str | None:
    """The inverse of :func:`joined`, also where a program between has put something in front."""
    if value == folder:
        return "" if empty else None
    if value.startswith(folder + os.pathsep):
        return value[len(folder + os.pathsep) :]
    return os.pathsep.join(entry for entry in value.split(os.pathsep) if entry != folder)


def python() -> list[Any]:
    """What two processes have alike that can load the same packages."""
    return [os.path.realpath(sys.prefix), sys.version_info[0], sys.version_info[1]]


def begin(folder: str) -> None:
    """Start llmwatch in this process, if it is to be watched. ``folder`` holds ``sitecustomize``."""
    message = _leave(folder)
    # What another module of this name raises is what it raises without this one.
    failed: BaseException | None = None
    sys.modules.pop("sitecustomize", None)
    try:
        importlib.import_module("sitecustomize")
    except BaseException as error:
        failed = error
    if message is not None:
        _watch(message, folder)
    if failed is not None:
        raise failed


def _leave(folder: str) -> dict[str, Any] | None:
    """Restore the path and the variables. Return the message, ``None`` in a process that is not watched."""
    sys.path[:] = [entry for entry in sys.path if entry != folder]
    sys.path_importer_cache.pop(folder, None)
    message: dict[str, Any] = json.loads(os.environ.get(VARIABLE, "{}"))
    left = _without(folder, os.environ.get(PYTHONPATH, folder), empty=bool(message.get("empty")))
    children = bool(message.get("children"))
    watched = message.get("process") == os.getpid() or (children and _is_alike(message) and not _is_helper())
    if watched and children and _Inherited.possible():
        _Inherited(folder, message).hide(left)
        return message
    os.environ.pop(VARIABLE, None)
    if left is None:
        os.environ.pop(PYTHONPATH, None)
    else:
        os.environ[PYTHONPATH] = left
    if watched:
        return message
    if children and not _is_alike(message):
        _count_unwatched(message)
    return None


def _is_alike(message: Mapping[str, Any]) -> bool:
    return bool(message["python"] == python())


def _is_helper() -> bool:
    return any(word.startswith(_HELPERS) for word in sys.orig_argv)


def _count_unwatched(message: Mapping[str, Any]) -> None:
    if message["folder"] is not None:
        with suppress(OSError), open(os.path.join(message["folder"], f"unwatched-{os.getpid()}"), "w"):
            pass


class _Inherited:
    """The environment that children inherit, and ``os.environ`` does not show."""

    def __init__(self, folder: str, message: dict[str, Any]) -> None:
        self._folder = folder
        self._message = dict(message)

    @staticmethod
    def possible() -> bool:
        """Whether ``os.environ`` keeps its items as the versions do that are known."""
        return isinstance(getattr(os.environ, "_data", None), dict)

    def hide(self, value: str | None) -> None:
        """Show the program ``value`` as its ``PYTHONPATH``, without a change of what its children inherit."""
        environ: Any = os.environ
        environ._data.pop(environ.encodekey(VARIABLE), None)
        if value is None:
            environ._data.pop(environ.encodekey(PYTHONPATH), None)
        else:
            environ._data[environ.encodekey(PYTHONPATH)] = environ.encodevalue(value)
        module: Any = os
        module.putenv, module.unsetenv = self._putenv(os.putenv), self._unsetenv(os.unsetenv)
        for name in ("posix_spawn", "posix_spawnp"):
            if hasattr(os, name):
                setattr(os, name, self._spawning(getattr(os, name)))

    def _variables(self, value: str | None) -> dict[str, str]:
        message = json.dumps({**self._message, "empty": value == ""})
        return {PYTHONPATH: joined(self._folder, value), VARIABLE: message}

    def _putenv(self, original: Callable[[Any, Any], None]) -> Any:
        @functools.wraps(original)
        def putenv(name: Any, value: Any, /) -> None:
            if name not in (PYTHONPATH, PYTHONPATH.encode()):
                original(name, value)
                return
            # fsdecode refuses the same types as the function.
            for key, text in self._variables(os.fsdecode(value)).items():
                original(key, text)

        return putenv

    def _unsetenv(self, original: Callable[[Any], None]) -> Any:
        put = os.putenv

        @functools.wraps(original)
        def unsetenv(name: Any, /) -> None:
            if name not in (PYTHONPATH, PYTHONPATH.encode()):
                original(name)
                return
            for key, text in self._variables(None).items():
                put(key, text)

        return unsetenv

    def _spawning(self, original: Callable[..., int]) -> Any:
        @functools.wraps(original)
        def spawn(path: Any, argv: Any, env: Any, /, *args: Any, **kwargs: Any) -> int:
            if env is os.environ:
                env = {**env, **self._variables(env.get(PYTHONPATH))}
            return original(path, argv, env, *args, **kwargs)

        return spawn


def _watch(message: dict[str, Any], folder: str) -> None:
    child = message["process"] != os.getpid()
    interrupted = signal.getsignal(signal.SIGINT)
    if interrupted is signal.default_int_handler:
        # Before the script begins, Ctrl-C ends the process without a message.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    before = set(sys.modules)
    try:
        _load_llmwatch(os.path.dirname(os.path.dirname(folder)))
        from llmwatch.cli.run_startup import start

        start(message, child=child)
    except BaseException:
        if not child:
            with suppress(Exception):
                traceback.print_exc(file=sys.__stderr__)
                print("llmwatch: the script was not started.", file=sys.__stderr__, flush=True)
            if message["folder"] is not None:
                with suppress(OSError):
                    os.rmdir(message["folder"])
            os._exit(1)
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in _LOADED:
                del sys.modules[name]
        _count_unwatched(message)
    if interrupted is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupted)


def _load_llmwatch(folder: str) -> ModuleType:
    """Import the llmwatch whose command was called, which may be a checkout that is not on ``sys.path``."""
    if "llmwatch" in sys.modules:
        return sys.modules["llmwatch"]
    spec = importlib.util.spec_from_file_location(
        "llmwatch", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["llmwatch"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
