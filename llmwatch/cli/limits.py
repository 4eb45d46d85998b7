"""``llmwatch limits``: the limits and retry settings of a call, with the source of each value."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.text import Text

from llmwatch.cli import options
from llmwatch.cli.exit_codes import ExitCode, command
from llmwatch.cli.terminal import Terminal, table
from llmwatch.engine.request import check_url
from llmwatch.engine.worst_case import WorstCase, worst_case
from llmwatch.policy import (
    KNOWN_VARIABLES,
    LIMIT_VARIABLES,
    PROFILES,
    RETRY_VARIABLES,
    EffectiveLimits,
    EffectiveRetry,
    resolve_keepalive,
    resolve_limits,
    resolve_max_body,
    resolve_max_event,
    resolve_override,
    resolve_retry,
)
from llmwatch.policy.environment import (
    KEEPALIVE_VARIABLE,
    LOG_SIZE_VARIABLE,
    MAX_BODY_VARIABLE,
    MAX_EVENT_VARIABLE,
    OVERRIDE_VARIABLE,
    bytes_from,
    settings,
    status_file_from,
)
from llmwatch.policy.values import shown
from llmwatch.wire import MAX_EVENT

__all__ = ["limits"]

_IN_SECONDS = ("backoff", "max_backoff", "max_retry_after", "breaker_wait", "max_wait")


@command
def limits(
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="Where the call would go; a local host has its own defaults."),
    ] = None,
    body_bytes: Annotated[
        int, typer.Option("--body-bytes", metavar="N", min=0, help="The size of its body; long prompts get more time.")
    ] = 0,
    plain: Annotated[bool, typer.Option("--plain", help="A call that does not stream.")] = False,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="NAME",
            help=f"The defaults to use instead of detecting them: {', '.join(PROFILES)}.",
            callback=lambda value: None if value is None else options.one_of(value, tuple(PROFILES)),
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> ExitCode:
    """Show each limit in force with its source, the retry settings, and the variables that set them."""
    if url is not None:
        check_url(url)
    environ = dict(os.environ)

    def after(kills: int) -> EffectiveLimits:
        return resolve_limits(
            environ=environ, url=url, body_bytes=body_bytes, plain=plain, profile=profile, patience=kills
        )

    effective = after(0)
    retry = resolve_retry(environ=environ)
    longest = worst_case(after, retry, plain=plain)
    keepalive = resolve_keepalive(None, environ)
    sizes = _sizes(environ)
    override = resolve_override(False, environ)
    # A call refuses these too. Whether a log can be opened shows only with the call, which makes the file.
    named = settings(environ)
    status_file_from(named)
    bytes_from(named, LOG_SIZE_VARIABLE)
    terminal = Terminal()
    if as_json:
        terminal.document(_document(effective, longest, retry, keepalive, sizes, override, environ))
    else:
        _print(terminal, effective, longest, retry, keepalive, sizes, override, environ)
    return ExitCode.DONE


def _sizes(environ: Mapping[str, str]) -> dict[str, tuple[int, str]]:
    """Bytes and variable, by name. Raises :class:`~llmwatch.ConfigError`."""
    return {
        "max_event": (resolve_max_event(None, environ, default=MAX_EVENT), MAX_EVENT_VARIABLE),
        "max_body": (resolve_max_body(None, environ), MAX_BODY_VARIABLE),
    }


def _document(
    effective: EffectiveLimits,
    longest: WorstCase,
    retry: EffectiveRetry,
    keepalive: float,
    sizes: Mapping[str, tuple[int, str]],
    override: bool,
    environ: Mapping[str, str],
) -> dict[str, Any]:
    return {
        **effective.to_dict(),
        "silent_provider": longest.to_dict(),
        "retry": {
            name: {"value": _finite(getattr(retry, name)), "source": _source(variable, environ)}
            for name, variable in RETRY_VARIABLES.items()
        },
        "keepalive": {"value": keepalive, "source": _source(KEEPALIVE_VARIABLE, environ)},
        **{
            name: {"value": _capped(size), "source": _source(variable, environ)}
            for name, (size, variable) in sizes.items()
        },
        "override_timeouts": {"value": override, "source": _source(OVERRIDE_VARIABLE, environ)},
        "variables": {
            name: {"meaning": meaning, "set": _set(name, environ)} for name, meaning in KNOWN_VARIABLES.items()
        },
    }


def _print(
    terminal: Terminal,
    effective: EffectiveLimits,
    longest: WorstCase,
    retry: EffectiveRetry,
    keepalive: float,
    sizes: Mapping[str, tuple[int, str]],
    override: bool,
    environ: Mapping[str, str],
) -> None:
    for warning in effective.warnings:
        terminal.note(f"note: {warning}")
    terminal.show(f"Profile {effective.profile} ({effective.profile_source})")
    terminal.show()
    limit_rows = [
        (name, _off_or(limit.value), _emphasised(limit.source, limit.explicit), LIMIT_VARIABLES[name])
        for name, limit in effective.limits.items()
    ]
    terminal.show(table(("limit", "value", "source", "variable"), limit_rows))
    terminal.show()
    terminal.show(f"Where a provider takes the request and says nothing, {longest}.")
    terminal.show()
    retry_rows = [
        (name, _setting(name, getattr(retry, name)), _source_shown(variable, environ), variable)
        for name, variable in RETRY_VARIABLES.items()
    ]
    keepalive_shown = shown(keepalive) if keepalive else "never reuse"
    retry_rows.append(("keepalive", keepalive_shown, _source_shown(KEEPALIVE_VARIABLE, environ), KEEPALIVE_VARIABLE))
    for name, (size, variable) in sizes.items():
        size_shown = "no cap" if _capped(size) is None else f"{size:,} bytes"
        retry_rows.append((name, size_shown, _source_shown(variable, environ), variable))
    overriding = _setting("override_timeouts", override)
    retry_rows.append(("override_timeouts", overriding, _source_shown(OVERRIDE_VARIABLE, environ), OVERRIDE_VARIABLE))
    terminal.show(table(("retry", "value", "source", "variable"), retry_rows))
    terminal.show()
    rows = [(name, _set(name, environ) or "", meaning) for name, meaning in KNOWN_VARIABLES.items()]
    terminal.show(table(("environment variable", "set to", "meaning"), rows))


def _off_or(value: float | None) -> str:
    return "off" if value is None else shown(value)


def _setting(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "max_wait" and not value:
        return "raise at once"
    if name in _IN_SECONDS:
        return "no cap" if math.isinf(value) else shown(float(value))
    return "off" if name in ("breaker", "budget") and not value else str(value)


def _finite(value: Any) -> Any:
    # JSON has no infinity; null removes a cap everywhere else too.
    return None if isinstance(value, float) and math.isinf(value) else value


def _capped(size: int) -> int | None:
    return None if size == sys.maxsize else size


def _set(variable: str, environ: Mapping[str, str]) -> str | None:
    return environ.get(variable, "").strip() or None


def _source(variable: str, environ: Mapping[str, str]) -> str:
    return "default" if _set(variable, environ) is None else variable


def _source_shown(variable: str, environ: Mapping[str, str]) -> Text:
    return _emphasised(_source(variable, environ), _set(variable, environ) is not None)


def _emphasised(text: str, explicit: bool) -> Text:
    return Text(text, style="bold" if explicit else "dim")
