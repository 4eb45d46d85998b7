"""sseclient 0.0.27.

It has the module's name in common with the package that llmwatch itself parses fields with.

It is installed in a folder of its own and loaded under another name. Bare, it reads ``response.raw._fp.fp.read1``, and
the framing of chunks with it, which it takes for fields that it does not know.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

import llmwatch
from llmwatch.faults import Context, FaultServer, Script, steps

_PACKAGE = "sseclient==0.0.27"

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The class of the older package."""
    folder: Path = tmp_path_factory.mktemp("sseclient")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "--target", folder, _PACKAGE], check=True)
    sys.path.append(str(folder))  # for what it needs itself
    try:
        spec = importlib.util.spec_from_file_location("older_sseclient", folder / "sseclient.py")
        assert spec is not None
        assert spec.loader is not None
        module: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
    return module.SSEClient


@pytest.mark.parametrize("framing", ["close", "length", "chunked"])
@pytest.mark.parametrize("watched", [False, True])
def test_each_event_comes_as_soon_as_it_was_sent(client: Any, framing: Any, watched: bool) -> None:
    """The server sends the second event once the first was taken.

    Both come, with one request, bare and watched.
    """
    events = [steps.Chunk(b"data: first\n\n"), steps.WaitFor("taken"), steps.Chunk(b"data: second\n\n")]

    def play(context: Context) -> Iterator[steps.Step]:
        yield from context.answer(events, content_type="text/event-stream", framing=framing)

    script = Script(name="events", description="two events", play=play)
    opened = llmwatch.Session() if watched else requests.Session()
    with FaultServer([script]) as server, opened as session:
        source = client(server.url + "/events", session=session)
        assert next(source).data == "first"
        server.gate("taken").set()
        assert next(source).data == "second"
        source.resp.close()
        assert len(server.requests) == 1
