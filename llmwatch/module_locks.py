"""Locks of modules, in forked children."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

__all__ = ["renew_in_child"]


def renew_in_child(module: dict[str, Any], name: str, make: Callable[[], object]) -> None:
    """Have the lock ``name`` of a ``module``, given by its ``globals()``, replaced by ``make()`` in every forked child:
    another thread of the parent may have held it, for ever.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: module.update({name: make()}))
