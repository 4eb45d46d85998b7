"""Every time that these tests use, in seconds."""

from __future__ import annotations

from tests.conftest import SCALE

__all__ = ["AFTER", "DEMO", "DEMO_LONG", "LIMIT", "LONG", "LONGEST_WAIT", "NOTICED", "PATIENCE", "SOON"]

LIMIT = round(0.4 * SCALE, 2)
"""A limit that expires. An answer that comes is there in a hundredth of it on a quiet machine."""
NOTICED = round(1 + 0.3 * SCALE, 2)
"""A limit that expires after the first notice of a wait, which comes after a second at most."""
DEMO = round(0.4 * SCALE, 2)
"""The limit of a demo. Its own reading time-outs, pings and answers are set by this limit."""
DEMO_LONG = 60.0
"""The longest limit that a demo takes; one that is interrupted does not come to its end."""
LONG = 300.0
"""A limit, or a wait, that must not come to its end."""
AFTER = 10.0 * SCALE
"""How long after its limit the slowest kill may come, on a machine that has too much to do."""
LONGEST_WAIT = 60.0
"""The longest wait before a resend that a provider may ask for.

One that is interrupted does not come to its end.
"""
PATIENCE = 40.0 * SCALE
"""In which a command must have ended; far above what any takes."""
SOON = 10.0 * SCALE
"""In which a command has to end on Ctrl-C; far below ``LONG``, which it would wait for otherwise."""
