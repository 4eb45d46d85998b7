"""``llmwatch faults``: the list, one fault in full, and the server for agents in any language."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
import requests
import trustme

from llmwatch.faults import catalogue
from tests.cli.running import Ended, interrupt, invoke, started
from tests.cli.times import PATIENCE, SOON

SHAPES = ["OpenAI chat", "OpenAI Responses", "Anthropic", "Gemini", "Ollama", "Bedrock", "Cohere"]
BODY = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hello!"}]}


class Serving:
    """``llmwatch faults serve`` while it runs."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self.process = process
        self._out: IO[bytes] = process.stdout
        self.lines: list[str] = []
        self.until("and all that follow")
        self.urls = {match[1]: match[2] for line in self.lines if (match := re.fullmatch(r"(\w[\w ]*?)  +(\S+)", line))}

    def until(self, part: str) -> str:
        """The next line with ``part`` in it. The test's time-out ends a wait for a line that does not come."""
        for line in iter(self._out.readline, b""):
            self.lines.append(line.decode().rstrip("\n"))
            if part in self.lines[-1]:
                return self.lines[-1]
        raise AssertionError(f"no line with {part!r} came, but {self.lines}")


@contextmanager
def serving(*arguments: str) -> Iterator[Serving]:
    with started("faults", "serve", *arguments) as process:
        yield Serving(process)


def ask(url: str, verify: str | bool = True, **headers: str) -> requests.Response:
    return requests.post(f"{url}/chat/completions", json=BODY, headers=headers, timeout=SOON, verify=verify)


def test_the_list_has_every_fault() -> None:
    """A line for each script of the catalogue, with its description."""
    done = invoke("faults", "list")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(catalogue.SCRIPTS)
    assert all(
        line.endswith(script.description) for line, script in zip(lines, catalogue.SCRIPTS.values(), strict=True)
    )


def test_the_list_as_json() -> None:
    """Programs get names, phases, and parameters with their types."""
    found = {fault["name"]: fault for fault in json.loads(invoke("faults", "list", "--json").out)}
    assert list(found) == list(catalogue.SCRIPTS)
    assert found["stall-after-content"] == {
        "name": "stall-after-content",
        "description": "some tokens, then nothing",
        "notes": "",
        "shows_in": ["body"],
        "parameters": {"tokens": 3, "delay": 0.0},
    }


def test_one_fault_in_full() -> None:
    """Its description, the notes of its function, and its parameters as they are given."""
    done = invoke("faults", "show", "retry-after:value=7")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[:3] == [
        "retry-after",
        "a status with a header that says when to come back.",
        "date and should_retry add Date and x-should-retry; an empty value sends no header.",
    ]
    rows = [line.split() for line in lines]
    assert ["status", "429"] in rows
    assert ["value", "7"] in rows
    assert lines[-1] == "For example: llmwatch faults serve retry-after:status=429"
    assert json.loads(invoke("faults", "show", "drip", "--json").out)["parameters"] == {"every": 0.01, "size": 8}


@pytest.mark.parametrize("name", catalogue.SCRIPTS)
def test_every_example_can_be_served(name: str) -> None:
    """The line at the end of ``show`` names a script that exists."""
    example = invoke("faults", "show", name).out.splitlines()[-1].split()[-1]
    assert catalogue.get(example).name == name


@pytest.mark.parametrize("command", [("show",), ("serve", "healthy")])
def test_a_wrong_name_gets_the_nearest_ones(command: tuple[str, ...]) -> None:
    """The message has similar names, and the exit code is that of usage."""
    done = invoke("faults", *command, "stall-after-contents")
    assert (done.code, done.out) == (2, "")
    assert "did you mean stall-after-content, " in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["drip:every=soon"], "every is 'soon'"),
        (["drip:pace=1"], "has no parameter 'pace'; it has every, size, shape"),
        (["healthy", "--key", "key.pem"], "it needs --cert"),
        (["healthy", "--tls", "--cert", "cert.pem"], "cannot be combined with --cert"),
        (["healthy", "--cert", "/nowhere/cert.pem"], "no certificate with its key can be read there"),
        (["healthy", "--record", "/nowhere/record"], "/nowhere/record cannot be written"),
        (["healthy", "--port", "70000"], "less than or equal to 65535"),
        ([], "Missing argument"),
    ],
)
def test_usage_errors(arguments: list[str], message: str) -> None:
    """What cannot be served is told before anything is."""
    done = invoke("faults", "serve", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in " ".join(done.err.split())


def test_a_port_in_use() -> None:
    """The message names the port and the reason."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = invoke("faults", "serve", "healthy", "--port", str(port))
    assert done.code == 2
    assert f"{port} cannot be used: Address already in use" in " ".join(done.err.split())


def test_every_connection_and_request_has_its_lines() -> None:
    """The base URLs come first; then each line comes while the server runs, and Ctrl-C adds up."""
    with serving("status:status=503", "healthy") as server:
        assert [server.urls[shape] for shape in SHAPES] == [server.urls["Anthropic"] + "/v1"] * 2 + [
            server.urls["Anthropic"]
        ] * 5
        assert server.lines[-2:] == [
            "request 1: status:status=503 (an HTTP status with an error document)",
            "request 2 and all that follow: healthy (answers as it should, and keeps the connection)",
        ]
        # urllib3 closes a connection when its pool is dropped, which a response keeps.
        status = ask(server.urls["OpenAI chat"]).status_code
        text = ask(server.urls["OpenAI chat"]).text
        server.until("connection 2, request 2: healthy")
        server.until("connection 2 closed")
        ended = interrupt(server.process)
    assert status == 503
    assert "data: [DONE]" in text
    said = [line[11:] for line in server.lines if re.match(r" *\d+\.\d{3}  ", line)]
    size = len(json.dumps(BODY))
    assert [line for line in said if line.startswith("connection 1")][:2] == [
        "connection 1 opened",
        f"connection 1, request 1: POST /v1/chat/completions, {size} bytes",
    ]
    second = [line for line in said if line.startswith("connection 2")]
    assert re.fullmatch(r"connection 2, request 2: healthy, [\d,]{5,} bytes sent, in good order", second[2])
    assert second[3] == "connection 2 closed: in good order"
    assert ended == Ended(
        130,
        "\n2 requests on 2 connections\n     1  healthy: in good order\n     1  status: in good order\n",
        "",
    )


def test_sigterm_ends_the_server_as_ctrl_c_does() -> None:
    """A request that waits is reported as ended by the server, and none is lost."""
    with serving("silent") as server, socket.create_connection(("127.0.0.1", port_of(server))) as client:
        client.sendall(b"POST /v1/messages?key=sk-123456 HTTP/1.1\r\nHost: x\r\n\r\n")
        line = server.until("POST")
        server.process.send_signal(signal.SIGTERM)
        out, err = server.process.communicate(timeout=SOON)
    assert line.endswith("connection 1, request 1: POST /v1/messages?key=***, 0 bytes")
    assert (server.process.returncode, err) == (130, b"")
    assert "request 1: silent, 0 bytes sent, the server is stopping" in out.decode()
    assert out.decode().endswith("\n1 request on 1 connection\n     1  silent: the server is stopping\n")


def port_of(server: Serving) -> int:
    return int(server.urls["Anthropic"].rpartition(":")[2])


def test_the_recording_has_no_credential(tmp_path: Path) -> None:
    """One JSON line a request, appended to the file, readable by its owner alone."""
    file = tmp_path / "requests.jsonl"
    file.write_text('{"before": true}\n')
    os.chmod(file, 0o600)
    with serving("healthy", "--record", str(file)) as server:
        url = server.urls["OpenAI chat"]
        body = {**BODY, "tools": [{"type": "mcp", "authorization": "tok-in-the-body"}], "user": "sk-proj-" + "a1B2" * 9}
        headers = {"Authorization": "Bearer key-1", "X-Api-Key": "key-2", "Cookie": "s=key-3", "X-Trace": "abc"}
        requests.post(f"{url}/chat/completions?api_key=key-4", json=body, headers=headers, timeout=SOON).close()
        requests.post(f"{url}/messages", data=b"no \xff JSON", timeout=SOON).close()
        server.until("request 2: healthy")
        interrupt(server.process)
    text = file.read_text()
    first, second = [json.loads(line) for line in text.splitlines()[1:]]
    assert not re.search("key-[1234]|tok-in|a1B2", text)
    assert first["target"] == "/v1/chat/completions?api_key=***"
    assert {name.lower(): value for name, value in first["headers"]}.items() >= {
        ("authorization", "***"),
        ("x-api-key", "***"),
        ("cookie", "***"),
        ("x-trace", "abc"),
    }
    assert first["body"]["messages"] == BODY["messages"]
    assert (first["number"], first["script"], first["ending"], first["complete"]) == (
        1,
        "healthy",
        "in good order",
        True,
    )
    assert (second["body"], second["body_bytes"]) == ("no \ufffd JSON", 9)
    assert second["ended_at"] >= second["received_at"] >= first["received_at"]


def test_a_new_recording_is_its_owners_alone(tmp_path: Path) -> None:
    """Prompts are not for the other users of the machine."""
    file = tmp_path / "requests.jsonl"
    with serving("healthy", "--record", str(file)) as server:
        interrupt(server.process)
    assert file.stat().st_mode & 0o777 == 0o600


def test_tls_with_a_certificate_made_on_the_spot() -> None:
    """The authority's file makes a client trust the server, and is gone with it."""
    with serving("healthy", "--tls") as server:
        authority = server.urls["authority"]
        assert server.urls["OpenAI chat"].startswith("https://127.0.0.1:")
        assert ask(server.urls["OpenAI chat"], verify=authority).status_code == 200
        with pytest.raises(requests.exceptions.SSLError):
            ask(server.urls["OpenAI chat"])
        server.until("closed: the handshake failed")
        interrupt(server.process)
    assert not Path(authority).exists()


def test_tls_with_a_certificate_of_ones_own(tmp_path: Path) -> None:
    """The key may stand in the same file or in its own."""
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    both, cert, key, ca = (tmp_path / name for name in ("both.pem", "cert.pem", "key.pem", "ca.pem"))
    made.private_key_and_cert_chain_pem.write_to_path(str(both))
    made.cert_chain_pems[0].write_to_path(str(cert))
    made.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(ca))
    for options in (("--cert", str(both)), ("--cert", str(cert), "--key", str(key))):
        with serving("healthy", *options) as server:
            assert ask(server.urls["OpenAI chat"], verify=str(ca)).status_code == 200
            interrupt(server.process)


def test_tls_without_trustme_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the extra, and the way without it."""
    monkeypatch.setitem(sys.modules, "trustme", None)
    done = invoke("faults", "serve", "healthy", "--tls")
    assert done.code == 2
    assert "pip install 'llmwatch[tls]', or name one by --cert" in " ".join(done.err.split())


def test_the_server_ends_when_its_reader_has_left() -> None:
    """``| head`` ends the server at the next line, quietly and with success."""
    with started("faults", "serve", "healthy") as process:
        server = Serving(process)
        server._out.close()
        # A request would be reset by the server's end.
        with socket.create_connection(("127.0.0.1", port_of(server))):
            code = process.wait(PATIENCE)
        assert code == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""
