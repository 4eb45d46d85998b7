from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from llmwatch import (
    Cancelled,
    ConfigError,
    ConnectFailed,
    Decision,
    EmptyStream,
    LLMWatchError,
    ProviderError,
    Recovery,
    StreamCut,
    WatchTimeout,
)
from llmwatch.cli.exit_codes import ExitCode, code_of, command, describe, explain
from llmwatch.cli.terminal import OutputFailed

TIMEOUT = WatchTimeout("Nothing came within 2 s.", limit="ttfb", limit_seconds=2.0, phase="waiting", elapsed=2.0)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (TIMEOUT, 3),
        (ConnectFailed("x", cause="refused"), 4),
        (StreamCut("x"), 4),
        (EmptyStream("x"), 4),
        (ProviderError("x", status=500), 4),
        (Cancelled("x", by="lifecycle"), 4),
        (LLMWatchError("x"), 4),
    ],
)
def test_every_error_class_has_its_exit_code(error: LLMWatchError, code: int) -> None:
    """Every class of error has its exit code."""
    assert code_of(error) == code


def ended(raised: BaseException | ExitCode) -> tuple[int, str]:
    @command
    def function() -> ExitCode:
        if isinstance(raised, BaseException):
            raise raised
        return raised

    app = typer.Typer()
    app.command()(function)
    result = CliRunner().invoke(app, [])
    return result.exit_code, result.stderr


@pytest.mark.parametrize(
    ("raised", "code", "says"),
    [
        (ExitCode.DONE, 0, ""),
        (ExitCode.FAILED, 4, ""),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 0, ""),
        (
            OutputFailed("No space left on device"),
            2,
            "llmwatch: the output cannot be written: No space left on device.\n",
        ),
        (PermissionError(13, "no"), 4, "llmwatch: PermissionError: [Errno 13] no\n"),
        (ConfigError("LLMWATCH_X=1 is wrong."), 2, "llmwatch: LLMWATCH_X=1 is wrong.\n"),
        (TIMEOUT, 3, "llmwatch: Nothing came within 2 s.\n"),
    ],
)
def test_a_command_ends_with_the_code_of_its_result(raised: BaseException | ExitCode, code: int, says: str) -> None:
    """A command ends with the code of what it returned or raised.

    It says on standard error what went wrong.
    """
    assert ended(raised) == (code, says)


def recovery(message: str, action: str) -> Recovery:
    return Recovery(safe=False, decision=Decision.CONFIRM, reason="some_reason", message=message, action=action)


def test_an_error_is_explained_in_two_lines() -> None:
    """An error is explained in a line, the recovery in another.

    The second does not repeat what the first one says.
    """
    error = WatchTimeout(
        "Nothing came within 2 s. Raise ttfb.", limit="ttfb", limit_seconds=2.0, phase="waiting", elapsed=2.0
    )
    assert list(explain(error)) == ["llmwatch: Nothing came within 2 s. Raise ttfb."]
    error.recovery = recovery("A tool may have run.", "Look before you send it again.")
    assert list(explain(error))[1:] == [
        "  recovery: confirm (some_reason): A tool may have run. Look before you send it again."
    ]
    error.recovery = recovery("Nothing came within 2 s.", "Raise ttfb.")
    assert list(explain(error))[1:] == ["  recovery: confirm (some_reason)"]


def test_a_refused_key_names_its_option() -> None:
    """A refused key points to the option that sets it."""
    assert "--api-key-env" in "\n".join(explain(ProviderError("no", status=401)))
    assert "--api-key-env" not in "\n".join(explain(ProviderError("no", status=500)))


def test_an_error_in_json_has_class_message_answers_and_fields() -> None:
    """A program reads the class, the message, both answers, and the fields that the class has."""
    error = WatchTimeout("Nothing.", limit="ttfb", limit_seconds=2.0, phase="waiting", elapsed=2.1)
    error.recovery = recovery("m", "a")
    assert describe(error) == {
        "error": "WatchTimeout",
        "message": "Nothing.",
        "retryable": True,
        "recovery": {"safe": False, "decision": "confirm", "reason": "some_reason", "message": "m", "action": "a"},
        "limit": "ttfb",
        "limit_seconds": 2.0,
        "phase": "waiting",
        "elapsed": 2.1,
    }
