"""Streams of every wire under ``llmwatch run``.

The script sees the same as without it, with as many requests.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.running import environment, run
from tests.cli.times import PATIENCE
from tests.replay.failures import FAILURES
from tests.replay.playing import asking, playing
from tests.replay.streams import STREAMS
from tests.session.test_wires import WIRES

READ = """
import hashlib, json, sys, requests

for line in open(sys.argv[1]):
    url, body = json.loads(line)
    came, broken = hashlib.sha256(), ""
    with requests.Session() as session:
        try:
            with session.post(url, json=body, stream=True) as response:
                for piece in response.iter_content(None):
                    came.update(piece)
        except requests.RequestException as error:
            broken = "broken"
        print(response.status_code, response.headers.get("Content-Type"), came.hexdigest(), broken)
"""
TABLES: dict[str, dict[str, tuple[str, dict[str, object], bytes, str]]] = {
    "healthy": {
        name: (one.path, asking(one.path, one.request), one.body, one.content_type) for name, one in STREAMS.items()
    },
    "failed": {
        name: (one.path, asking(one.path, one.request), one.body, one.content_type)
        for name, one in FAILURES.items()
        if one.whole and one.ends == "clean"
    },
    "foreign": {
        name: (one.path, one.body, b"".join(one.pieces), one.content_type)
        for name, one in WIRES.items()
        if not one.headers
    },
}


@pytest.mark.parametrize("table", TABLES)
def test_a_script_sees_the_bytes_that_came(tmp_path: Path, table: str) -> None:
    """Whether a dialect reads them or not, and where the provider's failure stands in them.

    Each was asked for once.
    """
    rows = TABLES[table]
    (tmp_path / "reads.py").write_text(READ)
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(playing(body, kind)) for _, _, body, kind in rows.values()]
        calls = [[server.url + path, asked] for server, (path, asked, _, _) in zip(servers, rows.values(), strict=True)]
        (tmp_path / "calls").write_text("".join(json.dumps(call) + "\n" for call in calls))
        bare = _bare(tmp_path)
        watched = run("run", "reads.py", "calls", cwd=tmp_path)
        assert watched.code == 0, watched.err
        assert watched.out.splitlines() == bare
        assert len(bare) == len(rows)
        assert not any(line.endswith("broken") for line in bare)
        asked = {name: len(server.requests) for name, server in zip(rows, servers, strict=True)}
        assert asked == dict.fromkeys(rows, 2)


def _bare(folder: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "reads.py", "calls"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        timeout=PATIENCE,
        check=True,
    )
    return done.stdout.decode().splitlines()
