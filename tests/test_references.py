"""What the docstrings of the public face refer to can be imported from it."""

from __future__ import annotations

import builtins
import importlib
import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from tests.public_types import Walk
from tests.rows import each
from tests.test_public_types import PUBLIC

ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`~?([^`]*)`")
OTHERS = ("requests", "ssl")
"""Packages whose names a docstring may refer to in full."""

SAMPLES = {
    "a public name": ("Client", True),
    "a public name in full": ("llmwatch.Client", True),
    "a method in full": ("llmwatch.Client.stream", True),
    "a method of another class": ("Client.stream", True),
    "a method of the class": ("single", True),
    "a field of the class": ("connect", True),
    "a public module": ("llmwatch.records", True),
    "a name of a public module": ("llmwatch.records.PHASES", True),
    "a name of another public module": ("PHASES", True),
    "a module that the face shows": ("llmwatch.faults.steps.Chunk", True),
    "a built-in class": ("ValueError", True),
    "a class of another package": ("requests.Response", True),
    "an unknown name": ("Clients", False),
    "an unknown method": ("Client.streams", False),
    "a name in a private module": ("llmwatch.policy.effective.resolve_limits", False),
    "a name in a private package": ("llmwatch.recovery.Reason", False),
    "a private module": ("llmwatch.records.evidence", False),
    "a private method": ("llmwatch.Client._build", False),
    "a private method of the class": ("__post_init__", False),
    "a name that another package lacks": ("requests.Responses", False),
}
"""References in the docstring of ``Limits``, and whether a user can follow them."""


class Face:
    """The public names of the package, and those that may stand alone in a docstring."""

    def __init__(self) -> None:
        self.public: dict[str, Any] = Walk(PUBLIC).public
        modules = [thing for thing in self.public.values() if isinstance(thing, ModuleType)]
        modules += [importlib.import_module(name) for name in PUBLIC]
        self.places = {**self.public, **{module.__name__: module for module in modules}}
        self.bare = {name.rpartition(".")[2]: thing for name, thing in self.public.items()}

    def docstrings(self) -> Iterator[tuple[str, Any, str]]:
        """Each docstring, with the name of its place, and the object in whose words it speaks."""
        for name, thing in self.places.items():
            if isinstance(thing, ModuleType) or inspect.isroutine(thing):
                yield name, thing, thing.__doc__ or ""
            elif inspect.isclass(thing):
                yield name, thing, inspect.getdoc(thing) or ""
                for owner in inspect.getmro(thing):
                    if owner.__module__.partition(".")[0] == "llmwatch":
                        for member, value in vars(owner).items():
                            if not member.startswith("_") and not isinstance(value, owner):
                                yield f"{name}.{member}", thing, getattr(value, "__doc__", None) or ""

    def shows(self, reference: str, owner: Any) -> bool:
        """Whether the reference, in a docstring of ``owner``, names something public."""
        parts = reference.split(".")
        if any(part.startswith("_") for part in parts):
            return False
        if parts[0] == "llmwatch":
            place = next(end for end in range(len(parts), 0, -1) if ".".join(parts[:end]) in self.places)
            thing, rest = self.places[".".join(parts[:place])], parts[place:]
            return not rest or (not isinstance(thing, ModuleType) and _has(thing, rest))
        if parts[0] in self.bare:
            return _has(self.bare[parts[0]], parts[1:])
        if inspect.isclass(owner) and _has(owner, parts):
            return True
        if parts[0] in OTHERS:
            return _has(importlib.import_module(parts[0]), parts[1:])
        return _has(builtins, parts)


def _has(thing: Any, names: list[str]) -> bool:
    for name in names:
        if not hasattr(thing, name):
            return False
        thing = getattr(thing, name)
    return True


@pytest.fixture(scope="module")
def face() -> Face:
    return Face()


def test_every_reference_names_something_public(face: Face) -> None:
    """A user can find each thing that a public docstring refers to.

    Each class, function, value and method can be imported, or looked up.
    """
    references = [
        (place, owner, reference) for place, owner, words in face.docstrings() for reference in ROLE.findall(words)
    ]
    assert len(references) > 100
    assert [(place, name) for place, owner, name in references if not face.shows(name, owner)] == []


def test_every_role_is_known(face: Face) -> None:
    """No reference has a role that the test above does not look at."""
    assert [place for place, _, words in face.docstrings() if re.search(r":\w+:`", ROLE.sub("", words))] == []


@each("reference, shown", SAMPLES.values(), ids=SAMPLES)
def test_what_counts_as_public(reference: str, shown: bool, face: Face) -> None:
    """A name counts where a user can import it, and not where it is merely found at run time."""
    assert face.shows(reference, face.public["llmwatch.Limits"]) is shown
