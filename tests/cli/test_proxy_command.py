"""``llmwatch proxy`` as a process: its base URLs, its refusals, and its end."""

from __future__ import annotations

import signal

import pytest
import requests

from llmwatch.faults import FaultServer
from tests.cli.running import invoke, started
from tests.cli.times import PATIENCE

BODY = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "?"}]}


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_interrupted_and_sums_up(end: signal.Signals) -> None:
    """The first lines are base URLs; either signal ends it with the counts, and a stream with it."""
    with FaultServer(["healthy", "stall-after-content"]) as server:
        with started("proxy", "--to", f"f={server.url}", "--only-to") as process:
            assert process.stdout is not None
            name, url, *_ = process.stdout.readline().decode().split()
            assert name == "f"
            assert requests.post(f"{url}/v1/chat/completions", json=BODY, timeout=PATIENCE).status_code == 200
            with requests.post(f"{url}/v1/chat/completions", json=BODY, timeout=PATIENCE, stream=True) as stalled:
                assert stalled.status_code == 200
                process.send_signal(end)
                out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 130
        assert out.decode() == "proxy: 2 calls watched: 1 done, 1 cancelled; 0 resends\n"
        assert err.decode() == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only-to"], "There is no route"),
        (["--to", "f=ftp://host"], "cannot be used"),
        (["--to", "f=http://user:key@host"], "holds a user"),
        (["--to", "f=http://a", "--to", "f=http://b"], "Two routes"),
        (["--listen", "0.0.0.0"], "--token"),
        (["--listen", "0.0.0.0", "--token", "t"], "--tls-cert"),
        (["--tls-key", "x"], "--tls-cert"),
    ],
)
def test_what_does_not_work_is_said_before_it_serves(arguments: list[str], said: str) -> None:
    """The exit code is that of a mistake in the command line, and the text names what to change."""
    ended = invoke("proxy", *arguments)
    assert ended.code == 2
    assert said in ended.err
    assert "user:key" not in ended.err
