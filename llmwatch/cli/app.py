"""The application with its commands."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from llmwatch import __version__
from llmwatch.cli.chat import chat
from llmwatch.cli.demo import demo
from llmwatch.cli.exit_codes import ExitCode, let_go, unwritable
from llmwatch.cli.faults import COMMANDS as FAULTS_COMMANDS
from llmwatch.cli.incidents import incidents
from llmwatch.cli.limits import limits
from llmwatch.cli.proxy_command import proxy
from llmwatch.cli.report import report
from llmwatch.cli.run import ScriptCommand
from llmwatch.cli.run import run as run_script
from llmwatch.cli.top import top
from llmwatch.cli.tune import tune

__all__ = ["application", "run"]

_COMMANDS = (demo, chat, limits, incidents, tune, report, top, proxy)


def application(*, boxes: bool = False) -> typer.Typer:
    """The commands as a typer application. ``boxes``: rich draws help and usage errors, for a terminal."""
    app = typer.Typer(
        name="llmwatch",
        help="Streaming LLM calls that cannot hang.",
        epilog="Exit codes: 0 done, 2 usage, configuration or an output that cannot be written, 3 killed by a limit,"
        " 4 provider or connection error, 130 interrupted. The command run ends as its script does.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="rich" if boxes else None,
        # A traceback is a mistake in llmwatch; a pretty one would also show the values of local variables, keys among
        # them.
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for command in _COMMANDS:
        app.command(help=_unwrapped(command.__doc__ or ""))(command)
    app.add_typer(_faults(boxes=boxes), name="faults")
    app.command(cls=ScriptCommand, help=_unwrapped(run_script.__doc__ or ""))(run_script)
    return app


def _faults(*, boxes: bool) -> typer.Typer:
    group = typer.Typer(
        help="How providers and networks fail: a catalogue, and a server that plays it to an agent in any language.",
        no_args_is_help=True,
        rich_markup_mode="rich" if boxes else None,
    )
    for name, command in FAULTS_COMMANDS.items():
        group.command(name=name, help=_unwrapped(command.__doc__ or ""))(command)
    return group


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code. Any exception is a mistake in llmwatch."""
    try:
        application(boxes=sys.stdout.isatty() and sys.stderr.isatty())(list(arguments), prog_name="llmwatch")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(ExitCode.DONE if end.code is None else ExitCode.USAGE)
    except KeyboardInterrupt:
        return int(ExitCode.INTERRUPTED)
    except OSError as error:
        # From the help or the version; the commands handle their own errors.
        return int(unwritable(error.strerror or type(error).__name__))
    finally:
        let_go()
    return int(ExitCode.DONE)


def _unwrapped(text: str) -> str:
    # A terminal wraps lines by its own width; only empty lines separate paragraphs.
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in inspect.cleandoc(text).split("\n\n"))


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"llmwatch {__version__}")
        raise typer.Exit


def _options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Streaming LLM calls that cannot hang."""
