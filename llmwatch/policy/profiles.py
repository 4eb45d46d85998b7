"""The default limits in three profiles, and the detection of a request's profile."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from llmwatch.payload.reasoning import asks_for_thinking, is_reasoning_model, model_of
from llmwatch.policy.limit_table import LIMITS, NAMES
from llmwatch.policy.values import refused

__all__ = ["PASSTHROUGH_FINISH", "PLAIN_TTFB", "PROFILES", "check_profile", "detect_profile", "is_local"]

PROFILES: Mapping[str, Mapping[str, float | None]] = {
    profile: {name: LIMITS[name].defaults[at] for name in NAMES}
    for at, profile in enumerate(("hosted", "reasoning", "local"))
}
"""Seconds by profile and limit, ``None`` for off, from public reports of healthy and of dead calls."""

PLAIN_TTFB: Mapping[str, float] = {"hosted": 600.0, "reasoning": 1800.0, "local": 1800.0}
"""The default ``ttfb``, in seconds, of a plain call, which is silent until the answer is finished."""

PASSTHROUGH_FINISH = 30.0
"""The default ``finish`` of a passthrough, in seconds.
There it only ends the body; the reader judges the answer by marks of its own."""

# RFC 6761 and RFC 6762, and the names under which a container reaches its host.
_LOCAL_SUFFIXES = (".localhost", ".local", ".docker.internal", ".containers.internal")
# RFC 6598, shared address space: overlay networks use it, and ipaddress does not count it as private.
_SHARED = ipaddress.ip_network("100.64.0.0/10")


def check_profile(profile: object, field: str = "profile") -> str:
    """``profile`` if a profile has that name. Raises :class:`~llmwatch.errors.ConfigError` listing all.

    ``field`` is the user's name for the setting.
    """
    if isinstance(profile, str) and profile in PROFILES:
        return profile
    raise refused(field, profile, f"{field}={{}}", f"it takes one of {', '.join(PROFILES)}")


def detect_profile(url: str | None = None, body: object = None) -> str:
    """The profile that fits a request.

    ``local`` for a loopback or private host; ``reasoning`` if the parsed JSON ``body`` asks for thinking or names a
    reasoning model; else ``hosted``. The host comes first: no limit of ``local`` is shorter than in ``reasoning``, and
    a reasoning model on local hardware needs the longer ones.
    """
    if is_local(url):
        return "local"
    if asks_for_thinking(body) or is_reasoning_model(model_of(url, body)):
        return "reasoning"
    return "hosted"


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
