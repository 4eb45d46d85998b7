"""Every time that these tests use, in seconds."""

from __future__ import annotations

from tests.conftest import SCALE

__all__ = ["BEAT", "LIMIT", "LONG", "PATIENCE", "SOON"]

BEAT = 0.01 * SCALE
"""Between two signs of life, far below every limit that they keep to."""
LIMIT = 0.1 * SCALE
"""A limit that expires, where nothing that is well has to keep to it."""
SOON = 0.4 * SCALE
"""A limit that expires, and that good answers keep to as well.

On a quiet machine they are there in a hundredth.
"""
LONG = 60.0 * SCALE
"""A limit that is never reached."""
PATIENCE = 20.0 * SCALE
"""How long a test waits for what must happen; never reached when all is well."""
