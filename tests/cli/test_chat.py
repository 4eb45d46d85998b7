from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmwatch.faults import Context, FaultServer, Script, refused_port, steps
from llmwatch.faults.catalogue import ANSWER, answer
from tests.cli.foreign_server import ForeignServer
from tests.cli.running import Ended, in_terminal, interrupt, invoke, launched, run, started
from tests.cli.times import LIMIT, LONG, LONGEST_WAIT, NOTICED, PATIENCE

SLOW = {"LLMWATCH_BACKOFF_SECONDS": str(LONG), "LLMWATCH_MAX_BACKOFF_SECONDS": str(LONG)}


def chat(base_url: str, *arguments: str, env: dict[str, str] | None = None, stdin: bytes = b"") -> Ended:
    return invoke("chat", "--base-url", base_url, "--model", "m", *arguments, env=env, stdin=stdin)


def real_chat(base_url: str, *arguments: str, env: dict[str, str] | None = None) -> Ended:
    return run("chat", "--base-url", base_url, "--model", "m", *arguments, env=env)


def test_chat_streams_from_a_server_of_another_maker() -> None:
    """An answer streams from an OpenAI-compatible server of another make, with the key that it wants."""
    with ForeignServer(["Hel", "lo, ", "wörld", "! 🐕"], key="sk-1") as server:
        done = real_chat(server.base_url, "--api-key-env", "A_KEY", "--max-tokens", "9", "hi", env={"A_KEY": "sk-1"})
    assert (done.code, done.out, done.err) == (0, "Hello, wörld! 🐕\n", "")
    ((line, headers, body),) = server.seen
    assert line == "POST /v1/chat/completions HTTP/1.1"
    assert headers["content-type"] == "application/json"
    messages = [{"role": "user", "content": "hi"}]
    assert body == {"model": "m", "stream": True, "messages": messages, "max_tokens": 9}


def test_chat_recovers_from_a_silent_server_of_another_maker() -> None:
    """A server of another make that is silent at first is asked again.

    Only the answer is on standard output.
    """
    with ForeignServer(["fine"], silences=1) as server:
        done = real_chat(server.base_url, "--ttfb", str(LIMIT), "hi", env={"LLMWATCH_BACKOFF_SECONDS": "0"})
    assert (done.code, done.out) == (0, "fine\n")
    assert "attempt 1 of 3 failed (ttfb); resending" in done.err
    assert len(server.seen) == 2


def test_a_refused_key_is_a_provider_error_that_names_the_option() -> None:
    """A refused key is a provider error with the provider's words, and points to the option.

    The key is not shown.
    """
    with ForeignServer([], key="right") as server:
        done = chat(server.base_url, "--api-key-env", "A_KEY", "hi", env={"A_KEY": "sk-wrong"})
    assert (done.code, done.out) == (4, "")
    assert "401" in done.err
    assert "Incorrect API key provided." in done.err
    assert "--api-key-env" in done.err
    assert "sk-wrong" not in done.err
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("base", "path", "header"),
    [
        ("chat_url", "/v1/chat/completions", ("Authorization", "Bearer sk-1")),
        ("url", "/v1/chat/completions", ("Authorization", "Bearer sk-1")),
        ("responses_url", "/v1/responses", ("Authorization", "Bearer sk-1")),
        ("messages_url", "/v1/messages", ("x-api-key", "sk-1")),
    ],
)
def test_chat_streams_in_every_dialect(base: str, path: str, header: tuple[str, str]) -> None:
    """Chat completions, Responses and Messages stream alike, each asked and paid in its own way."""
    with FaultServer() as server:
        done = chat(getattr(server, base), "--api-key-env", "A_KEY", "hi", env={"A_KEY": "sk-1"})
    assert (done.code, done.out, done.err) == (0, ANSWER + "\n", "")
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", path)
    assert request.header(header[0]) == header[1]
    assert (request.header("anthropic-version") is not None) == (path == "/v1/messages")


def test_dialect_anthropic_makes_a_base_url_an_endpoint() -> None:
    """--dialect anthropic makes a base URL an endpoint of that kind, instructions included."""
    with FaultServer() as server:
        done = chat(server.url, "--dialect", "anthropic", "--system", "be brief", "hi")
    assert (done.code, done.out) == (0, ANSWER + "\n")
    body = server.requests[0].json()
    assert isinstance(body, dict)
    assert (body["system"], body["max_tokens"]) == ("be brief", 4096)


def test_a_dash_reads_the_question_from_standard_input() -> None:
    """The question may hold any bytes."""
    with FaultServer() as server:
        done = chat(server.url, "-", stdin="naïve\nquestion".encode() + b"\xff")
    assert done.code == 0
    body = server.requests[0].json()
    assert isinstance(body, dict)
    assert body["messages"][0]["content"] == "naïve\nquestion\ufffd"


def test_json_prints_one_object() -> None:
    """--json prints one object at the end: text, reasoning, record, and nothing else."""
    with FaultServer("reasoning-only:count=3") as server:
        done = chat(server.url, "--json", "hi")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert set(found) == {"text", "reasoning", "record"}
    assert (found["text"], found["reasoning"]) == (ANSWER, answer(3))
    assert found["record"]["outcome"] == "done"
    assert len(found["record"]["attempts"]) == 1


def test_json_of_a_failure_has_partial_text_and_error() -> None:
    """--json of a call that failed has what came before and the error.

    The exit code is that of the error.
    """
    with FaultServer("stall-after-content:tokens=3") as server:
        done = chat(server.url, "--json", "--stale", str(LIMIT), "hi")
    assert done.code == 3
    found = json.loads(done.out)
    assert found["text"] == answer(3)
    assert found["error"]["error"] == "WatchTimeout"
    error = found["error"]
    assert (error["limit"], error["limit_seconds"], error["phase"]) == ("stale", LIMIT, "content")
    assert found["error"]["recovery"]["decision"] == "continue"
    assert found["record"]["outcome"] == "failed"
    assert "stale" in done.err


def test_reasoning_stays_out_of_a_pipe() -> None:
    """Reasoning is no part of the answer, and plain output is the answer alone."""
    with FaultServer("reasoning-only:count=3") as server:
        done = chat(server.url, "hi")
    assert (done.code, done.out) == (0, ANSWER + "\n")


def test_a_silent_provider_ends_with_exit_code_3() -> None:
    """A provider that never says a word is killed at its limit on every attempt.

    The exit code is 3, and the message says what to change.
    """
    with FaultServer("silent") as server:
        done = real_chat(server.url, "--ttfb", str(LIMIT), "hi", env={"LLMWATCH_BACKOFF_SECONDS": "0"})
        assert len(server.requests) == 3
    assert (done.code, done.out) == (3, "")
    assert "ttfb" in done.err
    assert "attempts: 3 (ttfb, ttfb, ttfb)" in done.err
    assert "recovery: stop" in done.err
    assert "Traceback" not in done.err


def test_a_stall_after_text_keeps_the_text_and_is_not_resent() -> None:
    """Text before a stall stays on standard output, ended by a line break, and the request is not resent."""
    with FaultServer("stall-after-content:tokens=3") as server:
        done = chat(server.url, "--stale", str(LIMIT), "hi")
        assert len(server.requests) == 1
    assert (done.code, done.out) == (3, answer(3) + "\n")
    assert "recovery: continue" in done.err


def test_a_wait_notice_is_a_plain_line_without_a_terminal() -> None:
    """Without a terminal, a long wait is reported in plain lines with the limit that counts."""
    with FaultServer("silent") as server:
        done = real_chat(server.url, "--ttfb", str(NOTICED), "hi", env={"LLMWATCH_MAX_ATTEMPTS": "1"})
    said = rf"^waiting for the first byte\.\.\. \d+(\.\d)? s of {NOTICED:g} s \(ttfb\)$"
    assert re.search(said, done.err, re.MULTILINE)
    assert "\x1b" not in done.err
    assert "\r" not in done.err


def test_a_refused_connection_ends_with_exit_code_4() -> None:
    """A connection that is refused is a connection error: exit code 4, on every attempt."""
    with refused_port() as port:
        done = real_chat(f"http://127.0.0.1:{port}/v1", "hi", env={"LLMWATCH_BACKOFF_SECONDS": "0"})
    assert (done.code, done.out) == (4, "")
    assert "refused" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("script", "says"), [("status:status=500", "500"), ("bad-request:status=404", "404"), ("error-event", "overloaded")]
)
def test_provider_errors_end_with_exit_code_4(script: str, says: str) -> None:
    """An HTTP status and an error inside the stream are provider errors: exit code 4."""
    with FaultServer(script) as server:
        done = chat(server.url, "hi", env={"LLMWATCH_BACKOFF_SECONDS": "0"})
    assert (done.code, done.out) == (4, "")
    assert says in done.err
    assert "Traceback" not in done.err


def test_an_empty_answer_is_printed_with_the_providers_reason() -> None:
    """The message about an empty answer has the provider's reason in the provider's word."""

    def play(context: Context) -> Iterator[steps.Step]:
        chunk = b'data: {"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "content_filter"}]}\n\n'
        yield from context.answer([steps.Chunk(chunk), steps.Chunk(b"data: [DONE]\n\n")])

    with FaultServer(Script(name="filtered", description="answers with nothing", play=play)) as server:
        done = chat(server.url, "hi")
    assert (done.code, done.out) == (0, "")
    assert "a reason: content_filter." in done.err


def test_an_empty_whole_answer_is_a_success_that_says_so() -> None:
    """An answer that is complete and empty is a success that says so."""
    with FaultServer("lifecycle-then-terminal") as server:
        done = chat(server.url, "hi")
    assert (done.code, done.out) == (0, "")
    assert "nothing in it" in done.err


@pytest.mark.parametrize(
    ("arguments", "env", "says"),
    [
        (("--base-url", "nonsense", "--model", "m", "hi"), {}, "http://"),
        (("--base-url", "http://127.0.0.1:1", "--model", "m", " "), {}, "empty"),
        (("--base-url", "http://127.0.0.1:1", "hi"), {}, "--model"),
        (("--base-url", "http://127.0.0.1:1", "--model", "m", "--dialect", "x", "hi"), {}, "anthropic"),
        (("--base-url", "http://127.0.0.1:1", "--model", "m", "--ttfb", "nan", "hi"), {}, "--ttfb"),
        (("--base-url", "http://127.0.0.1:1", "--model", "m", "--api-key-env", "NO_SUCH", "hi"), {}, "NO_SUCH"),
        (
            ("--base-url", "http://127.0.0.1:1", "--model", "m", "hi"),
            {"LLMWATCH_STALE_TIMEOUT_SECONDS": "never"},
            "LLMWATCH_STALE_TIMEOUT_SECONDS",
        ),
    ],
)
def test_an_invalid_option_ends_with_exit_code_2(arguments: tuple[str, ...], env: dict[str, str], says: str) -> None:
    """An invalid option ends with exit code 2 and a message that names the mistake, and nothing is sent."""
    done = invoke("chat", *arguments, env=env)
    assert (done.code, done.out) == (2, "")
    assert says in done.err
    assert "Traceback" not in done.err


def test_an_invalid_environment_ends_the_real_command_with_exit_code_2() -> None:
    """The real command ends with 2 for an invalid environment, which it names."""
    done = real_chat("http://127.0.0.1:1", "hi", env={"LLMWATCH_TTFB_TIMEOUT_SECONDS": "soon"})
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("llmwatch: LLMWATCH_TTFB_TIMEOUT_SECONDS='soon' is not allowed")
    assert len(done.err.splitlines()) == 1


def test_ctrl_c_while_waiting_ends_with_130() -> None:
    """Ctrl-C while the provider is silent ends at once with 130.

    It closes the connection and sends nothing more.
    """
    with FaultServer("silent") as server:
        with started("chat", "--base-url", server.url, "--model", "m", "--ttfb", str(LONG), "hi") as process:
            server.wait_for_requests(1, PATIENCE)
            done = interrupt(process)
        server.wait_for_closed(1, PATIENCE)
        assert len(server.requests) == 1
    assert (done.code, done.out) == (130, "")
    assert "Traceback" not in done.err


def test_ctrl_c_while_streaming_ends_with_130() -> None:
    """Ctrl-C in the middle of an answer ends with 130 and leaves what was said."""
    with FaultServer("stall-after-content:tokens=3") as server:
        with started("chat", "--base-url", server.url, "--model", "m", "hi") as process:
            assert process.stdout is not None
            said = process.stdout.read(len(answer(3)))
            done = interrupt(process)
        server.wait_for_closed(1, PATIENCE)
        assert len(server.requests) == 1
    assert (done.code, said.decode() + done.out) == (130, answer(3) + "\n")
    assert done.err == ""


def test_ctrl_c_in_a_back_off_ends_with_130() -> None:
    """Ctrl-C between two attempts ends with 130, and the second is never sent."""
    with FaultServer(f"retry-after:value={LONGEST_WAIT:g}") as server:
        with started("chat", "--base-url", server.url, "--model", "m", "hi", env=SLOW) as process:
            assert process.stderr is not None
            assert b"resending in %.1f s" % LONGEST_WAIT in process.stderr.readline()
            done = interrupt(process)
        assert len(server.requests) == 1
    assert (done.code, done.out) == (130, "")
    assert "Traceback" not in done.err


def test_a_reader_that_leaves_ends_the_command_quietly() -> None:
    """A reader that has seen enough ends the command quietly, and with it the call."""
    with FaultServer("endless-content") as server:
        with started("chat", "--base-url", server.url, "--model", "m", "hi") as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.read(1)
            process.stdout.close()
            assert process.stderr.read() == b""
            assert process.wait(PATIENCE) == 0
        server.wait_for_closed(1, PATIENCE)


def test_characters_that_the_output_cannot_hold_are_replaced() -> None:
    """An answer goes through a standard output that cannot hold it, with the characters replaced."""
    with FaultServer("healthy:text=naïve 🐕") as server:
        done = real_chat(server.url, "hi", env={"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"})
    assert (done.code, done.out) == (0, "na?ve ?\n")


def test_a_full_disk_is_an_error(tmp_path: Path) -> None:
    """An output that cannot be written is said, and is no success."""
    full, spoken = Path("/dev/full"), tmp_path / "err"
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with FaultServer() as server, full.open("wb") as out, Path(os.devnull).open() as nothing, spoken.open("wb") as err:
        words = ["chat", "--base-url", server.url, "--model", "m", "hi"]
        code = launched(words, [nothing.fileno(), out.fileno(), err.fileno()])
    assert code == 2
    assert b"cannot be written" in spoken.read_bytes()
    assert b"Traceback" not in spoken.read_bytes()


def test_a_terminal_shows_the_wait_and_dims_reasoning() -> None:
    """In a terminal the wait is shown and taken away, and reasoning is dimmed.

    The text follows apart from it.
    """
    with FaultServer(["silent", "reasoning-only:count=3"]) as server:
        done = in_terminal(["chat", "--base-url", server.url, "--model", "m", "--ttfb", str(NOTICED), "hi"])
    assert done.code == 0
    assert re.search(r"waiting for the first byte\.\.\. \d", done.out)
    assert f"of {NOTICED:g} s (ttfb)" in done.out
    assert "attempt 1 of 3 failed (ttfb)" in done.out
    reasoning, text = answer(3), ANSWER.replace("\n", "\r\n")
    shown = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", done.out)
    assert f"{reasoning}\r\n\r\n{text}\r\n" in shown
    assert re.search(r"\x1b\[2m[^\x1b]*A", done.out)


def test_escape_sequences_of_an_answer_do_not_reach_a_terminal() -> None:
    """Escape sequences in an answer do not reach a terminal."""
    with FaultServer("healthy:text=a \x1b]0;title\x07 b") as server:
        done = in_terminal(["chat", "--base-url", server.url, "--model", "m", "hi"])
    assert done.code == 0
    assert "\x1b]0;" not in done.out
    assert "\ufffd]0;title\ufffd b" in re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", done.out)


def test_ctrl_c_in_a_terminal_ends_with_130_and_no_traceback() -> None:
    """Ctrl-C typed in a terminal while the wait notice stands ends with 130 and no traceback."""
    with FaultServer("silent") as server:
        arguments = ["chat", "--base-url", server.url, "--model", "m", "--ttfb", str(LONG), "hi"]
        done = in_terminal(arguments, until="waiting for the first byte", keys=b"\x03")
        assert len(server.requests) == 1
    assert done.code == 130
    assert "Traceback" not in done.out


def test_a_dumb_terminal_gets_plain_lines() -> None:
    """A terminal that can do nothing gets the plain answer and plain lines."""
    with FaultServer("reasoning-only:count=3") as server:
        done = in_terminal(["chat", "--base-url", server.url, "--model", "m", "hi"], env={"TERM": "dumb"})
    assert (done.code, done.out) == (0, ANSWER.replace("\n", "\r\n") + "\r\n")
