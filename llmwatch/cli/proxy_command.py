"""``llmwatch proxy``: watched calls for an agent in any language, by a base URL on this machine."""

from __future__ import annotations

import os
import ssl
import threading
from typing import Annotated

import typer

from llmwatch.cli.environment_check import checked_environment
from llmwatch.cli.exit_codes import ExitCode, command
from llmwatch.cli.fault_certificate import from_files
from llmwatch.cli.proxy_sessions import Served, serving
from llmwatch.cli.sigterm import heeding_sigterm
from llmwatch.cli.terminal import Terminal
from llmwatch.policy import incident_log

__all__ = ["proxy"]

_CHECK_SECONDS = 0.2
"""The longest wait at once: on CPython 3.10 to 3.12 a signal may leave a longer one waiting."""

To = Annotated[
    list[str] | None,
    typer.Option(
        "--to",
        metavar="NAME=URL",
        help="Relay /NAME/... to this URL; may be given several times, and for a name below in its place.",
    ),
]
OnlyTo = Annotated[bool, typer.Option("--only-to", help="No other route than those of --to.")]
Port = Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 takes a free one.")]
Listen = Annotated[
    str,
    typer.Option(
        "--listen", metavar="ADDRESS", help="Another address than one of this machine needs --token and --tls-cert."
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        metavar="TEXT",
        help="Serve only requests with this text in the header x-llmwatch-token, which is not sent on.",
    ),
]
TlsCert = Annotated[
    str | None, typer.Option("--tls-cert", metavar="FILE", help="Serve https with this certificate (PEM).")
]
TlsKey = Annotated[
    str | None,
    typer.Option("--tls-key", metavar="FILE", help="The key of --tls-cert (PEM); by default in the same file."),
]


@command
def proxy(
    to: To = None,
    only_to: OnlyTo = False,
    port: Port = 0,
    listen: Listen = "127.0.0.1",
    token: Token = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
) -> ExitCode:
    """Relay the calls of an agent in any language, watched, from a port of this machine.

    The first lines are base URLs to give to the agent, one for each route: openai, anthropic and gemini lead to their
    public hosts, --to NAME=URL adds others, and there is nothing else to reach. Status, headers and body pass as they
    come, keys pass and are kept nowhere. Silence before the answer is resent unseen where that is safe; a stream that
    stalls later ends at its limit with an error event of the provider's form and a cut connection.
    Limits and retries are set by LLMWATCH_ variables, which "llmwatch limits" lists, and for one request by headers
    such as "x-llmwatch-ttfb: 45", in seconds, one for each limit. Answers carry x-llmwatch-attempts and
    x-llmwatch-call. LLMWATCH_INCIDENT_LOG and LLMWATCH_CALL_LOG name files for the records.
    Requests of web pages are refused. Ctrl-C or SIGTERM ends the proxy with a summary, and exit code 130.
    Needs cheroot: pip install 'llmwatch[proxy]'.
    """
    terminal = Terminal()
    for warning in checked_environment(os.environ):
        terminal.note(f"note: {warning}")
    tls = _tls(tls_cert, tls_key)
    with (
        heeding_sigterm(),
        serving(to or (), public=not only_to, host=listen, port=port, token=token, tls=tls) as served,
    ):
        try:
            _introduce(terminal, served)
            forever = threading.Event()
            while True:
                forever.wait(_CHECK_SECONDS)
        except KeyboardInterrupt:
            pass
    for line in served.lines(incident_log(os.environ)) or ["no call"]:
        terminal.write(f"{line}\n")
    return ExitCode.INTERRUPTED


def _tls(cert: str | None, key: str | None) -> ssl.SSLContext | None:
    if cert is None:
        if key is not None:
            raise typer.BadParameter("it needs --tls-cert.", param_hint="--tls-key")
        return None
    try:
        return from_files(cert, key).context
    except typer.BadParameter as error:
        raise typer.BadParameter(error.message, param_hint="--tls-cert") from None


def _introduce(terminal: Terminal, served: Served) -> None:
    urls = served.base_urls()
    width = max(map(len, urls))
    for name, url in urls.items():
        terminal.write(f"{name:<{width}}  {url}  to {served.upstream(name)}\n")
