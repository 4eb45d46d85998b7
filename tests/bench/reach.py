"""Which SDKs does ``llmwatch run`` reach? Each runs untouched against a provider that fails.

``python -m tests.bench.reach [SDK ...] [--environment FOLDER] [--json FILE]`` makes a virtual environment in
``FOLDER`` (a temporary one unless given) with the SDKs of ``reach_programs/requirements.txt`` and this llmwatch, and
runs each program of ``reach_programs`` there in every :data:`CASES`: bare for the healthy ones, and under ``llmwatch
run`` with limits of :data:`LIMIT` seconds. A cell of the table says what was seen; one that starts with ``!`` differs
from what :data:`CASES` expects. It ends with 1
if an SDK does not recover from silence with two requests, or is not freed from silence in mid-stream with one. Those
that :data:`LEFT_ALONE` names are expected to hang.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from llmwatch.faults import FaultServer

PROGRAMS = Path(__file__).parent / "reach_programs"
ROOT = Path(__file__).parents[2]
NAMES = tuple(sorted(path.stem.removeprefix("with_") for path in PROGRAMS.glob("with_*.py")))
SHAPES = {
    "anthropic": "anthropic",
    "google_genai": "gemini",
    "cohere": "cohere",
    "ollama": "ndjson",
    "botocore": "bedrock",
}
"""The shape of the provider's answers; of the others it is that of chat completions."""
WHOLE_CALLS = ("mistralai",)
"""Their streams hold a tool call in one piece."""
WARMED_UP = ("cerebras",)
"""Their clients ask for something else first, which is answered."""

LEFT_ALONE = ("cerebras",)
"""Their calls are not watched, and said so: their client speaks HTTP/2 where the provider does."""

LIMIT = 1.0
"""Seconds of ``ttfb`` and ``stale``."""
HANGS = 30.0
"""Seconds after which a program that has not ended is taken for one that hangs."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """``scripts`` of the server for the requests of a program in ``mode``.

    Expected are ``requests`` (``None``: as many as the bare run of the same mode makes), and an answer like that of the
    bare run, or, if not ``answers``, an end without it.
    """

    scripts: tuple[str, ...]
    mode: str = "stream"
    requests: int | None = None
    answers: bool = True


BARE = {
    "stream": Case(scripts=("healthy",)),
    "tools": Case(scripts=("tool-arguments-only:count=4",), mode="tools"),
    "plain": Case(scripts=("healthy",), mode="plain"),
}
CASES = {
    "healthy": BARE["stream"],
    "tool stream": BARE["tools"],
    "plain": BARE["plain"],
    "silence": Case(scripts=("silent", "healthy"), requests=2),
    "headers, silence": Case(scripts=("headers-then-silent", "healthy"), requests=2),
    "silence in mid-stream": Case(scripts=("stall-after-content",), requests=1, answers=False),
    "cut": Case(scripts=("reset-mid-stream",), requests=1, answers=False),
    "500": Case(scripts=("status:status=500", "healthy"), requests=2),
    "429": Case(scripts=("status:status=429", "healthy"), requests=2),
}
SILENCES = ("silence", "headers, silence", "silence in mid-stream")


@dataclass(frozen=True)
class Ran:
    """One run of a program: what it printed (``None``: it raised), its requests, and its seconds."""

    answer: str | None
    requests: int
    seconds: float
    error: str

    @property
    def hung(self) -> bool:
        return self.seconds >= HANGS


@dataclass(frozen=True)
class Cell:
    """What was ``seen`` of an SDK in a case, and whether that is ``expected``.

    ``error`` is the last line of its traceback.
    """

    sdk: str
    version: str
    case: str
    seen: str
    expected: bool
    error: str


def make_environment(folder: Path) -> Path:
    """The Python of an environment in ``folder`` with all SDKs and this llmwatch.

    An environment that is there is used as it is.
    """
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-e", f"{ROOT}[cli]", "-r", str(PROGRAMS / "requirements.txt")], check=True)
    return python


def run(python: Path, name: str, case: Case, *, watched: bool) -> Ran:
    """Run the program of the SDK ``name`` in ``case``, against a server of its own."""
    scripts = list(case.scripts)
    if name in WHOLE_CALLS and case.mode == "tools":
        scripts = ["call-without-arguments"]
    if name in WARMED_UP:
        scripts.insert(0, "healthy")
    with FaultServer(scripts, shape=SHAPES.get(name, "openai-chat")) as server:
        command = [str(python), *(["-m", "llmwatch", "run", "--"] if watched else [])]
        began = time.monotonic()
        try:
            done = subprocess.run(
                [*command, str(PROGRAMS / f"with_{name}.py"), server.url, case.mode],
                env=_variables(server.url),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=HANGS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            return Ran(None, _calls(server), HANGS, str(error.stderr or ""))
        answer = done.stdout.splitlines()[-1] if done.returncode == 0 and done.stdout else None
        return Ran(answer, _calls(server), time.monotonic() - began, done.stderr)


def _calls(server: FaultServer) -> int:
    """The model calls that came."""
    return sum(request.method == "POST" for request in server.requests)


def _variables(url: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LLMWATCH_", "PYTHON"))}
    limits = dict.fromkeys(("LLMWATCH_TTFB_TIMEOUT_SECONDS", "LLMWATCH_STALE_TIMEOUT_SECONDS"), str(LIMIT))
    # What SDKs would ask of other hosts: prices, names of agents, credentials.
    quiet = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_ENDPOINT": url,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return {**kept, **limits, **quiet, "LLMWATCH_OVERRIDE_TIMEOUTS": "1", "LLMWATCH_BACKOFF_SECONDS": "0.01"}


def look(python: Path, name: str, version: str) -> list[Cell]:
    """The cells of one SDK."""
    bare = {mode: run(python, name, case, watched=False) for mode, case in BARE.items()}
    return [
        _cell(name, version, title, run(python, name, case, watched=True), bare[case.mode])
        for title, case in CASES.items()
    ]


def _cell(name: str, version: str, title: str, ran: Ran, bare: Ran) -> Cell:
    case = CASES[title]
    same = ran.answer is not None and ran.answer == bare.answer
    if name in LEFT_ALONE and title in SILENCES:
        expected = ran.hung
    else:
        requests = bare.requests if case.requests is None else case.requests
        expected = not ran.hung and same is case.answers and ran.requests == requests
    what = "hangs" if ran.hung else "same" if same else "raises" if ran.answer is None else "other answer"
    return Cell(
        sdk=name,
        version=version,
        case=title,
        seen=f"{what}, {ran.requests} in {ran.seconds:.0f} s",
        expected=expected,
        error="" if same else _error(ran.error),
    )


def _error(text: str) -> str:
    """The last line of a traceback, without what ``llmwatch run`` says after it."""
    lines = [line for line in text.strip().splitlines() if not line.startswith("llmwatch: ")]
    return lines[-1] if lines else ""


def table(rows: Sequence[Sequence[Cell]]) -> str:
    """A line for each SDK, a column for each case; ``!`` marks what was not expected."""
    lines = [["SDK", "version", *CASES]]
    lines += [
        [row[0].sdk, row[0].version, *(f"{'' if cell.expected else '! '}{cell.seen}" for cell in row)] for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the table, and tell by the exit code whether every SDK recovers and is freed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.reach", description="Which SDKs are reached.")
    parser.add_argument("names", nargs="*", metavar="SDK", help=f"some of {', '.join(NAMES)}; all unless given")
    parser.add_argument("--environment", type=Path, metavar="FOLDER", help="make or reuse the environment there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the cells to FILE as well")
    options = parser.parse_args(arguments)
    names = options.names or NAMES
    if unknown := sorted(set(names) - set(NAMES)):
        parser.error(f"no SDK has the name {', '.join(unknown)}")
    with tempfile.TemporaryDirectory() as made:
        python = make_environment((options.environment or Path(made) / "environment").resolve())
        versions = _versions()
        with ThreadPoolExecutor(2) as pool:
            rows = list(pool.map(lambda name: look(python, name, versions[name]), names))
    cells = [cell for row in rows for cell in row]
    print(table(rows))
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(cell) for cell in cells], indent=1), encoding="utf-8")
    for cell in cells:
        if not cell.expected:
            print(f"! {cell.sdk}, {cell.case}: {cell.seen} {cell.error}")
    return int(not all(cell.expected for cell in cells if cell.case in SILENCES))


def _versions() -> dict[str, str]:
    """The pinned version of each SDK, by the name of its program."""
    pinned = (PROGRAMS / "requirements.txt").read_text().splitlines()
    names = dict(line.split("==") for line in pinned if "==" in line)
    return {
        name: next(version for package, version in names.items() if package.replace("-", "_").startswith(name))
        for name in NAMES
    }


if __name__ == "__main__":
    sys.exit(main())
