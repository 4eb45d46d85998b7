"""The embedded provider: a server that goes wrong on purpose, in every way that providers and networks do.

It runs in threads of this process, on loopback, and plays scripts on raw sockets. It shares nothing with the rest of
llmwatch, so that one cannot hide a mistake of the other.
"""

from llmwatch.faults import catalogue, steps
from llmwatch.faults.catalogue import UnknownScript
from llmwatch.faults.link import Gate
from llmwatch.faults.network import blackhole, refused_port
from llmwatch.faults.proxy import ConnectRequest, ProxyServer
from llmwatch.faults.request import Request
from llmwatch.faults.script import Context, Script
from llmwatch.faults.server import FaultServer

__all__ = [
    "ConnectRequest",
    "Context",
    "FaultServer",
    "Gate",
    "ProxyServer",
    "Request",
    "Script",
    "UnknownScript",
    "blackhole",
    "catalogue",
    "refused_port",
    "steps",
]
