"""Every type that a public function takes or returns can be imported from a public module."""

from __future__ import annotations

import importlib
import inspect
import sys
import tempfile
import typing
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import llmwatch
from tests.public_types import Walk, functions
from tests.rows import each

PUBLIC = ("llmwatch", "llmwatch.errors", "llmwatch.records", "llmwatch.sdk", "llmwatch.faults", "llmwatch.testing")
MADE = frozenset(("Iterating", "Overriding", "Stream"))
"""Classes whose objects users are given and do not make."""

FOREIGN = {
    "llmwatch.Session": "_t",
    "llmwatch.sdk.Transport.__enter__": "Self",
    "llmwatch.sdk.Transport.handle_request": "Request",
    "llmwatch.sdk.anthropic": "Anthropic",
    "llmwatch.sdk.openai": "OpenAI",
}
"""What has an annotation that cannot be evaluated, and the name in it.

The name is a type of an optional package, or one that requests (for the attributes of its own session) or
typing_extensions has for type checkers alone.
"""

ALIASES = ("DialectDetector", "DialectReader", "Notice", "NoticeCallback", "OnRetry", "Refresh", "Seconds", "Sink")

KINDS = """
from __future__ import annotations
from collections.abc import Callable
from typing import TypeAlias

class Hidden: ...
class Deeper: ...
Alias: TypeAlias = Callable[[Deeper], None]
_Private = Hidden | None
"""

IMPORTS = """
from __future__ import annotations
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypedDict
import sample.kinds
if TYPE_CHECKING:
    from typing_extensions import Unpack
    from sample.kinds import Alias, Hidden, _Private

class Options(TypedDict):
    it: Hidden

def shows(function):
    function.__annotations__ = {"it": int}
    return function
"""

ROWS = {
    "a parameter": ("def shown(it: Hidden) -> None: ...", "Hidden"),
    "what is returned": ("def shown() -> dict[str, list[Hidden]]: ...", "Hidden"),
    "an alias": ("def shown(it: Alias) -> None: ...", "Alias Deeper"),
    "a private alias": ("def shown(it: _Private) -> None: ...", "Hidden"),
    "options by name": ("def shown(**options: Unpack[Options]) -> None: ...", "Hidden"),
    "options that a decorator shows": ("@shows\ndef shown(**options: Unpack[Options]) -> None: ...", "Hidden"),
    "a string in a type": ("def shown(it: list['Hidden']) -> None: ...", "Hidden"),
    "a word": ("def shown(it: Literal['Hidden']) -> None: ...", ""),
    "a name in a module": ("def shown(it: sample.kinds.Hidden) -> None: ...", "Hidden"),
    "a type of another package": ("def shown(it: Iterator[int]) -> None: ...", ""),
    "a field": ("@dataclass(frozen=True)\nclass shown:\n    it: Hidden", "Hidden"),
    "a private field": ("class shown:\n    _it: Hidden", ""),
    "a property": ("class shown:\n    @property\n    def it(self) -> Hidden: ...", "Hidden"),
    "a method": ("class shown:\n    def it(self) -> Hidden: ...", "Hidden"),
    "a private method": ("class shown:\n    def _it(self) -> Hidden: ...", ""),
    "a method of the class": ("class shown:\n    @classmethod\n    def it(cls) -> Hidden: ...", "Hidden"),
    "a base": ("class Base:\n    def it(self) -> Hidden: ...\nclass shown(Base): ...", "Hidden"),
    "an iterator": ("class shown:\n    def __iter__(self) -> Iterator[Hidden]: ...", "Hidden"),
    "an attribute": ("class shown:\n    def __init__(self) -> None:\n        self.it: Hidden | None = None", "Hidden"),
    "a class that is called": ("class shown:\n    def __init__(self) -> None:\n        self.it = Hidden()", "Hidden"),
    "a constructor": ("class shown:\n    def __init__(self, it: Hidden) -> None: ...", "Hidden"),
    "a constructor that users do not call": (
        "class Made:\n    def __init__(self, it: Hidden): ...\ndef shown() -> Made: ...",
        "Made",
    ),
    "a base that users do not make": (
        "class Base:\n    def __init__(self, it: Hidden): ...\nclass Made(Base): ...\ndef shown() -> Made: ...",
        "Made",
    ),
    "a generator": ("@contextmanager\ndef shown() -> Iterator[Hidden]: ...", "Hidden"),
    "a type behind a type": ("class Outer:\n    it: Hidden\ndef shown() -> Outer: ...", "Outer Hidden"),
}
"""What a module of a package called ``sample`` defines, and which types are missing then."""


@pytest.fixture(scope="module")
def walk() -> Walk:
    return Walk(PUBLIC, made=MADE)


def test_every_type_can_be_imported(walk: Walk) -> None:
    """Every type that a public function takes or returns, directly or not, stands in a public module."""
    assert walk.missing() == {}
    assert len(walk.reached) > 40


@each("name", ["EffectiveLimits", "Timings", "DecisionRecord", "Sink", "Notice"])
def test_a_type_that_leaves_the_face_is_missed(name: str) -> None:
    """A public module that no longer has a type which others take or return is not enough."""
    walk = Walk(PUBLIC, made=MADE)
    left = [public for public in walk.public if public.endswith(f".{name}")]
    assert left
    for public in left:
        del walk.public[public]
    assert [missing.rpartition(".")[2] for missing in walk.missing()] == [name]


@each("source, missing", ROWS.values(), ids=ROWS)
def test_what_the_walk_sees(source: str, missing: str, tmp_path: Path) -> None:
    """Each place where a type can stand is looked at."""
    place = Path(tempfile.mkdtemp(dir=tmp_path))
    folder = place / "sample"
    folder.mkdir()
    folder.joinpath("__init__.py").write_text("from sample.face import shown\n__all__ = ['shown']\n")
    folder.joinpath("kinds.py").write_text(KINDS)
    folder.joinpath("face.py").write_text(f"{IMPORTS}\n{source}\n")
    sys.path.insert(0, str(place))
    importlib.invalidate_caches()
    try:
        walk = Walk(("sample",), made=frozenset({"Made"}))
    finally:
        sys.path.remove(str(place))
        for name in [name for name in sys.modules if name.partition(".")[0] == "sample"]:
            del sys.modules[name]
    assert {name.rpartition(".")[2] for name in walk.missing()} == set(missing.split())


def _annotated(public: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every public class and function, and the methods and properties of each class of llmwatch.

    A class counts with what it defines or inherits.
    """
    for name, thing in public.items():
        if inspect.isclass(thing):
            yield name, thing
            for owner in inspect.getmro(thing):
                if owner.__module__.partition(".")[0] == "llmwatch":
                    for member, value in vars(owner).items():
                        if not member.startswith("_") or member.endswith("__"):
                            yield from ((f"{name}.{member}", function) for function in functions(value))
        elif inspect.isfunction(thing):
            yield name, thing


def test_annotations_can_be_evaluated(walk: Walk) -> None:
    """``typing.get_type_hints`` answers for every public class, function, method and property."""
    annotated = list(_annotated(walk.public))
    assert len(annotated) > 300
    failed = {}
    for name, thing in annotated:
        try:
            typing.get_type_hints(thing)
        except Exception as error:
            failed[name] = getattr(error, "name", None) or repr(error)
    assert failed.items() - FOREIGN.items() == set()


@each("alias", ALIASES)
def test_an_alias_is_no_string(alias: str) -> None:
    """A public alias can be used in another type at run time, and no part of it is left to be evaluated."""
    thing = getattr(llmwatch, alias)
    assert type(None) in typing.get_args(thing | None)
    assert "'" not in repr(thing)


def test_a_hook_before_a_resend_returns_changes_or_none() -> None:
    """A type checker is told both, so that another return is an error."""
    parameters, returned = typing.get_args(llmwatch.OnRetry)
    assert len(parameters) == 1
    assert set(typing.get_args(returned)) == {Mapping[str, Any], type(None)}


def test_no_two_public_classes_share_a_name(walk: Walk) -> None:
    """A name that a user reads in a traceback or a record stands for one class."""
    classes = defaultdict(set)
    for name, thing in (*walk.public.items(), *((name, thing) for name, (thing, _) in walk.reached.items())):
        if inspect.isclass(thing):
            classes[name.rpartition(".")[2]].add(f"{thing.__module__}.{thing.__qualname__}")
    assert {name: homes for name, homes in classes.items() if len(homes) > 1} == {}
