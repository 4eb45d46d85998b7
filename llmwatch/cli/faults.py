"""``llmwatch faults``: the catalogue of faults, one fault in full, and a server that plays them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.text import Text

from llmwatch.cli.exit_codes import ExitCode, command
from llmwatch.cli.fault_certificate import Certificate, from_files, made_on_the_spot
from llmwatch.cli.fault_serving import serve_until_interrupted
from llmwatch.cli.terminal import Terminal, table
from llmwatch.faults import Script, UnknownScript, catalogue

__all__ = ["COMMANDS", "faults_list", "faults_serve", "faults_show"]

AsJson = Annotated[bool, typer.Option("--json", help="JSON in place of text.")]


@command
def faults_list(as_json: AsJson = False) -> ExitCode:
    """List every fault of the catalogue: its name, the part of the exchange that shows it, what it does.

    A server's behaviour without a part is a whole answer, if an unusual one.
    """
    terminal = Terminal()
    scripts = catalogue.SCRIPTS.values()
    if as_json:
        terminal.document([_document(script) for script in scripts])
    else:
        rows = [(script.name, ", ".join(script.phases), script.description) for script in scripts]
        terminal.show(table(("name", "shows in", "what the server does"), rows))
    return ExitCode.DONE


@command
def faults_show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of the list.")], as_json: AsJson = False
) -> ExitCode:
    """Show one fault in full: what the server does, and the parameters with their defaults."""
    terminal = Terminal()
    script = _script(name)
    if as_json:
        terminal.document(_document(script))
        return ExitCode.DONE
    terminal.show(Text(script.name, style="bold"))
    terminal.show(f"{script.description}.")
    if notes := _notes(script):
        terminal.show(notes)
    terminal.show()
    shown = {**script.parameters, **script.options}
    rows = [(key, _value(value), "") for key, value in shown.items()]
    rows += [
        ("shape", script.shape or "by the request's path", "form of the answer"),
        ("framing", script.framing or "chunked", "chunked, length or close"),
        ("text", "a default text" if script.text is None else script.text, "what a whole answer says"),
    ]
    terminal.show(table(("parameter", "value", ""), rows))
    terminal.show()
    example = next(iter(script.parameters.items()), ("framing", "close"))
    terminal.show(f"For example: llmwatch faults serve {script.name}:{example[0]}={_value(example[1])}")
    return ExitCode.DONE


@command
def faults_serve(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...",
            help="Faults, one for each request, the last one for all that follow; with parameters: drip:every=0.5",
        ),
    ],
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 takes a free one.")] = 0,
    tls: Annotated[
        bool,
        typer.Option(
            "--tls",
            help="Serve https with a certificate made on the spot; its authority is in a file whose name is printed."
            " Needs trustme (pip install 'llmwatch[tls]'); --cert and --key need nothing.",
        ),
    ] = False,
    cert: Annotated[
        str | None, typer.Option("--cert", metavar="FILE", help="Serve https with this certificate (PEM).")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="FILE", help="The key of --cert (PEM); by default in the same file.")
    ] = None,
    record: Annotated[
        str | None,
        typer.Option(
            "--record",
            metavar="FILE",
            help="Append one JSON line a request, once its answer has ended: method, target, headers, body, ending."
            " Credentials are masked; prompts are kept.",
        ),
    ] = None,
) -> ExitCode:
    """Serve faults here to an agent in any language, and print what each connection and request did.

    The first lines are the base URLs to give to the agent, one for each provider's API. Ctrl-C or SIGTERM ends the
    server with a summary, and exit code 130.
    """
    scripts = [_script(name) for name in names]
    if tls and (cert is not None or key is not None):
        raise typer.BadParameter("it makes a certificate, and cannot be combined with --cert.", param_hint="--tls")
    if key is not None and cert is None:
        raise typer.BadParameter("it needs --cert.", param_hint="--key")
    certificate: Certificate | None = None
    if cert is not None:
        certificate = from_files(cert, key)
    elif tls:
        certificate = made_on_the_spot()
    return serve_until_interrupted(Terminal(), scripts, port=port, certificate=certificate, record=record)


COMMANDS: dict[str, Callable[..., None]] = {"list": faults_list, "show": faults_show, "serve": faults_serve}
"""The commands of ``llmwatch faults`` by their names."""


def _script(name: str) -> Script:
    """The script ``name``. Raises ``typer.BadParameter``, which lists similar names, for an unknown one."""
    try:
        return catalogue.get(name)
    except (UnknownScript, ValueError) as error:
        raise typer.BadParameter(str(error), param_hint="NAME") from None


def _notes(script: Script) -> str:
    """What the script's function says about its parameters."""
    return " ".join(inspect.cleandoc(script.play.__doc__ or "").replace("``", "").split())


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _document(script: Script) -> dict[str, Any]:
    return {
        "name": script.name,
        "description": script.description,
        "notes": _notes(script),
        "shows_in": list(script.phases),
        "parameters": {**script.parameters, **script.options},
    }
