"""Servers and clients as in the end-to-end tests; every test here leaves threads and descriptors as it found them."""

from __future__ import annotations

from tests.end_to_end.conftest import authority, bundle, connect, nothing_left, serve, server_tls

__all__ = ["authority", "bundle", "connect", "nothing_left", "serve", "server_tls"]
