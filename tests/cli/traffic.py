"""Mixed traffic against fault servers, whose call log the tests of ``tune`` and ``report`` read.

``python -m tests.cli.traffic`` makes ``traffic.jsonl.xz`` anew, in five minutes. Two processes of eight threads make
the calls of :func:`planned`, which a seed determines, to two servers. Limits are some seconds at most, so that minutes
stand for hours. Each prompt, key, URL and error text holds :data:`SECRET`, which no file may repeat.
"""

from __future__ import annotations

import contextlib
import json
import lzma
import multiprocessing
import os
import queue
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llmwatch
from llmwatch.faults import Context, FaultServer, Script
from llmwatch.faults.steps import Hang, Reset, Step, Wait, paced

__all__ = ["FILE", "LENGTH", "MINI", "ORIGINS", "SECRET", "SEED", "SLOW", "STEADY", "Planned", "log_of", "planned"]

FILE = Path(__file__).with_name("traffic.jsonl.xz")
SEED = 16
SECRET = "planted-7c1f0d"
LENGTH = 240.0
"""Seconds in which the calls begin."""

STEADY, MINI, SLOW = "maple-large", "maple-mini", "cedar-2"
"""The models: with enough calls for a bound, and stalls; falling silent; slow."""

PORTS = (8441, 8442)
ORIGINS = tuple(f"http://127.0.0.1:{port}" for port in PORTS)
ENVIRONMENT = {
    "LLMWATCH_TTFB_TIMEOUT_SECONDS": "2.5",
    "LLMWATCH_FIRST_CONTENT_TIMEOUT_SECONDS": "3",
    "LLMWATCH_STALE_TIMEOUT_SECONDS": "1.2",
    "LLMWATCH_BACKOFF_SECONDS": "0.2",
}
LIMITS = {
    STEADY: llmwatch.Limits(),
    MINI: llmwatch.Limits(ttfb=0.8, first_content=1.0, stale=0.5),
    SLOW: llmwatch.Limits(ttfb=0.9, first_content=1.1, stale=0.6),
}
_PROCESSES, _THREADS = 2, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A call: when it begins, what it asks for, and how its first ``spoilt`` attempts are answered.

    ``fault``: empty, ``silent``, ``stall``, ``pings``, ``reset``, ``cut`` or a status. Times are in seconds.
    """

    number: int
    at: float
    model: str
    prompt: int
    wait: float
    gap: float
    tokens: int
    fault: str = ""
    spoilt: int = 1
    collected: bool = False
    label: str | None = None


def planned(seed: int = SEED) -> list[Planned]:
    """Every call, in the order of time."""
    dice = random.Random(seed)
    faults = [
        *_faults(dice, STEADY, "stall", 9, 0.40, 0.52, collected=True),
        *_faults(dice, STEADY, "stall", 4, 0.40, 0.52),
        *_faults(dice, STEADY, "503", 9, 0.62, 0.66),
        *_faults(dice, STEADY, "429", 5, 0.70, 0.80),
        *_faults(dice, STEADY, "reset", 4, 0.0, 1.0),
        *_faults(dice, STEADY, "cut", 3, 0.0, 1.0),
        *_faults(dice, MINI, "silent", 13, 0.20, 0.34),
        *_faults(dice, MINI, "silent", 1, 0.28, 0.29, spoilt=9),
        *_faults(dice, MINI, "400", 2, 0.0, 1.0),
        *_faults(dice, SLOW, "pings", 3, 0.85, 0.95),
    ]
    healthy = [(STEADY, 3_070), (MINI, 300), (SLOW, 180)]
    made = faults + [_call(dice, model, at=dice.uniform(0, LENGTH)) for model, number in healthy for _ in range(number)]
    ordered = sorted(made, key=lambda call: call.at)
    return [_numbered(call, number) for number, call in enumerate(ordered)]


def _faults(
    dice: random.Random, model: str, fault: str, number: int, start: float, end: float, **more: Any
) -> list[Planned]:
    moments = [LENGTH * (start + (end - start) * (step + dice.uniform(0.2, 0.8)) / number) for step in range(number)]
    return [_call(dice, model, at=at, fault=fault, **more) for at in moments]


def _call(dice: random.Random, model: str, *, at: float, **more: Any) -> Planned:
    median = {STEADY: 0.06, MINI: 0.03, SLOW: 0.3}[model]
    longest = {STEADY: 0.9, MINI: 0.25, SLOW: 0.6}[model]
    return Planned(
        number=0,
        at=at,
        model=model,
        prompt=dice.choice((400, 700, 1_500, 2_500) if dice.random() < 0.8 else (6_000, 12_000)),
        wait=min(longest, median * dice.lognormvariate(0, 0.6)),
        gap=dice.uniform(0.002, 0.02),
        tokens=dice.randint(4, 8),
        label={STEADY: dice.choice((None, "chat")), MINI: f"nightly/{dice.randint(1, 3)}", SLOW: None}[model],
        **more,
    )


def _numbered(call: Planned, number: int) -> Planned:
    values = {name: getattr(call, name) for name in Planned.__slots__}
    return Planned(**{**values, "number": number})


def log_of(folder: Path) -> Path:
    """The log of the real run, unpacked into ``folder``."""
    path = folder / "calls.jsonl"
    path.write_bytes(lzma.decompress(FILE.read_bytes()))
    return path


# -- the servers -----------------------------------------------------------------


class _Answering:
    """The script: spoils the first attempts of a call, then answers it."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()

    def play(self, context: Context) -> Iterator[Step]:
        plan = json.loads(context.request.header("x-plan") or "{}")
        with self._lock:
            self._seen[plan["number"]] += 1
            spoilt = self._seen[plan["number"]] <= plan["spoilt"]
        yield from self._steps(context, plan, plan["fault"] if spoilt else "")

    def _steps(self, context: Context, plan: dict[str, Any], fault: str) -> Iterator[Step]:
        if fault == "silent":
            yield Hang()
        yield Wait(plan["wait"])
        if fault == "reset":
            yield Reset()
        elif fault.isdigit():
            document = context.error_document(int(fault), f"refused: {SECRET}")
            wait = [("retry-after", "1")] if fault == "429" else []
            yield from context.answer(paced([document]), status=int(fault), headers=wait)
        elif fault == "pings":
            pings = [block for _ in range(200) for block in context.shape.keepalive("")]
            yield from context.answer([*paced(context.opening()), *paced(pings, 0.02)], ends=False)
        elif fault in ("stall", "cut"):
            part = paced(context.part(3), plan["gap"])
            yield from context.answer([*part, Hang() if fault == "stall" else Reset()], ends=False)
        else:
            yield from context.answer(paced(context.whole(plan["tokens"]), plan["gap"]))


# -- the calls -------------------------------------------------------------------


def _make(call: Planned, client: llmwatch.Client, session: llmwatch.Session) -> None:
    # A server numbers connections and not calls: it knows a call that is sent again by its plan.
    plan = {name: getattr(call, name) for name in ("number", "wait", "gap", "tokens", "fault", "spoilt")}
    headers = {"x-plan": json.dumps(plan), "authorization": f"Bearer sk-{SECRET}"}
    body = {
        "model": call.model,
        "stream": True,
        "max_tokens": 100,
        "messages": [{"role": "user", "content": (SECRET + " ") * (call.prompt // (len(SECRET) + 1))}],
    }
    origin, path = (ORIGINS[1], "/v1/messages") if call.model == SLOW else (ORIGINS[0], "/v1/chat/completions")
    url = f"{origin}{path}?key={SECRET}"
    with contextlib.suppress(llmwatch.LLMWatchError, OSError), llmwatch.label(call.label):
        if call.model == MINI:
            with session.post(url, json=body, headers=headers, stream=True) as response:
                for _ in response.iter_lines():
                    pass
        elif call.collected:
            client.collect("POST", url, json=body, headers=headers, limits=LIMITS[call.model])
        else:
            with client.stream("POST", url, json=body, headers=headers, limits=LIMITS[call.model]) as stream:
                for _ in stream:
                    pass


def _calls(calls: Sequence[Planned], began: float) -> None:
    waiting: queue.SimpleQueue[Planned] = queue.SimpleQueue()
    for call in calls:
        waiting.put(call)

    def work() -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                call = waiting.get_nowait()
                time.sleep(max(0.0, began + call.at - time.time()))
                _make(call, client, session)

    with llmwatch.Client() as client, llmwatch.Session(limits=LIMITS[MINI]) as session:
        threads = [threading.Thread(target=work) for _ in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def main() -> None:
    """Make the calls, and pack their log into :data:`FILE`."""
    folder = tempfile.mkdtemp()
    log = Path(folder, "calls")
    os.environ.update(ENVIRONMENT, LLMWATCH_CALL_LOG=str(log))
    calls, spawn = planned(), multiprocessing.get_context("spawn")
    script = Script(name="planned", description="answers as the call says", play=_Answering().play)
    with FaultServer(script, port=PORTS[0]), FaultServer(script, port=PORTS[1]):
        began = time.time() + 3
        parts = [calls[number::_PROCESSES] for number in range(_PROCESSES)]
        processes = [spawn.Process(target=_calls, args=(part, began)) for part in parts]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    packed = lzma.compress(log.read_bytes(), preset=9 | lzma.PRESET_EXTREME)
    FILE.write_bytes(packed)
    print(f"{len(log.read_bytes().splitlines()):,} of {len(calls):,} calls, {len(packed):,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
