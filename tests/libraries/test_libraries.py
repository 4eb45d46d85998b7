"""A library behaves as it does bare while its service is healthy.

What its service does wrong comes out as documented.

The name of a test names the version. Those on requests run under ``llmwatch run``; those on httpx get a transport.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from llmwatch.faults import Script
from tests.libraries.running import CUT, HANG, SILENT, Run, count_requests, make_environment, run, script
from tests.libraries.wires import ANSWER, LIBRARIES

# The first test of an environment installs it.
_INSTALLS = pytest.mark.timeout(600)

CASES = [
    pytest.param(
        stands_on, library, id=f"{package}-on-{stands_on}", marks=[pytest.mark.xdist_group(stands_on), _INSTALLS]
    )
    for stands_on, libraries in LIBRARIES.items()
    for library, (package, _) in libraries.items()
]
every_library = pytest.mark.parametrize(("stands_on", "library"), CASES)

# What a library raises in place of the error of the library below it.
_OWN_ERRORS = {"openai": "openai.APITimeoutError"}

_made: dict[str, Path] = {}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("libraries")


@pytest.fixture
def python(folder: Path, stands_on: str) -> Path:
    """The Python with the libraries of one kind, made once in a run."""
    if stands_on not in _made:
        _made[stands_on] = make_environment(stands_on, folder / stands_on)
    return _made[stands_on]


def raised(outcome: Run, stands_on: str, library: str, name: str) -> bool:
    """Whether the library raised what it raises for ``name`` of the library below it."""
    if stands_on == "requests":
        return f"requests.exceptions.{name}" in outcome.error
    return not {f"httpx.{name}", f"httpx2.{name}", _OWN_ERRORS.get(library)}.isdisjoint(outcome.error)


@every_library
def test_a_healthy_run_is_the_bare_run(python: Path, stands_on: str, library: str) -> None:
    """The same pieces of the same answer, for the same one request."""
    healthy = [script(LIBRARIES[stands_on][library][1])]
    bare = run(python, stands_on, library, healthy, watched=False)
    watched = run(python, stands_on, library, healthy, watched=True)
    assert (bare.text, bare.error, len(bare.sent)) == (ANSWER, [], 1)
    assert (watched.pieces, watched.error, watched.sent) == (bare.pieces, [], bare.sent)


@every_library
def test_silence_is_recovered_from_unseen(python: Path, stands_on: str, library: str) -> None:
    """A first attempt that is not answered is resent, and the library sees the second answer alone."""
    wire = LIBRARIES[stands_on][library][1]
    outcome = run(python, stands_on, library, [SILENT, script(wire)], watched=True)
    assert (outcome.text, outcome.error, len(outcome.sent)) == (ANSWER, [], 2)
    assert outcome.sent[0] == outcome.sent[1]


@every_library
def test_silence_in_mid_stream_is_a_timeout(python: Path, stands_on: str, library: str) -> None:
    """The text before the silence is kept, and nothing is resent.

    The library's own read time-out is raised.
    """
    wire = LIBRARIES[stands_on][library][1]
    outcome = run(python, stands_on, library, [script(wire, *HANG, pieces=wire.half)], watched=True)
    assert raised(outcome, stands_on, library, "ReadTimeout"), outcome
    assert outcome.text
    assert ANSWER.startswith(outcome.text)
    assert len(outcome.sent) == 1


@every_library
def test_a_cut_is_never_a_success(python: Path, stands_on: str, library: str) -> None:
    """The library raises what it raises bare, after the same pieces and the same one request."""
    wire = LIBRARIES[stands_on][library][1]
    cut = [script(wire, *CUT, pieces=wire.half)]
    bare = run(python, stands_on, library, cut, watched=False)
    watched = run(python, stands_on, library, cut, watched=True)
    assert bare.error, bare
    assert bare.error[0] in watched.error
    assert (watched.pieces, watched.sent) == (bare.pieces, bare.sent)


@pytest.mark.xdist_group("httpx")
@_INSTALLS
@pytest.mark.parametrize("stands_on", ["httpx"])
@pytest.mark.parametrize(
    ("library", "played"),
    [
        *((library, SILENT) for library in ("openai", "anthropic", "groq", "zai")),
        *((library, "status:status=503") for library in ("openai", "anthropic", "groq", "zai", "cohere")),
    ],
)
def test_a_librarys_own_retries_are_not_multiplied(
    python: Path, stands_on: str, library: str, played: str | Script
) -> None:
    """A call is three requests, with the library's own retries on.

    It is three again at each try of a user's loop.
    """
    count, raised = count_requests(python, library, played, tries=2)
    assert (count, len(raised)) == (6, 2), raised
    assert raised[0] == raised[1]


@pytest.mark.parametrize(
    "stands_on", [pytest.param("requests", marks=[pytest.mark.xdist_group("requests"), _INSTALLS])]
)
def test_a_second_try_of_a_library_on_requests_is_not_multiplied(python: Path, stands_on: str) -> None:
    """dashscope resends once after a reset: two requests by itself, three under llmwatch and not six."""
    bare, watched = (
        run(python, stands_on, "dashscope", ["reset-before-response"], watched=way) for way in (False, True)
    )
    assert (len(bare.sent), len(watched.sent)) == (2, 3)
    assert bare.error[0] == "requests.exceptions.ConnectionError"
    assert bare.error[0] in watched.error
