"""What the wheel brings along, tried by the interpreter of an environment that it was installed into.

``python -I .ci/check_wheel.py CHECKOUT`` fails if llmwatch was imported from the checkout, if a public module cannot be
imported, if the version or the mark of a typed package is missing, or if a call does not come through.
"""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import entry_points, version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import llmwatch
from llmwatch.faults import FaultServer
from llmwatch.faults.catalogue import ANSWER

PUBLIC = ("llmwatch", "llmwatch.errors", "llmwatch.records", "llmwatch.sdk", "llmwatch.faults", "llmwatch.testing")


def main(checkout: str) -> None:
    """Check the installation, then make one call that loses its first attempt and one that is collected whole."""
    place = Path(llmwatch.__file__).resolve()
    assert not place.is_relative_to(Path(checkout).resolve()), f"{place} is the checkout, not the wheel"
    for name in PUBLIC:
        module = importlib.import_module(name)
        missing = [public for public in getattr(module, "__all__", ()) if not hasattr(module, public)]
        assert not missing, f"{name} lacks {missing}"
    assert llmwatch.__version__ == version("llmwatch")
    assert files(llmwatch).joinpath("py.typed").is_file(), "type checkers will not read the package"
    for name in ("page.html", "page.css", "page.js"):
        assert files("llmwatch.report").joinpath(name).is_file(), (
            f"llmwatch report cannot make its page: {name} is missing"
        )
    (plugin,) = entry_points(group="pytest11", name="llmwatch")
    assert find_spec(plugin.value) is not None, f"pytest would fail: {plugin.value} cannot be imported"

    body = {"model": "a-model", "stream": True, "messages": [{"role": "user", "content": "Hello!"}]}
    with FaultServer(["silent", "healthy", "healthy"]) as server, llmwatch.Client() as client:
        limits = llmwatch.Limits(ttfb=1)
        with client.stream("POST", server.chat_url, json=body, limits=limits) as stream:
            text = "".join(event.text for event in stream)
        assert text == ANSWER, text
        assert stream.record is not None
        assert [attempt.limit for attempt in stream.record.attempts] == ["ttfb", None]
        assert client.collect("POST", server.chat_url, json=body).text == ANSWER
        assert len(server.requests) == 3
    print(f"llmwatch {llmwatch.__version__} in {place.parent}: imports, streams, recovers, collects")


if __name__ == "__main__":
    main(*sys.argv[1:])
