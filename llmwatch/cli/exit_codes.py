"""The exit code of a command, and its messages about a failure."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import IntEnum
from typing import Any, ParamSpec, TextIO

import requests
import typer

from llmwatch import ConfigError, LLMWatchError, ProviderError, WatchTimeout
from llmwatch.cli.terminal import OutputFailed, Terminal

__all__ = ["ExitCode", "code_of", "command", "describe", "explain", "let_go", "unwritable"]

P = ParamSpec("P")


class ExitCode(IntEnum):
    """The exit codes.

    ``USAGE``: the caller has to change arguments, configuration, or the target of an output that cannot be written.
    ``FAILED``: an error of the provider or of the connection to it.
    """

    DONE = 0
    USAGE = 2
    KILLED = 3
    FAILED = 4
    INTERRUPTED = 130


def code_of(error: LLMWatchError) -> ExitCode:
    """The exit code for an error."""
    if isinstance(error, ConfigError):
        return ExitCode.USAGE
    return ExitCode.KILLED if isinstance(error, WatchTimeout) else ExitCode.FAILED


def command(function: Callable[P, ExitCode]) -> Callable[P, None]:
    """Make a typer command of a function that returns its exit code.

    An llmwatch error is explained on standard error. Ctrl-C ends with 130. A reader of the output that has left
    (``| head``) has what it wanted, so the command ends quietly and with success. Any other exception is a mistake in
    llmwatch, and keeps its traceback.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        raise typer.Exit(int(_guarded(lambda: function(*args, **kwargs))))

    return run


def _guarded(function: Callable[[], ExitCode]) -> ExitCode:
    try:
        return function()
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except LLMWatchError as error:
        terminal = Terminal()
        for line in explain(error):
            terminal.note(line)
        return code_of(error)
    except requests.exceptions.RequestException as error:
        # Raised before anything is sent, for an invalid URL or header. Its text may quote a header: it is not shown.
        Terminal().note(f"llmwatch: requests refuses to send this ({type(error).__name__}): check the URL and the key.")
        return ExitCode.USAGE
    except BrokenPipeError:
        let_go()
        return ExitCode.DONE
    except OutputFailed as error:
        return unwritable(str(error))
    except OSError as error:
        # The system allows no socket or no thread, for example; llmwatch's own errors are handled above.
        Terminal().note(f"llmwatch: {type(error).__name__}: {error}")
        return ExitCode.FAILED


def unwritable(why: str) -> ExitCode:
    """Report on standard error that standard output failed, and ``why``. Returns the exit code."""
    # Output that is still buffered would fail again at the next write.
    let_go()
    Terminal().note(f"llmwatch: the output cannot be written: {why}.")
    return ExitCode.USAGE


def explain(error: LLMWatchError) -> Iterator[str]:
    """Lines that tell what happened, what to change, and whether a resend is safe."""
    yield f"llmwatch: {error}"
    recovery = error.recovery
    if recovery is not None:
        advice = " ".join(part for part in (recovery.message, recovery.action) if part and part not in str(error))
        yield f"  recovery: {recovery.decision.value} ({recovery.reason}){f': {advice}' if advice else ''}"
    attempts = error.record.attempts if error.record is not None else ()
    if len(attempts) > 1:
        causes = ", ".join(attempt.limit or attempt.error or attempt.cause or "unknown" for attempt in attempts)
        yield f"  attempts: {len(attempts)} ({causes})"
    if isinstance(error, ProviderError) and error.status in (401, 403):
        yield "  key: --api-key-env NAME names the environment variable that holds the key for this provider."


def describe(error: LLMWatchError) -> dict[str, Any]:
    """Plain JSON values for an error, without the fields that its class does not have."""
    leaves = ("limit", "limit_seconds", "phase", "elapsed", "cause", "status", "code", "type", "retry_after", "field")
    values = {name: getattr(error, name) for name in leaves if getattr(error, name, None) is not None}
    recovery = error.recovery
    return {
        "error": type(error).__name__,
        "message": str(error),
        "retryable": error.retryable,
        "recovery": None
        if recovery is None
        else {
            "safe": recovery.safe,
            "decision": recovery.decision.value,
            "reason": str(recovery.reason),
            "message": recovery.message,
            "action": recovery.action,
        },
        **values,
    }


def let_go() -> None:
    """Flush both output streams. One without a reader is replaced, for a quiet exit of the interpreter."""
    for stream in (sys.stdout, sys.stderr):
        if not _flushed(stream):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _flushed(stream: TextIO) -> bool:
    try:
        stream.flush()
    except (OSError, ValueError):
        return False
    return True
