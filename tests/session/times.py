"""Every time that these tests use, in seconds."""

from __future__ import annotations

from tests.conftest import SCALE

__all__ = ["BEAT", "FREE", "LIMIT", "LONG", "PATIENCE", "SOON"]

BEAT = 0.01 * SCALE
"""Between two pieces of a stream that lives, far below every limit that it lives under."""
LIMIT = 0.1 * SCALE
"""A limit that expires, where nothing that is well has to keep to it."""
SOON = 0.4 * SCALE
"""A limit that expires, and that good answers keep to as well.

On a quiet machine good answers are there in a hundredth of it.
"""
LONG = 60.0 * SCALE
"""A limit that is never reached."""
FREE = 10.0 * SCALE
"""How long after its limit a call may be over on a machine that has too much to do."""
PATIENCE = 20.0 * SCALE
"""How long a test waits for what must happen; never reached when all is well."""
