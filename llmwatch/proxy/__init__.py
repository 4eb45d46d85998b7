"""The proxy: a server on loopback whose requests are relayed by llmwatch's own calls."""

from llmwatch.proxy.http_server import ProxyServer
from llmwatch.proxy.routes import PUBLIC_HOSTS, Route, Routes

__all__ = ["PUBLIC_HOSTS", "ProxyServer", "Route", "Routes"]
