"""A proxy while a command serves: its base URLs, and the counts of its calls."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llmwatch import CallRecord, ConfigError, stats
from llmwatch.cli.run_counts import Counts
from llmwatch.records.sinks import losses
from llmwatch.watch import supervisor as supervisors

if TYPE_CHECKING:
    from llmwatch.proxy import ProxyServer

__all__ = ["Served", "serving"]

_SDK_PATHS: Mapping[str, str] = {"openai": "/v1"}
"""What the base URL of a public route's SDK has behind the host."""


class Served:
    """What a command tells of its proxy. A sink of its calls, for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # protects the counts; a leaf
        self._counts = Counts()
        self._proxy: ProxyServer

    def __call__(self, record: CallRecord) -> None:
        """Count one call that has ended."""
        with self._lock:
            self._counts.add(record)

    def base_urls(self) -> dict[str, str]:
        """For each route by its name the base URL to give to an SDK."""
        own = self._proxy.url
        return {
            name: f"{own}/{name}{_SDK_PATHS.get(name, '') if self._is_public(name) else ''}"
            for name in self._proxy.routes.by_name
        }

    def upstream(self, name: str) -> str:
        """The URL that the route ``name`` leads to."""
        return self._proxy.routes.by_name[name].url

    def _is_public(self, name: str) -> bool:
        from llmwatch.proxy import PUBLIC_HOSTS

        return self.upstream(name) == PUBLIC_HOSTS.get(name)

    def lines(self, log: str | None) -> list[str]:
        """The lines of the summary, none without a call. ``log``: the path of the incident log."""
        supervisors.finish_dropped()
        with self._lock:
            counts = self._counts
            counts.lost = losses()["incidents_lost"]
            counts.orphans = stats()["orphans"]
            return counts.lines(log)


@contextmanager
def serving(
    to: Iterable[str],
    *,
    public: bool = True,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Served]:
    """A proxy that serves until the block ends.

    ``to``: routes as ``NAME=URL``. Raises :class:`~llmwatch.ConfigError` for settings that do not work, cheroot's
    absence included, and :class:`OSError` for an address that cannot be had.
    """
    try:
        from llmwatch.proxy import ProxyServer, Route, Routes
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("cheroot", "jaraco", "more_itertools"):
            raise
        raise ConfigError("The proxy needs cheroot: pip install 'llmwatch[proxy]'") from None
    served = Served()
    routes = Routes(map(Route.of, to), public=public)
    served._proxy = ProxyServer(routes, host=host, port=port, token=token, tls=tls, sinks=[served])
    with served._proxy:
        yield served
