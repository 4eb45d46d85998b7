"""Addresses at which nothing answers."""

from __future__ import annotations

import socket
import time

import pytest

from llmwatch.faults import blackhole, refused_port
from tests.faults.client import SOON


def test_blackhole_hangs():
    """Connecting hangs until the client gives up, and again for the next client."""
    with blackhole() as address:
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(TimeoutError):
                socket.create_connection(address, timeout=0.3)
            assert time.monotonic() - began >= 0.3


def test_refused_port_refuses_and_is_held():
    """Connecting is refused, and the port cannot be taken by another."""
    with refused_port() as port:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=SOON)
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
