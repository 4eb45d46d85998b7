"""``llmwatch run``: an unchanged script whose calls, through whichever library, are watched.

This process *becomes* ``python script.py args``, so everything that a script sees or does (``sys.argv``, ``__main__``,
tracebacks, Ctrl-C, threads, exit codes, multiprocessing) is Python's own, and nothing is imitated. ``site`` imports
``sitecustomize`` before any script. The folder with llmwatch's ``sitecustomize`` stands first on ``PYTHONPATH``, and is
removed from there and from ``sys.path`` before the script's first line (:mod:`llmwatch.cli.run_process`). The Python
processes that the script starts come to the same ``sitecustomize``.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from llmwatch import ConfigError
from llmwatch.cli.environment_check import checked_environment
from llmwatch.cli.exit_codes import ExitCode, command, let_go
from llmwatch.cli.run_process import PYTHONPATH, VARIABLE, joined, python
from llmwatch.cli.run_summary import begin_file, standard_error
from llmwatch.cli.terminal import Terminal
from llmwatch.policy.environment import CALL_LOG_VARIABLE, INCIDENT_LOG_VARIABLE, STATUS_FILE_VARIABLE

__all__ = ["ScriptCommand", "run"]

_SITE = str(Path(__file__).parent / "run_site")
_OWN_OPTIONS = ("-q", "--quiet", "--no-children", "-h", "--help")
_WITH_VALUE = "--json"
_STARTS = ("-m", "-c")
"""Options of Python that name the program to run; all words after them are the program's."""
_MODULE = re.compile(r"-\w*mllmwatch")


class ScriptCommand(TyperCommand):
    """A command whose options end at the script, with or without ``--``. Later words are the script's."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        begins = 0
        while begins < len(args) and _is_own(args[begins]):
            begins += 2 if args[begins] == _WITH_VALUE else 1
        if begins <= len(args) and args[begins : begins + 1] != ["--"]:
            args = [*args[:begins], "--", *args[begins:]]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["[OPTIONS] [--] SCRIPT|-m MODULE [ARGS]..."]


def _is_own(word: str) -> bool:
    return word in _OWN_OPTIONS or word == _WITH_VALUE or word.startswith(f"{_WITH_VALUE}=")


def _file(path: str | None) -> str | None:
    if path is not None and (path.startswith("-") or not path):
        raise typer.BadParameter("standard output is the script's; name a file.")
    return path


def _started(words: Any) -> list[str]:
    # Any: typer 0.29 asks issubclass() about a callback's annotations, and Python 3.10 takes list[str] for a class.
    first: str = words[0]
    if first in _STARTS and len(words) == 1:
        raise typer.BadParameter(f"{first} needs {'a module' if first == '-m' else 'code'} after it.")
    if first.startswith("-") and first != "-" and not first.startswith(_STARTS):
        raise typer.BadParameter(
            f"{first} is no option of llmwatch run. Those of Python itself go before it:"
            " python -X dev -m llmwatch run script.py"
        )
    return list(words)


Script = Annotated[
    list[str],
    typer.Argument(
        metavar="SCRIPT",
        callback=_started,
        help="What to run, as after python: a script, folder or zip file; -m MODULE; -c CODE; - for standard input.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No notes and no summary on standard error.")]
Json = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="FILE",
        callback=_file,
        help='Write the summary to this file as one JSON object. "complete" is false if a signal killed the script.',
    ),
]
NoChildren = Annotated[
    bool, typer.Option("--no-children", help="Do not watch the Python processes that the script starts.")
]


@command
def run(script: Script, quiet: Quiet = False, json_file: Json = None, no_children: NoChildren = False) -> ExitCode:
    """Run a Python script as it is, with its calls through requests, httpx, botocore and urllib3 watched.

    Watched are every call through requests, and every model call through a synchronous client of httpx or httpx2, so
    those of most SDKs, through botocore's client of Bedrock, and through urllib3 and urllib.request. Nothing is
    imported that the script does not import.
    The script runs as python would run it, and its exit code is the exit code. Limits and retries are set by
    LLMWATCH_ variables, which "llmwatch limits" lists; calls that lost an attempt go to the file that
    LLMWATCH_INCIDENT_LOG names. A model call that cannot be watched (of an async client, say) is named at once on
    standard error, with what to change. A summary follows there, one line for each library.
    Processes that the script forks, and Python processes that it or a program of it starts, are watched as well, each
    by itself, and are in the summary. Left alone is a process with an environment that the script puts together
    (env=), with -I, -E or -S, or in another Python environment.
    """
    options = _python_options(sys.orig_argv[1:], len(sys.argv) - 1)
    if options and (sys.flags.ignore_environment or sys.flags.no_site):
        raise ConfigError(
            "Under the options -E, -I and -S Python does not load the start-up code of llmwatch run. Leave them out, or"
            " call llmwatch.install() in the script."
        )
    if not sys.executable or os.pathsep in _SITE:
        raise ConfigError(
            "This Python cannot be started anew with llmwatch in it (its own path is not known, or that of llmwatch"
            f" contains {os.pathsep!r}). Call llmwatch.install() in the script instead."
        )
    warnings = checked_environment(os.environ)
    if not quiet:
        terminal = Terminal()
        for warning in warnings:
            terminal.note(f"note: {warning}")
    if json_file is not None:
        _begin_file(json_file)
    let_go()
    environment = _environment(os.environ, quiet=quiet, json_file=json_file, children=not no_children)
    try:
        os.execve(sys.executable, [sys.executable, *options, *script], environment)
    except OSError as error:
        folder = json.loads(environment[VARIABLE])["folder"]
        if folder is not None:
            os.rmdir(folder)
        raise ConfigError(f"{sys.executable} cannot be started: {error.strerror}.") from None


def _folder() -> str | None:
    """A new folder for the counts of the processes; ``None`` if none can be made.

    Then each process counts for itself, and the summary is about the script's own.
    """
    prefix = f"llmwatch-run-{platform.node()}-"
    try:
        parent = tempfile.gettempdir()
        for name in os.listdir(parent):
            if name.startswith(prefix) and _is_gone(name.removeprefix(prefix).partition("-")[0]):
                # A signal has killed the process that would have removed it.
                shutil.rmtree(os.path.join(parent, name), ignore_errors=True)
        return tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=parent)
    except OSError:
        return None


def _is_gone(process: str) -> bool:
    if os.name == "nt":
        # The signal 0 is Ctrl-C there.
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (ValueError, OverflowError, OSError):
        pass
    return False


def _begin_file(path: str) -> None:
    try:
        begin_file(path)
    except OSError as error:
        raise ConfigError(f"The file of --json cannot be written: {path!r}: {error.strerror}.") from None


def _environment(environ: Mapping[str, str], *, quiet: bool, json_file: str | None, children: bool) -> dict[str, str]:
    """The variables for the new interpreter. ``sitecustomize`` removes those that only the start needs."""
    path = environ.get(PYTHONPATH)
    message = {
        "process": os.getpid(),
        "empty": path == "",
        "quiet": quiet,
        # The paths stay valid if the script changes its working directory.
        "json": None if json_file is None else os.path.abspath(json_file),
        "children": children,
        # The script's process removes it.
        "folder": None if quiet and json_file is None else _folder(),
        "python": python(),
        "errors": standard_error(),
    }
    made = {**environ, PYTHONPATH: joined(_SITE, path), VARIABLE: json.dumps(message)}
    for variable in (INCIDENT_LOG_VARIABLE, CALL_LOG_VARIABLE, STATUS_FILE_VARIABLE):
        log = environ.get(variable, "").strip()
        if log:
            made[variable] = os.path.abspath(log)
    return made


def _python_options(words: Sequence[str], given: int) -> list[str]:
    """The options of Python in ``words``, whose last ``given`` words are not Python's.

    Only options before ``-m llmwatch`` count, because the user typed them. Those of a console script come from its
    first line, and concern llmwatch itself.
    """
    own = list(words[: len(words) - given])
    if own[-1:] == ["llmwatch"]:
        own[-2:] = ["".join(own[-2:])]
    if not own or not _MODULE.fullmatch(own[-1]):
        return []
    last = own.pop().removesuffix("mllmwatch")
    if not all(_is_option(own, index) for index in range(len(own))):
        return []
    return own if last == "-" else [*own, last]


def _is_option(words: Sequence[str], index: int) -> bool:
    # Some options take the next word. After -m or -c, another program runs llmwatch.
    if words[index].startswith("-"):
        return words[index] not in _STARTS
    return index > 0 and words[index - 1] in ("-W", "-X", "--check-hash-based-pycs")
