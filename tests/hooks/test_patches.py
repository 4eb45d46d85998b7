"""Attributes of a class are replaced and put back, whatever other code does to them meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from llmwatch.hooks.patches import Patches


def made() -> tuple[type[Any], Patches, Callable[[], list[str]]]:
    """A class with a method, the patch of it, and what a call of the method passes through."""

    class Owner:
        def method(self, calls: list[str]) -> None:
            calls.append("original")

    def make(original: Any) -> Any:
        def method(self: Any, calls: list[str]) -> None:
            if patches.active:
                calls.append("ours")
            original(self, calls)

        return method

    patches = Patches({(Owner, "method"): make})

    def call() -> list[str]:
        calls: list[str] = []
        Owner().method(calls)
        return calls

    return Owner, patches, call


def wrapped(owner: Any) -> Callable[[], None]:
    """Let other code wrap the method; the result is a function that puts the earlier method back."""
    before = vars(owner)["method"]

    def method(self: Any, calls: list[str]) -> None:
        calls.append("theirs")
        before(self, calls)

    owner.method = method
    return lambda: setattr(owner, "method", before)


def test_the_very_object_is_put_back() -> None:
    """``undo`` puts the very object back, any number of times; applying twice replaces once."""
    owner, patches, call = made()
    before = vars(owner)["method"]
    for _ in range(3):
        patches.apply()
        patches.apply()
        assert call() == ["ours", "original"]
        patches.undo()
        patches.undo()
        assert vars(owner)["method"] is before


def test_a_buried_patch_passes_calls_on() -> None:
    """A wrapper that other code put around our patch stays, and that code removes it.

    Our patch is still found under the wrapper, and is removed later.
    """
    owner, patches, call = made()
    before = vars(owner)["method"]
    patches.apply()
    unwrap = wrapped(owner)
    patches.undo()
    assert call() == ["theirs", "original"]
    unwrap()
    assert call() == ["original"]
    patches.undo()
    assert vars(owner)["method"] is before


def test_applying_over_other_code_reaches_every_layer() -> None:
    """A call passes our patch beneath, the other code's and our patch anew; the topmost goes first."""
    owner, patches, call = made()
    patches.apply()
    wrapped(owner)
    theirs = vars(owner)["method"]
    patches.apply()
    assert call() == ["ours", "theirs", "ours", "original"]
    patches.undo()
    assert vars(owner)["method"] is theirs
    assert call() == ["theirs", "original"]


def test_other_code_that_puts_the_earlier_object_back_is_no_loss() -> None:
    """A test's monkeypatch from before may undo our patch; applying again replaces again."""
    owner, patches, call = made()
    before = vars(owner)["method"]
    patches.apply()
    owner.method = before
    patches.undo()
    assert vars(owner)["method"] is before
    patches.apply()
    assert call() == ["ours", "original"]


def test_an_inherited_attribute_is_no_owner() -> None:
    """An inherited attribute cannot be patched: it is not in its class to be put back."""

    class Derived(made()[0]):  # type: ignore[misc]
        pass

    with pytest.raises(KeyError):
        Patches({(Derived, "method"): lambda original: original}).apply()


class Bound:
    """What wrapt puts into a class: a call passes the instance only after it was bound."""

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return lambda *args: self.wrapped(instance, *args)

    def __call__(self, *args: Any) -> None:
        raise AssertionError("it was called without being bound")


def test_what_other_code_put_there_is_called_as_from_an_instance() -> None:
    """A descriptor is bound first, and a mock is not given the instance; each is put back itself."""
    owner, patches, call = made()
    owner.method = bound = Bound(vars(owner)["method"])
    patches.apply()
    assert call() == ["ours", "original"]
    patches.undo()
    assert vars(owner)["method"] is bound
    owner.method = unbound = mock.MagicMock()
    patches.apply()
    assert call() == ["ours"]
    unbound.assert_called_once_with(["ours"])
    patches.undo()
    assert vars(owner)["method"] is unbound


class _Interrupting(type):
    """A class of classes: Ctrl-C comes right after the next attribute is set, if it is ``armed``."""

    armed = False

    def __setattr__(cls, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if _Interrupting.armed:
            _Interrupting.armed = False
            raise KeyboardInterrupt


@pytest.mark.parametrize("again", [False, True])
def test_an_interrupted_patch_can_be_undone(again: bool) -> None:
    """A signal right after the replacement loses no original."""

    class Owner(metaclass=_Interrupting):
        def method(self) -> None:
            """Do nothing."""

    before = vars(Owner)["method"]
    patches = Patches({(Owner, "method"): lambda original: lambda self: original(self)})
    _Interrupting.armed = True
    with pytest.raises(KeyboardInterrupt):
        patches.apply()
    assert vars(Owner)["method"] is not before
    if again:
        patches.apply()
    patches.undo()
    assert vars(Owner)["method"] is before
