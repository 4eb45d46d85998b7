"""Counts that stand for the cost of an import and of an event.

No machine changes them, and they only go down.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys

from llmwatch.wire.decoder import Decoder
from tests.bench.server import chat_event

MOST_OWN = 150
MOST_OTHERS = 18
"""Modules that the first use of ``Client`` loads beside requests and sseclient: ours, and Python's."""
MOST_PATTERNS = 27
"""Regular expressions that it compiles."""
MOST_BLOCKS = 25
"""Blocks of memory that an event holds, with its text, its data and the parsed value."""
MOST_CALLS = 6
"""Functions that are entered for an event when many come at once."""

EVENTS = 1000
IMPORT = """
import json, sys
import requests, sseclient
try:
    from re import _compiler as patterns
except ImportError:
    import sre_compile as patterns
compiled, really = [], patterns.compile
patterns.compile = lambda *args, **kwargs: compiled.append(args) or really(*args, **kwargs)
before = set(sys.modules)
import llmwatch
alone = set(sys.modules) - before
llmwatch.Client
loaded = set(sys.modules) - before
own = {name for name in loaded if name.partition(".")[0] == "llmwatch"}
print(json.dumps([sorted(alone), len(own), sorted(loaded - own), len(compiled)]))
"""


def test_an_import_loads_few_modules() -> None:
    """``import llmwatch`` loads hardly a module; what its ``Client`` loads, and compiles, is little."""
    ended = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    alone, own, others, patterns = json.loads(ended.stdout)
    assert alone == ["llmwatch", "llmwatch.at_fork", "llmwatch.lazy_names"]
    assert own <= MOST_OWN
    assert len(others) <= MOST_OTHERS, others
    assert patterns <= MOST_PATTERNS
    # A count of nothing would let everything pass.
    assert own > MOST_OWN // 2


def test_an_event_is_few_objects_and_few_calls() -> None:
    """What a decoder keeps and enters for each event of a stream of Chat Completions."""
    decoder = Decoder(url="http://127.0.0.1/v1/chat/completions", content_type="text/event-stream")
    wire = [chat_event(f"word {number}") for number in range(3 * EVENTS)]
    kept = [event for data in wire[:EVENTS] for event in decoder.feed(data)]
    gc.collect()
    gc.disable()
    try:
        before = sys.getallocatedblocks()
        for data in wire[EVENTS : 2 * EVENTS]:
            kept += decoder.feed(data)
        blocks = (sys.getallocatedblocks() - before) / EVENTS
    finally:
        gc.enable()
    together = b"".join(wire[2 * EVENTS :])
    entered = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal entered
        entered += event == "call"

    profiler = sys.getprofile()
    sys.setprofile(count)
    try:
        kept += decoder.feed(together)
    finally:
        sys.setprofile(profiler)
    assert len(kept) == 3 * EVENTS
    assert 1 <= blocks <= MOST_BLOCKS
    assert 1 <= entered / EVENTS <= MOST_CALLS
