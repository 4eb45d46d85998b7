"""Every time that these tests use, in seconds."""

from __future__ import annotations

from tests.conftest import SCALE

__all__ = [
    "BEAT",
    "FLOOD",
    "FREE",
    "GONE",
    "LAG",
    "LIMIT",
    "LIVELY",
    "LONG",
    "PATIENCE",
    "PULSE",
    "STOPPED",
    "UPLOAD",
    "WITHIN",
]

LIMIT = 0.2 * SCALE
"""The limit under test."""
FLOOD = 0.1 * SCALE
"""The limit that ends a flood, which keeps a processor busy until then."""
LIVELY = 1.0 * SCALE
"""A limit under which a stream has to live.

A machine with too much to do often holds a process up for a fifth of a second, and never for a whole one.
"""
BEAT = 0.02 * SCALE
"""The time between two pieces of a stream that lives, well within the limit."""
PULSE = 0.005 * SCALE
"""The same for what has to live under the limit itself, which is forty times as long."""
STOPPED = 1.0 * SCALE
"""A limit under which a process is stopped; long enough for all its streams to begin before that."""
UPLOAD = 1.0 * SCALE
"""A limit in which a healthy server takes 32 MiB."""
LONG = 60.0 * SCALE
"""A limit that is never reached."""
FREE = 10.0 * SCALE
"""How long after its limit a call may be over on a machine that has too much to do."""
GONE = 1.0 * SCALE
"""The time in which a worker has to be gone after its attempt is over."""
PATIENCE = 10.0 * SCALE
"""How long a test waits for what must happen; never reached when all is well."""
LAG = 0.05 * SCALE
"""How late the best of a few kills may be; what is promised holds where the machine is free."""
WITHIN = 0.2 * SCALE
"""The same for Ctrl-C."""
