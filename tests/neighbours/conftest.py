"""The entry points for existing code.

Every test here leaves threads and descriptors as it found them.
"""

from __future__ import annotations

from tests.session.conftest import authority, bundle, nothing_left, requests_as_it_was, server_tls, way

__all__ = ["authority", "bundle", "nothing_left", "requests_as_it_was", "server_tls", "way"]
