"""Certificates, and the rule that every test here leaves threads and descriptors as it found them."""

from __future__ import annotations

import gc
import os
import ssl
import threading
from collections.abc import Iterator

import pytest
import trustme

_DESCRIPTORS = "/proc/self/fd"


def _descriptors() -> int:
    return len(os.listdir(_DESCRIPTORS)) if os.path.isdir(_DESCRIPTORS) else 0


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "::1", "localhost").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(autouse=True)
def _nothing_left(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> Iterator[None]:
    threads, descriptors = set(threading.enumerate()), _descriptors()
    yield
    if _descriptors() > descriptors:
        # An exception that a test caught may still hold a socket that was never connected.
        gc.collect()
    assert set(threading.enumerate()) <= threads, "threads are left"
    assert _descriptors() <= descriptors, "descriptors are left"
