"""From the settings of a call to what the worker of each of its attempts does."""

from __future__ import annotations

from llmwatch.client.exchange import Exchange
from llmwatch.client.loop import MakeWork, Work
from llmwatch.client.request import CallRequest
from llmwatch.client.settings import Settings, Start
from llmwatch.policy import EffectiveLimits
from llmwatch.transport.sender import Sender

__all__ = ["exchanges"]


def exchanges(sender: Sender, settings: Settings, start: Start, *, keepalive: float) -> MakeWork:
    """One :class:`Exchange` an attempt, over the connections of ``sender``; ``keepalive`` in seconds."""

    def make(request: CallRequest, limits: EffectiveLimits) -> Work:
        exchange = Exchange(
            sender=sender,
            request=request,
            limits=limits,
            keepalive=keepalive,
            dialect=settings.dialect,
            wall=settings.clock.wall,
        )
        return exchange.run_plain if start.plain else exchange.run_stream

    return make
