"""Whether a host is on this machine or in a private network."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit

__all__ = ["is_local"]

# RFC 6761 and RFC 6762, and the names under which a container reaches its host.
_LOCAL_SUFFIXES = (".localhost", ".local", ".docker.internal", ".containers.internal")
# RFC 6598, shared address space: overlay networks use it, and ipaddress does not count it as private.
_SHARED = ipaddress.ip_network("100.64.0.0/10")


def is_local(url: str | None) -> bool:
    """Whether the host of ``url`` is loopback or private, judged by its spelling: no name is looked up.

    True for ``localhost``, ``*.localhost``, ``*.local``, a container's name for its host, a name without a dot (a
    service in a compose file), and loopback, link-local, private and shared addresses, IPv6 included. False for a URL
    without a host or that cannot be parsed, and for a public name that resolves to a private address.
    """
    if not url:
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname
        if "[" in parts.netloc:
            # Python 3.10 accepts any text in brackets as a host.
            ipaddress.IPv6Address(str(host).partition("%")[0])
    except ValueError:
        return False
    return bool(host) and _is_local_host(str(host))


@lru_cache(maxsize=256)
def _is_local_host(host: str) -> bool:
    host = host.rstrip(".").lower()
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return bool(host) and ("." not in host or host.endswith(_LOCAL_SUFFIXES))
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return address.is_private or address.is_link_local
        address = address.ipv4_mapped
    return address.is_private or address in _SHARED
