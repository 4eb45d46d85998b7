"""Sets attributes of other libraries' classes, and puts back the very objects that were there.

Other code may patch the same attribute, before and after. What lies beneath is called and never lost. What lies on top
is never removed: a patch that was buried stays in place, and its function must pass calls on unchanged once it is told
to (:attr:`Patches.active`).

The class takes no lock: its user serialises the calls of :meth:`Patches.apply` and :meth:`Patches.undo`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llmwatch.transport.instrument import as_function

__all__ = ["Patches"]

Make = Callable[[Any], Any]
"""Makes a replacement of the original, which the replacement calls with the instance first."""


@dataclass(frozen=True, slots=True)
class _Patch:
    """One attribute: ``original`` is the object that ``replacement`` took the place of."""

    owner: type[Any]
    name: str
    original: Any
    replacement: Any

    @property
    def on_top(self) -> bool:
        """Whether the attribute is still ours."""
        return vars(self.owner).get(self.name) is self.replacement


class Patches:
    """The attributes of one library that are replaced together: ``makers`` by owner and name.

    Every owner must have the attribute itself, not by inheritance.
    """

    def __init__(self, makers: dict[tuple[type[Any], str], Make]) -> None:
        self._makers = makers
        self._applied: list[_Patch] = []
        self.active = False
        """Whether a replacement does its work; otherwise it passes every call on. Read without a lock."""

    def apply(self) -> None:
        """Replace each attribute that is not ours now. Does nothing for one that still is."""
        for (owner, name), make in self._makers.items():
            if any(patch.on_top for patch in self._applied if (patch.owner, patch.name) == (owner, name)):
                continue
            original = vars(owner)[name]
            patch = _Patch(owner, name, original, make(as_function(original)))
            # First, so that a signal's exception between the two leaves nothing that cannot be undone.
            self._applied.append(patch)
            setattr(owner, name, patch.replacement)
        self.active = True

    def undo(self) -> None:
        """Put back each original that no other code has covered. A covered replacement passes calls on."""
        self.active = False
        while topmost := [patch for patch in self._applied if patch.on_top]:
            for patch in topmost:
                setattr(patch.owner, patch.name, patch.original)
                self._applied.remove(patch)
