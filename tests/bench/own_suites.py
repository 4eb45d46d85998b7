"""Do the test suites of the SDKs pass under ``llmwatch run`` as they pass bare?

``python -m tests.bench.own_suites [SDK ...]`` makes a virtual environment for each SDK, takes its tests from its source
distribution, and runs them with pytest, once bare and once under ``llmwatch run``. It prints how many tests passed,
failed and were skipped in both ways, how many calls were watched, and each test that ended in two ways. It ends with 1
if there is one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The tests of ``package``, what they ``need``, and what pytest is told for them."""

    package: str
    needs: tuple[str, ...]
    arguments: tuple[str, ...] = ()


SUITES = {
    # Left out are the tests that need a mock server with OpenAI's specification, and those of the repository's own
    # workflows; neither is part of the source distribution.
    "openai": Suite(
        package="openai[aiohttp,realtime]==3.57.0",
        needs=(
            "pytest-asyncio==1.4.0",
            "inline-snapshot==0.35.0",
            "azure-identity",
            "botocore",
            "trio",
            "griffe",
            "rich",
            "numpy",
            "pandas",
        ),
        arguments=("--ignore=tests/api_resources", "--ignore=tests/test_uv_workflows.py"),
    ),
    # These ask a real server on loopback.
    "ollama": Suite(package="ollama==0.6.3", needs=("pytest-asyncio==1.4.0", "pytest-httpserver==1.1.3", "pillow")),
}


@dataclass(frozen=True)
class Outcomes:
    """What became of each test, and what was said on standard error."""

    tests: dict[str, str]
    said: str

    def __str__(self) -> str:
        counts = Counter(self.tests.values())
        return ", ".join(f"{counts[name]} {name}" for name in ("passed", "failed", "skipped"))


def install(suite: Suite, folder: Path) -> tuple[Path, Path]:
    """A Python with the SDK and llmwatch, and the folder of the SDK's source distribution."""
    environment, source = folder / "environment", folder / "source"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / "bin" / "python"
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-e", f"{ROOT}[cli]", suite.package, "pytest", *suite.needs], check=True)
    name, version = suite.package.partition("[")[0].partition("=")[0], suite.package.rpartition("==")[2]
    download = [*pip, "download", "--no-deps", "--no-binary", name, "--dest", str(source), f"{name}=={version}"]
    subprocess.run(download, check=True)
    with tarfile.open(next(source.glob("*.tar.gz"))) as archive:
        archive.extractall(source, filter="data")
    return python, next(path for path in source.iterdir() if path.is_dir())


def run(python: Path, source: Path, suite: Suite, tests: Sequence[str] = ("tests",), *, watched: bool) -> Outcomes:
    """Run ``tests`` of the suite in one process."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LLMWATCH_", "PYTEST_"))}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            *(str(python), *(["-m", "llmwatch", "run"] if watched else []), "-m", "pytest", *tests, *suite.arguments),
            *("--quiet", "--override-ini=addopts=", "-p", "no:cacheprovider", f"--junitxml={report}"),
        ]
        done = subprocess.run(command, cwd=source, env=kept, capture_output=True, text=True, check=False)
        if not report.exists():
            raise RuntimeError(f"pytest ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
        return Outcomes(_outcomes(report), done.stderr)


def _outcomes(report: Path) -> dict[str, str]:
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        inner = {element.tag for element in case}
        outcome = "failed" if inner & {"failure", "error"} else "skipped" if "skipped" in inner else "passed"
        found[f"{case.get('classname')}::{case.get('name')}"] = outcome
    return found


def compare(name: str) -> list[str]:
    """Run the suite ``name`` both ways, print what was seen, and return the tests that end in two ways."""
    suite = SUITES[name]
    with tempfile.TemporaryDirectory() as folder:
        python, source = install(suite, Path(folder))
        bare, watched = (run(python, source, suite, watched=way) for way in (False, True))
        print(f"{suite.package}: bare {bare}; watched {watched}")
        print("\n".join(line for line in watched.said.splitlines() if line.startswith("llmwatch:")))
        return _differing(bare, watched)


def _differing(bare: Outcomes, watched: Outcomes) -> list[str]:
    names = bare.tests.keys() | watched.tests.keys()
    return sorted(name for name in names if bare.tests.get(name) != watched.tests.get(name))


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare the suites; 1 if a test ends in two ways."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.own_suites", description="The SDKs' own tests.")
    parser.add_argument("names", nargs="*", metavar="SDK", help=f"some of {', '.join(SUITES)}; all unless given")
    names = parser.parse_args(arguments).names or list(SUITES)
    differing = {name: compare(name) for name in names}
    for name, tests in differing.items():
        for test in tests:
            print(f"{name}: {test} ends in two ways")
    return int(any(differing.values()))


if __name__ == "__main__":
    sys.exit(main())
