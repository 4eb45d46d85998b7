"""The embedded provider: a server that simulates the faults of providers and networks.

The server runs in threads of this process, on loopback, and plays scripts on raw sockets. It shares no code with the
rest of llmwatch, so that neither can hide a mistake of the other.
"""

from llmwatch.faults import catalogue, steps
from llmwatch.faults.catalogue import UnknownScript
from llmwatch.faults.link import Bell, Gate, Link
from llmwatch.faults.network import blackhole, refused_port
from llmwatch.faults.observation import Observation, Observer
from llmwatch.faults.proxy import ConnectRequest, ProxyMode, ProxyServer
from llmwatch.faults.request import Incoming, Request, RequestHead, RequestReader
from llmwatch.faults.script import Context, Option, Play, Script
from llmwatch.faults.server import FaultServer
from llmwatch.faults.shapes.shape import Shape

__all__ = [
    "Bell",
    "ConnectRequest",
    "Context",
    "FaultServer",
    "Gate",
    "Incoming",
    "Link",
    "Observation",
    "Observer",
    "Option",
    "Play",
    "ProxyMode",
    "ProxyServer",
    "Request",
    "RequestHead",
    "RequestReader",
    "Script",
    "Shape",
    "UnknownScript",
    "blackhole",
    "catalogue",
    "refused_port",
    "steps",
]
