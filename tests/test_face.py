"""The public face: what ``import llmwatch`` gives, and what it does not do."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import subprocess
import sys
from importlib.metadata import version
from types import ModuleType

import pytest

import llmwatch
from tests.rows import each

NAMES = [
    "UNSET",
    "AttemptRecord",
    "BodyTooLarge",
    "CallLog",
    "CallRecord",
    "CancelToken",
    "Cancelled",
    "CircuitOpen",
    "Client",
    "Collected",
    "ConfigError",
    "ConnectFailed",
    "Decision",
    "DelayNotice",
    "DialectDetector",
    "DialectReader",
    "EffectiveLimit",
    "EffectiveLimits",
    "EmptyStream",
    "Event",
    "EventTooLarge",
    "Iterating",
    "JsonLinesSink",
    "Kind",
    "LLMWatchError",
    "Limits",
    "MalformedEvent",
    "Meaning",
    "NotAStream",
    "Notice",
    "NoticeCallback",
    "OnRetry",
    "ProgressNotice",
    "ProviderError",
    "Reason",
    "Recovery",
    "Refresh",
    "RefreshFailed",
    "Refreshing",
    "Resend",
    "Retry",
    "RetryNotice",
    "Seconds",
    "Session",
    "Sink",
    "Stream",
    "StreamCut",
    "StreamError",
    "StreamTruncated",
    "TooManyOrphans",
    "TooManyThreads",
    "ToolCall",
    "ToolDelta",
    "Unset",
    "Usage",
    "WaitNotice",
    "WatchTimeout",
    "beat",
    "call",
    "collect",
    "effective_limits",
    "install",
    "iterate",
    "label",
    "mount",
    "on_abort",
    "paused",
    "refreshing",
    "register_dialect",
    "register_model_url",
    "register_reasoning_model",
    "request",
    "sdk",
    "stats",
    "stream",
    "uninstall",
    "unregister_dialect",
    "watched",
]

ALIASES = {
    "DialectDetector": "llmwatch.wire.dialects.detect",
    "DialectReader": "llmwatch.wire.dialects.generic",
    "Notice": "llmwatch.engine.notices",
    "NoticeCallback": "llmwatch.engine.notices",
    "OnRetry": "llmwatch.policy.retry",
    "Refresh": "llmwatch.auth.grant",
    "Seconds": "llmwatch.policy.values",
    "Sink": "llmwatch.records.sinks",
    "UNSET": "llmwatch.policy.values",
}
"""Names of types that are put together, and of a value: where each is defined.

The words about it stand below it.
"""

LOADED = {"at_fork", "lazy_names"}
# What the names come from; a submodule becomes an attribute of its package, wherever it is imported.
PACKAGES = LOADED | {
    "auth",
    "client",
    "engine",
    "errors",
    "hooks",
    "interruption",
    "lazy_pattern",
    "at_fork",
    "payload",
    "policy",
    "records",
    "recovery",
    "redaction",
    "sdk",
    "session",
    "transport",
    "watch",
    "wire",
    "wrap",
}

HEAVY = ["typer", "rich", "click", "pytest", "asyncio", "llmwatch.cli", "llmwatch.faults"]

IMPORT = """
import json, os, sys, threading
import requests  # looks for IPv6 with a socket when it is imported

seen = []
def hook(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.system", "os.exec", "os.fork")):
        seen.append(event)
    elif event == "_thread.start_new_thread":
        seen.append(event)
    elif event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        seen.append(f"open {arguments[0]}")
sys.addaudithook(hook)
before = psutil.Process().num_fds() if (psutil := __import__("psutil")) else 0
import llmwatch
modules = sorted(sys.modules)
from llmwatch import *
print(json.dumps({
    "seen": seen,
    "threads": [thread.name for thread in threading.enumerate()],
    "descriptors": psutil.Process().num_fds() - before,
    "modules": modules,
    "used": sorted(sys.modules),
}))
"""


@pytest.fixture(scope="module")
def imported() -> dict[str, list[str] | int]:
    """The report of a fresh interpreter about ``import llmwatch``.

    The environment has variables that no call would accept.
    """
    environment = {**os.environ, "LLMWATCH_TTFB_TIMEOUT_SECONDS": "soon", "LLMWATCH_PROFILE": "none such"}
    # Without -B the import itself would write byte code.
    command = [sys.executable, "-B", "-c", IMPORT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.stderr == ""
    report: dict[str, list[str] | int] = json.loads(done.stdout)
    return report


def modules(imported: dict[str, list[str] | int]) -> list[str]:
    return listed(imported, "modules")


def listed(imported: dict[str, list[str] | int], key: str) -> list[str]:
    found = imported[key]
    assert isinstance(found, list)
    return found


def test_the_names_are_exactly_these() -> None:
    """Nothing joins or leaves the public face unnoticed."""
    assert llmwatch.__all__ == NAMES


def test_nothing_else_is_in_sight() -> None:
    """Beside the public names there are their packages, and names with an ``@`` that pytest adds."""
    others = {name for name in vars(llmwatch) if not name.startswith(("_", "@"))} - set(NAMES)
    strangers = {name for name in others if not isinstance(getattr(llmwatch, name), ModuleType)}
    assert strangers == set()
    assert {getattr(llmwatch, name).__name__ for name in others} == {f"llmwatch.{name}" for name in others}


@each("name", [name for name in NAMES if name not in ALIASES])
def test_a_name_is_defined_in_llmwatch(name: str) -> None:
    """A public name can be imported, and was made in a public module of llmwatch.

    It has the same name there.
    """
    thing = getattr(llmwatch, name)
    if isinstance(thing, ModuleType):
        assert thing.__name__ == f"llmwatch.{name}"
        return
    parts = thing.__module__.split(".")
    assert parts[0] == "llmwatch"
    assert not any(part.startswith("_") for part in parts)
    assert getattr(importlib.import_module(thing.__module__), name) is thing


@each("name", [name for name in NAMES if name not in ALIASES])
def test_a_name_is_documented(name: str) -> None:
    """A public name has words of its own, not those of a base class or of a generator."""
    thing = getattr(llmwatch, name)
    words = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    assert words
    assert not words.startswith(f"{name}(")


@each("name, home", ALIASES.items())
def test_an_alias_is_defined_in_llmwatch_and_documented(name: str, home: str) -> None:
    """A public type without a class of its own is that of its module, where words follow it."""
    module = importlib.import_module(home)
    assert getattr(llmwatch, name) is getattr(module, name)
    body = ast.parse(inspect.getsource(module)).body
    (place,) = [
        number
        for number, node in enumerate(body)
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and ast.unparse(node).startswith((f"{name} =", f"{name}:"))
    ]
    words = body[place + 1]
    assert isinstance(words, ast.Expr)
    assert isinstance(words.value, ast.Constant)


@each("name", [name for name in NAMES if inspect.isclass(getattr(llmwatch, name))])
def test_what_a_class_offers_is_documented(name: str) -> None:
    """Each public method and property that a class defines itself has a docstring."""
    thing = getattr(llmwatch, name)
    offered = {key: value for key, value in vars(thing).items() if not key.startswith("_")}
    callables = {
        key: value
        for key, value in offered.items()
        if inspect.isfunction(value) or isinstance(value, (property, classmethod, staticmethod))
    }
    assert [key for key, value in callables.items() if not inspect.getdoc(value)] == []


def test_the_face_holds_no_logic() -> None:
    """The module has imports and ``__all__``, and nothing that could go wrong."""
    source = inspect.getsource(llmwatch)
    assert "\ndef " not in source
    assert "\nclass " not in source
    assert source.count("\nif ") == source.count("\nif _typing.TYPE_CHECKING:\n") == 1


def test_the_version_is_a_literal() -> None:
    """The version is that of the installed package, and reading it opens no file."""
    assert llmwatch.__version__ == version("llmwatch")
    assert f'__version__ = "{llmwatch.__version__}"' in inspect.getsource(llmwatch).splitlines()


def test_importing_opens_and_starts_nothing(imported: dict[str, list[str] | int]) -> None:
    """No socket, no file for writing, no process, no thread, no descriptor; the environment is not read."""
    assert imported["seen"] == []
    assert imported["threads"] == ["MainThread"]
    assert imported["descriptors"] == 0


@pytest.mark.parametrize("heavy", HEAVY)
def test_importing_leaves_out_what_a_call_does_not_need(imported: dict[str, list[str] | int], heavy: str) -> None:
    """The command line, its libraries and the fault server are not loaded with the library."""
    assert heavy not in listed(imported, "used")


def test_importing_loads_no_more_packages_than_it_needs(imported: dict[str, list[str] | int]) -> None:
    """An import loads what loads the names; all names load only the packages that a call runs through."""
    assert {name.split(".")[1] for name in modules(imported) if name.startswith("llmwatch.")} == LOADED
    assert {name.split(".")[1] for name in listed(imported, "used") if name.startswith("llmwatch.")} == PACKAGES


def test_import_star_gives_the_public_names() -> None:
    """``from llmwatch import *`` brings in the public names and nothing else."""
    namespace: dict[str, object] = {}
    exec("from llmwatch import *", namespace)
    assert sorted(name for name in namespace if name != "__builtins__") == sorted(NAMES)
