"""Which hosts are local."""

from __future__ import annotations

import pytest

from llmwatch.policy.profiles import is_local
from tests.rows import each


@each(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "api.localhost",
        "studio.local",
        "ollama",
        "gpu-box-2",
        "host.docker.internal",
        "model-runner.docker.internal",
        "host.containers.internal",
        "127.0.0.1",
        "127.8.9.10",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.254",
        "192.168.178.20",
        "169.254.1.1",
        "100.64.0.7",
        "[::1]",
        "[::]",
        "[fd12:3456::1]",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "[::ffff:127.0.0.1]",
        "[::ffff:192.168.0.4]",
    ],
)
@each("form", ["http://{}/v1", "https://{}:8443/v1/chat?x=1", "http://user:pw@{}"])
def test_private_addresses_and_local_names_are_local(host: str, form: str) -> None:
    """Loopback, private, link-local and shared addresses are local.

    So are names that only a local resolver knows.
    """
    assert is_local(form.format(host))


@pytest.mark.parametrize(
    "host",
    [
        "api.example.com",
        "localhost.example.com",
        "notlocalhost.org",
        "local.example",
        "docker.internal.example.com",
        "8.8.8.8",
        "172.32.0.1",
        "192.169.0.1",
        "100.128.0.1",
        "[2606:4700::1111]",
        "[::ffff:8.8.8.8]",
        "10.example.com",
        "127.0.0.1.example.com",
    ],
)
def test_public_addresses_and_names_are_not_local(host: str) -> None:
    """Public addresses, and names that merely look local, are not."""
    assert not is_local(f"https://{host}/v1")


@pytest.mark.parametrize("url", [None, "", "/v1/chat", "http://", "http://[", "http://[zz]/", "not a url", "http://./"])
def test_an_unreadable_url_is_not_local(url: str | None) -> None:
    """Without a host, or with a URL that cannot be read, nothing is local and nothing is raised."""
    assert not is_local(url)
