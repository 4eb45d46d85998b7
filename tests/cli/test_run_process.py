from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmwatch.cli import run_process
from llmwatch.cli.run_process import PYTHONPATH, VARIABLE, joined

FOLDER = "/of/llmwatch"
values = st.none() | st.text(st.sampled_from("/ab:"), max_size=8)


@given(values)
def test_the_value_comes_back(value: str | None) -> None:
    """What was joined comes back, an empty value and empty parts included."""
    assert run_process._without(FOLDER, joined(FOLDER, value), empty=value == "") == value


@given(values)
def test_an_empty_part_is_never_added(value: str | None) -> None:
    """Python searches the current directory for an empty part."""
    parts = joined(FOLDER, value).split(os.pathsep)
    assert parts == [FOLDER, *((value or "").split(os.pathsep) if value else [])]


def test_a_program_between_may_change_the_value() -> None:
    """The folder leaves a value that a shell has put something in front of."""
    assert run_process._without(FOLDER, f"a:{FOLDER}:b", empty=False) == "a:b"
    assert run_process._without(FOLDER, f"a:{FOLDER}", empty=True) == "a"
    assert run_process._without(FOLDER, "a", empty=False) == "a"


@pytest.fixture
def inherited(monkeypatch: pytest.MonkeyPatch) -> dict[Any, Any]:
    """The environment of the C library, with the functions of ``os`` replaced.

    Both are as before afterwards.
    """
    library: dict[Any, Any] = {}
    monkeypatch.setattr(os, "putenv", lambda name, value: library.__setitem__(os.fsdecode(name), os.fsdecode(value)))
    monkeypatch.setattr(os, "unsetenv", lambda name: library.pop(os.fsdecode(name), None))
    monkeypatch.setattr(os, "posix_spawn", lambda path, argv, env, **given: env)
    monkeypatch.setattr(os, "posix_spawnp", lambda path, argv, env, **given: env)
    monkeypatch.setattr(os, "environ", type(os.environ)({}, *_codecs()))
    os.environ[VARIABLE] = "{}"
    os.environ[PYTHONPATH] = FOLDER
    run_process._Inherited(FOLDER, {"process": 1}).hide(None)
    return library


def shown() -> dict[str, str]:
    """The variables of the program, without pytest's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}


def _codecs() -> tuple[Any, ...]:
    environ: Any = os.environ
    return environ.encodekey, environ.decodekey, environ.encodevalue, environ.decodevalue


def test_the_program_sees_its_own_value_and_children_get_both(inherited: dict[Any, Any]) -> None:
    """Whatever the program makes of the variable, its children get it with the folder in front."""
    assert shown() == {}
    assert inherited[PYTHONPATH] == FOLDER
    for value in ("a:b", ""):
        os.environ[PYTHONPATH] = value
        assert shown() == {PYTHONPATH: value}
        assert inherited[PYTHONPATH] == joined(FOLDER, value)
        assert json.loads(inherited[VARIABLE]) == {"process": 1, "empty": value == ""}
    del os.environ[PYTHONPATH]
    assert shown() == {}
    assert inherited[PYTHONPATH] == FOLDER
    assert json.loads(inherited[VARIABLE]) == {"process": 1, "empty": False}
    os.environ["OTHER"] = "x"
    assert inherited["OTHER"] == "x"
    del os.environ["OTHER"]
    assert "OTHER" not in inherited


@pytest.mark.parametrize("name", ["posix_spawn", "posix_spawnp"])
def test_a_spawned_process_inherits_only_from_the_environment_itself(inherited: dict[Any, Any], name: str) -> None:
    """``os.environ`` is the inherited environment; a copy of it is one that the program has put together."""
    os.environ[PYTHONPATH] = "a"
    spawn: Any = getattr(os, name)
    assert spawn("x", [], os.environ)[PYTHONPATH] == joined(FOLDER, "a")
    assert json.loads(spawn("x", [], os.environ, setsid=True)[VARIABLE]) == {"process": 1, "empty": False}
    copied = dict(os.environ)
    assert spawn("x", [], copied) is copied


def test_an_unknown_kind_of_environment_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the items that are known nothing is kept for children."""
    monkeypatch.setattr(os, "environ", {})
    assert not run_process._Inherited.possible()
