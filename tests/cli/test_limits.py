from __future__ import annotations

import json
from typing import Any

import pytest

from llmwatch.policy import KNOWN_VARIABLES, NAMES, PROFILES, resolve_limits
from tests.cli.running import in_terminal, invoke, run


def limits(*arguments: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    done = invoke("limits", *arguments, env=env)
    return done.code, done.out, done.err


def document(*arguments: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    code, out, _ = limits("--json", *arguments, env=env)
    assert code == 0
    found: dict[str, Any] = json.loads(out)
    return found


def row(out: str, name: str) -> list[str]:
    return next(line for line in out.splitlines() if line.startswith(f"{name} ")).split("  ")


def test_each_limit_is_shown_with_value_profile_and_variable() -> None:
    """Without anything set, each limit is shown with its value.

    The profile it comes from and its variable stand there too.
    """
    code, out, err = limits()
    assert (code, err) == (0, "")
    assert out.startswith("Profile hosted (detected)\n")
    cells = [cell.strip() for cell in row(out, "ttfb") if cell]
    assert cells == ["ttfb", "120 s", "profile hosted", "LLMWATCH_TTFB_TIMEOUT_SECONDS"]
    assert [cell.strip() for cell in row(out, "total") if cell][:2] == ["total", "off"]
    assert all(f"\n{name} " in out for name in NAMES)
    assert all(name in out for name in KNOWN_VARIABLES)


def test_the_worst_case_is_computed_from_the_limits_in_force() -> None:
    """The longest time that a silent provider can keep a call follows from the limits in force."""
    _, out, _ = limits()
    assert "\nWhere a provider takes the request and says nothing, the error comes after 841.5 s at most" in out
    assert document()["silent_provider"]["seconds"] == 841.5
    assert document("--plain")["silent_provider"]["seconds"] == 600
    assert document("--profile", "local")["silent_provider"]["attempts"] == [900, 1800, 3600]
    env = {"LLMWATCH_TTFB_TIMEOUT_SECONDS": "45", "LLMWATCH_BACKOFF_SECONDS": "0", "LLMWATCH_MAX_ATTEMPTS": "2"}
    assert document(env=env)["silent_provider"] == {
        "seconds": 90.0,
        "number": 2,
        "attempts": [45.0, 45.0],
        "waits": [0.0],
        "deadline": False,
    }


def test_a_set_variable_is_shown_as_the_source() -> None:
    """A variable that is set shows as the source of its value.

    It does so in the limits, the retry settings and the list.
    """
    env = {
        "LLMWATCH_TTFB_TIMEOUT_SECONDS": "45",
        "LLMWATCH_MAX_ATTEMPTS": "5",
        "LLMWATCH_MAX_BACKOFF_SECONDS": "0",
        "LLMWATCH_KEEPALIVE_SECONDS": "0",
        "LLMWATCH_MAX_EVENT_BYTES": "4096",
        "LLMWATCH_MAX_BODY_BYTES": "8192",
    }
    found = document(env=env)
    assert found["limits"]["ttfb"] == {"value": 45.0, "source": "LLMWATCH_TTFB_TIMEOUT_SECONDS", "explicit": True}
    assert found["retry"]["max_attempts"] == {"value": 5, "source": "LLMWATCH_MAX_ATTEMPTS"}
    assert found["retry"]["max_backoff"] == {"value": None, "source": "LLMWATCH_MAX_BACKOFF_SECONDS"}
    assert found["retry"]["backoff"] == {"value": 0.5, "source": "default"}
    assert found["keepalive"] == {"value": 0.0, "source": "LLMWATCH_KEEPALIVE_SECONDS"}
    assert found["max_event"] == {"value": 4096, "source": "LLMWATCH_MAX_EVENT_BYTES"}
    assert document()["max_event"] == {"value": 64 << 20, "source": "default"}
    assert document(env={"LLMWATCH_MAX_EVENT_BYTES": "0"})["max_event"]["value"] is None
    assert found["max_body"] == {"value": 8192, "source": "LLMWATCH_MAX_BODY_BYTES"}
    assert document()["max_body"] == {"value": 1 << 30, "source": "default"}
    assert document(env={"LLMWATCH_MAX_BODY_BYTES": "0"})["max_body"]["value"] is None
    assert found["variables"]["LLMWATCH_TTFB_TIMEOUT_SECONDS"]["set"] == "45"
    assert found["variables"]["LLMWATCH_STALE_TIMEOUT_SECONDS"]["set"] is None
    _, out, _ = limits(env=env)
    assert "no cap" in " ".join(row(out, "max_backoff"))
    assert "never reuse" in " ".join(row(out, "keepalive"))
    assert "4,096 bytes" in " ".join(row(out, "max_event"))
    assert "8,192 bytes" in " ".join(row(out, "max_body"))
    _, out, _ = limits(env={"LLMWATCH_MAX_EVENT_BYTES": "0", "LLMWATCH_MAX_BODY_BYTES": "0"})
    assert "no cap" in " ".join(row(out, "max_event"))
    assert "no cap" in " ".join(row(out, "max_body"))


def test_max_wait_is_shown_in_seconds() -> None:
    """``max_wait`` is shown in seconds like every other time, and 0 with its meaning."""
    _, out, _ = limits()
    assert [cell.strip() for cell in row(out, "max_wait") if cell][:2] == ["max_wait", "300 s"]
    for value, shown in (("0", "raise at once"), ("0.5", "0.5 s"), ("4000", "4,000 s")):
        _, out, _ = limits(env={"LLMWATCH_MAX_WAIT_SECONDS": value})
        assert [cell.strip() for cell in row(out, "max_wait") if cell][1] == shown


def test_url_size_profile_and_plain_move_the_defaults() -> None:
    """The URL, the size of the body, the profile and a plain call move the defaults.

    The source says so.
    """
    assert document("--url", "http://127.0.0.1:8000/v1")["profile"] == "local"
    scaled = document("--body-bytes", "400000")["limits"]["ttfb"]
    assert scaled["value"] == resolve_limits(environ={}, body_bytes=400_000).value("ttfb")
    assert scaled["value"] > 120
    assert "100,000 prompt tokens" in scaled["source"]
    assert document("--profile", "reasoning")["limits"]["ttfb"]["value"] == PROFILES["reasoning"]["ttfb"]
    plain = document("--plain")["limits"]
    assert plain["ttfb"]["value"] == 600
    assert plain["first_content"]["value"] is None


def test_warnings_go_to_standard_error_or_into_the_document() -> None:
    """Warnings go to standard error for a person, and into the document for a program."""
    env = {"LLMWATCH_TTFB_SECONDS": "45"}
    code, out, err = limits(env=env)
    assert code == 0
    assert "LLMWATCH_TTFB_TIMEOUT_SECONDS?" in err
    assert "did you mean" not in out
    assert len(document(env=env)["warnings"]) == 1


@pytest.mark.parametrize(
    ("arguments", "variables", "says"),
    [
        ((), {"LLMWATCH_TTFB_TIMEOUT_SECONDS": "soon"}, "LLMWATCH_TTFB_TIMEOUT_SECONDS='soon' is not allowed"),
        ((), {"LLMWATCH_MAX_ATTEMPTS": "-1"}, "LLMWATCH_MAX_ATTEMPTS='-1' is not allowed"),
        ((), {"LLMWATCH_LOG_MAX_BYTES": "large"}, "LLMWATCH_LOG_MAX_BYTES='large' is not allowed"),
        ((), {"LLMWATCH_STATUS_FILE": "/tmp/{host}"}, "LLMWATCH_STATUS_FILE='/tmp/{host}' is not allowed"),
        (("--url", "nonsense"), {}, "http://"),
        (("--profile", "fast"), {}, "hosted, reasoning, local"),
        (("--body-bytes", "-1"), {}, "--body-bytes"),
    ],
)
def test_an_invalid_setting_ends_with_exit_code_2(
    arguments: tuple[str, ...], variables: dict[str, str], says: str
) -> None:
    """An invalid setting ends with 2 and is named, with what would be right."""
    code, out, err = limits(*arguments, env=variables)
    assert (code, out) == (2, "")
    assert says in err


def test_a_pipe_gets_plain_text() -> None:
    """Through a pipe the real command writes plain text, even where colours are forced."""
    done = run("limits", env={"FORCE_COLOR": "1"})
    assert done.code == 0
    assert "\x1b" not in done.out
    assert "LLMWATCH_TTFB_TIMEOUT_SECONDS" in done.out


def test_a_terminal_gets_styled_tables() -> None:
    """In a terminal the tables have styles."""
    drawn = in_terminal(["limits"])
    assert drawn.code == 0
    assert "\x1b[" in drawn.out
    assert "profile hosted" in drawn.out
