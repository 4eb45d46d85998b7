"""Every time that these tests use, in seconds."""

from __future__ import annotations

from tests.conftest import SCALE

__all__ = ["BEAT", "LIMIT", "LIVELY", "LONG", "PATIENCE", "SOON"]

LIMIT = 0.1 * SCALE
"""A limit that expires, where nothing that is well has to keep to it."""
SOON = 0.5 * SCALE
"""A limit that expires, and that what comes before it, or a healthy second answer, keeps to as well."""
LIVELY = 1.0 * SCALE
"""A limit under which a stream has to live, or a healthy second answer has to come."""
BEAT = 0.01 * SCALE
"""The time between two pieces of a stream."""
LONG = 60.0 * SCALE
"""A limit that is never reached."""
PATIENCE = 20.0 * SCALE
"""How long a test waits for what must happen; never reached when all is well."""
