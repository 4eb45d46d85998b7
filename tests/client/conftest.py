"""Calls without a network, on time that stands still until it is moved."""

from tests.engine.conftest import nothing_left, studio

__all__ = ["nothing_left", "studio"]
